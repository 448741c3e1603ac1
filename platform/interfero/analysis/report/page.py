"""`report.html`: one file that works offline and asks nothing of any server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from interfero.analysis.about import About
from interfero.analysis.bd_paired import curve_difference_lines
from interfero.analysis.capacity_table import counted
from interfero.analysis.cells import Cells
from interfero.analysis.charts.capacity import capacity_figure
from interfero.analysis.charts.curves import curve_figure
from interfero.analysis.charts.data import Figure, RunLinks, without_files
from interfero.analysis.charts.distance import distance_figure
from interfero.analysis.charts.graded import graded_figure
from interfero.analysis.charts.laws import law_figure
from interfero.analysis.charts.maps import map_figure
from interfero.analysis.charts.matched import matched_figure
from interfero.analysis.charts.overview import overview_figure
from interfero.analysis.charts.trends import domain_figure, trend_figure
from interfero.analysis.choices import choose_learning_rates, method_rank
from interfero.analysis.diverged import num_diverged
from interfero.analysis.focus import longest
from interfero.analysis.headline import Headline, headline
from interfero.analysis.laws.distance_verdict import verdict_lines
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.words import law_lines, law_rows
from interfero.analysis.matched_gain import matched_lines
from interfero.analysis.matched_paired import matched_difference_lines
from interfero.analysis.next_step import next_step
from interfero.analysis.parts import grey_domains
from interfero.analysis.rd_curves import curve_lines, curve_rows
from interfero.analysis.report.pictures import ShownCell
from interfero.analysis.report.sections import (
    best_parts,
    capacity_parts,
    curves_parts,
    domain_parts,
    facts,
    failures_parts,
    laws_parts,
    next_parts,
    pictures_parts,
    reproduce_parts,
)
from interfero.analysis.report.shell import Block, ReportPage, Section, page_html
from interfero.analysis.report.terms import ADAPTATION_TERMS, gloss, method_terms, terms_section
from interfero.analysis.sentences import summary_lines
from interfero.analysis.shared_block import answer_lambda, first_block
from interfero.analysis.trends import domain_shifts, trends
from interfero.records import CellRecord


@dataclass(frozen=True)
class Report:
    """What a report is made from."""

    title: str
    records: Sequence[CellRecord]
    results: Sequence[Scaling | Refusal]
    """Of `fit_scaling`."""
    abouts: Sequence[About] = ()
    runs: RunLinks = field(default_factory=RunLinks)
    pictures: Sequence[ShownCell] = ()
    remarks: Sequence[str] = ()
    """What a reader has to know of where the cells come from."""
    answer: Sequence[str] = ()
    """To the sweep's own question, in sentences."""
    own: Sequence[str] = ()
    """Names of the figures that answer it."""


def findings(report: Report) -> dict[str, list[str]]:
    """The summary in sentences, by what they are about; every number is computed from the records.

    What the sweep's own answer has said is not said again.
    """
    found = {
        "The question": list(report.answer),
        "Gain and forgetting": summary_lines(report.records),
        "At matched gain": [
            *matched_lines(report.records),
            *matched_difference_lines(report.records),
        ],
        "Rate and distortion": [
            *curve_lines(report.records),
            *curve_difference_lines(report.records),
        ],
        "Domain distance": verdict_lines(report.records),
        "Laws": law_lines(report.results),
    }
    said: set[str] = set()
    for title, lines in found.items():
        found[title] = [line for line in lines if line not in said]
        said.update(lines)
    return {title: lines for title, lines in found.items() if lines}


def report_figures(report: Report) -> list[Figure]:
    """Those that the records can fill; pictures of trends are made for the sweeps that ask for them."""
    block = first_block(Cells(report.records)).block
    at = answer_lambda(report.records)
    along = [
        trend_figure(trends(report.records, "num_images"), "image_count", at),
        trend_figure(trends(report.records, "num_steps"), "training_budget", at),
        trend_figure(trends(report.records, "rd_lambda"), "bitrate"),
        domain_figure(domain_shifts(report.records), at),
        graded_figure(domain_shifts(longest(report.records)), at),
    ]
    made = [
        overview_figure(report.records, report.runs),
        capacity_figure(
            report.records, report.runs, block if first_figures(report)[0] == "capacity" else None
        ),
        matched_figure(report.records),
        *(f if f is None or f.name in report.own else without_files(f) for f in along),
        curve_figure(report.records, report.runs),
        map_figure(report.records),
        distance_figure(report.records, report.results),
        law_figure(report.results, grey_domains(report.records)),
    ]
    return [figure for figure in made if figure is not None]


