"""Figures: the points they hold, the frame they stand in, and the files that are drawn from them."""

import json
import os
import re
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert
from PIL import Image

from interfero.adaptation.table import METHOD_TABLE
from interfero.analysis.charts import files
from interfero.analysis.charts.capacity import capacity_figure
from interfero.analysis.charts.curves import curve_figure
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
)
from interfero.analysis.charts.drawing import _BEYOND, NO_FONTS, Drawing
from interfero.analysis.charts.files import file_name, specification, write_pictures
from interfero.analysis.charts.frame import frame_of, ticks_of
from interfero.analysis.charts.laws import law_figure
from interfero.analysis.charts.looks import looks_of
from interfero.analysis.charts.maps import map_figure
from interfero.analysis.charts.matched import matched_figure
from interfero.analysis.charts.overview import overview_figure
from interfero.analysis.charts.pareto import front_figure
from interfero.analysis.charts.picture import parted_captions, picture_spec
from interfero.analysis.charts.style import STYLES, domain_style
from interfero.analysis.charts.trends import trend_figure
from interfero.analysis.charts.vega import (
    THEME,
    caption_of,
    coloured,
    legend_of,
    variant_spec,
)
from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.focus import budget_text, central_lambda
from interfero.analysis.laws.observations import RESPONSES, observations
from interfero.analysis.laws.scaling import fit_observations
from interfero.analysis.pareto import pareto_fronts
from interfero.analysis.report.shell import DARK, ReportPage, page_html
from interfero.analysis.trends import trends
from interfero.engine.sequence.strategies import STRATEGIES
from interfero.errors import InterferoError
from tools.planted import PlantedSweep

GAIN, ROUTED = "target/rd_gain_percent", "source/forgetting_percent"
UNROUTED = "source/forgetting_unrouted_percent"


def capacity(records, domain="text"):
    figure = capacity_figure(records, RunLinks())
    return [v for v in figure.variants if v.choice[0] == domain]


def points(panel, label, *, hollow=False, faint=False):
    return sorted(
        (p.x, p.y)
        for s in panel.series
        if (s.label, s.hollow) == (label, hollow)
        for p in s.points
        if p.faint == faint
    )


def of(records, method, domain="text"):
    choices = choose_learning_rates(records)
    return [c for c in choices if (c.setting.method, c.setting.domain) == (method, domain)]


def panel_of(points, scale="percent", **named):
    axis = PlotAxis("%", scale)
    return Panel("p", axis, axis, (Series("s", "#000000", "o", tuple(points)),), **named)


def drawn(panel):
    """Rows of every layer of a panel's specification."""
    spec = variant_spec(Variant((), (panel,), "c"), {})["concat"][0]
    return spec, [row for layer in spec.get("layer", ()) for row in layer["data"]["values"]]


def test_the_left_panel_has_the_chosen_gains_over_the_parameters(sweep):
    records = sweep()
    ((left, _),) = [v.panels for v in capacity(records)]
    for method, label in (("cawf", "cawf"), ("continue_source", "continue_source (control)")):
        expected = [(100 * c.mean("adapter_fraction"), c.mean(GAIN)) for c in of(records, method)]
        assert points(left, label) == sorted(expected)
    assert [p.note for s in left.series for p in s.points if p.note] == ["2", "4", "8", "16"]


def test_the_rest_of_the_grid_is_there_faintly(sweep):
    records = sweep()
    ((left, right),) = [v.panels for v in capacity(records)]
    chosen = {p.cell.key for choice in of(records, "cawf") for p in choice.picks}
    rest = [
        r.metrics
        for r in records
        if (r.params["domain"], r.params["method"]) == ("text", "cawf") and r.key not in chosen
    ]
    assert len(rest) == 8
    faint = sorted((100 * m["adapter_fraction"], m[GAIN]) for m in rest)
    assert points(left, "cawf", faint=True) == faint
    for metric, hollow in ((ROUTED, False), (UNROUTED, True)):
        found = points(right, "cawf", hollow=hollow, faint=True)
        assert found == sorted((m[GAIN], m[metric]) for m in rest)
    # Fine-tuning has one way only.
    assert points(right, "finetune")
    assert not points(right, "finetune", hollow=True)


