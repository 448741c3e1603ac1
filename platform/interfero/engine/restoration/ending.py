"""What a restoration sweep ends with: tables, figures, its report, and the graph it walked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from interfero.analysis.about import About
from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.charts.data import RunLinks
from interfero.analysis.charts.files import write_pictures
from interfero.analysis.charts.restoration import restoration_figures
from interfero.analysis.note import note_head
from interfero.analysis.report.restoration import RestorationReport, write_restoration_report
from interfero.analysis.restoration.headline import headline, surer
from interfero.analysis.restoration.losses import summarise, summary_markdown
from interfero.analysis.restoration.tables import write_restoration_tables
from interfero.engine.ending import Ending
from interfero.engine.restoration.plan import RestorationPlan
from interfero.engine.sweep_run import SweepRun
from interfero.store.files import inside, write_atomic, write_json
from interfero.store.products import FOLDER, Products
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.summary import TEXT_LIMIT


def write_ending(question: str, plan: RestorationPlan, run: SweepRun, command: str) -> Ending:
    """Write tables, figures and the report of the cells that were heard of."""
    records, store = run.reported, run.store
    summary = summarise(records)
    folder = store.folder / "report"
    text = summary_markdown(summary)
    write_atomic(folder / "summary.md", text.encode())
    write_json(folder / "steps.json", steps_of(plan, run))
    about = About(
        name=store.name,
        kind=str(store.settings().get("kind", "")) if store.exists else "",
        question=question,
        command=command,
        versions=provenance_tags(),
    )
    strips = {
        r.key: path
        for r in records
        if r.sample_file and (path := inside(store.folder, r.sample_file)).is_file()
    }
    page = RestorationReport(
        store.name, records, summary, about, RunLinks(run.tracker.run_ids), strips
    )
    report = write_restoration_report(page, folder)
    step = surer(records, summary, command)
    return Ending(
        answer=headline(summary),
        report=report,
        surer=step.reasons if step else (),
        failed=failed_lines(records),
        note=_note(question, headline(summary), text, command, run),
        files=[
            report,
            *write_restoration_tables(records, summary, folder, about),
            *write_pictures(restoration_figures(records, summary), folder),
            folder / "summary.md",
            folder / "steps.json",
        ],
    )


def steps_of(plan: RestorationPlan, run: SweepRun) -> list[dict[str, Any]]:
    """The graph: each node, what it needs, what it took, and where what it made lies."""
    products = Products(run.store.storage)
    rows: list[dict[str, Any]] = []
    for key, node in plan.behind(plan.cells).items():
        record = products.record(key)
        rows.append(
            {
                "key": key,
                "step": node.kind,
                "needs": sorted({need.key for need in plan.needs(node)}),
                "status": record.status if record else "not done",
                "seconds": record.seconds if record else 0.0,
                "metrics": record.metrics if record else {},
                "product": str(Path(FOLDER) / node.product),
            }
        )
    return rows


def _note(question: str, answer: Sequence[str], text: str, command: str, run: SweepRun) -> str:
    """The head that every sweep has, and as much of the summary as there is room for."""
    versions = ", ".join(f"{name} {value}" for name, value in sorted(provenance_tags().items()))
    lines = note_head(question, answer, command, run.tracker.link, "", TEXT_LIMIT)
    note = "\n".join([*lines, "", f"Versions: {versions}.", "", text])
    return note[:TEXT_LIMIT]
