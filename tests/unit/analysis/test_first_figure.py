"""The first figure has the cells of the answer, and no figure has a mean that compares others."""

import re

import pytest

from interfero.analysis.charts.capacity import capacity_figure
from interfero.analysis.charts.data import NOT_KNOWN, MapPanel, RunLinks
from interfero.analysis.charts.maps import REFUSED, map_figure
from interfero.analysis.charts.matched import matched_figure
from interfero.analysis.charts.overview import overview_figure
from interfero.analysis.charts.trends import domain_figure, trend_figure
from interfero.analysis.charts.vega import caption_of, legend_of, variant_spec
from interfero.analysis.headline import headline
from interfero.analysis.maps import interference_map
from interfero.analysis.method_table import method_rows
from interfero.analysis.report.page import Report, report_figures, report_html
from interfero.analysis.trends import domain_shifts, trends
from interfero.metrics.names import GAIN, UNROUTED

VERBS = re.compile(
    r"\b(is|are|has|have|stands?|reach(es)?|takes?|diverged|failed|lacks?|differ|covers|counts|makes?|may|"
    r"marks|show|loses|gains?|grow|bend|adapts|code|compare|end|forgets|share)\b"
)


def without(records, **params):
    return [r for r in records if not all(r.params[n] == v for n, v in params.items())]


def changed(records, metrics, **params):
    """Some cells with other metrics; None takes one away."""

    def other(record):
        if any(record.params[n] != v for n, v in params.items()):
            return record
        update = {n: v for n, v in {**record.metrics, **metrics}.items() if v is not None}
        return record.model_copy(update={"metrics": update})

    return [other(record) for record in records]


def overview(records):
    figure = overview_figure(records, RunLinks())
    return figure.variants[figure.start]


def domains(variant):
    return [name.partition("\n")[0] for name in reversed(variant.panels[0].y.names)]


def means(variant, panel=0):
    """By method, what a reader compares."""
    return {
        s.label: [p for p in s.points if not p.faint]
        for s in variant.panels[panel].series
        if not s.hollow
    }


@pytest.fixture
def three(sweep):
    return sweep(domains=("text", "charts", "fundus"), seeds=(0, 1, 2), rates=(1e-4,))


def test_a_domain_in_which_a_method_lacks_a_seed_is_in_neither_answer_nor_figure(three):
    """Three domains stood in the figure, and two in the answer above it and the table below."""
    records = without(three, domain="text", method="cawf", data_seed=2)
    records = without(records, domain="charts", method="finetune", data_seed=1)
    variant = overview(records)
    assert domains(variant) == ["charts", "fundus"]
    assert "Left out are text, where cawf lacks data seed 2; and data seed 1" in variant.caption
    assert "2 domains" in headline(records).sentences[0]
    # What the marks say is what the table's row says.
    _, rows, _ = method_rows(records)
    row = next(r for r in rows if r[0] == "finetune")
    marks = means(variant)["finetune"]
    assert sum(p.x for p in marks) / 2 == pytest.approx(float(row[2].split()[0]), abs=0.006)
    seeds = {line.split(":")[0] for p in marks for line in p.hover if line.startswith("seed ")}
    assert seeds == {"seed 0/0", "seed 2/0"}
    assert "Marks are means over 2 seeds" in variant.caption


def test_a_value_that_is_missing_leaves_its_domain_out(three):
    records = changed(three, {GAIN: None}, domain="text", method="finetune", data_seed=0)
    variant = overview(records)
    assert domains(variant) == ["charts", "fundus"]
    assert "text, where finetune lacks a value with data seed 0" in variant.caption


def test_a_seed_that_diverged_is_marked_at_the_frame_and_in_no_mean(three):
    """One of three seeds was at -800 %: the mark was a mean over the two others, without a word."""
    astray = {GAIN: -800.0, UNROUTED: 900.0, "source/forgetting_percent": 0.0}
    records = changed(three, astray, domain="text", method="cawf", data_seed=0)
    variant = overview(records)
    # Its row has nothing else: methods are compared in the others.
    assert list(reversed(variant.panels[0].y.names))[-1] == "text\nleft out"
    assert {p.y > 0.5 for own in means(variant).values() for p in own} == {True}
    said = caption_of(variant, variant_spec(variant, {}))
    assert re.search(r"Left out is text, where cawf diverged with data seed 0\.", said)
    assert "Chosen cells that diverged are in no mean: 1 of 9 of cawf. Triangles" in said
    for panel, side, value in zip(variant.panels, "<>", (-800, 900), strict=True):
        rows = [
            row
            for layer in variant_spec(variant, {})["concat"][variant.panels.index(panel)]["layer"]
            for row in layer["data"]["values"]
        ]
        (edge,) = [row for row in rows if "e" in row]
        assert (edge["e"], edge["v"][0], edge["s"]) == (side, value, "cawf")