def test_captions_name_lambda_images_seeds_and_what_is_missing(sweep, fail):
    assert "at lambda 0.0067, with 20 images and 300 steps." in capacity(sweep())[0].caption
    assert "There is one seed: an illustration." in capacity(sweep())[0].caption
    records = [
        fail(r) if (r.params["domain"], r.params["adapter_size"]) == ("text", 16) else r
        for r in sweep(seeds=(0, 1))
        if (r.params["domain"], r.params["adapter_size"]) != ("text", 2)
    ]
    (variant,) = capacity(records)
    assert "6 of 30 cells failed. There is no result of cawf 2, cawf 16." in variant.caption
    assert "Marks are means over 2 seeds; " in variant.caption
    gone = [fail(r) if r.params["domain"] == "text" else r for r in sweep()]
    assert [p.empty for p in capacity(gone)[0].panels] == ["No cell finished."]


def test_crops_are_called_crops(sweep):
    records = [
        r.model_copy(update={"params": {**r.params, "image_unit": "crops"}}) for r in sweep()
    ]
    (variant,) = capacity(records)
    assert "20 crops" in variant.caption
    assert "test crops" in variant.panels[0].y.label


def test_a_method_no_table_knows_is_drawn(record):
    metrics = {"val/rd_gain_percent": 1.0, GAIN: 1.0, ROUTED: 1.0, UNROUTED: 1.0}
    cell = record("novel", 3, metrics={**metrics, "adapter_fraction": 0.1})
    (variant,) = capacity([cell], "histology")
    assert points(variant.panels[0], "novel") == [(10.0, 1.0)]


def test_the_overview_has_a_row_a_domain_with_its_images(sweep):
    records = [
        r.model_copy(update={"params": {**r.params, "num_images": 51}})
        if r.params["domain"] == "text"
        else r
        for r in sweep(seeds=(0, 1))
    ]
    (variant,) = overview_figure(records, RunLinks()).variants
    assert set(variant.panels[0].y.names) == {
        "charts\n20 images", "fundus\n20 images", "histology\n20 images", "text\n51 images",
    }  # fmt: skip
    gains = {c.mean(GAIN) for c in choose_learning_rates(records) if c.setting.method == "finetune"}
    finetune = next(s for s in variant.panels[0].series if s.label == "finetune")
    assert {p.x for p in finetune.points} == gains


def elsewhere(records, **params):
    """The same cells at another budget or lambda, where all is 500 points worse."""
    return [
        r.model_copy(
            update={
                "key": f"{r.key}-{params}", "params": {**r.params, **params},
                "metrics": {name: value - 500 for name, value in r.metrics.items()},
            }
        )
        for r in records
    ]  # fmt: skip


def test_no_figure_mixes_budgets_and_each_says_which_it_shows(sweep):
    """Planted at 50 steps: nothing of it is in a figure that is of one budget."""
    records = sweep(seeds=(0, 1), rates=(3e-5, 5e-5, 7e-5, 1e-4))
    few = elsewhere(records, num_steps=50)
    for draw in (lambda r: overview_figure(r, RunLinks()), matched_figure):
        alone, both = draw(records), draw([*few, *records])
        assert [v.panels for v in both.variants] == [v.panels for v in alone.variants]
        assert all("300 steps" in v.caption for v in both.variants)
    capacity = capacity_figure([*few, *records], RunLinks())
    assert capacity.variants[capacity.start].choice == (
        "charts",
        "lambda 0.0067, 20 images, 300 steps",
    )
    fronts = front_figure(pareto_fronts([*few, *records]))
    assert len({v.choice for v in fronts.variants}) == len(fronts.variants) == 8
    budgets = trend_figure(trends([*few, *records], "num_steps"), "budget")
    (line,) = [s for s in budgets.variants[0].panels[0].series if s.label == "finetune"]
    assert [p.x for p in line.points] == [50, 300]
    assert line.points[0].y < -400 < line.points[1].y


def test_figures_begin_with_the_lambda_that_sentences_are_of(sweep):
    """Of three lambdas the middle one; or the one that has most domains."""
    records = sweep(rates=(3e-5, 5e-5, 7e-5, 1e-4))
    others = [r for v in (0.001, 0.05) for r in elsewhere(records, rd_lambda=v)]
    figure = overview_figure([*others, *records], RunLinks())
    assert figure.variants[figure.start].choice == ("0.0067",)
    low = [r for r in others if r.params["rd_lambda"] < 0.01]
    few = [r for r in records if r.params["domain"] == "text"]
    assert central_lambda([*low, *few]) == 0.001
    assert central_lambda([]) is None


