"""Figures of maps and of matched gain: read back from the artists."""

import re

import matplotlib
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from interfero.analysis.figure_style import DOTS_PER_INCH, rendered
from interfero.analysis.map_figures import map_figure, matched_figure, write_map_figures
from interfero.analysis.maps import default_maps, interference_map
from interfero.analysis.matched_gain import matched_rows

GAIN = "target/rd_gain_percent"


def words(figure):
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


@pytest.fixture
def gappy(record, measured, fail):
    """Three image counts, two lambdas, two domains: one place empty, one with half of its settings."""
    cells = [
        record(
            num_images=n,
            rd_lambda=v,
            domain=d,
            metrics=measured(n + v, 100 * v, adapter_fraction=1.0),
        )
        for n in (1, 5, 20)
        for v in (0.0045, 0.013)
        for d in ("text", "maps")
    ]
    return [fail(c) if i in (0, 1, 4) else c for i, c in enumerate(cells)]


def test_each_place_shows_its_number_and_missing_ones_are_hatched(gappy):
    found = interference_map(gappy, "finetune", GAIN, "num_images", "rd_lambda")
    figure = map_figure([found])
    axes = figure.axes[0]
    assert sorted(t.get_text() for t in axes.texts) == ["+1.01", "+20.0", "+20.0", "+5.00", "+5.01"]
    boxes = [p for p in axes.patches if isinstance(p, Rectangle)]
    (hatched,) = [p for p in boxes if p.get_hatch()]
    assert hatched.get_xy() == pytest.approx((-0.48, -0.48))
    assert len([p for p in boxes if p.get_linestyle() == ":"]) == 1
    text = words(figure)
    for said in (
        "no result",
        "mean over fewer settings",
        "training images",
        "lambda (bpp per MSE)",
    ):
        assert said in text
    assert "mean over 2 domains" in text


def test_a_whole_map_has_no_legend(sweep):
    figure = map_figure(default_maps(sweep(lambdas=(0.0045, 0.0067)))[0])
    assert figure.legends == []
    assert "target gain (%)" in words(figure)
    assert "source forgetting, unrouted (%)" in words(figure)


def test_matched_means_and_counts_are_drawn(sweep):
    rows = matched_rows(sweep(seeds=(0, 1)))
    figure = matched_figure(rows)
    for axes, share in zip(figure.axes, (0.25, 0.5, 0.75), strict=True):
        for row in (r for r in rows if r.share == share):
            drawn = {line.get_label(): line.get_xdata() for line in axes.lines}
            mean = row.mean("forgetting_unrouted")
            assert (f"{row.method} forgetting_unrouted" in drawn) == (mean is not None)
            if mean is not None:
                assert drawn[f"{row.method} forgetting_unrouted"] == [mean]
        counts = [t.get_text() for t in axes.texts]
        assert sorted(counts) == sorted(
            f"{len(r.found)} of 8 cases" for r in rows if r.share == share
        )


def texts(svg):
    """What is written in a figure; layout settles in the last digits from file to file."""
    found = re.findall(rb"<!-- (.+) -->", svg)
    assert len(found) > 10
    return found


def test_files_are_whole_named_by_method_and_column_wide(sweep, tmp_path):
    records = sweep(domains=("text",), lambdas=(0.0045, 0.0067))
    paths = write_map_figures(records, tmp_path)
    assert [p.name for p in paths] == [
        "map_cawf.png", "map_cawf.svg", "matched_gain.png", "matched_gain.svg",
    ]  # fmt: skip
    assert Image.open(paths[0]).width == pytest.approx(7.2 * DOTS_PER_INCH, abs=1)
    again = rendered(map_figure(default_maps(records)[0]), "svg")
    assert texts(paths[1].read_bytes()) == texts(again)
    assert write_map_figures([], tmp_path / "none") == []
