"""Figures hold the data: read back from the artists."""

import subprocess
import sys
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.figure_style import DOTS_PER_INCH, STYLES, method_style
from interfero.analysis.figures import FAINT, capacity_figure, write_figures

GAIN, ROUTED = "target/rd_gain_percent", "source/forgetting_percent"
UNROUTED = "source/forgetting_unrouted_percent"


def container(axes, label):
    (found,) = [c for c in axes.containers if c.get_label() == label]
    return found


def all_containers(axes, label):
    return [c for c in axes.containers if c.get_label() == label]


def points(line):
    return sorted((float(x), float(y)) for x, y in line.get_xydata())


def faint(axes, method):
    """(x, y) of every single-cell marker of a method."""
    style = method_style(method)
    lines = [
        line
        for line in axes.lines
        if line.get_alpha() == FAINT and line.get_marker() == style.marker
    ]
    return sorted(p for line in lines for p in points(line))


def words(figure):
    """All text of a figure."""
    return "\n".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def of(records, method, domain="text"):
    choices = choose_learning_rates(records)
    return [c for c in choices if (c.setting.method, c.setting.domain) == (method, domain)]


def test_the_left_panel_has_the_chosen_gains_over_the_parameters(sweep):
    records = sweep()
    left, _ = capacity_figure(records, "text").axes
    for method in ("cawf", "finetune", "continue_source"):
        expected = [(c.mean("adapter_fraction"), c.mean(GAIN)) for c in of(records, method)]
        assert points(container(left, method).lines[0]) == sorted(expected)
    assert [t.get_text() for t in left.texts] == ["2", "4", "8", "16"]
    assert left.get_xscale() == "log"
    assert "%" in left.get_xlabel()
    assert "%" in left.get_ylabel()


def test_the_rest_of_the_grid_is_there_faintly(sweep):
    records = sweep()
    left, right = capacity_figure(records, "text").axes
    chosen = {p.cell.key for choice in of(records, "cawf") for p in choice.picks}
    rest = [
        r.metrics
        for r in records
        if (r.params["domain"], r.params["method"]) == ("text", "cawf") and r.key not in chosen
    ]
    assert len(rest) == 8
    assert faint(left, "cawf") == sorted((m["adapter_fraction"], m[GAIN]) for m in rest)
    routed, unrouted = ([(m[GAIN], m[way]) for m in rest] for way in (ROUTED, UNROUTED))
    assert faint(right, "cawf") == sorted([*routed, *unrouted])


def test_the_plane_has_routed_filled_and_unrouted_hollow(sweep):
    records = sweep()
    _, right = capacity_figure(records, "text").axes
    for way, metric in (("routed", ROUTED), ("unrouted", UNROUTED)):
        found = all_containers(right, f"cawf {way}")
        drawn = sorted(p for c in found for p in points(c.lines[0]))
        assert drawn == sorted((c.mean(GAIN), c.mean(metric)) for c in of(records, "cawf"))
        faces = {c.lines[0].get_markerfacecolor() for c in found}
        assert faces == {STYLES["cawf"].colour if way == "routed" else "white"}
    # Fine-tuning has one way only.
    assert all_containers(right, "finetune routed")
    assert not all_containers(right, "finetune unrouted")


def test_every_point_lies_inside_its_axes(sweep):
    wild = [
        r.model_copy(update={"metrics": {**r.metrics, GAIN: -250.0, UNROUTED: 4000.0}})
        if r.params["learning_rate"] == 1e-4 and r.params["method"] == "finetune"
        else r
        for r in sweep()
    ]
    for records in (sweep(), sweep(seeds=(0, 1, 2)), wild):
        for axes in capacity_figure(records, "text").axes:
            (x_low, x_high), (y_low, y_high) = axes.get_xlim(), axes.get_ylim()
            for line in axes.lines:
                if line.get_transform() == axes.transData:
                    x, y = line.get_xydata().T
                    assert ((x > x_low) & (x < x_high)).all()
                    assert ((y > y_low) & (y < y_high)).all()


def test_forgetting_over_decades_is_symlog_and_says_so(sweep):
    _, right = capacity_figure(sweep(), "text").axes
    assert right.get_yscale() == "symlog"
    assert "log beyond" in right.get_ylabel()
    mild = [
        r.model_copy(update={"metrics": {**r.metrics, ROUTED: 2.0, UNROUTED: 3.0}}) for r in sweep()
    ]
    assert capacity_figure(mild, "text").axes[1].get_yscale() == "linear"


def test_an_outlier_does_not_flatten_the_chosen_gains(sweep):
    records = [
        r.model_copy(update={"metrics": {**r.metrics, GAIN: -250.0}})
        if r.params["learning_rate"] == 1e-4 and r.params["method"] == "finetune"
        else r
        for r in sweep()
    ]
    left, right = capacity_figure(records, "text").axes
    assert left.get_yscale() == right.get_xscale() == "symlog"


def test_the_title_names_domain_lambda_images_and_seeds(sweep):
    one = words(capacity_figure(sweep(), "text"))
    assert "text" in one
    assert "lambda 0.0067, n = 20 images; illustration, n = 1 seed" in one
    several = words(capacity_figure(sweep(seeds=(0, 1, 2)), "text"))
    assert "n = 3 seeds" in several
    assert "illustration" not in several