def test_the_longest_training_is_one_that_every_method_and_domain_has(sweep):
    records = sweep(rates=(1e-3,))
    many = elsewhere(records, num_steps=900)
    lacks = [r for r in many if (r.params["method"], r.params["domain"]) != ("cawf", "text")]
    assert budget_text([*records, *many]) == "after 900 steps"
    left_out = "900: not of every method and domain"
    assert budget_text([*records, *lacks]) == f"after 300 steps ({left_out})"
    assert budget_text(records) == ""
    apart = [r for r in records if r.params["domain"] == "text"]
    apart += [r for r in many if r.params["domain"] != "text"]
    assert budget_text(apart) == "after 900 steps (text: no result there)"


def test_diverged_cells_are_marked_at_the_edge_and_the_axis_serves_the_rest(sweep):
    """One learning rate blows up to -500 % next to gains of a few percent."""
    records = [
        r.model_copy(update={"metrics": {**r.metrics, GAIN: -500.0}})
        if (r.params["learning_rate"], r.params["method"]) == (1e-4, "finetune")
        else r
        for r in sweep()
    ]
    (variant,) = capacity(records)
    spec, rows = drawn(variant.panels[0])
    low, high = spec["encoding"]["y"]["scale"]["domain"]
    assert -20 < low < 0 < high < 30
    assert spec["encoding"]["y"]["scale"]["type"] == "linear"
    (edge,) = [row for row in rows if "e" in row]
    assert edge["e"] == "v"
    assert edge["y"] == pytest.approx(low, rel=1e-3)
    assert edge["v"][1] == -500
    assert spec["title"]["subtitle"].startswith("1 point beyond the frame")
    said = caption_of(variant, variant_spec(variant, {}))
    assert said.startswith(variant.caption)
    assert said.endswith(
        "Triangles at the frame stand for results that are too far out for its scale."
    )
    # The page has a table, a picture has none.
    figure = Figure("f", "F", (), (variant,))
    page = page_html(ReportPage("t", [], [], [], [("figure", "f")], figures=[figure]))
    assert "too far out for its scale; the numbers as a table have their values." in page
    assert "table" not in specification(figure, [variant])
    (usual,) = capacity(sweep(rates=(1e-3,)))
    assert caption_of(usual, variant_spec(usual, {})) == usual.caption


def test_a_chosen_cell_that_diverged_does_not_set_the_scale():
    axis = PlotAxis("forgetting (%)", "percent")
    usual = [PlotPoint(v, 0.0, ()) for v in (1.0, 2.0, 3.0)]
    frame = frame_of(axis, [*usual, PlotPoint(4000.0, 0.0, ())], "x")
    assert frame.kind == "linear"
    assert frame.high < 5
    assert frame.beyond(4000.0)
    # A loss fifteen times as high is none for any method, however bad its others are.
    bad = [PlotPoint(v, 0.0, ()) for v in (-150.0, -160.0, -1481.0)]
    assert frame_of(axis, bad, "x").beyond(-1481.0)
    assert not frame_of(PlotAxis("stored for each domain (kB)"), bad, "x").beyond(-1481.0)
    # Forgetting of 110 % next to 2 % is a result, on an axis that shows both.
    frame = frame_of(axis, [*usual, PlotPoint(110.0, 0.0, ())], "x")
    assert frame.kind == "symlog"
    assert not frame.beyond(110.0)
    assert ticks_of(frame) == [0, 1, 3, 10, 30, 100]


def test_a_short_logarithmic_axis_has_ticks_and_room_for_single_settings():
    """Means from 15 to 18 %, their settings from 9 to 28 %: no decade's number is on it, and few would be."""
    axis = PlotAxis("forgetting (%)", "log")
    means = [PlotPoint(v, 0.0, ()) for v in (15.5, 16.0, 17.5)]
    single = [PlotPoint(v, 0.0, (), faint=True) for v in (9.0, 11.0, 13.0, 17.0, 21.0, 25.0, 28.0)]
    alone = ticks_of(frame_of(axis, means, "x"))
    assert len(alone) >= 2
    assert all(15 < tick < 18 for tick in alone)
    frame = frame_of(axis, [*means, *single], "x")
    assert not any(frame.beyond(p.x) for p in single)
    # Two of seven that went astray still have no say.
    astray = [PlotPoint(v, 0.0, (), faint=True) for v in (2000.0, 2500.0)]
    assert frame_of(axis, [*means, *single[:5], *astray], "x").high < 60