def test_a_diverged_cell_has_no_mark_that_looks_like_a_result(three):
    """One that went astray on source images alone had a mark at its usual gain, and one at 0 when routed."""
    astray = {"method": "cawf", "domain": "text", "data_seed": 0}
    variant = overview(changed(three, {"source/forgetting_unrouted_percent": 900.0}, **astray))
    gain, forgetting = (
        [p for s in panel.series for p in s.points if p.faint] for panel in variant.panels
    )
    assert gain == []
    assert {p.x for p in forgetting} == {900.0}


def test_a_mean_over_fewer_seeds_is_not_said_to_be_of_all(three):
    records = changed(three, {GAIN: -800.0}, domain="text", method="cawf", data_seed=0)
    figure = capacity_figure(records, RunLinks())
    variant = next(v for v in figure.variants if v.choice[0] == "text")
    assert "Marks are means over 2 to 3 seeds" in variant.caption
    assert "in no mean: 4 of 12 of cawf." in variant.caption


def test_trends_and_domains_mark_what_diverged(sweep):
    far = {"text": 2.0, "charts": 3.0}
    records = [
        r.model_copy(
            update={
                "key": f"{r.key}{n}", "params": {**r.params, "num_images": n},
                "metrics": {**r.metrics, "distance/feature_sd": far[r.params["domain"]]},
            }
        )
        for r in sweep(domains=tuple(far), seeds=(0, 1, 2), rates=(1e-4,))
        for n in (5, 20)
    ]  # fmt: skip
    astray = {GAIN: -800.0, UNROUTED: 900.0}
    records = changed(records, astray, domain="text", method="finetune", data_seed=0, num_images=20)
    for figure in (
        trend_figure(trends(records, "num_images"), "images"),
        domain_figure(domain_shifts(records)),
    ):
        variant = next(v for v in figure.variants if v.choice[0] in ("text", "feature distance"))
        assert "Chosen cells that diverged are in no mean: 1 of finetune." in variant.caption
        (line,) = [s for s in variant.panels[0].series if s.label == "finetune"]
        (edge,) = [p for p in line.points if p.faint]
        assert -800.0 in (edge.x, edge.y)
        assert "diverged, in no mean" in edge.hover[-1]
        # Points of a line have the seeds that all have.
        assert "Methods are to be compared where they have the same data seeds" in variant.caption


def test_grey_domains_are_in_no_mean_of_a_map(sweep, with_grey):
    """The first figure says that means leave them out, and maps had them in each of theirs."""
    plain = sweep(domains=("charts", "fundus"), lambdas=(0.002, 0.01), seeds=(0, 1))
    grey = sweep(domains=("text",), lambdas=(0.002, 0.01), seeds=(0, 1))
    grey = [
        r.model_copy(update={"metrics": {**r.metrics, GAIN: 90.0 + r.metrics[GAIN]}}) for r in grey
    ]
    axes = ("cawf", GAIN, "rd_lambda", "adapter_fraction")
    alone = interference_map(plain, *axes)
    both = interference_map(with_grey([*plain, *grey], "text"), *axes)
    assert both.places == alone.places
    assert both.grey == "text"
    figure = map_figure(with_grey([*plain, *grey], "text"))
    assert all("Grey domains are left out: text." in v.caption for v in figure.variants)
    # Where a domain has places of its own, nothing is averaged over domains.
    measured = [
        r.model_copy(
            update={"metrics": {**r.metrics, "distance/feature_sd": float(len(r.params["domain"]))}}
        )
        for r in with_grey([*plain, *grey], "text")
    ]
    by_domain = interference_map(measured, "cawf", GAIN, "feature_sd", "adapter_fraction")
    assert any(name.startswith("text") for name in by_domain.x_names)
    # All that there is of a method may be grey.
    only = interference_map(with_grey(grey, "text"), *axes)
    assert only.grey == ""
    assert only.places[0][0].value is not None


def test_a_refused_map_says_why_and_what_to_run(sweep):
    """Its caption went on about grey places and a mark that it does not have."""
    own = {"text": 6, "charts": 51}
    records = [
        r.model_copy(update={"params": {**r.params, "num_images": own[r.params["domain"]]}})
        for r in sweep(domains=tuple(own), lambdas=(0.002, 0.01), rates=(1e-4,))
    ]
    figure = map_figure(records)
    refused = [v for v in figure.variants if v.panels[0].empty]
    assert refused
    for variant in refused:
        said = f"{variant.caption} {figure.note}"
        assert [p.empty for p in variant.panels] == [REFUSED]
        assert said.startswith("A map of ")
        assert "Cannot be compared: " in said
        assert "python sweeps/adapter_capacity.py " in said
        assert not re.search("≠|[Gg]rey|dash|star", said), said
        assert "--num-images 1 6 " in said, "counts that both domains have"


