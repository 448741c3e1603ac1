"""How a sweep ends: the table, the figures, what the parent run holds, and the last lines."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from rich.console import Console

from interfero.analysis.about import About
from interfero.analysis.answers import Answer, Findings
from interfero.analysis.best import BestAdapter, best_adapters, best_keys, write_best
from interfero.analysis.note import sweep_note
from interfero.analysis.pareto import (
    CONSTRAINED,
    Front,
    front_keys,
    pareto_fronts,
    write_fronts,
)
from interfero.analysis.pareto_figure import write_front_figures
from interfero.analysis.records import write_tables
from interfero.analysis.report.figure_data import Runs
from interfero.analysis.report.pictures import FOLDER as PICTURES_FOLDER
from interfero.analysis.report.writing import Origin, Written, write_report
from interfero.analysis.report_table import capacity_table, failed_lines
from interfero.engine.options import AdaptationOptions
from interfero.engine.search import BlockSearch
from interfero.engine.sweep_run import SweepRun
from interfero.records import CellRecord
from interfero.store.files import inside
from interfero.store.sweep import SweepStore
from interfero.tracking.names import BEST_TAG, PARETO_TAG
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.tracker import Tracker

FAILED_EXIT = 1
INTERRUPTED_EXIT = 130
INTERRUPTED_WAIT_S = 3.0
"""How long an interrupted sweep tries a tracking server that is away; --resume delivers the rest."""


def report(
    console: Console, question: str, answer: Answer, options: AdaptationOptions, run: SweepRun,
    searches: Sequence[BlockSearch], command: str,
) -> int:  # fmt: skip
    """Print and log what came out; returns the exit code."""
    too_many = run.num_failed > options.max_failed
    found = Findings(run.reported)
    written = _log_report(question, answer, found, options, run, command)
    run.tracker.close("FAILED" if too_many else "FINISHED")
    _print_report(console, options, run, searches, written)
    if too_many:
        what = "--resume tries them again"
        if options.sampler != "grid":
            what = "a sampler does not ask for them again"
        console.print(
            f"{run.num_failed} cells failed, --max-failed is {options.max_failed}; {what}"
        )
    return FAILED_EXIT if too_many else 0


def interrupted(console: Console, tracker: Tracker, store: SweepStore, command: str) -> int:
    """Say what is kept and how to go on; returns the exit code."""
    tracker.close("KILLED", wait_s=INTERRUPTED_WAIT_S)
    finished = sum(r.status == "finished" for r in store.records().values())
    console.print(
        f"\ninterrupted: {finished} finished cells are kept in {store.folder}\n"
        f"go on with: {resume_command(command)}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    return INTERRUPTED_EXIT


def command_line(script: str, arguments: Sequence[str], name: str, *, named: bool) -> str:
    """What to type to start this sweep again, its name included."""
    every = list(arguments) if named else [*arguments, "--name", name]
    return shlex.join([_python(), script, *every])


def resume_command(command: str) -> str:
    """What to type to go on with a sweep that `command` started."""
    return command if "--resume" in shlex.split(command) else f"{command} --resume"


def _log_report(
    question: str, answer: Answer, found: Findings, options: AdaptationOptions, run: SweepRun,
    command: str,
) -> Written:  # fmt: skip
    records, store = found.records, run.store
    folder = store.folder / "report"
    fronts = pareto_fronts(records, options.max_forgetting)
    best = best_adapters(records, options.max_forgetting)
    tags = [_front_tags(fronts, front_keys(folder)), _best_tags(best, best_keys(folder))]
    settings = store.settings() if store.exists else {}
    about = About(
        name=store.name,
        kind=settings.get("kind", ""),
        question=question,
        # As it was begun: a resumption's own options repeat nothing.
        command=settings.get("command", command),
        versions=provenance_tags(),
    )
    tables = write_tables(records, folder, about)
    origin = Origin(store.name, [about], Runs(run.tracker.run_ids), answer=answer.sentences(found))
    written = write_report(found, folder, origin, partial(_pictures, store))
    run.tracker.note(_note(options, run, about, written, best))
    others = [
        *answer.write_figures(found, folder),
        *write_fronts(fronts, folder),
        *write_front_figures(fronts, folder),
        *write_best(best, folder),
    ]
    run.tracker.parent_artifacts(list(dict.fromkeys([*written.files, *tables, *others])))
    run.tracker.parent_artifacts(written.pictures, PICTURES_FOLDER)
    for by_cell in tags:
        run.tracker.cell_tags(by_cell)
    counts = {"cells/finished": len(records) - run.num_failed, "cells/failed": run.num_failed}
    if options.early_stopping != "none":
        counts["cells/stopped"] = run.num_stopped
    run.tracker.parent_metrics(counts)
    return written


def _note(
    options: AdaptationOptions, run: SweepRun, about: About, written: Written,
    best: Sequence[BestAdapter],
) -> str:  # fmt: skip
    """What the parent run's page says."""
    return sweep_note(
        run.reported,
        about.command,
        question=about.question,
        seeds={"data": options.data_seeds, "init": options.init_seeds},
        versions=about.versions,
        findings=written.findings,
        best=best,
        link=run.tracker.link,
    )