def test_everything_inside_its_frame_is_drawn_where_it_is(sweep):
    for panel in (p for v in capacity(sweep(seeds=(0, 1, 2))) for p in v.panels):
        spec, rows = drawn(panel)
        for which in ("x", "y"):
            low, high = spec["encoding"][which]["scale"]["domain"]
            assert all(low * 0.9999 - 1e-4 <= r[which] <= high * 1.0001 + 1e-4 for r in rows)
        shown = sum("z" in r or "e" in r for r in rows)
        assert shown == sum(len(s.points) for s in panel.series)


def test_a_map_of_few_rows_is_as_high_as_the_title_of_its_axis(sweep):
    records = [r for r in sweep(lambdas=(0.0045, 0.0067)) if r.params["adapter_size"] in (2, 4)]
    variant = next(v for v in map_figure(records).variants if "parameters and lambda" in v.choice)
    (spec, *_) = variant_spec(variant, {})["concat"]
    assert len(variant.panels[0].y.names) == 2
    title = " ".join(spec["encoding"]["y"]["axis"]["title"])
    assert spec["height"] >= min(200, 6 * len(title))


def test_log_ticks_are_few_and_inside():
    frame = frame_of(PlotAxis("x", "log"), [PlotPoint(v, 0, ()) for v in (0.5, 100.0)], "x")
    ticks = ticks_of(frame)
    assert 3 <= len(ticks) <= 7
    assert all(frame.low <= t <= frame.high for t in ticks)


def test_bars_reach_from_the_lowest_to_the_highest_seed(sweep):
    records = sweep(seeds=(0, 1, 2))
    ((left, _),) = [v.panels for v in capacity(records)]
    (choice,) = of(records, "finetune")
    (point,) = [p for s in left.series if s.label == "finetune" for p in s.points if not p.faint]
    assert point.y_range == (min(choice.values(GAIN)), max(choice.values(GAIN)))
    assert all(p.y_range is None for s in capacity(sweep())[0].panels[0].series for p in s.points)


@pytest.fixture(scope="module")
def scaling():
    law = lambda place: 4 * place["num_images"] ** 0.3 * place["rd_lambda"] ** 0.2  # noqa: E731
    records = PlantedSweep(law, lambdas=(0.0045, 0.013)).records(np.random.default_rng(0))
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    return fit_observations(data)


def test_points_lie_about_the_law_and_left_out_domains_are_predicted(scaling):
    left, right = law_figure([scaling]).variants[0].panels
    for label in ("charts", "text"):
        line, marks = [s for s in left.series if s.label == label]
        x, y = np.array([(p.x, p.y) for p in line.points]).T
        assert {p.x for p in marks.points} == {1, 5, 20, 80}
        # Moved along lambda to one place, settings scatter by their own noise alone.
        expected = np.interp([p.x for p in marks.points], x, y)
        assert [p.y for p in marks.points] == pytest.approx(expected, rel=0.2)
    assert {s.label for s in right.series} == {"charts", "fundus", "text"}
    assert all(s.hollow for s in right.series), "three domains: by the mean of the others alone"
    assert "A power law holds across domains: its exponent of images is" in (
        law_figure([scaling]).variants[0].caption
    )


def test_a_line_of_a_law_ends_where_its_domain_was_measured():
    """One domain has 20 images at most, the others 80: its line went on as if it were measured there."""
    records = [
        r
        for r in PlantedSweep(lambda p: 4 * p["num_images"] ** 0.3).records(
            np.random.default_rng(0)
        )
        if r.params["domain"] != "text" or r.params["num_images"] <= 20
    ]
    (data,) = observations(records, RESPONSES["forgetting_unrouted"]).values()
    figure = law_figure([fit_observations(data)])
    left, _ = figure.variants[0].panels
    ends = {}
    for label in ("charts", "text"):
        line, marks = [s for s in left.series if s.label == label]
        ends[label] = max(p.x for p in line.points)
        assert ends[label] == pytest.approx(max(p.x for p in marks.points))
    assert ends == {"charts": pytest.approx(80), "text": pytest.approx(20)}
    assert "a line ends where the measurements of its domain do" in figure.note


