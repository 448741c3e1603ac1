"""Reports of very many cells are still pages that a browser opens."""

from interfero.analysis.charts.data import Figure, Panel, PlotAxis, PlotPoint, Series, Variant
from interfero.analysis.charts.maps import MAX_LEVELS, map_figure
from interfero.analysis.charts.thinned import MAX_FAINT, thinned


def figure_of(num_faint, solid=3):
    faint = [PlotPoint(float(i), 0.0, ("cell",), faint=True) for i in range(num_faint)]
    chosen = [PlotPoint(float(i), 1.0, ("mean",)) for i in range(solid)]
    series = Series("cawf", "red", "o", (*faint, *chosen))
    panel = Panel("gain", PlotAxis("x"), PlotAxis("y"), (series,))
    return Figure("f", "F", ("at",), (Variant(("a",), (panel,), "A caption."),))


def test_of_too_many_faint_marks_every_so_many_is_drawn_and_the_caption_says_so():
    few = figure_of(MAX_FAINT)
    assert thinned(few) == few
    (variant,) = thinned(figure_of(2 * MAX_FAINT + 1)).variants
    points = variant.panels[0].series[0].points
    assert [p.x for p in points if p.faint] == [float(i) for i in range(0, 2 * MAX_FAINT + 1, 3)]
    assert sum(not p.faint for p in points) == 3, "means are all there"
    assert variant.caption == (
        "A caption. There are 8,001 faint marks or fewer in each part: one of 3 is drawn."
    )


def test_an_axis_with_more_values_than_a_map_shows_is_none(sweep):
    records = [
        r.model_copy(update={"key": f"{n} {r.key}", "params": {**r.params, "num_images": str(n)}})
        for r in sweep(domains=("text",), seeds=(0,))
        for n in range(1, MAX_LEVELS + 2)
    ]
    many = map_figure(records)
    assert many.note == f"Maps have no axis with more than {MAX_LEVELS} values: images."
    assert all("images" not in v.choice[1] for v in many.variants)
    few = map_figure([r for r in records if int(r.params["num_images"]) <= MAX_LEVELS])
    assert few.note == ""
    assert any("images" in v.choice[1] for v in few.variants)
