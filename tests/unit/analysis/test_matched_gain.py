"""Forgetting at matched gain: fronts on validation, interpolation by hand, refusal outside and in gaps."""

import numpy as np
import pytest

from interfero.analysis.charts.matched import matched_figure
from interfero.analysis.comparison import comparison_text
from interfero.analysis.matched_gain import (
    Matched,
    NotReached,
    at_gain,
    front,
    matched_rows,
    shared_cases,
)
from interfero.analysis.matched_gain import matched_lines as page_lines


@pytest.fixture
def cell(record):
    def build(val_gain, val_lost, test=None, method="finetune", **params):
        gain, routed, unrouted = test or (val_gain, val_lost, val_lost)
        metrics = {
            "val/rd_gain_percent": val_gain,
            "val/forgetting_unrouted_percent": val_lost,
            "target/rd_gain_percent": gain,
            "source/forgetting_percent": routed,
            "source/forgetting_unrouted_percent": unrouted,
        }
        rate = params.pop("learning_rate", 1e-4 * (1 + val_gain))
        return record(method, learning_rate=rate, metrics=metrics, **params)

    return build


def between(low, high, weight):
    """Percent between two, in logarithms of the loss."""
    return 100 * np.expm1((1 - weight) * np.log1p(low / 100) + weight * np.log1p(high / 100))


def gains(cells):
    return [c.gain for c in cells]


def test_a_front_keeps_what_no_cell_beats(cell, fail):
    cells = [cell(2, 5), cell(4, 20), cell(3, 30), cell(1, 5), cell(3.5, 8), fail(cell(9, 1))]
    assert gains(front(cells)) == [2, 3.5, 4]
    # The same gain: the one that forgets less.
    assert [c.forgetting for c in front([cell(2, 5), cell(2, 3, learning_rate=7)])] == [3]


def test_between_two_cells_test_results_are_interpolated_by_validation(cell):
    cells = front([cell(2, 4, test=(1, 0, 10)), cell(6, 8, test=(3, 4, 30))])
    found = at_gain(cells, 3.0)
    # Of losses: 0.99 and 0.97, 1 and 1.04, 1.1 and 1.3; a line through percents would give 15 for the last.
    assert found.target_gain == pytest.approx(-between(-1, -3, 0.25))
    assert found.forgetting == pytest.approx(between(0, 4, 0.25))
    assert (
        found.forgetting_unrouted
        == pytest.approx(between(10, 30, 0.25))
        == pytest.approx(14.692, abs=1e-3)
    )
    assert at_gain(cells, 6.0) == Matched(*map(pytest.approx, (3, 4, 30)))


def test_outside_of_a_front_there_is_no_value(cell):
    cells = front([cell(2, 4), cell(6, 8)])
    for gain in (1.9, 6.1):
        found = at_gain(cells, gain)
        assert found.reason == f"gains 2.00 to 6.00 % on validation, asked for {gain:.2f} %"
        assert found.short == ("gains too little" if gain > 6 else "never gains so little")
    assert at_gain((), 1.0) == NotReached("no finished cell", "no finished cell")
    assert at_gain(cells[:1], 2.0) == Matched(*map(pytest.approx, (2, 4, 4)))


def test_a_gap_in_a_front_is_not_bridged(cell):
    """Two learning rates a factor 10 apart: between 1 and 40 % forgotten anything may lie."""
    tuned, far = [cell(2, 1), cell(8, 40)], [cell(4, 2), cell(6, 8)]
    at_half = matched_rows(tuned, (0.5,))[0]
    assert at_half.found == ()
    ((_, refusal),) = at_half.refused
    assert (
        "steps from +1.00 to +40.00 % forgotten there, 32.7 log points, and 4 are bridged"
        in refusal.reason
    )
    (dense,) = matched_rows([*tuned, *far], (0.5,))
    assert dense.mean("forgetting") == pytest.approx(2)


