"""A sweep script from its command line to its last line."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import tyro
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from interfero import adaptation, codecs, metrics, randomness
from interfero.analysis.figures import write_figures
from interfero.analysis.note import sweep_note
from interfero.analysis.records import write_tables
from interfero.analysis.report_table import capacity_table, failed_lines, summary_lines
from interfero.domains import batches, domain
from interfero.domains.bundled import BUNDLED
from interfero.engine.cells import CellRecord, Pack
from interfero.engine.console import SweepProgress
from interfero.engine.fingerprint import code_hash, python_files
from interfero.engine.options import AdaptationOptions, smoke_options, storage_folder
from interfero.engine.planning import Plan, make_plan
from interfero.engine.search import BlockSearch, open_searches
from interfero.engine.store import SweepStore
from interfero.engine.worker import PackRunner
from interfero.errors import InterferoError
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.tracker import Tracker

USAGE_EXIT = 2
FAILED_EXIT = 1
INTERRUPTED_EXIT = 130

# Options that may differ between a sweep and its resumption: they decide no number.
FREE_OPTIONS = frozenset(
    {
        "name", "storage", "resume", "reuse", "packs", "max_failed", "dry_run", "cpus_per_trial",
        "accept_code_change", "gpus_per_trial", "max_concurrent", "address", "num_samples",
    }
)  # fmt: skip


@dataclass(frozen=True)
class Sweep:
    """A question, its axes, and what trains the cells."""

    kind: str
    """Name of the MLflow experiment."""
    question: str
    """What the sweep answers, in a sentence or two."""
    options: AdaptationOptions
    """The axes by default."""
    make_runner: Callable[[Plan], PackRunner]
    """Builds the trainable's `PackRunner`."""
    code: tuple[Path, ...]
    """Files of the trainable; with the library's they make the loop hash."""


@dataclass
class SweepRun:
    """One run of a sweep's driver: hears of records, keeps and shows them."""

    sweep: Sweep
    plan: Plan
    store: SweepStore
    tracker: Tracker
    progress: SweepProgress
    records: dict[str, CellRecord] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)

    def on_started(self, pack: Pack) -> None:
        """Open the cells' MLflow runs."""
        for cell in pack.cells:
            self.tracker.cell_started(cell.key, cell.params, self._tags(cell.identity.model_dump()))
            self.running.add(cell.key)
        self.progress.set_running(len(self.running))

    def on_record(self, record: CellRecord) -> None:
        """Keep, track and show a record."""
        self.running.discard(record.key)
        self.progress.set_running(len(self.running))
        if record.key in self.records:
            self.progress.total -= 1
            return
        self.records[record.key] = record
        self.store.write_record(record)
        self.track(record)
        self.progress.add(record)

    def track(self, record: CellRecord) -> None:
        """Write a record's MLflow run; a finished one is not written twice."""
        self.tracker.cell_started(record.key, record.params, {})
        self.tracker.cell_curve(record.key, record.curve)
        files = [
            (self.store.folder / name, kind)
            for name, kind in ((record.adapter_file, "adapter"), (record.sample_file, "samples"))
            if name is not None
        ]
        self.tracker.cell_finished(record, files)

    def _tags(self, identity: dict[str, object]) -> dict[str, str]:
        return {
            f"interfero.{name}": str(value)
            for name, value in identity.items()
            if name.endswith("hash") and isinstance(value, str)
        }


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """Run a sweep script and exit.

    Exit codes: 0 done; 1 more cells failed than --max-failed; 2 it could not be started; 130 it was
    interrupted and goes on with --resume.
    """
    console = Console(stderr=False)
    try:
        code = run_sweep(sweep, arguments, console)
    except InterferoError as error:
        problem = Panel(Text(str(error)), title="cannot start", border_style="red")
        Console(stderr=True).print(problem)
        code = USAGE_EXIT
    sys.exit(code)


def run_sweep(sweep: Sweep, arguments: Sequence[str] | None, console: Console) -> int:
    """Parse, plan, train, report; returns the exit code.

    Raises:
        InterferoError: something cannot be run; nothing has been trained.
    """
    options = tyro.cli(
        AdaptationOptions, args=arguments, default=sweep.options, description=sweep.question
    )
    if options.smoke:
        options = smoke_options(options)
    with console.status("loading codecs and domains"):
        plan = make_plan(options, loop_hash(sweep))
    _print_plan(console, sweep, plan)
    if options.dry_run:
        return 0
    name = options.name or f"{sweep.kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    store = SweepStore(storage_folder(options), name)
    command = _command(sweep, arguments, name)
    with store.lease():
        store.start(
            {
                "kind": sweep.kind,
                "loop_hash": plan.loop_hash,
                "options": options.model_dump(mode="json", exclude=set(FREE_OPTIONS)),
                "command": command,
            },
            resume=options.resume,
            accept_code_change=options.accept_code_change,
        )
        tracker = Tracker.open(
            None,
            sweep.kind,
            name,
            tags=provenance_tags(),
            params={"num_cells": len(plan.cells), "sampler": options.sampler},
            outbox=store.folder / "outbox.jsonl",
        )
        return _drive(sweep, plan, store, tracker, console, command)


def loop_hash(sweep: Sweep) -> str:
    """Hash of all code that decides a cell's numbers."""
    packages = [Path(str(p.__file__)).parent for p in (adaptation, codecs, metrics)]
    modules = [Path(str(m.__file__)) for m in (batches, domain, randomness)]
    return code_hash([*python_files(*packages, *modules), *sweep.code])


