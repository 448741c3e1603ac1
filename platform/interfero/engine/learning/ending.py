"""How a learning sweep ends: tables, figures, what the parent run holds, and the last lines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from interfero.analysis.about import About
from interfero.analysis.learning import summarise, summary_markdown
from interfero.analysis.learning_figures import write_learning_figures
from interfero.analysis.learning_tables import learning_table, write_learning_tables
from interfero.analysis.report.figure_data import Runs
from interfero.analysis.report.learning import LearningReport, write_learning_report
from interfero.analysis.report_table import failed_lines
from interfero.engine.ending import FAILED_EXIT, print_last_lines
from interfero.engine.learning.planning import LearningPlan
from interfero.engine.sweep_run import SweepRun
from interfero.store.files import inside, write_atomic, write_json
from interfero.store.products import Products
from interfero.tracking.provenance import provenance_tags

MAX_NOTE = 7800
"""Characters: MLflow cuts longer tags."""


def report_learning(
    console: Console, question: str, plan: LearningPlan, run: SweepRun, command: str
) -> int:
    """Print and log what came out; returns the exit code."""
    records = run.reported
    summary = summarise(records)
    folder = run.store.folder / "report"
    text = summary_markdown(summary)
    write_atomic(folder / "summary.md", text.encode())
    write_json(folder / "steps.json", steps_of(plan, run))
    about = About(
        name=run.store.name,
        kind=str(run.store.settings().get("kind", "")) if run.store.exists else "",
        question=question,
        command=command,
        versions=provenance_tags(),
    )
    strips = {
        r.key: path
        for r in records
        if r.sample_file and (path := inside(run.store.folder, r.sample_file)).is_file()
    }
    runs = Runs(run.tracker.run_ids)
    page = LearningReport(run.store.name, records, summary, about, runs, strips)
    files = [
        write_learning_report(page, folder),
        *write_learning_tables(records, summary, folder, about),
        *write_learning_figures(summary, folder),
        folder / "summary.md",
        folder / "steps.json",
    ]
    run.tracker.note(_note(question, text, command))
    run.tracker.parent_artifacts(files)
    run.tracker.parent_metrics(
        {"cells/finished": len(records) - run.num_failed, "cells/failed": run.num_failed}
    )
    too_many = run.num_failed > plan.options.max_failed
    run.tracker.close("FAILED" if too_many else "FINISHED")
    console.print(learning_table(summary))
    for line in [*summary.sentences, *failed_lines(records)]:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    print_last_lines(console, run, f"the report: {folder / 'report.html'}")
    if too_many:
        console.print(
            f"{run.num_failed} cells failed, --max-failed is {plan.options.max_failed}; "
            "--resume tries them again"
        )
    return FAILED_EXIT if too_many else 0


def steps_of(plan: LearningPlan, run: SweepRun) -> list[dict[str, Any]]:
    """The graph: each step, what it needs, what it took, and where what it made lies."""
    products = Products(run.store.storage)
    rows: list[dict[str, Any]] = []
    for key, job in plan.jobs.items():
        record = run.steps.get(key) or products.record(key)
        rows.append(
            {
                "key": key,
                "step": job.kind,
                "needs": sorted({need.key for need in job.needs}),
                "status": record.status if record else "not done",
                "seconds": record.seconds if record else 0.0,
                "metrics": record.metrics if record else {},
                "product": str(Path(Products(Path()).folder.name) / job.step_key),
            }
        )
    return rows


def _note(question: str, text: str, command: str) -> str:
    versions = ", ".join(f"{name} {value}" for name, value in sorted(provenance_tags().items()))
    tail = f"\n\n**Reproduce**\n\n    {command}\n\nVersions: {versions}.\n"
    head = f"**{question}**\n\n"
    return head + text[: MAX_NOTE - len(head) - len(tail)] + tail
