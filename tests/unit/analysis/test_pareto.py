"""Fronts worked by hand, and against every pair of cells."""

import itertools

import numpy as np
import pyarrow.parquet as pq
import pytest

from interfero.analysis.charts.files import write_pictures
from interfero.analysis.charts.pareto import FRONT, front_figure
from interfero.analysis.pareto import (
    OBJECTIVES,
    front_keys,
    front_table,
    pareto_fronts,
    write_fronts,
)


def measured_cell(record, gain, forgetting, num_params, routed=0.0, **params):
    metrics = {
        "val/rd_gain_percent": gain,
        "val/forgetting_unrouted_percent": forgetting,
        "val/forgetting_percent": routed,
        "adapter/num_params": num_params,
        "target/rd_gain_percent": gain - 0.5,
        "source/forgetting_unrouted_percent": forgetting + 0.5,
    }
    # The learning rate makes the key.
    return record(
        learning_rate=gain + forgetting / 1e3 + num_params / 1e6, metrics=metrics, **params
    )


@pytest.fixture
def point(record):
    def build(*values, **params):
        return measured_cell(record, *values, **params)

    return build


def members(front):
    return [tuple(m.metrics[name] for name in OBJECTIVES) for m in front.members]


def test_a_front_worked_by_hand(point):
    records = [
        point(8.0, 30.0, 100.0),
        point(5.0, 10.0, 100.0),
        point(5.0, 12.0, 20.0),  # Forgets more than the one before, with fewer parameters.
        point(4.0, 11.0, 100.0),  # Worse than the second in gain and forgetting.
        point(2.0, 12.0, 20.0),  # As the third in all but gain.
        point(1.0, 0.5, 100.0),
    ]
    (front,) = pareto_fronts(records)
    assert members(front) == [
        (1.0, 0.5, 100.0), (5.0, 12.0, 20.0), (5.0, 10.0, 100.0), (8.0, 30.0, 100.0),
    ]  # fmt: skip
    assert [c.metrics["val/rd_gain_percent"] for c in front.outline] == [1.0, 5.0, 8.0]
    assert len(front.cells) == 6


def test_what_is_no_number_is_on_no_front(point):
    records = [point(8.0, 30.0, 100.0), point(5.0, 1.0, 10.0)]
    nothing = {**records[1].metrics, "val/forgetting_unrouted_percent": float("nan")}
    records[1] = records[1].model_copy(update={"metrics": nothing})
    (front,) = pareto_fronts(records)
    assert members(front) == [(8.0, 30.0, 100.0)]


def test_equal_cells_are_on_the_front_together(point):
    (front,) = pareto_fronts([point(1.0, 1.0, 1.0, init_seed=s) for s in (0, 1)])
    assert len(front.members) == 2


def test_nobody_on_a_front_is_beaten_and_everybody_else_is(sweep):
    fronts = pareto_fronts(sweep(seeds=(0, 1)))
    assert len(fronts) == 8
    for front in fronts:
        losses = {c.key: loss(c) for c in front.cells}
        beaten = {
            a for a, b in itertools.permutations(losses, 2)
            if np.all(losses[b] <= losses[a]) and np.any(losses[b] < losses[a])
        }  # fmt: skip
        assert {m.key for m in front.members} == set(losses) - beaten
        assert beaten, "a front that leaves nobody out shows nothing"


def loss(cell):
    signs = [-1 if way == "maximize" else 1 for way in OBJECTIVES.values()]
    return np.array([s * cell.metrics[name] for s, name in zip(signs, OBJECTIVES, strict=True)])


def test_blocks_do_not_compete(point):
    weak, strong = point(1.0, 9.0, 9.0), point(9.0, 1.0, 1.0)
    other = {"data_seed": 1}, {"rd_lambda": 0.1}, {"num_images": 5}, {"domain": "text"}
    for place in other:
        fronts = pareto_fronts([weak, point(9.0, 1.0, 1.0, **place)])
        assert [len(front.members) for front in fronts] == [1, 1]
    (front,) = pareto_fronts([weak, strong])
    assert front.members == (strong,)


