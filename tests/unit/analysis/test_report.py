"""The report: every number from the records, missing things named, one file that asks for nothing."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from interfero.analysis.about import About
from interfero.analysis.answers import Findings
from interfero.analysis.best import best_adapters
from interfero.analysis.capacity_table import short_rate
from interfero.analysis.charts.capacity import capacity_figure
from interfero.analysis.charts.curves import curve_figure
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.charts.distance import distance_figure
from interfero.analysis.charts.laws import law_figure
from interfero.analysis.charts.library import vega_library
from interfero.analysis.charts.maps import map_figure
from interfero.analysis.charts.matched import matched_figure
from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.laws.observations import Subject
from interfero.analysis.laws.scaling import Scaling, fit_scaling
from interfero.analysis.laws.words import law_lines, law_rows
from interfero.analysis.matched_gain import matched_lines
from interfero.analysis.rd_curves import curve_lines, curve_rows
from interfero.analysis.reconstructions import Reconstruction, save_reconstructions
from interfero.analysis.report.page import Report, report_html
from interfero.analysis.report.pictures import cells_to_show, picture_urls, shown_cells
from interfero.analysis.report.sections import best_parts
from interfero.analysis.report.shell import PageTable
from interfero.analysis.report.writing import Origin, write_report
from tools.planted import PlantedSweep, Scatter


@pytest.fixture
def planted():
    law = lambda place: 10 * (place["num_images"] / 20) ** 0.4  # noqa: E731
    return PlantedSweep(law).records(np.random.default_rng(0))


def data_of(page):
    found = re.search(r'<script type="application/json" id="figures">(.*?)</script>', page, re.S)
    return json.loads(found.group(1))


def test_points_are_means_over_seeds_with_cells_and_runs(sweep):
    records = sweep(domains=("text",), seeds=(0, 1, 2))
    choice = next(c for c in choose_learning_rates(records) if c.setting.method == "finetune")
    runs = RunLinks({pick.cell.key: f"run-of-{i}" for i, pick in enumerate(choice.picks)})
    figure = capacity_figure(records, runs)
    plane = figure.variants[0].panels[1]
    series = next(s for s in plane.series if s.label == "finetune" and not s.hollow)
    (point,) = [p for p in series.points if not p.faint]
    gains = choice.values("target/rd_gain_percent")
    assert point.x == pytest.approx(sum(gains) / 3)
    assert point.x_range == (min(gains), max(gains))
    assert "3 seeds" in point.hover[1]
    for pick, run in zip(choice.picks, ("run-of-0", "run-of-1", "run-of-2"), strict=True):
        assert any(pick.cell.key in line and run in line for line in point.hover)
    assert sum(p.faint for p in series.points) == 9, "three seeds, three learning rates"


def test_the_most_images_at_a_middle_lambda_come_first(sweep):
    figure = capacity_figure(sweep(domains=("text",), lambdas=(0.002, 0.01, 0.05)), RunLinks())
    assert figure.variants[figure.start].choice == ("text", "lambda 0.01, 20 images")


def test_a_bd_rate_that_cannot_be_computed_is_missing_with_the_reason(sweep):
    records = sweep(domains=("text",), lambdas=(0.002, 0.01))
    rows = curve_rows(records)
    assert {row.rates[0] for row in rows} == {"missing"}
    assert all("4 points" in reason for row in rows for reason in row.reasons)
    assert "lack a BD-rate" in curve_lines(records)[-1]
    page = report_html(Report("t", records, ()))
    settings = len(rows)
    assert f"{settings} of {settings} settings have no number and are not listed: " in page
    assert "missing (1)" not in page, "rows without a number"
    assert curve_rows(sweep(domains=("text",))) == []
    assert "a curve needs several" in report_html(Report("t", sweep(domains=("text",)), ()))


def test_bd_rates_in_words_are_of_one_budget(sweep):
    records = sweep(domains=("text",), lambdas=(0.002, 0.01))
    few = [
        r.model_copy(update={"key": f"{r.key}-few", "params": {**r.params, "num_steps": 50}})
        for r in records
    ]
    assert curve_lines([*records, *few]) == curve_lines(records)
    assert len(curve_rows([*records, *few])) == 2 * len(curve_rows(records))


def test_curves_of_the_source_codec_and_each_method(sweep):
    figure = curve_figure(sweep(domains=("text",), lambdas=(0.002, 0.01), seeds=(0, 1)), RunLinks())
    panel = figure.variants[0].panels[0]
    assert [s.label for s in panel.series] == [
        "source codec", "finetune", "cawf", "continue_source (control)",
    ]  # fmt: skip
    assert all(len(s.points) == 2 for s in panel.series)
    assert panel.series[1].points[0].hover[2].startswith("seed 0/0: ")


def test_maps_have_every_pair_of_axes_and_mark_what_is_missing(sweep):
    records = sweep(domains=("text",), lambdas=(0.002, 0.01))
    gone = [r for r in records if (r.params["adapter_size"], r.params["rd_lambda"]) != (4, 0.01)]
    figure = map_figure(gone)
    assert {v.choice for v in figure.variants} == {
        ("cawf", "parameters and lambda"), ("cawf", "parameters and learning rate"),
        ("cawf", "lambda and learning rate"), ("finetune", "lambda and learning rate"),
    }  # fmt: skip
    first = figure.variants[0]
    assert first.file == "map_cawf"
    assert "forgetting, routed (%) is 0 everywhere" in first.caption
    missing = [t for t in first.panels[0].tiles if t.value is None]
    assert [t.hover[1] for t in missing] == ["no result"]


def test_a_law_whose_parameters_could_be_anything_is_not_claimed():
    """Cells that scatter by half: the saturating form fits better than a constant, its half lies anywhere."""
    wild = PlantedSweep(
        lambda place: 4 * place["num_images"] ** 0.3, scatter=Scatter(seed=0.05, cell=0.5)
    )
    (fit,) = (
        r
        for r in fit_scaling(wild.records(np.random.default_rng(4)))
        if isinstance(r, Scaling) and r.response.name == "forgetting_unrouted"
    )
    assert fit.beats_null
    (line,) = law_lines([fit])
    assert line == (
        "Laws for 1 combination of method and response: 1 with parameters that the seeds do not determine."
    )
    (row,) = law_rows([fit])
    assert (row.law, row.holds) == ("saturating", "not determined")
    figure = law_figure([fit])
    assert figure.variants[figure.start].caption.startswith("No law holds here. ")


def test_the_figure_of_laws_opens_on_one_that_holds(planted):
    """It opened on the first of all, whose parameters its own table called not determined."""
    wild = PlantedSweep(
        lambda place: 4 * place["num_images"] ** 0.3, scatter=Scatter(seed=0.05, cell=0.5)
    )
    results = [*fit_scaling(wild.records(np.random.default_rng(4))), *fit_scaling(planted)]
    fits = [r for r in results if isinstance(r, Scaling)]
    rows = law_rows(fits)
    assert rows[0].holds == "not determined"
    figure = law_figure(results)
    shown = figure.variants[figure.start].caption
    assert rows[figure.start].holds == "across domains"
    assert "A power law holds across domains: its exponent" in shown
    assert "A saturating law is not determined: its" in figure.variants[0].caption
    assert not any("No law holds" in variant.caption for variant in figure.variants)


def test_many_laws_are_three_sentences_and_a_count(planted):
    """A sentence that lists fifteen of them in words cannot be read: the table has each."""
    (one,) = (
        r
        for r in fit_scaling(planted)
        if isinstance(r, Scaling) and r.response.name == "forgetting_unrouted"
    )
    results = [
        replace(one, data=replace(one.data, subject=Subject(f"m{i}", "c"))) for i in range(15)
    ]
    lines = law_lines(results)
    assert len(lines) == 4
    assert sum(line.count(" law: exponent of") for line in lines) == 3
    holds = {row.holds for row in law_rows(results)}
    assert lines[3] == (f"Laws for 15 combinations of method and response: 15 {holds.pop()}.")
    page = report_html(Report("t", planted, results))
    assert "All 15 rows" in page.partition('id="laws"')[2]


def test_laws_stand_with_intervals_and_refusals_with_reasons(planted, sweep):
    results = fit_scaling([*planted, *sweep(domains=("text",))])
    rows = {(r.subject, r.response): r for r in law_rows(results)}
    row = rows["finetune", "forgetting, unrouted (%)"]
    assert any(r.law == "power" and "exponent of images 0." in r.detail for r in law_rows(results))
    assert row.evidence.startswith("AICc -") or row.holds == "refused"
    assert rows["cawf", "target gain (%)"].holds == "refused"
    assert "1 data seeds, 3 are needed" in rows["cawf", "target gain (%)"].detail
    lines = law_lines(results)
    assert any("follows a power law: exponent of images" in line for line in lines)
    assert lines[-1].startswith(f"Laws for {len(results)} combinations of method and response: ")
    assert " refused (1 data seeds, 3 are needed" in lines[-1]
    assert len(law_figure(results).variants[0].panels) == 2


def test_distance_shows_measured_domains_and_what_is_predicted_of_them(planted):
    results = fit_scaling(planted)
    panel = distance_figure(planted, results).variants[0].panels[0]
    labels = [s.label for s in panel.series]
    assert labels == ["charts", "fundus", "text", "left out, mean of the others"]
    measured, predicted = panel.series[0], panel.series[3]
    mean = measured.points[-1]
    assert not mean.faint
    assert mean.y == pytest.approx(np.mean([p.y for p in measured.points[:-1]]))
    assert [p.x for p in predicted.points] == pytest.approx([2.0, 4.0, 8.0])
    alone = [r for r in planted if r.params["domain"] != "text"]
    assert distance_figure(alone, fit_scaling(alone)) is None


def test_means_of_domains_are_over_the_settings_that_they_share(planted):
    """`text` has its largest image count alone: a mean over it would be a mean over other settings."""
    rest = [r for r in planted if (r.params["domain"], r.params["num_images"]) != ("charts", 80)]
    panel = distance_figure(rest, ()).variants[0].panels[0]
    means = {s.label: s.points[-1] for s in panel.series}
    assert {m.hover[1].split(" settings")[0] for m in means.values()} == {"mean over 3"}
    (text,) = [s for s in panel.series if s.label == "text"]
    assert sum(p.faint for p in text.points) == 4, "each setting is still there"


def test_domains_over_distance_are_of_one_budget_and_lambda(planted):
    """Planted: at 50 steps and at another lambda a domain loses 80 times as much."""
    others = [
        r.model_copy(
            update={
                "key": f"{r.key}-{place}", "params": {**r.params, **place}, "images": (),
                "metrics": {
                    **r.metrics, "source/forgetting_unrouted_percent":
                    80 * r.metrics["source/forgetting_unrouted_percent"],
                },
            }
        )
        for r in planted
        for place in ({"num_steps": 50}, {"rd_lambda": 0.2, "num_steps": 50}, {"rd_lambda": 0.2})
    ]  # fmt: skip
    alone = distance_figure(planted, ()).variants[0]
    both = distance_figure([*planted, *others], ()).variants[0]
    points = [[(p.x, p.y) for s in v.panels[0].series for p in s.points] for v in (alone, both)]
    assert points[0] == points[1]
    steps, value = (planted[0].params[name] for name in ("num_steps", "rd_lambda"))
    assert f"after {steps} steps, at lambda {value:g}. " in both.caption


def test_methods_are_matched_or_have_no_point(sweep):
    records = sweep(domains=("text", "charts"), rates=(3e-5, 5e-5, 7e-5, 1e-4))
    figure = matched_figure(records)
    (variant,) = figure.variants
    titles = [p.title.partition(":")[0] for p in variant.panels]
    shares = ["At a quarter of finetune's gain", "At half of finetune's gain",
              "At three quarters of finetune's gain"]  # fmt: skip
    gone = [share for share in shares if share not in titles]
    assert titles == [share for share in shares if share in titles]
    assert all(f"{share} no method has a value (" in variant.caption for share in gone)
    # All panels have the same rows, of methods that have a value.
    assert len({tuple(n.partition("\n")[0] for n in p.y.names) for p in variant.panels}) == 1
    # The sentence and the figure's title are of the same cases, counted alike.
    sentence = matched_lines(records)[0]
    title = figure.variants[0].panels[1].title
    assert sentence.startswith("At half of finetune's gain, over the ")
    assert (
        title.partition("means over ")[2]
        == sentence.partition("over ")[2].partition(" in which")[0]
    )
    only = [r for r in sweep(domains=("text",)) if r.params["method"] == "cawf"]
    assert matched_figure(only) is None


def test_the_words_of_a_page_are_explained_and_bear_no_markdown(sweep):
    """Verdicts are corrected over methods, intervals are not; what tables say stands in the box of words."""
    page = report_html(Report("t", sweep(domains=("text", "charts"), seeds=(0, 1, 2)), ()))
    shown = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert "undecided means that chance gives as much in at least 5 %" in shown
    assert "it contains zero" not in shown
    for word in (
        "case",
        "crops",
        "strength",
        "log points",
        "AICc",
        "held out",
        "old exact; PSNR drop",
    ):
        assert f">{word}</t" in shown, word
    assert "forgetting above zero is lost" in shown
    assert "`" not in shown


def test_nothing_a_record_says_becomes_markup(sweep, fail):
    evil = "</script><img src=x onerror=alert(1)>"
    records = [
        r.model_copy(update={"params": {**r.params, "domain": evil}})
        for r in sweep(domains=("text",))
    ]
    about = About(name=evil, kind=evil, question=evil, command=evil, versions={evil: evil})
    failed = fail(records[0]).model_copy(update={"key": "k", "error": evil})
    page = report_html(Report(evil, [*records, failed], (), [about], remarks=[evil]))
    assert "<img src=x" not in page
    assert page.count("</script>") == 3
    figures = {figure["name"]: figure for figure in data_of(page)["figures"]}
    assert figures["capacity"]["variants"][0]["choice"] == [evil]


def test_the_page_names_the_adapter_to_ship_of_each_domain(sweep):
    records = sweep(domains=("histology", "text"))
    _, parts = dict(best_parts(records, RunLinks()))["folded"]
    table = dict(parts)["table"]
    assert [row[0] for row in table.rows] == ["histology", "text"]
    for row, one in zip(table.rows, best_adapters(records), strict=True):
        params = one.record.params
        assert row[1:3] == [params["method"], f"{one.rd_lambda:g}"]
        assert row[3:8] == [
            str(params["num_images"]),
            str(params["num_steps"]),
            str(params["adapter_size"]),
            short_rate(params["learning_rate"]),
            f"{one.record.metrics['target/rd_gain_percent']:+.2f}",
        ]
        assert row[9] == one.record.adapter_file
        page = report_html(Report("t", records, fit_scaling(records)))
        assert one.record.adapter_file in page.replace("<wbr>", "")


def test_it_asks_nothing_of_the_network(sweep):
    page = report_html(Report("t", sweep(domains=("text", "charts"), seeds=(0, 1, 2)), ()))
    own = page.replace(vega_library().replace("</script", "<\\/script"), "")
    assert len(own) < len(page) / 2, "the library is in the page"
    assert not re.search(r"(?:src|href)=[\"'](?!data:|#)", own)
    assert set(re.findall(r"https?://[^\"'\s<)]+", own)) <= {"http://www.w3.org/2000/svg"}


def test_nothing_finished_is_said_and_not_drawn(sweep, fail):
    page = report_html(Report("t", [fail(r) for r in sweep(domains=("text",))], ()))
    assert "No cell finished" in page
    assert "loss nan" in page
    assert data_of(page)["figures"] == []


def write_pictures(records, folder, rng):
    for record in records:
        pictures = tuple(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8) for _ in range(3))
        shown = [Reconstruction("target", "worst", record.images[0].name, pictures)]
        save_reconstructions(folder / f"{record.key}.png", shown)


def test_pictures_are_of_the_median_seed_at_the_most_images(sweep, tmp_path):
    records = sweep(domains=("text",), seeds=(0, 1, 2), lambdas=(0.002, 0.01, 0.05))
    shown = cells_to_show(choose_learning_rates(records))
    assert [r.params["method"] for r in shown] == ["finetune", "cawf"]
    assert {r.params["rd_lambda"] for r in shown} == {0.01}
    (choice,) = [
        c for c in choose_learning_rates(records)
        if c.setting.method == "finetune" and c.setting.rd_lambda == 0.01
    ]  # fmt: skip
    values = sorted(choice.values("target/rd_gain_percent"))
    assert shown[0].metrics["target/rd_gain_percent"] == values[1]


def test_pictures_stand_in_the_page_with_the_numbers_of_their_image(sweep, tmp_path):
    records = sweep(domains=("text",))
    shown = cells_to_show(choose_learning_rates(records))
    write_pictures(shown[:1], tmp_path, np.random.default_rng(0))
    (tmp_path / f"{shown[1].key}.png").write_bytes(b"no picture")
    find = lambda record: tmp_path / f"{record.key}.png"  # noqa: E731
    cells, problems = shown_cells(choose_learning_rates(records), find)
    assert [c.record.key for c in cells] == [shown[0].key]
    assert "holds no reconstructions" in problems[0]
    urls, exact = picture_urls(cells)
    assert exact
    assert len(urls) == 3
    written = write_report(Findings(records), tmp_path / "out", Origin("t"), find)
    page = written.files[0].read_text()
    assert page.count("data:image/webp") == 3
    row = shown[0].images[0]
    assert f"{row.bpp:.3f} bpp, {row.psnr_db:.2f} dB, loss" in page
    assert [p.name for p in written.pictures] == [f"{shown[0].key}.png"]
    assert "holds no reconstructions" in page


def test_the_static_figures_that_it_names_are_beside_it(sweep, tmp_path):
    records = sweep(domains=("text",), lambdas=(0.002, 0.01), rates=(1e-3,))
    written = write_report(Findings(records), tmp_path, Origin("t"), lambda record: None)
    figures = data_of(written.files[0].read_text())["figures"]
    stems = {v["file"] for figure in figures for v in figure["variants"]} - {""}
    named = {f"{stem}.{suffix}" for stem in stems for suffix in ("png", "svg")}
    assert {"capacity_text.svg", "map_cawf.png", "rd_text.png"} <= named
    assert named <= {p.name for p in tmp_path.iterdir()}


def test_intervals_and_counts_may_go_below_their_number():
    """The count of diverged cells made the first table wider than the page."""
    table = PageTable(["method", "gain"], [], 1)
    assert str(table.text("+1.77 (+1.40 to +2.14) (1 of 9 diverged)", 1)) == (
        "+1.77 <wbr>(+1.40 to +2.14) <wbr>(1 of 9 diverged)"
    )
    assert str(table.text("-0.96 (the source codec <is> better (so))", 1)) == (
        "-0.96 (the source codec &lt;is&gt; better (so))"
    )
    assert "wbr" not in table.text("a (1 to 2)", 0)


def test_a_table_of_many_columns_breaks_its_numbers_at_each_part():
    """The last columns of such tables were outside of a window of 1100 pixels."""
    table = PageTable(["setting", *map(str, range(13))], [], 1)
    assert table.dense
    assert str(table.text("+1.77 ± 0.3 % [99 %]", 1)) == "+1.77 <wbr>± 0.3 % <wbr>[99 %]"
    assert str(table.text("-5.27 (-7.74 to -2.80)", 2)) == "-5.27 <wbr>(-7.74 <wbr>to -2.80)"
    assert str(table.text("3 <orders>, 3 seeds", 3)) == "3 &lt;orders&gt;, <wbr>3 seeds"
    assert str(table.text("adapters/ab.safetensors", 4)) == "adapters/<wbr>ab.safetensors"
    assert PageTable(["domain", "file"], [], 1, tight=True).dense
