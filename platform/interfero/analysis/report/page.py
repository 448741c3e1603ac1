"""`report.html`: one file that works offline and asks nothing of any server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from interfero.analysis.about import About
from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.report.capacity import capacity_figure
from interfero.analysis.report.curves import curve_figure, curve_lines, curve_rows
from interfero.analysis.report.distance import distance_figure
from interfero.analysis.report.figure_data import Figure, RunLinks
from interfero.analysis.report.laws import law_figure, law_lines, law_rows
from interfero.analysis.report.maps import map_figure
from interfero.analysis.report.matched import matched_figure, matched_lines
from interfero.analysis.report.pictures import ShownCell
from interfero.analysis.report.sections import (
    capacity_section,
    curves_section,
    escape,
    facts,
    failures_section,
    laws_section,
    paragraphs,
    pictures_section,
    reproduce_section,
)
from interfero.analysis.report.shell import Section, page_html
from interfero.analysis.sentences import summary_lines
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


def findings(report: Report) -> dict[str, list[str]]:
    """The summary in sentences, by what they are about; every number is computed from the records.

    What the sweep's own answer has said is not said again.
    """
    found = {
        "The question": list(report.answer),
        "Gain and forgetting": summary_lines(report.records),
        "At matched gain": matched_lines(report.records),
        "Rate and distortion": curve_lines(report.records),
        "Laws": law_lines(report.results),
    }
    said: set[str] = set()
    for title, lines in found.items():
        found[title] = [line for line in lines if line not in said]
        said.update(lines)
    return {title: lines for title, lines in found.items() if lines}


def report_figures(report: Report) -> list[Figure]:
    """Those that the records can fill."""
    made = [
        capacity_figure(report.records, report.runs),
        matched_figure(report.records),
        curve_figure(report.records, report.runs),
        map_figure(report.records),
        distance_figure(report.records, report.results),
        law_figure(report.results),
    ]
    return [figure for figure in made if figure is not None]


def report_html(report: Report) -> str:
    """The page."""
    figures = report_figures(report)
    questions = dict.fromkeys(about.question for about in report.abouts if about.question)
    head = facts(report.records, choose_learning_rates(report.records)) + "".join(
        f'<p class="warning">{escape(remark)}</p>' for remark in report.remarks
    )
    sections = _sections(report, {figure.name: figure for figure in figures})
    foot = failures_section(report.records)
    return page_html(report.title, list(questions), head, sections, figures, foot)


def _sections(report: Report, figures: dict[str, Figure]) -> list[Section]:
    """The parts, whether they have something to say or not."""
    answer = "".join(
        f"<h3>{escape(title)}</h3>{paragraphs(lines)}" for title, lines in findings(report).items()
    )

    def drawn(name: str) -> str:
        return f'<figure id="figure-{name}"></figure>' if name in figures else ""

    capacity = drawn("capacity") + capacity_section(report.records)
    laws = drawn("laws") + laws_section(law_rows(report.results))
    every = [
        ("answer", "In words", answer),
        ("capacity", "Gain and forgetting", capacity),
        ("matched", "Methods at matched gain", drawn("matched")),
        (
            "curves",
            "Rate and distortion",
            drawn("curves") + curves_section(curve_rows(report.records)),
        ),
        ("maps", "Maps", drawn("maps")),
        ("distance", "Domain distance", drawn("distance")),
        ("laws", "Laws", laws),
        ("pictures", "Reconstructions", pictures_section(report.pictures, report.runs)),
        ("reproduce", "Run it again", reproduce_section(report.abouts, report.records)),
    ]
    return [Section(*part) for part in every]