def test_every_figure_compiles_and_has_its_words(sweep, scaling):
    records = sweep(domains=("text", "charts"), lambdas=(0.0045, 0.0067))
    dense = sweep(domains=("text", "charts"), rates=(3e-5, 5e-5, 7e-5, 1e-4))
    figures = [
        overview_figure(records, RunLinks()), capacity_figure(records, RunLinks()),
        matched_figure(dense), curve_figure(records, RunLinks()), map_figure(records),
        law_figure([scaling]),
    ]  # fmt: skip
    for figure in figures:
        variant = figure.variants[figure.start]
        svg = vl_convert.vegalite_to_svg(specification(figure, [variant]))
        assert svg.startswith("<svg")
        assert figure.title in svg
        assert "NaN" not in svg
        spec = picture_spec([figure.title, ""], [("", variant_spec(variant, {}))])
        assert '"@' not in coloured(spec, THEME)


def test_several_processes_draw_what_one_draws(tmp_path, sweep, monkeypatch):
    figure = capacity_figure(sweep(domains=("text", "charts", "photos")), RunLinks())
    one = write_pictures([figure, None], tmp_path / "one")
    monkeypatch.setattr(files, "ENOUGH", 1)
    monkeypatch.setattr(files, "usable_cores", lambda: 2)
    two = write_pictures([figure, None], tmp_path / "two")
    assert [path.name for path in two] == [path.name for path in one]
    assert len(two) == 6
    assert [path.read_bytes() for path in two] == [path.read_bytes() for path in one]


def test_what_all_rows_say_is_said_once():
    """Text is what drawing takes longest for: seven rows had one sentence and two titles seven times."""
    rows = [f"This is text, {n} images. Bars are so (a. B). Triangles too." for n in (1, 5)]
    own, shared = parted_captions(rows)
    assert own == ["This is text, 1 images.", "This is text, 5 images."]
    assert shared == "Bars are so (a. B). Triangles too."
    rows = ["A is at 1. B is so. Triangles too.", "B is at 1. B is so."]
    assert parted_captions(rows)[0] == ["A is at 1. Triangles too.", "B is at 1."]
    assert parted_captions(rows[:1]) == (rows[:1], "")
    assert parted_captions(["Same.", "Same."]) == (["Same.", "Same."], "")
    assert parted_captions(["A s.d. of 2 (one; two).", "B s.d. of 2 (one; two)."])[1] == ""


def test_many_rows_with_the_same_axes_have_one_title(sweep):
    lambdas = (0.0045, 0.0067, 0.013, 0.025)
    figure = capacity_figure(sweep(("text",), lambdas=lambdas, rates=(1e-3,)), RunLinks())
    svg = vl_convert.vegalite_to_svg(specification(figure, figure.variants))
    for words in ("Target gain against adapter size", "trained parameters"):
        assert svg.count(f">{words}") == 1, words
    assert svg.count(">target gain (%), test images") == 5, "a y axis a row, and the x axis of all"
    assert all(f"lambda {value:g}" in svg for value in lambdas)
    *others, last = figure.variants
    other = replace(last, panels=(replace(last.panels[0], title="Other"), last.panels[1]))
    svg = vl_convert.vegalite_to_svg(specification(figure, [*others, other]))
    assert svg.count(">Target gain against adapter size") == 3
    assert svg.count(">Learning and forgetting") == svg.count(">Other") == 1


def test_few_rows_have_all_of_their_titles(sweep):
    """Below another row a reader looked for them in vain."""
    lambdas = (0.0045, 0.0067, 0.013)
    figure = capacity_figure(sweep(("text",), lambdas=lambdas, rates=(1e-3,)), RunLinks())
    svg = vl_convert.vegalite_to_svg(specification(figure, figure.variants))
    for words in ("Target gain against adapter size", "trained parameters", "Learning and forgett"):
        assert svg.count(f">{words}") == 3, words


def left_of(svg, begins):
    """Where texts that begin so stand, in pixels from the left."""
    found = []

    def walk(node, left):
        moved = re.match(r"translate\(([-.\d]+)", node.get("transform", ""))
        left += float(moved[1]) if moved else 0.0
        words = "".join(node.itertext())
        if node.tag.endswith("}text") and words.startswith(begins):
            found.append(left)
        for child in node:
            walk(child, left)

    walk(ElementTree.fromstring(svg), 0.0)
    return found


