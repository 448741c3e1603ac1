"""`report.html` of a sweep about learning from compressed images: the same page, other figures and words."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from interfero.analysis.about import About
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.charts.restoration import restoration_figures
from interfero.analysis.grouping import grouped
from interfero.analysis.report.sections import failures_parts, next_parts, reproduce_parts
from interfero.analysis.report.shell import Block, PageTable, ReportPage, Section, page_html
from interfero.analysis.report.terms import RESTORATION_TERMS, terms_section
from interfero.analysis.restoration.headline import headline, surer
from interfero.analysis.restoration.losses import (
    DEPLOYED,
    SHARES,
    Line,
    Summary,
    line_of,
    score_of,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic

MAX_STRIPS = 12


@dataclass(frozen=True)
class RestorationReport:
    """What a report is made from."""

    title: str
    records: Sequence[CellRecord]
    summary: Summary
    about: About | None = None
    runs: RunLinks = field(default_factory=RunLinks)
    strips: Mapping[str, Path] = field(default_factory=dict)
    """Pictures of cells that are at hand, by key."""
    remarks: Sequence[str] = ()
    """What a reader has to know of where the cells come from."""


def write_restoration_report(report: RestorationReport, folder: Path) -> Path:
    """Write `report.html`.

    Raises:
        StorageError: the folder is not writable.
    """
    path = folder / "report.html"
    write_atomic(path, restoration_html(report).encode())
    return path


def restoration_html(report: RestorationReport) -> str:
    """The page."""
    figures = restoration_figures(report.records, report.summary, report.runs)
    drawn: dict[str, list[Block]] = defaultdict(list)
    for figure in figures:
        drawn[figure.name] = [("figure", figure.name)]
    summary = report.summary
    abouts = [report.about] if report.about else []
    facts = PageTable(["what", "value"], _facts(report), 2)
    sentences = summary.sentences
    step = surer(report.records, summary, *(about.command for about in abouts))
    page = ReportPage(
        title=report.title,
        questions=[about.question for about in abouts if about.question],
        remarks=report.remarks,
        answer=headline(summary),
        first=[*(drawn["parts"] or drawn["rates"]), *_scores(summary)],
        next=next_parts(step),
        sections=[
            Section("words", "All findings in words", [("lines", sentences)] if sentences else []),
            Section("remedies", "Remedies compared", [*drawn["remedies"], *_remedies(summary)]),
            Section("rates", "Mean IoU against rate", drawn["rates"] if drawn["parts"] else []),
            Section("restorers", "Restorers while they train", drawn["restorers"]),
            Section("parts", "Where the drop comes from", _parts(summary)),
            Section("pictures", "Pictures", _pictures(report)),
            terms_section(RESTORATION_TERMS),
            Section("failed", "Failed cells", failures_parts(report.records)),
            Section("facts", "What was run", [("table", facts)]),
            Section("reproduce", "Run it again", [*reproduce_parts(abouts, []), *_steps(report)]),
        ],
        figures=figures,
    )
    return page_html(page)


def _facts(report: RestorationReport) -> list[tuple[str, str]]:
    finished = [r for r in report.records if r.status == "finished"]
    counts = f"{len(finished)} finished"
    if len(finished) < len(report.records):
        counts += f", {len(report.records) - len(finished)} failed"
    params = [r.params for r in report.records]

    def every(name: str) -> str:
        return ", ".join(
            dict.fromkeys(str(p[name]) for p in params if p.get(name, "original") != "original")
        )

    names = ("domain", "configuration", "codec", "rate_bpp", "num_steps", "architecture", "encoder")
    seeds = sorted({(p["data_seed"], p["init_seed"]) for p in params})
    num_data = len({data for data, _ in seeds})
    pairs = ", ".join(f"{data}/{init}" for data, init in seeds)
    n = f"{num_data} data seeds, {len(seeds)} models a line" if num_data > 1 else str(len(seeds))
    told = "n = 1: an illustration" if len(seeds) == 1 else f"n = {n}: {pairs} (data/init)"
    listed = [
        (name.replace("_bpp", " asked, bpp").replace("_", " "), every(name)) for name in names
    ]
    return [("cells", counts), *((name, text) for name, text in listed if text), ("seeds", told)]


def _scores(summary: Summary) -> list[Block]:
    rows = []
    for s in summary.scores:
        low, high = s.span
        gain = "" if s.psnr_gain_db is None else f"{s.psnr_gain_db:+.2f}"
        reached = "" if s.bpp is None else f"{s.bpp:.3f}"
        rows.append([s.line.domain, s.line.codec, s.line.label, s.line.rate_text, reached, f"{s.mean:.3f}",
                     f"{low:.3f} to {high:.3f}", s.seeds_text, gain])  # fmt: skip
    header = ["domain", "codec", "trained, tested", "bpp asked", "reached", summary.title, "seeds' range",
              "seeds", "PSNR gain (dB)"]  # fmt: skip
    return [("table", PageTable(header, rows, 3, whole=True))] if rows else []


def _parts(summary: Summary) -> list[Block]:
    rows = []
    for d in summary.differences:
        value = "refused" if d.value is None else d.form.format(d.value)
        ends = d.ends or d.refusal or "none"
        rows.append([d.line.domain, d.line.codec, d.name, d.line.label, f"{d.line.rate_bpp:g}", value,
                     ends, d.drawn.text])  # fmt: skip
    header = ["domain", "codec", "difference", "of", "bpp asked", "value", "95 % interval", "drawn"]
    return [("table", PageTable(header, rows, 4, long=6))] if rows else []


def _remedies(summary: Summary) -> list[Block]:
    """The share that each wins back, the largest of a place first."""
    shares = [d for d in summary.differences if d.name in SHARES]
    score = {s.line: s.mean for s in summary.scores}

    def mean_of(line: Line) -> float:
        return score[line] if line in score else score[replace(line, rate_bpp=0.0)]

    order = sorted(
        shares,
        key=lambda d: (d.line.domain, d.name, d.line.codec, d.line.rate_bpp,
                       d.value is None, -(d.value or 0.0)),
    )  # fmt: skip
    rows = [
        [d.line.domain, f"OO - {DEPLOYED[d.name]}", d.line.codec, d.line.label, f"{d.line.rate_bpp:g}",
         f"{mean_of(d.line):.3f}", "refused" if d.value is None else d.form.format(d.value),
         d.ends or d.refusal or "none"]
        for d in order
    ]  # fmt: skip
    header = ["domain", "drop", "codec", "trained, tested", "bpp asked", summary.title, "share recovered",
              "95 % interval"]  # fmt: skip
    return [("table", PageTable(header, rows, 4, long=7))] if rows else []


def _pictures(report: RestorationReport) -> list[Block]:
    """One strip a line: of the seed in the middle."""
    cells = grouped((r for r in report.records if r.key in report.strips), line_of)
    strips: list[Block] = []
    for score in report.summary.scores:
        own = sorted(cells.get(score.line, []), key=lambda r: score_of(r) or 0.0)
        if not own or len(strips) == MAX_STRIPS:
            continue
        middle = own[(len(own) - 1) // 2]
        data = base64.b64encode(report.strips[middle.key].read_bytes()).decode()
        line = score.line
        rate = f", {line.codec} at {line.rate_text} bpp" if line.rate_text else ""
        title = f"{line.label} on {line.domain}{rate}; {report.runs.text(middle)}"
        strips.append(("strip", {"title": title, "url": f"data:image/png;base64,{data}"}))
    note = (
        "First row: a training image, original, compressed, restored, as far as the model's was. Second "
        "row: a test image, original, as the model got it, its labels, the prediction; void is black. The "
        "first image of each portion, of the seed with the middle score: none was chosen by its looks."
    )
    return [("note", note), *strips] if strips else []


def _steps(report: RestorationReport) -> list[Block]:
    """Keys of the steps behind the cells: what is shared has one key."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for record in report.records:
        for kind in ("compress", "restoration", "restore", "segmentation", "finetune"):
            for key in record.provenance.get(kind, "").split():
                counts[kind, key] += 1
    if not counts:
        return []
    rows = [[kind, key, str(n)] for (kind, key), n in sorted(counts.items())]
    table = PageTable(["step", "key", "cells"], rows, 2)
    return [("heading", "Steps behind the cells"), ("table", table)]
