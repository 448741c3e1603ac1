"""`report.html` of a sweep over sequences of domains: the same page, other figures and words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interfero.analysis.about import About
from interfero.analysis.charts.data import Figure, RunLinks
from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.laws.words import law_rows
from interfero.analysis.report.sections import (
    failures_parts,
    laws_parts,
    next_parts,
    reproduce_parts,
)
from interfero.analysis.report.shell import Block, PageTable, ReportPage, Section, page_html
from interfero.analysis.report.terms import SEQUENCE_TERMS, terms_section
from interfero.analysis.sequence.archive import ROUTERS, old_streams, routing_costs
from interfero.analysis.sequence.findings import SequenceFindings, size_text
from interfero.analysis.sequence.harm import domain_harms, never_last_line
from interfero.analysis.sequence.measures import (
    AVERAGE,
    FORGETTING,
    MEASURES,
    NAIVE,
    SequenceSummary,
    SettingRow,
)
from interfero.analysis.sequence.order_tests import OrderTests
from interfero.store.files import write_atomic


@dataclass(frozen=True)
class SequenceReport:
    """What a report is made from."""

    title: str
    found: SequenceFindings
    about: About | None = None
    runs: RunLinks = field(default_factory=RunLinks)
    remarks: Sequence[str] = ()
    """What a reader has to know of where the cells come from."""


def write_sequence_report(report: SequenceReport, folder: Path, figures: Sequence[Figure]) -> Path:
    """Write `report.html`.

    Raises:
        StorageError: the folder is not writable.
    """
    path = folder / "report.html"
    write_atomic(path, sequence_html(report, figures).encode())
    return path


def sequence_html(report: SequenceReport, figures: Sequence[Figure] | None = None) -> str:
    """The page; `figures` are `sequence_figures`, if they are made already."""
    found = report.found
    drawn = sequence_figures(found, report.runs) if figures is None else figures
    names = {figure.name for figure in drawn}
    abouts = [report.about] if report.about else []
    step = found.next_step(report.about.command if report.about else "")
    first: list[Block] = [("figure", "growth")] if "growth" in names else []
    page = ReportPage(
        title=report.title,
        questions=[about.question for about in abouts if about.question],
        remarks=report.remarks,
        answer=found.answer,
        sure=found.sure,
        first=[*first, *(_main_table(found.cases[0]) if found.cases else ())],
        next=next_parts(step),
        sections=_sections(report, names),
        figures=drawn,
    )
    return page_html(page)


def _sections(report: SequenceReport, names: set[str]) -> list[Section]:
    """The parts that are folded away; those without anything are left out."""
    found = report.found
    words: list[Block] = []
    for title, lines in found.lines.items():
        words += [("heading", title), ("lines", lines)]

    def drawn(name: str) -> list[Block]:
        return [("figure", name)] if name in names else []

    def of_cases(parts: list[list[Block]]) -> list[Block]:
        return [block for part in parts for block in part]

    cases = found.cases
    order = _order_parts(found.orders, found.cases[0]) if found.orders else []
    return [
        Section("words", "All findings in words", words),
        Section("matrix", "Matrices", drawn("matrix")),
        Section("stages", "Each domain over the stages", drawn("stages")),
        Section(
            "measures", "Measures of every setting",
            [*drawn("measures"), *of_cases([_measure_parts(summary) for summary in cases])],
        ),
        Section("harm", "Harm of a stage", of_cases([_harm_parts(s) for s in cases[:1]])),
        Section("order", "Whether order matters", order),
        Section(
            "storage", "At equal storage",
            [*drawn("storage"), *of_cases([_storage_parts(s) for s in cases[:1]])],
        ),
        Section(
            "archive", "Old streams",
            [*drawn("archive"), *of_cases([_archive_parts(s) for s in cases[:1]])],
        ),
        Section("routing", "Routing", of_cases([_routing_parts(s) for s in cases[:1]])),
        Section("laws", "Laws", [*drawn("laws"), *(laws_parts(law_rows(found.laws)) if cases else [])]),
        terms_section(SEQUENCE_TERMS),
        Section("failed", "Failed cells", failures_parts(found.records)),
        Section("reproduce", "Run it again", reproduce_parts(
            [report.about] if report.about else [], found.records)),
    ]  # fmt: skip


def _main_table(summary: SequenceSummary) -> list[Block]:
    """A row a method, at the setting that validation chose."""
    rows = [_main_row(summary, method, row) for method, row in summary.best.items()]
    header = ["method", "average loss (%)", f"that of {NAIVE} minus it", "forgetting (%)",
              "learned gain (%)", "stored in all"]  # fmt: skip
    samples = {row.means[AVERAGE.name].sample for row in summary.best.values()}
    note = (
        f"{summary.case.text}; {'; '.join(sorted(samples))}. Percent of the source codec's loss, after the "
        "last domain; in parentheses 95 % intervals, where values differ. Stored is all that is kept then, "
        "the source codec included. Above zero in the third "
        "column a method has less loss than fine-tuning, paired over orders and seeds; undecided is "
        "corrected for the number of methods (Holm). Methods with an adapter for each domain (lora, say) are "
        "scored with the right adapter given: Routing has what a real choice costs. Click on a heading to "
        "sort."
    )
    return [("table", PageTable(header, rows, 1, whole=True)), ("note", note)]


def _main_row(summary: SequenceSummary, method: str, row: SettingRow) -> list[str]:
    difference = summary.better_than_naive.get(method)
    less = "-" if difference is None else difference.judged
    size = row.num_bytes
    shown = [row.means[name].short for name in (AVERAGE.name, FORGETTING.name, "gain")]
    stored = "-" if size is None else size_text(size)
    return [row.setting.text, shown[0], less, *shown[1:], stored]


def _measure_parts(summary: SequenceSummary) -> list[Block]:
    against = summary.intransigence
    rows = []
    for row in summary.rows:
        s = row.setting
        chosen = summary.choices[s.method] is row
        more = against[s.method].short if chosen and s.method in against else "-"
        means = [row.means[m.name].short if m.name in row.means else "-" for m in MEASURES]
        rates = sorted({f"{c.learning_rate:g}" for c in row.chains})
        kept = [row.stored.get(f"stored/{n}") for n in ("parameters", "bytes", "memory_bytes")]
        sizes = ["-" if v is None else f"{v / s.case.length / 1e3:.1f}" for v in kept]
        sample = row.means[AVERAGE.name].sample
        rows.append(
            [s.text, "yes" if chosen else "", *means, more, *sizes, ", ".join(rates), sample]
        )
    header = ["setting", "chosen", *(f"{m.title} (%)" for m in MEASURES), "intransigence (%)",
              "thousand parameters per domain", "kB per domain", "of it memory", "learning rates",
              "sample"]  # fmt: skip
    return [("heading", summary.case.text), ("table", PageTable(header, rows, 2))]


def _harm_parts(summary: SequenceSummary) -> list[Block]:
    """A table a method with one codec: what learning each domain does to those met before it."""
    parts: list[Block] = []
    for row in summary.one_codec:
        rows = [
            [harm.domain, harm.mean.short, harm.where, harm.mean.sample]
            for harm in domain_harms(row.chains)
        ]
        header = ["domain", "harm of its stage (%)", "places it stood at", "sample"]
        parts += [("heading", row.setting.text), ("table", PageTable(header, rows, 1, whole=True))]
    note = (
        "What the stage in which a domain is learned adds to the loss of the domains met before "
        "it, the source included, in percent of the source codec's loss: the mean over these "
        "domains, and over orders and seeds with 95 % intervals; above zero is harm. Domains that "
        "stood at other places met other codecs and other domains before them: their difference "
        "may be that of their places."
    )
    warning = never_last_line(summary)
    return [("note", f"{note} {warning}".strip()), *parts] if parts else []


def _order_parts(found: OrderTests, summary: SequenceSummary) -> list[Block]:
    rows = []
    for test in found.tests:
        effect = test.effect
        known = [effect.probability, effect.corrected]
        refused = effect.probability is None
        p = ["refused" if refused else "-" if v is None else f"{v:.3f}" for v in known]
        rows.append([test.row.setting.text, test.measure.title, str(test.row.stages),
                     f"{effect.order_sd:.2f}", f"{effect.chance_sd:.2f}", *p, effect.sample,
                     effect.refusal])  # fmt: skip
    header = [
        "setting",
        "of",
        "domains met",
        "s.d. of orders' means (%)",
        "that by chance (%)",
        "p",
        "corrected (Holm)",
        "sample",
        "why not",
    ]
    note = (
        "Permutation test: orders are exchanged within each seed; the statistic is the spread of "
        "the orders' means, and beside it what such exchanges give on average. Not tested where no "
        "result could reach p < 0.05. Orders that begin alike are one until they part. Before the "
        "last domain, orders differ also in which domains they have met: a small p there may come "
        "of that alone, as it does of methods with an adapter for each domain. The last p is "
        "corrected for the rows of this table whose orders differ at all."
    )
    table = PageTable(header, rows, 2, long=8, name="Every test")
    return [
        ("note", f"{note} {found.hopeless}".strip()), ("table", table), ("table", _each_order(summary)),
    ]  # fmt: skip


def _each_order(summary: SequenceSummary) -> PageTable:
    """What every method comes to at the end of each order that it was run in."""
    rows = [
        [own.setting.text, " > ".join(order), *(own.means[name].short for name in shown),
         own.means[AVERAGE.name].sample]
        for row in summary.choices.values()
        for order, own in row.by_order.items()
        for shown in [(FORGETTING.name, AVERAGE.name, "gain")]
    ]  # fmt: skip
    header = [
        "setting",
        "order",
        "forgetting (%)",
        "average loss (%)",
        "learned gain (%)",
        "sample",
    ]
    return PageTable(header, rows, 2, name="Each order")


def _storage_parts(summary: SequenceSummary) -> list[Block]:
    rows = []
    for row in summary.at_equal_storage:
        own = row.best.means[FORGETTING.name].short
        budget = f"{row.budget / 1e3:.1f}"
        rows.append([budget, row.best.setting.text, "chosen", own, "-"])
        for other, difference in row.others:
            less = "not comparable" if difference is None else difference.judged
            mean = other.means[FORGETTING.name].short
            rows.append([budget, other.setting.text, "", mean, less])
    header = [
        "budget (kB)",
        "setting",
        "by validation",
        "forgetting (%)",
        "minus the chosen one's",
    ]
    note = "Undecided is corrected for the number of methods that fit into a budget (Holm)."
    return [("note", note), ("table", PageTable(header, rows, 3))] if rows else []


def _archive_parts(summary: SequenceSummary) -> list[Block]:
    rows = [
        [method, str(s.age), s.symbols_exact.share, s.pixels_exact.share, s.psnr_drop_db.short,
         s.refused.share]
        for method, row in summary.best.items() for s in old_streams(row)
    ]  # fmt: skip
    header = ["method", "age (stages)", "symbols exact (%)", "pixels exact (%)", "PSNR drop (dB)",
              "no picture (%)"]  # fmt: skip
    note = (
        "Streams are decoded here without the checks of interfero decode, which refuses those that name a "
        "codec or adapter that is not held any more, or whose symbols differ. No picture: they do not even "
        "decode so."
    )
    return [("note", note), ("table", PageTable(header, rows, 1))] if rows else []


def _routing_parts(summary: SequenceSummary) -> list[Block]:
    rows = [
        [row.setting.text, ROUTERS[cost.router], "met" if cost.seen else "to come", cost.percent.short,
         "-" if cost.wrong_percent is None else cost.wrong_percent.share]
        for row in summary.routed for cost in routing_costs(row)
    ]  # fmt: skip
    header = [
        "setting",
        "who decides",
        "domains",
        "loss against an oracle (%)",
        "routed otherwise (%)",
    ]
    note = (
        "The oracle takes the adapter of a domain that was met, and the source codec for others. Trying all "
        "adapters can do better than that, for a coding with each of them; its index is in the stream and in "
        "the rate."
    )
    return [("note", note), ("table", PageTable(header, rows, 3))] if rows else []