def test_failed_and_stopped_cells_are_on_no_front(point, fail):
    good, best, stopped = point(1.0, 9.0, 9.0), point(9.0, 1.0, 1.0), point(10.0, 0.0, 0.0)
    early = stopped.model_copy(update={"status": "stopped", "stopped_at": 5})
    (front,) = pareto_fronts([good, fail(best), early])
    assert front.cells == front.members == (good,)
    assert pareto_fronts([fail(best), early]) == []


def test_a_limit_leaves_infeasible_cells_out_of_the_front(point):
    bad = point(9.0, 9.0, 1.0, 1.5)
    good, worse = point(2.0, 9.0, 2.0, 1.0), point(1.0, 9.5, 2.0, 0.0)
    (front,) = pareto_fronts([bad, good, worse], max_forgetting=1.0)
    assert front.members == (good,)
    assert len(front.cells) == 3
    (front,) = pareto_fronts([bad], max_forgetting=1.0)
    assert front.members == ()
    (front,) = pareto_fronts([bad, good, worse])
    assert front.members == (bad,)


def test_the_table_has_a_row_a_member_with_its_test_metrics(point, tmp_path):
    records = [point(9.0, 3.0, 9.0), point(2.0, 1.0, 9.0), point(1.0, 9.0, 9.0)]
    fronts = pareto_fronts(records)
    (path,) = write_fronts(fronts, tmp_path)
    table = pq.read_table(path)
    assert table.equals(front_table(fronts))
    assert table["target/rd_gain_percent"].to_pylist() == [1.5, 8.5]
    assert front_keys(tmp_path) == {r.key for r in records[:2]}


def test_no_front_yet_is_none(tmp_path):
    assert front_keys(tmp_path) == set()
    (path,) = write_fronts([], tmp_path)
    assert front_keys(tmp_path) == set()
    path.write_bytes(b"PAR1")
    assert front_keys(tmp_path) == set()


def drawn(panel, *, faint):
    """Points of one panel, those of members or of the others."""
    marks = [s for s in panel.series if s.marker]
    return {(p.x, p.y) for s in marks for p in s.points if p.faint == faint}


def test_the_figure_shows_every_cell_and_the_front(point):
    big, small = point(9.0, 3.0, 1e6), point(2.0, 1.0, 1e3)
    beaten = point(1.0, 9.0, 1e6)
    left, right = front_figure(pareto_fronts([big, small, beaten])).variants[0].panels
    assert drawn(left, faint=False) == {(9.0, 3.0), (2.0, 1.0)}
    assert drawn(left, faint=True) == {(1.0, 9.0)}
    assert drawn(right, faint=False) == {(8.5, 3.5), (1.5, 1.5)}
    (stairs,) = [s for s in left.series if s.label == FRONT]
    assert stairs.steps
    assert [(p.x, p.y) for p in stairs.points] == [(2.0, 1.0), (9.0, 3.0)]
    sizes = {p.x: p.size for s in left.series for p in s.points if s.marker}
    assert sizes[9.0] > sizes[2.0]


def test_a_row_a_lambda_and_a_front_a_seed(sweep):
    fronts = pareto_fronts(sweep(domains=("text",), seeds=(0, 1), lambdas=(0.0067, 0.025)))
    figure = front_figure(fronts)
    assert len(figure.variants) == 2
    assert len([s for s in figure.variants[0].panels[0].series if s.label == FRONT]) == 2
    assert "one for each of 2 data seeds" in figure.variants[0].caption


def test_a_picture_a_domain(sweep, tmp_path):
    fronts = pareto_fronts(sweep(domains=("text", "charts")), 1.0)
    paths = write_pictures([front_figure(fronts)], tmp_path)
    assert [p.name for p in paths] == [
        "pareto_charts.png", "pareto_charts.svg", "pareto_text.png", "pareto_text.svg",
    ]  # fmt: skip
    assert "1 % at most" in paths[1].read_text()
    assert front_figure([]) is None