def _drive(
    sweep: Sweep, plan: Plan, store: SweepStore, tracker: Tracker, console: Console, command: str
) -> int:
    # Ray takes a second to import; errors before this point answer at once.
    from interfero.engine.driver import Feeder, run_packs, start_ray

    options = plan.options
    earlier = {k: r for k, r in store.records().items() if r.status == "finished"}
    wanted = {cell.key for cell in plan.cells}
    if options.reuse and options.sampler == "grid":
        taken = store.take_over(wanted - set(earlier))
        earlier |= {record.key: record for record in taken}
        if taken:
            console.print(f"{len(taken)} cells taken over from earlier sweeps")
    searches: list[BlockSearch] = []
    if options.sampler != "grid":
        searches = open_searches(plan, store.folder / "search.db", store.finished)
    total = len(wanted) or options.num_samples * len(plan.blocks)
    progress = SweepProgress(console, total)
    run = SweepRun(sweep, plan, store, tracker, progress)
    for key, record in earlier.items():
        if key in wanted or not wanted:
            run.on_record(record)
    left = [cell for cell in plan.cells if cell.key not in run.records]
    feeder = Feeder(plan.packs(left), searches, options.num_samples, store.finished, run)
    try:
        if feeder.num_left:
            concurrent = start_ray(options)
            with progress:
                run_packs(options, store, sweep.make_runner(plan), feeder, run, concurrent)
    except KeyboardInterrupt:
        return _interrupted(console, tracker, store, command)
    except BaseException:
        with suppress(InterferoError):
            tracker.close("FAILED")
        raise
    return _report(sweep, run, searches, console, command)


def _interrupted(console: Console, tracker: Tracker, store: SweepStore, command: str) -> int:
    tracker.close("KILLED")
    finished = sum(r.status == "finished" for r in store.records().values())
    resume = command if "--resume" in command else f"{command} --resume"
    console.print(
        f"\ninterrupted: {finished} finished cells are kept in {store.folder}\n"
        f"go on with: {resume}",
        highlight=False,
        soft_wrap=True,
    )
    return INTERRUPTED_EXIT


def _report(
    sweep: Sweep, run: SweepRun, searches: Sequence[BlockSearch], console: Console, command: str
) -> int:
    """The table, the figures, and what the parent run holds; returns the exit code."""
    records = list(run.records.values())
    folder = run.store.folder / "report"
    files = [*write_tables(records, folder), *write_figures(records, folder)]
    options = run.plan.options
    seeds = {"data": options.data_seeds, "init": options.init_seeds}
    note = sweep_note(
        records, command, question=sweep.question, seeds=seeds, versions=provenance_tags()
    )
    run.tracker.note(note)
    run.tracker.parent_artifacts(files)
    failed = sum(r.status == "failed" for r in records)
    run.tracker.parent_metrics({"cells/finished": len(records) - failed, "cells/failed": failed})
    for search in searches:
        front = ", ".join(search.best_keys()) or "none"
        console.print(f"best cells of {search.study.study_name}: {front}", highlight=False)
    run.tracker.close("FAILED" if failed > run.plan.options.max_failed else "FINISHED")
    console.print(capacity_table(records))
    for line in [*summary_lines(records), *failed_lines(records)]:
        console.print(line, highlight=False, markup=False)
    if run.tracker.trouble:
        console.print(f"tracking is behind: {run.tracker.trouble}; --resume delivers the rest")
    console.print(f"records, adapters and figures: {run.store.folder}", highlight=False)
    console.print(f"see them in MLflow: {_ui_command(run.tracker.uri)}", highlight=False)
    if failed > run.plan.options.max_failed:
        console.print(
            f"{failed} cells failed, --max-failed is {run.plan.options.max_failed}; --resume tries "
            "them again"
        )
        return FAILED_EXIT
    return 0


def _ui_command(uri: str) -> str:
    if uri.startswith("http"):
        return uri
    python = Path(sys.executable)
    with suppress(ValueError):
        python = python.relative_to(Path.cwd())
    return f"{python} -m mlflow ui --backend-store-uri {uri}"


def _print_plan(console: Console, sweep: Sweep, plan: Plan) -> None:
    options, loop = plan.options, plan.loop
    num_cells = len(plan.cells) or options.num_samples * len(plan.blocks)
    console.print(f"[bold]{sweep.kind}[/bold]: {sweep.question}", highlight=False)
    for d in (*plan.domains.values(), plan.source_domain):
        role = "source" if d is plan.source_domain else "target"
        console.print(
            f"  {role} {d.name}: {len(d.train)} train and {len(d.test)} test {d.unit}",
            highlight=False,
        )
        if d.name not in BUNDLED:
            for note in d.notes:
                console.print(f"    {note}", highlight=False)
    seeds = len(options.data_seeds) * len(options.init_seeds)
    honest = "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"
    console.print(
        f"  {len(plan.blocks)} blocks, {num_cells} cells, {loop.num_steps} steps each in "
        f"{loop.precision}, {options.sampler}; {honest}",
        highlight=False,
    )
    if options.dry_run:
        for pack in plan.packs(plan.cells):
            console.print(f"  pack of {len(pack.cells)} in {pack.block.domain}", highlight=False)
            for cell in pack.cells:
                console.print(f"    {cell.key} {_describe(cell.params)}", highlight=False)
        console.print("  cost: uncalibrated (no step of this plan has been timed)")


def _describe(params: dict[str, str | int | float]) -> str:
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())


def _command(sweep: Sweep, arguments: Sequence[str] | None, name: str) -> str:
    given = list(sys.argv[1:] if arguments is None else arguments)
    named = given if "--name" in given else [*given, "--name", name]
    script = f"sweeps/{sweep.kind.replace('-', '_')}.py"
    return shlex.join(["python", script, *named])