def test_captions_and_titles_of_rows_begin_at_one_place():
    """Beside a wide axis (-10000, two lines of a title) they began further to the left than beside others."""

    def variant(name, low, label):
        y = PlotAxis(label)
        points = (PlotPoint(1.0, low, ("a",)), PlotPoint(2.0, 1.0, ("b",)))
        series = (Series("s", "#000000", "o", points),)
        panels = (Panel("First", PlotAxis("x"), y, series), Panel("Next", PlotAxis("x"), y, series))
        return Variant((name,), panels, f"{name} row.")

    long = "a title of an axis that is so long that it stands in two lines (%)"
    rows = (variant("Narrow", 0.0, "y"), variant("Wide", -10000.0, long))
    svg = vl_convert.vegalite_to_svg(specification(Figure("f", "Head", ("row",), rows), rows))
    places = left_of(svg, ("Narrow row", "Wide row", "First"))
    assert len(places) == 4
    assert max(places) - min(places) < 0.5
    (head,) = left_of(svg, "Head")
    assert 0 <= places[0] - head < 10
    first, second = left_of(svg, "Next")
    assert abs(first - second) < 0.5


def spots(*labels, look=("#0072B2", "o"), **named):
    axis = PlotAxis("x")
    point = (PlotPoint(1.0, 1.0, ("a",)),)
    return Panel("p", axis, axis, tuple(Series(one, *look, point, **named) for one in labels))


def test_labels_of_all_rows_of_a_picture_look_different():
    """Rows of other domains had the first row's looks: two of a legend's marks were the same."""
    rows = (
        Variant(("a",), (spots("text > charts"),), "a."),
        Variant(("b",), (spots("text"), spots("charts", look=("#D55E00", "s"))), "b."),
    )
    spec = json.loads(specification(Figure("f", "F", ("of",), rows), rows))
    scales = [
        (panel["encoding"]["color"]["scale"], layer["encoding"]["shape"]["scale"])
        for row in spec["vconcat"]
        for panel in row["hconcat"]
        for layer in panel["layer"]
    ]
    assert all(scale == scales[0] for scale in scales), "one legend, from one scale"
    colours, shapes = scales[0]
    assert colours["domain"] == shapes["domain"] == ["text > charts", "text", "charts"]
    assert len(set(zip(colours["range"], shapes["range"], strict=True))) == 3


def test_as_many_domains_as_a_figure_may_have_look_different():
    assert len({domain_style(index) for index in range(49)}) == 49
    names = [f"d{i}" for i in range(30)]
    series = [Series(n, "#0072B2", "o", ()) for n in names]
    assert len(set(looks_of(series).values())) == 30
    # Hollow and dashed ones are told apart already.
    pair = [Series("a", "#0072B2", "o", ()), Series("b", "#0072B2", "o", (), hollow=True)]
    assert {(look.colour, look.shape) for look in looks_of(pair).values()} == {
        ("#0072B2", "circle")
    }


def test_domains_and_orders_of_them_have_one_look_in_the_whole_figure_of_laws(scaling):
    panels = [p for v in law_figure([scaling, scaling]).variants for p in v.panels]
    looks = {(s.label, s.colour, s.marker) for p in panels for s in p.series if s.marker}
    assert len(looks) == len({label for label, _, _ in looks}) == 3


def test_a_legend_shows_hollow_marks_hollow():
    """`may be zero (hollow)` had a filled mark, as the entry beside it."""
    panels = (spots("sure"), spots("may be zero", hollow=True))
    variant = Variant((), panels, "c.")
    svg = vl_convert.vegalite_to_svg(specification(Figure("f", "F", (), (variant,)), [variant]))
    entries = re.findall(r'<path [^>]*d="([^"]*)" fill="#0072B2" stroke="#0072B2"', svg)
    # The path and its way back enclose nothing: two outlines, in the legend of a picture and of the page.
    assert sorted(entry.count("M") for entry in entries)[-1] == 2
    assert [path.count("M") for _, _, path in legend_of(variant)] == [1, 2]
    # The mark itself is a plain circle on the page's colour.
    assert re.search(r'd="[^"]*" fill="#ffffff" stroke="#0072B2"', svg)


