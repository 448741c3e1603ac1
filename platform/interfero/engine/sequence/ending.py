"""What a sequence sweep ends with: tables, figures, laws and its report."""

from __future__ import annotations

from interfero.analysis.about import About
from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.cells import Cells
from interfero.analysis.charts.data import Figure, RunLinks
from interfero.analysis.charts.files import write_pictures
from interfero.analysis.charts.sequence import sequence_figures
from interfero.analysis.laws.fits_file import write_scaling_fits
from interfero.analysis.note import note_head
from interfero.analysis.records import write_tables
from interfero.analysis.report.sequence import SequenceReport, write_sequence_report
from interfero.analysis.sequence.findings import SequenceFindings
from interfero.engine.ending import Ending
from interfero.engine.sweep_run import SweepRun
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.summary import TEXT_LIMIT


def write_ending(question: str, run: SweepRun, command: str) -> Ending:
    """Write tables, figures and the report of the cells that were heard of."""
    found, store = SequenceFindings(Cells(run.reported)), run.store
    folder = store.folder / "report"
    settings = store.settings() if store.exists else {}
    about = About(
        name=store.name,
        kind=str(settings.get("kind", "")),
        question=question,
        # As it was begun: a resumption's own options repeat nothing.
        command=str(settings.get("command", command)),
        versions=provenance_tags(),
    )
    figures = sequence_figures(found, RunLinks(run.tracker.run_ids))
    page = SequenceReport(store.name, found, about, RunLinks(run.tracker.run_ids))
    report = write_sequence_report(page, folder, figures)
    step = found.next_step(about.command)
    return Ending(
        answer=found.answer,
        sure=found.sure,
        report=report,
        surer=step.reasons if step else (),
        failed=failed_lines(found.records),
        note=_note(found, about, run, figures),
        files=[
            report,
            *write_tables(found.records, folder, about),
            *write_scaling_fits(found.laws, folder),
            *write_pictures(figures, folder),
        ],
    )


def _note(found: SequenceFindings, about: About, run: SweepRun, figures: list[Figure]) -> str:
    """The head that every sweep has, and as many of the findings as there is room for."""
    picture = next((f"{f.variants[f.start].file}.png" for f in figures), "")
    lines = note_head(
        about.question, found.answer, about.command, run.tracker.link, picture, TEXT_LIMIT
    )
    versions = ", ".join(f"{name} {value}" for name, value in sorted(about.versions.items()))
    lines += ["", f"Versions: {versions}.", ""]
    for title, own in found.lines.items():
        lines += [f"**{title}**", "", *(f"- {line}" for line in own), ""]
    return "\n".join(lines)[:TEXT_LIMIT]