def test_crops_are_called_crops(sweep):
    records = [
        r.model_copy(update={"params": {**r.params, "image_unit": "crops"}}) for r in sweep()
    ]
    figure = capacity_figure(records, "text")
    left, right = figure.axes
    assert "lambda 0.0067, n = 20 crops; illustration" in words(figure)
    assert "mean of test crops" in left.get_ylabel()
    assert "mean of test crops" in right.get_xlabel()
    assert "images" not in words(figure)
    assert "crops" not in words(capacity_figure(sweep(), "text"))


def test_several_seeds_have_bars_from_minimum_to_maximum(sweep):
    records = sweep(seeds=(0, 1, 2))
    left, _ = capacity_figure(records, "text").axes
    (choice,) = of(records, "finetune")
    (bar,) = container(left, "finetune").lines[2]
    (segment,) = bar.get_segments()
    assert np.allclose(segment[:, 1], (min(choice.values(GAIN)), max(choice.values(GAIN))))
    assert not container(capacity_figure(sweep(), "text").axes[0], "finetune").has_yerr


def test_a_row_of_panels_a_lambda(sweep):
    figure = capacity_figure(sweep(lambdas=(0.0067, 0.025)), "text")
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == ["lambda 0.0067, n = 20 images", "", "lambda 0.025, n = 20 images", ""]


def test_failed_and_missing_cells_are_mentioned_and_not_drawn(sweep, fail):
    records = [
        fail(r) if (r.params["domain"], r.params["adapter_size"]) == ("text", 16) else r
        for r in sweep()
        if (r.params["domain"], r.params["adapter_size"]) != ("text", 2)
    ]
    figure = capacity_figure(records, "text")
    assert "3 of 15 cells failed; no result: cawf 2, cawf 16" in words(figure)
    assert len(points(container(figure.axes[0], "cawf").lines[0])) == 2


def test_a_domain_where_all_failed_has_a_figure_without_numbers(sweep, fail):
    records = [fail(r) if r.params["domain"] == "text" else r for r in sweep()]
    figure = capacity_figure(records, "text")
    assert "no cell finished" in words(figure)
    assert all(len(axes.get_xticks()) == 0 and not axes.lines for axes in figure.axes)


@pytest.mark.parametrize("missing", ["finetune", "cawf", "continue_source"])
def test_any_method_may_be_absent(sweep, missing):
    records = [r for r in sweep() if r.params["method"] != missing]
    assert missing not in words(capacity_figure(records, "text"))


def test_a_method_no_table_knows_is_drawn(record):
    metrics = {"val/rd_gain_percent": 1.0, GAIN: 1.0, ROUTED: 1.0, UNROUTED: 1.0}
    figure = capacity_figure(
        [record("novel", 3, metrics={**metrics, "adapter_fraction": 0.1})], "histology"
    )
    assert points(container(figure.axes[0], "novel").lines[0]) == [(0.1, 1.0)]


def test_an_unknown_domain_is_refused(sweep):
    with pytest.raises(ValueError, match="no cell of domain 'nowhere'"):
        capacity_figure(sweep(), "nowhere")


def test_files_are_whole_legible_and_repeatable(sweep, tmp_path):
    records = sweep(domains=("text", "charts"))
    paths = write_figures(records, tmp_path / "a")
    stems = ("capacity_charts", "capacity_text")
    assert [p.name for p in paths] == [f"{s}.{kind}" for s in stems for kind in ("png", "svg")]
    with Image.open(paths[0]) as image:
        image.load()
        assert image.width == round(7.2 * DOTS_PER_INCH)
    assert paths[1].read_text().rstrip().endswith("</svg>")
    again = write_figures(records, tmp_path / "b")
    assert [p.read_bytes() for p in paths] == [p.read_bytes() for p in again]


@pytest.mark.parametrize("outlier", [None, -2500.0])
@pytest.mark.parametrize("lambdas", [(0.0067,), (0.0067, 0.025)])
def test_no_text_is_small_and_nothing_is_cut_off(sweep, lambdas, outlier):
    records = sweep(lambdas=lambdas)
    if outlier is not None:
        worst = {**records[0].metrics, GAIN: outlier, "val/rd_gain_percent": outlier}
        params = {**records[0].params, "domain": "text"}
        records.append(records[0].model_copy(update={"metrics": worst, "params": params}))
    figure = capacity_figure(records, "text")
    assert ("log beyond" in figure.axes[1].get_xlabel()) == (outlier is not None)
    texts = figure.findobj(matplotlib.text.Text)
    assert min(t.get_fontsize() for t in texts if t.get_text()) >= 8
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height


def test_settings_of_the_process_neither_change_nor_matter(sweep):
    before = dict(matplotlib.rcParams)
    plain = capacity_figure(sweep(), "text").axes[0].xaxis.label.get_fontsize()
    assert dict(matplotlib.rcParams) == before
    with matplotlib.rc_context({"font.size": 30, "axes.labelsize": 30}):
        assert capacity_figure(sweep(), "text").axes[0].xaxis.label.get_fontsize() == plain


def test_pyplot_is_never_loaded():
    root = Path(__file__).resolve().parents[3]
    script = (
        "import sys; import interfero.analysis.figures, interfero.analysis.note; "
        "assert not {'matplotlib.pyplot', 'ray', 'mlflow'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=root / "platform", check=True)