def _pictures(store: SweepStore, record: CellRecord) -> Path | None:
    """A cell's reconstructions, if it kept any and they are still there."""
    path = None if record.sample_file is None else inside(store.folder, record.sample_file)
    return path if path is not None and path.is_file() else None


def _front_tags(fronts: Sequence[Front], before: set[str]) -> dict[str, dict[str, str]]:
    """Which cells are on a front, and which no longer are."""
    members = {member.key for front in fronts for member in front.members}
    return {key: {PARETO_TAG: str(key in members).lower()} for key in sorted(members | before)}


def _best_tags(best: Sequence[BestAdapter], before: set[str]) -> dict[str, dict[str, str]]:
    """Which cells are the best of their domain and lambda, and which no longer are."""
    tags = {one.record.key: f"{one.domain}, lambda {one.rd_lambda:g}" for one in best}
    return {key: {BEST_TAG: tags.get(key, "")} for key in sorted({*tags, *before})}


def search_lines(
    options: AdaptationOptions, run: SweepRun, searches: Sequence[BlockSearch]
) -> list[str]:
    """What came of the searches: the best cells of each block, and how many were stopped early."""
    lines = []
    limit = options.max_forgetting
    bound = "" if limit is None else f" that forget {limit:g} % at most ({CONSTRAINED}, routed)"
    for search in searches:
        best = ", ".join(search.best_keys()) or "none"
        lines.append(f"best cells of {search.study.study_name}{bound}: {best}")
    if run.num_stopped:
        lines.append(
            f"{run.num_stopped} of {len(run.records)} cells were stopped early by "
            f"{options.early_stopping}: they are in no table and no figure"
        )
    return lines


def _print_report(
    console: Console, options: AdaptationOptions, run: SweepRun, searches: Sequence[BlockSearch],
    written: Written,
) -> None:  # fmt: skip
    records = run.reported
    for line in search_lines(options, run, searches):
        console.print(line, highlight=False, markup=False)
    console.print(capacity_table(records))
    for line in [*written.findings, *failed_lines(records)]:
        console.print(line, highlight=False, markup=False)
    print_last_lines(console, run, f"the report, one file for a browser: {written.files[0]}")


def print_last_lines(console: Console, run: SweepRun, summary: str) -> None:
    """Where the results are, `summary` being a line of them; and whether the tracking server has them."""
    for line in (
        *_tracking_lines(run.tracker),
        f"records, adapters and figures: {run.store.folder}",
        summary,
        f"see them in MLflow: {_ui_command(run.tracker.uri)}",
    ):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _tracking_lines(tracker: Tracker) -> list[str]:
    """What the tracking server lacks, and what to do about it; nothing where it has everything."""
    lines = []
    if tracker.trouble:
        lines.append(f"tracking is behind: {tracker.trouble}; --resume delivers the rest")
    if tracker.num_refused:
        lines.append(
            f"the tracking server refused {tracker.num_refused} writes, MLflow lacks them and the records "
            f"below have them; {tracker.refused_path} says why: mend that, then start another --name, "
            "which takes the finished cells over and writes all of them anew"
        )
    return lines


def _ui_command(uri: str) -> str:
    if uri.startswith("http"):
        return uri
    return shlex.join([_python(), "-m", "mlflow", "ui", "--backend-store-uri", uri])


def _python() -> str:
    """The running interpreter as one types it."""
    found = shutil.which("python")
    if found is not None and Path(found).absolute() == Path(sys.executable):
        return "python"
    with suppress(ValueError):
        return str(Path(sys.executable).relative_to(Path.cwd()))
    return sys.executable
