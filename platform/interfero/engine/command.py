"""A sweep script from its command line to its last line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from interfero import adaptation, codecs, metrics, randomness
from interfero.domains import batches, domain
from interfero.engine.cells import Pack
from interfero.engine.console import SweepProgress
from interfero.engine.ending import (
    FAILED_EXIT,
    INTERRUPTED_EXIT,
    command_line,
    interrupted,
    report,
    resume_command,
)
from interfero.engine.fingerprint import code_hash, library_versions, python_files
from interfero.engine.options import (
    AdaptationOptions,
    check_options,
    smoke_options,
    storage_folder,
)
from interfero.engine.plan_text import print_cells, print_plan
from interfero.engine.planning import Plan, make_plan
from interfero.engine.resources import check_machine
from interfero.engine.search import BlockSearch, open_searches
from interfero.engine.store import SweepStore
from interfero.engine.sweep_run import SweepRun
from interfero.engine.worker import PackRunner
from interfero.errors import ConfigError, InterferoError
from interfero.tracking.provenance import provenance_tags
from interfero.tracking.tracker import Tracker

USAGE_EXIT = 2
ERROR_LINES = 18
"""Lines of an error's text; with its frame it fits the smallest usual terminal, 24 lines."""

# Options that may differ between a sweep and its resumption: they decide no number.
FREE_OPTIONS = frozenset(
    {
        "name", "storage", "resume", "reuse", "packs", "max_failed", "dry_run",
        "accept_code_change", "max_concurrent", "address", "num_samples",
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


class StoppedError(Exception):
    """A sweep that had begun cannot go on; what is finished is kept."""


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """Run a sweep script and exit.

    Exit codes: 0 done; 1 more cells failed than --max-failed, or it had to stop; 2 it could not be
    started; 130 it was interrupted and goes on with --resume.
    """
    errors = Console(stderr=True)
    try:
        code = run_sweep(sweep, arguments, Console())
    except InterferoError as error:
        _print_error(errors, "cannot start", str(error))
        code = USAGE_EXIT
    except StoppedError as error:
        _print_error(errors, "stopped", str(error))
        code = FAILED_EXIT
    except KeyboardInterrupt:
        errors.print("interrupted before any training")
        code = INTERRUPTED_EXIT
    sys.exit(code)


def run_sweep(sweep: Sweep, arguments: Sequence[str] | None, console: Console) -> int:
    """Parse, plan, train, report; returns the exit code.

    Raises:
        InterferoError: something cannot be run; nothing has been trained.
        StoppedError: a full disk, say, while it was running.
    """
    options = tyro.cli(
        AdaptationOptions, args=arguments, default=sweep.options, description=sweep.question
    )
    if options.smoke:
        options = smoke_options(options)
    check_options(options)
    name = options.name or f"{sweep.kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    store = SweepStore(storage_folder(options), name)
    if not options.dry_run:
        # Before minutes of loading: names taken and names that are not there answer at once.
        store.check_name(resume=options.resume)
        check_machine(options)
    code = loop_hash(sweep)
    if options.resume and options.accept_code_change:
        # A key names the code that the sweep was started with: finished cells stay known.
        code = store.settings().get("loop_hash", code)
    with console.status("loading codecs and domains"):
        plan = make_plan(options, code)
    print_plan(console, sweep.kind, sweep.question, plan)
    if options.dry_run:
        wanted = {cell.key for cell in plan.cells}
        known = store.reusable(wanted) if options.reuse else frozenset()
        print_cells(console, plan, known)
        return 0
    given = sys.argv[1:] if arguments is None else arguments
    script = sys.argv[0] if arguments is None else f"sweeps/{sweep.kind.replace('-', '_')}.py"
    command = command_line(script, given, name, named=options.name is not None)
    with store.lease():
        store.check(_settings(sweep, plan, command), resume=options.resume)
        tracker = Tracker.open(
            None,
            sweep.kind,
            name,
            tags=provenance_tags(),
            params={"num_cells": plan.num_cells, "sampler": options.sampler},
            outbox=store.folder / "outbox.jsonl",
        )
        # After the last check: a sweep that could not start has not taken its name.
        store.write_settings(_settings(sweep, plan, command))
        return _drive(sweep, plan, store, tracker, console, command)


def _print_error(console: Console, title: str, text: str) -> None:
    """A panel of one screen: of a longer text, its start and its end, where the remedy stands."""
    lines = list(Text(text).wrap(console, console.width - 4))
    if len(lines) > ERROR_LINES:
        left_out = Text(f"... {len(lines) - ERROR_LINES} lines left out ...")
        half = ERROR_LINES // 2
        lines = [*lines[:half], left_out, *lines[-half:]]
    console.print(Panel(Text("\n").join(lines), title=title, border_style="red"))


def loop_hash(sweep: Sweep) -> str:
    """Hash of all code that decides a cell's numbers."""
    packages = [Path(str(p.__file__)).parent for p in (adaptation, codecs, metrics)]
    modules = [Path(str(m.__file__)) for m in (batches, domain, randomness)]
    return code_hash([*python_files(*packages, *modules), *sweep.code])


def _settings(sweep: Sweep, plan: Plan, command: str) -> dict[str, Any]:
    """What a resumption must not change, and the command for a reader."""
    return {
        "kind": sweep.kind,
        "loop_hash": plan.loop_hash,
        "options": plan.options.model_dump(mode="json", exclude=set(FREE_OPTIONS)),
        "content": {
            **{f"codec for lambda {v:g}": c.weights_hash for v, c in plan.codecs.items()},
            **{f"domain {n}": d.fingerprint for n, d in plan.domains.items()},
            f"source domain {plan.source_domain.name}": plan.source_domain.fingerprint,
            **{f"version of {n}": v for n, v in library_versions().items()},
            # Resolved: `auto` and the CPUs of a trial mean something else on another machine.
            **{f"{n} in training": v for n, v in plan.loop.model_dump().items()},
        },
        "command": command,
    }


def _drive(
    sweep: Sweep, plan: Plan, store: SweepStore, tracker: Tracker, console: Console, command: str
) -> int:
    # Ray takes a second to import; errors before this point answer at once.
    from interfero.engine.driver import Feeder, ray_session, run_packs, uninterrupted

    options = plan.options
    try:
        searches: list[BlockSearch] = []
        if options.sampler != "grid":
            searches = open_searches(plan, store.folder / "search.db", store.finished)
        progress = SweepProgress(console)
        run = SweepRun(store, tracker, progress)
        with progress:
            left = _recall(run, plan, console)
            feeder = Feeder(left, searches, options.num_samples, store.finished, run)
            progress.expect(len(run.records) + feeder.num_cells_left)
            if feeder.num_left:
                with ray_session(options) as concurrent:
                    run_packs(options, store, sweep.make_runner(plan), feeder, run, concurrent)
        return report(console, sweep.question, options, run, searches, command)
    except KeyboardInterrupt:
        with uninterrupted():
            return interrupted(console, tracker, store, command)
    except ConfigError:
        tracker.close("FAILED")
        raise
    except InterferoError as error:
        tracker.close("FAILED")
        raise StoppedError(f"{error}\ngo on with: {resume_command(command)}") from error
    except BaseException:
        with suppress(InterferoError):
            tracker.close("FAILED")
        raise


def _recall(run: SweepRun, plan: Plan, console: Console) -> list[Pack]:
    """Hear of every cell that needs no training; returns the packs of those that do."""
    options, store = plan.options, run.store
    wanted = {cell.key for cell in plan.cells}
    kept = store.records()
    if options.sampler != "grid":
        # A failed cell is a sample as well: the sampler was told of it.
        earlier = list(kept.values())
    else:
        earlier = [r for r in kept.values() if r.status == "finished" and r.key in wanted]
        if options.reuse:
            taken = store.take_over(wanted - {r.key for r in earlier})
            earlier += taken
            if taken:
                console.print(f"{len(taken)} cells taken over from earlier sweeps")
    for record in earlier:
        run.on_record(record)
    return plan.packs([cell for cell in plan.cells if cell.key not in run.records])