def report_html(report: Report, figures: Sequence[Figure] | None = None) -> str:
    """The page; `figures` are `report_figures`, if they are made already."""
    drawn = report_figures(report) if figures is None else figures
    questions = dict.fromkeys(about.question for about in report.abouts if about.question)
    names = {figure.name for figure in drawn}
    first: list[Block] = [("figure", n) for n in first_figures(report) if n in names][:1]
    step = next_step(report.records, *(about.command for about in report.abouts))
    holds = table_title(report.records)
    if not questions and report.title != holds:
        questions = {holds: None}
    answer = answer_of(report)
    page = ReportPage(
        title=report.title,
        questions=list(questions),
        remarks=report.remarks,
        answer=answer.sentences,
        gloss=gloss(answer.sentences),
        sure=[n for n in (*answer.notes, *answer.left_out) if n not in answer.tabled],
        sure_table=domain_parts(answer.domains),
        first=[
            *first,
            *capacity_parts(report.records),
            *best_parts(report.records, report.runs),
        ],
        next=next_parts(step),
        sections=_sections(report, names - {name for _, name in first}),
        figures=drawn,
    )
    return page_html(page)


def table_title(records: Sequence[CellRecord]) -> str:
    """What cells are about that no question comes with.

    `Adapting mbt2018-mean to 7 domains: 756 cells of 5 methods`.
    """
    codecs, domains, methods = (
        sorted({str(r.params[name]) for r in records}) for name in ("codec", "domain", "method")
    )
    to = ", ".join(domains) if len(domains) < 4 else counted(len(domains), "domain")
    cells = counted(len(records), "cell")
    return f"Adapting {' and '.join(codecs)} to {to}: {cells} of {counted(len(methods), 'method')}"


def answer_of(report: Report) -> Headline:
    """At most three sentences, and how sure they are."""
    return headline(report.records, report.answer[:1])


def first_figures(report: Report) -> list[str]:
    """Which figure shows the answer, best first: of one domain, adapter sizes say more than a row would."""
    domains = {r.params["domain"] for r in report.records}
    return [*report.own, *(["overview"] if len(domains) > 1 else []), "capacity"]


def _sections(report: Report, names: set[str]) -> list[Section]:
    """The parts that are folded away; those without anything are left out."""

    def drawn(*wanted: str) -> list[Block]:
        return [("figure", name) for name in wanted if name in names]

    words: list[Block] = []
    for title, lines in findings(report).items():
        words += [("heading", title), ("lines", lines)]
    records = report.records
    choices = choose_learning_rates(records)
    methods = sorted({str(r.params["method"]) for r in records}, key=method_rank)
    far = verdict_lines(records)
    verdict: list[Block] = [("lines", far)] if far else []
    return [
        Section("words", "All findings in words", words),
        Section("capacity", "By domain and adapter size", drawn("overview", "capacity")),
        Section("matched", "Methods at matched gain", drawn("matched")),
        Section(
            "curves", "Rate and distortion", [*drawn("curves"), *curves_parts(curve_rows(records))]
        ),
        Section(
            "trends",
            "Along images, steps, lambda and domains",
            drawn("image_count", "training_budget", "bitrate", "domain_shift", "graded_shift"),
        ),
        Section("maps", "Maps", drawn("maps")),
        Section("distance", "Domain distance", [*verdict, *drawn("distance")]),
        Section(
            "laws",
            "Laws",
            [*drawn("laws"), *laws_parts(law_rows(report.results), num_diverged(choices))],
        ),
        Section("pictures", "Reconstructions", pictures_parts(report.pictures, report.runs)),
        Section("failed", "Failed cells", failures_parts(records)),
        terms_section([*ADAPTATION_TERMS, *method_terms(methods)]),
        Section("facts", "What was run", facts(records, choices)),
        Section("reproduce", "Run it again", reproduce_parts(report.abouts, records)),
    ]