def test_methods_are_compared_at_shares_of_fine_tunings_gain(cell):
    records = [
        cell(2, 4), cell(8, 8), cell(2, 4, data_seed=1), cell(4, 8, data_seed=1),
        cell(1, 1, method="lora"), cell(5, 3, method="lora"), cell(1, 1, method="lora", data_seed=1),
        cell(9, 9, method="continue_source"), cell(-3, 1, domain="text"),
    ]  # fmt: skip
    rows = {row.method: row for row in matched_rows(records, shares=(0.5,))}
    assert list(rows) == ["finetune", "lora"]
    # Seed 0 at 4 %, seed 1 at 2 %; `text`, where fine-tuning does not gain, has nothing to match.
    assert rows["finetune"].mean("target_gain") == pytest.approx(3, abs=0.03)
    assert rows["finetune"].mean("forgetting") == pytest.approx(
        between(between(4, 8, 1 / 3), 4, 0.5)
    )
    assert len(rows["lora"].found) == 1
    assert rows["lora"].mean("forgetting_unrouted") == pytest.approx(between(1, 3, 3 / 4))
    ((case, refusal),) = rows["lora"].refused
    assert case.data_seed == 1
    assert "gains 1.00 to 1.00 %" in refusal.reason
    assert matched_rows([cell(1, 1, method="lora")]) == [
        type(rows["lora"])("lora", share, (), ()) for share in (0.25, 0.5, 0.75)
    ]


def test_fine_tuning_stands_beside_a_method_with_the_cases_of_that_method(cell):
    """Where lora reaches the gain fine-tuning forgets little, elsewhere much: the mean of all is no peer."""
    records = [
        cell(2, 1), cell(8, 4), cell(2, 40, data_seed=1), cell(8, 44, data_seed=1),
        cell(1, 1, method="lora"), cell(5, 3, method="lora"), cell(1, 1, method="lora", data_seed=1),
    ]  # fmt: skip
    naive, lora = matched_rows(records, shares=(0.5,))
    own = between(1, 4, 1 / 3)
    assert naive.mean("forgetting") == pytest.approx(between(own, between(40, 44, 1 / 3), 0.5))
    assert naive.mean("forgetting", lora.cases) == pytest.approx(own)
    (line,) = page_lines(records)
    assert line == (
        "At half of finetune's gain, over the 1 of 2 data seeds in which all of these reach it: "
        "finetune forgets +1.99 % routed and +1.99 % unrouted; lora forgets +2.50 % routed and +2.50 % "
        "unrouted."
    )


def test_a_sentence_compares_over_the_cases_that_both_have(cell):
    """On the second seed fine-tuning's only cell is past half of its gain: it has no value there."""
    records = [
        cell(2, 1), cell(8, 4), cell(8, 90, data_seed=1),
        *(cell(v, lost * v, method="lora", data_seed=s) for s, lost in ((0, 1), (1, 0.5)) for v in (1, 5)),
    ]  # fmt: skip
    (line,) = page_lines(records)
    assert "finetune forgets +1.99 % routed" in line
    assert "lora forgets +3.99 % routed and +3.99 % unrouted" in line
    assert "over the 1 of 2 data seeds in which" in line
    (lora,) = (r for r in matched_rows(records, (0.5,)) if r.method == "lora")
    assert lora.mean("forgetting") == pytest.approx(
        between(3.99, between(0.5, 2.5, 0.75), 0.5), abs=0.01
    )
    naive = next(r for r in matched_rows(records, (0.5,)) if r.method == "finetune")
    cases, methods = shared_cases([naive, lora])
    assert methods == {"finetune", "lora"}
    assert {case.data_seed for case in cases} == {0}


def test_more_initial_seeds_are_no_more_tries(cell):
    tuned = [cell(2, 4), cell(8, 7)]
    lucky, unlucky = (cell(4, lost, method="lora", init_seed=i) for i, lost in enumerate((2, 10)))
    (row,) = (r for r in matched_rows([*tuned, lucky, unlucky], (0.5,)) if r.method == "lora")
    assert row.mean("forgetting") == pytest.approx(between(2, 10, 0.5)), (
        "the mean over seeds, not the best of them"
    )
    short = cell(3, 1, method="lora", init_seed=2)
    rows = matched_rows([*tuned, lucky, unlucky, short], (0.5,))
    ((_, refusal),) = next(r for r in rows if r.method == "lora").refused
    assert refusal.reason.startswith("init seed 2: gains 3.00 to 3.00 %")