def test_pictures_say_nothing_of_a_page(sweep, with_grey):
    """A PNG has no sentence above it, nor a table."""
    records = with_grey(sweep(seeds=(0, 1)), "text")
    figures = [
        overview_figure(records, RunLinks()), capacity_figure(records, RunLinks()),
        matched_figure(with_grey(sweep(rates=(3e-5, 5e-5, 7e-5, 1e-4)), "text")), map_figure(records),
    ]  # fmt: skip
    assert "Grey domains are left out: text." in figures[0].note
    for figure in figures:
        for variant in figure.variants:
            said = f"{figure.note} {caption_of(variant, variant_spec(variant, {}))}"
            assert not re.search("above|below this|the page|as a table|click|sentence", said), said


def test_a_panel_without_a_value_is_words():
    panel = Panel("p", PlotAxis("rate"), PlotAxis("PSNR"), ())
    spec = picture_spec(["t", ""], [("", variant_spec(Variant((), (panel,), "c"), {}))])
    assert "No cell has the values" in vl_convert.vegalite_to_svg(coloured(spec, THEME))


def test_labels_cannot_leave_the_expression_they_stand_in():
    evil = "a'];alert(1)//\"\n</script>"
    names = PlotAxis("", "names", (evil, "b"))
    panel = Panel(
        "p", PlotAxis("x"), names, (Series(evil, "#000000", "o", (PlotPoint(1, 0, (evil,)),)),)
    )
    spec = picture_spec(["t", ""], [("", variant_spec(Variant((), (panel,), "c"), {}))])
    svg = vl_convert.vegalite_to_svg(coloured(spec, THEME))
    assert "alert(1)" in svg
    assert "<script" not in svg


def test_files_are_whole_legible_named_and_repeatable(sweep, tmp_path):
    records = sweep(domains=("text", "charts"), lambdas=(0.0067, 0.025))
    paths = write_pictures([capacity_figure(records, RunLinks()), None], tmp_path / "a")
    stems = ("capacity_charts", "capacity_text")
    assert [p.name for p in paths] == [f"{s}.{kind}" for s in stems for kind in ("png", "svg")]
    with Image.open(paths[0]) as image:
        image.load()
        assert image.width >= 1200
    text = paths[1].read_text()
    assert text.rstrip().endswith("</svg>")
    # A row a lambda.
    assert "lambda 0.0067" in text
    assert "lambda 0.025" in text
    again = write_pictures([capacity_figure(records, RunLinks())], tmp_path / "b")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


def test_a_picture_has_no_more_rows_than_can_be_read(sweep):
    figure = capacity_figure(
        sweep(("text",), lambdas=tuple(0.001 * i for i in range(1, 15)), rates=(1e-3,)), RunLinks()
    )
    files = [v.file for v in figure.variants]
    assert files == ["capacity_text"] * 12 + ["capacity_text_2"] * 2


def test_no_name_of_a_domain_leads_out_of_the_folder(sweep, tmp_path):
    """All by one process: its start takes longer than a picture."""
    records, names = (
        sweep(domains=("text",), rates=(1e-3,)),
        ("a/b", "..", "../up", "a\\b", "", "."),
    )
    figures = [
        capacity_figure(
            [r.model_copy(update={"params": {**r.params, "domain": name}}) for r in records],
            RunLinks(),
        )
        for name in names
    ]
    out = tmp_path / "deep" / "out"
    paths = write_pictures(figures, out)
    assert {p.resolve().parent for p in paths} == {out}
    assert {p.name for p in out.iterdir()} == {p.name for p in paths}
    assert len(set(paths)) == len(paths) == 2 * len(names)
    assert len(list(tmp_path.rglob("*.png"))) == len(names)


def test_plain_names_stay_and_others_are_told_apart():
    assert file_name("capacity", "histology-2") == "capacity_histology-2"
    assert file_name("domain_shift", "0.013") == "domain_shift_0.013"
    assert len({file_name("x", name) for name in ("a/b", "a-b", "a\\b", "a b")}) == 4
    assert "/" not in file_name("../..")
    assert len(file_name("x" * 500).encode()) < 120