@pytest.mark.parametrize("draw", [overview_figure, capacity_figure])
def test_legends_say_what_hollow_marks_are(sweep, draw):
    figure = draw(sweep(), RunLinks())
    for variant in figure.variants:
        labels = [label for label, _, _ in legend_of(variant)]
        assert labels[-2:] == ["filled: routed", "hollow: unrouted"]
        # A path and its way back enclose nothing that is filled.
        assert [path.count("M") for _, _, path in legend_of(variant)][-2:] == [1, 2]
    # Without a hollow mark there is nothing to explain.
    only = draw([r for r in sweep() if r.params["method"] == "finetune"], RunLinks())
    assert not any("hollow" in label for v in only.variants for label, _, _ in legend_of(v))


def test_rows_of_matched_gain_are_methods_with_a_mark(sweep):
    records = sweep(domains=("text", "charts"), rates=(3e-5, 5e-5, 7e-5, 1e-4))
    (variant,) = matched_figure(records).variants
    (names,) = {tuple(n.partition("\n")[0] for n in p.y.names) for p in variant.panels}
    marked = {s.label for p in variant.panels for s in p.series if s.points}
    assert set(names) == marked
    assert all(p.series and not p.empty for p in variant.panels)
    assert [label for label, _, _ in legend_of(variant)][-2:] == [
        "filled: routed", "hollow: unrouted",
    ]  # fmt: skip


def test_a_first_figure_of_one_domain_has_the_seeds_of_the_answer(sweep):
    records = sweep(domains=("text",), seeds=(0, 1, 2), rates=(1e-4,))
    records = [r for r in records if (r.params["method"], r.params["data_seed"]) != ("finetune", 2)]
    figure = next(f for f in report_figures(Report("t", records, ())) if f.name == "capacity")
    (variant,) = figure.variants
    assert "Left out is data seed 2, for finetune lacks it on text." in variant.caption
    seeds = {
        line.split(":")[0]
        for s in variant.panels[0].series for p in s.points if not p.faint
        for line in p.hover if line.startswith("seed ")
    }  # fmt: skip
    assert seeds == {"seed 0/0", "seed 1/0"}


def test_what_is_not_known_keeps_its_place(sweep):
    """Values of a seed stood one place to the left where one before them was missing."""
    records = changed(sweep(domains=("text",)), {GAIN: None}, method="finetune")
    figure = capacity_figure(records, RunLinks())
    told = {
        p.hover for panel in figure.variants[0].panels for s in panel.series for p in s.points
        if p.hover[0].startswith("finetune")
    }  # fmt: skip
    assert all([line.split()[0] for line in hover[1:4]] == ["gain", "forgetting,", "forgetting,"]
               for hover in told)  # fmt: skip
    assert all(hover[1] == f"gain {NOT_KNOWN}" for hover in told)


def test_rows_of_tables_have_as_many_cells_as_their_heading(sweep):
    records = changed(sweep(seeds=(0, 1)), {GAIN: None}, method="finetune", domain="text")
    records = changed(records, {UNROUTED: None}, method="cawf", domain="charts", data_seed=1)
    page = report_html(Report("t", records, ()))
    tables = re.findall(r'<table class="sortable.*?</table>', page, re.DOTALL)
    assert len(tables) > 4
    for table in tables:
        count = len(re.findall("<th[ >]", table))
        rows = re.findall("<tr>.*?</tr>", table.partition("<tbody>")[2], re.DOTALL)
        assert {len(re.findall("<td[ >]", row)) for row in rows} == {count}


def sentences(text):
    """Split at full stops outside of parentheses."""
    return [s for s in re.split(r"(?<=[.:]) (?=[A-Z])(?![^(]*\))", text.strip()) if s]


def test_captions_are_whole_sentences(sweep, with_grey):
    records = with_grey(
        sweep(seeds=(0, 1), lambdas=(0.002, 0.01), rates=(3e-5, 5e-5, 7e-5, 1e-4)), "text"
    )
    for figure in report_figures(Report("t", records, ())):
        for variant in figure.variants:
            said = f"{caption_of(variant, variant_spec(variant, {}))} {figure.note}"
            if isinstance(variant.panels[0], MapPanel) and variant.panels[0].empty:
                said = said.partition("python sweeps")[0]
            for sentence in sentences(said):
                assert re.match(r"[A-Z0-9]", sentence), sentence
                assert VERBS.search(sentence), sentence