def test_an_empty_row_says_why_in_a_few_words(cell):
    """One method gains too little, one was never that weak, one has a gap where it would be."""
    records = [
        cell(2, 1), cell(4, 2), cell(8, 4), cell(1, 1, method="lora"), cell(6, 3, method="ewc"),
        cell(1, 1, method="replay"), cell(9, 60, method="replay"),
    ]  # fmt: skip
    rows = {row.method: row for row in matched_rows(records, (0.5,))}
    assert {name: row.why for name, row in rows.items()} == {
        "finetune": "", "lora": "gains too little", "ewc": "never gains so little",
        "replay": "cells too far apart",
    }  # fmt: skip
    more = [cell(5, 3, method="lora", data_seed=1), cell(8, 4, data_seed=1)]
    lora = next(r for r in matched_rows([*records, *more], (0.5,)) if r.method == "lora")
    assert (lora.reached, lora.why) == (
        "0 of 2",
        "gains too little in 1, never gains so little in 1",
    )
    _, others = page_lines([*records, cell(4.1, 3, method="gated"), cell(3.9, 2.9, method="gated")])
    assert "lora (has that gain in 0 of 1: gains too little)" in others
    figure = matched_figure(records)
    names = next(p.y.names for p in figure.variants[0].panels if p.title.startswith("At half"))
    assert not [name for name in names if name.startswith("lora")], "a row without a mark"
    assert "lora: gains too little" in figure.variants[0].caption
    assert "finetune\n1 of 1" in names
    # At a quarter fine-tuning has a value; at three quarters nothing has one, and it says why.
    gap = [cell(2, 1), cell(8, 90), cell(1, 1, method="lora"), cell(9, 80, method="ewc")]
    (variant,) = matched_figure(gap).variants
    assert not [p for p in variant.panels if p.title.startswith("At three quarters")]
    assert (
        "At three quarters of finetune's gain no method has a value (finetune: cells too far apart; ewc: "
        "never gains so little; lora: gains too little)."
    ) in variant.caption
    text = comparison_text([
        r.model_copy(update={"metrics": {**r.metrics, "adapter_fraction": 1.0}}) for r in records
    ])  # fmt: skip
    assert "| 50% | `lora` | 0 of 1 | 0 | - | - | - | gains too little |" in text


def test_gain_is_matched_within_a_budget_and_a_lambda(cell):
    """At 50 steps and at another lambda lora forgets nothing: neither is mixed in, the lambda is a choice."""
    own = [cell(2, 1), cell(4, 2), cell(8, 4), cell(4, 3, method="lora")]
    better = {"method": "lora", "test": (4, 0, 0)}
    others = [
        r
        for place in ({"num_steps": 50}, {"rd_lambda": 0.05})
        for r in (cell(2, 1, **place), cell(8, 4, **place), cell(4, 3, **better, **place))
    ]
    ((alone,), both) = page_lines(own), page_lines([*own, *others])
    assert both[0] == alone.replace("gain, over", "gain, after 300 steps, at lambda 0.0067, over")
    figure = matched_figure([*own, *others])
    assert figure.selectors == ("lambda",)
    assert figure.variants[figure.start].choice == ("0.0067",)
    assert all("300 steps" in variant.caption for variant in figure.variants)
    (row,) = (
        s for s in figure.variants[figure.start].panels[1].series if s.label == "lora" and s.hollow
    )
    assert [p.x for p in row.points] == pytest.approx([3.0, 3.0])


def test_a_grey_domain_is_in_no_comparison(cell, with_grey):
    own = [cell(2, 4, domain="charts"), cell(4, 8, domain="charts")]
    records = with_grey([*own, cell(2, 9, domain="text"), cell(4, 9.5, domain="text")], "text")
    lines = page_lines(records)
    assert lines[-1] == "Grey domains are left out: text."
    assert lines[:-1] == page_lines(own)
    figure = matched_figure(records)
    assert figure.note.endswith("Grey domains are left out: text.")
    told = [
        p.hover[0] for panel in figure.variants[0].panels for s in panel.series for p in s.points
    ]
    assert "finetune on charts, routed" in told
    assert "finetune on text, routed" not in told
