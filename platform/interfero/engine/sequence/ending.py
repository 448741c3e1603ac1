"""What a sweep over sequences of domains ends with: its tables."""

from __future__ import annotations

from rich.table import Table

from interfero.analysis.about import About
from interfero.analysis.capacity_table import failed_lines
from interfero.analysis.note import note_head
from interfero.analysis.records import write_tables
from interfero.engine.ending import Ending
from interfero.engine.sweep_run import SweepRun
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.summary import TEXT_LIMIT


def write_ending(question: str, run: SweepRun, command: str) -> Ending:
    """Write the tables of the rows that were heard of."""
    records, store = run.reported, run.store
    about = About(
        name=store.name,
        kind=str(store.settings().get("kind", "")) if store.exists else "",
        question=question,
        command=command,
        versions=provenance_tags(),
    )
    folder = store.folder / "report"
    files = write_tables(records, folder, about)
    table = Table("method", "sequence", "gain %", "source forgotten %")
    for record in records:
        values = (
            f"{record.metrics.get(name, 0.0):.2f}"
            for name in ("target/rd_gain_percent", "source/forgetting_percent")
        )
        table.add_row(str(record.params["method"]), str(record.params["sequence"]), *values)
    note = note_head(question, [], command, run.tracker.link, "", TEXT_LIMIT)
    return Ending(
        table=table,
        lines=failed_lines(records),
        summary=f"the tables: {folder}",
        note="\n".join(note)[:TEXT_LIMIT],
        files=files,
    )