def test_colours_are_told_apart_by_colour_blind_readers_and_markers_tell_too():
    assert {*METHOD_TABLE, *STRATEGIES} <= set(STYLES)
    assert len({(style.colour, style.marker) for style in STYLES.values()}) == len(STYLES)
    often = ("finetune", "cawf", "continue_source", "cawf_two_way", "lora", "replay", "ewc")
    assert len({STYLES[method].marker for method in often}) == len(often)
    okabe_ito = {"#D55E00", "#0072B2", "@ink", "#56B4E9", "#009E73", "#E69F00", "#CC79A7"}
    assert {style.colour for style in STYLES.values()} == okabe_ito
    assert STYLES["cawf_two_way"].marker in ("o", "s", "D", "^", "v"), (
        "hollow ones have a middle to see"
    )
    merged = [STYLES[name] for name in ("merge_mean", "task_arithmetic")]
    assert len({s.colour for s in merged}) == len({s.marker for s in merged}) == 2


def luminance(colour):
    """Relative luminance of #RRGGBB, as WCAG 2 defines it."""
    channels = [c / 255 for c in bytes.fromhex(colour[1:])]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize(("theme", "least"), [(THEME, 1.35), (DARK, 2.0)])
def test_faint_marks_are_seen_on_light_and_on_dark_pages(theme, least):
    """At 0.3 blue on dark had 1.34 times the page's luminance."""
    page, share = theme["@page"], theme["@faint"]
    for style in STYLES.values():
        colour = theme.get(style.colour, style.colour)
        pairs = zip(bytes.fromhex(colour[1:]), bytes.fromhex(page[1:]), strict=True)
        seen = "#" + bytes(round(share * c + (1 - share) * p) for c, p in pairs).hex()
        low, high = sorted((luminance(seen) + 0.05, luminance(page) + 0.05))
        assert high / low >= least, style


def test_neither_matplotlib_nor_mlflow_is_loaded_for_a_report():
    root = Path(__file__).resolve().parents[3]
    script = (
        "import sys; import interfero.cli.report.make; "
        "print(sorted({'matplotlib', 'ray', 'mlflow', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=root / "platform", check=True, capture_output=True
    )
    assert json.loads(done.stdout.decode().replace("'", '"')) == []


def test_a_figure_without_files_draws_none(tmp_path):
    figure = Figure("f", "F", (), (Variant((), (panel_of([PlotPoint(1, 1, ("a",))]),), "c"),))
    assert write_pictures([figure], tmp_path) == []


def test_what_cannot_be_drawn_says_why_and_ends_its_process():
    with Drawing() as drawing:
        svg, png = drawing.of('{"mark": "point", "data": {"values": [{}]}}')
        assert svg.startswith(b"<svg")
        assert png.startswith(b"\x89PNG")
        process = drawing._own._process
        with pytest.raises(
            InterferoError, match=r"cannot be drawn.*ended with 1 and said 'Error: Invalid spec"
        ):
            drawing.of("{}")
    assert process.returncode is not None


def test_pictures_have_the_font_that_comes_with_the_renderer_where_it_has_the_letters(tmp_path):
    """A machine's own fonts are files, which the renderer opens again for every letter."""
    text = {"mark": "text", "data": {"values": [{}]}}
    with Drawing() as drawing:
        drawing.of(json.dumps(text | {"encoding": {"text": {"value": "Gewebe, ткань, \u2265 5"}}}))
        assert drawing._machine._process is None
        drawing.of(json.dumps(text | {"encoding": {"text": {"value": "組織"}}}))
        assert drawing._machine._process is not None
    letters = [
        c
        for c in map(chr, range(0xA1, 0x3000))
        if unicodedata.category(c)[0] in "LNPS" and not _BEYOND.search(c)
    ]
    assert len(letters) > 700
    script = (
        "import sys, vl_convert\n"
        'svg = \'<svg xmlns="http://www.w3.org/2000/svg" width="30" height="30">'
        '<text x="5" y="22" font-family="Liberation Sans">{}</text></svg>\'\n'
        "draw = lambda c: vl_convert.svg_to_png(svg.format(c))\n"
        "unknown = {draw('\\ue000'), draw(' ')}\n"
        "print(ascii([c for c in sys.argv[1] if draw(c) in unknown]))"
    )
    drawn = subprocess.run(
        [sys.executable, "-c", script, "".join(letters)],
        env={**os.environ, "FONTCONFIG_FILE": str(NO_FONTS)},
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert drawn.stdout.strip() == "[]"
