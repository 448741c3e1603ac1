"""A sweep script from its command line to its last line."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import tyro
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from interfero import adaptation, codecs, metrics, randomness
from interfero.analysis.answers import CAPACITY, Answer
from interfero.domains import batches, domain
from interfero.engine import distributed
from interfero.engine.calibration import StepTimer, calibrate, step_seconds
from interfero.engine.cells import Cell, Pack
from interfero.engine.console import SweepProgress
from interfero.engine.cost import CostModel
from interfero.engine.ending import (
    FAILED_EXIT,
    INTERRUPTED_EXIT,
    interrupted,
    report,
    resume_command,
)
from interfero.engine.estimating import estimate_plan, expected_packs
from interfero.engine.fingerprint import code_hash, library_versions, python_files
from interfero.engine.measurements import (
    Measurements,
    keep_start,
    keep_timings,
    read_measurements,
)
from interfero.engine.opening import begun, named_store, typed_command
from interfero.engine.options import (
    AdaptationOptions,
    check_options,
    smoke_options,
)
from interfero.engine.plan_text import print_cells, print_cost, print_plan
from interfero.engine.planning import Plan, make_plan
from interfero.engine.precision import (
    PrecisionChoice,
    choose_precision,
    has_bfloat16,
    keep_choice,
    stored_choice,
)
from interfero.engine.search import BlockSearch, cells_at_once, open_searches
from interfero.engine.sweep_run import SweepRun
from interfero.engine.timing import machine_name
from interfero.engine.worker import PackRunner
from interfero.errors import ConfigError, InterferoError
from interfero.redaction import masked_inside, without_secrets
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker

USAGE_EXIT = 2
ERROR_LINES = 18
"""Lines of an error's text; with its frame it fits the smallest usual terminal, 24 lines."""

# Options that may differ between a sweep and its resumption: they decide no number.
FREE_OPTIONS = frozenset(
    {
        "name", "storage", "resume", "reuse", "packs", "max_failed", "dry_run",
        "accept_code_change", "max_concurrent", "address", "num_samples", "max_domain_memory",
        "checkpoint_seconds", "list_cells", "calibrate",
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
    make_runner: Callable[[Plan], PackRunner[Pack]]
    """Builds the trainable's `PackRunner`."""
    code: tuple[Path, ...]
    """Files of the trainable; with the library's they make the loop hash."""
    answer: Answer = CAPACITY
    """Which figures and sentences the question is answered with."""


class StoppedError(Exception):
    """A sweep that had begun cannot go on; what is finished is kept."""


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> None:
    """Run a sweep script and exit (see `exit_with`)."""
    exit_with(lambda console: run_sweep(sweep, arguments, console))


def exit_with(run: Callable[[Console], int]) -> NoReturn:
    """Run a sweep and exit with what it came to; errors that a user can mend are a panel, no traceback.

    Exit codes: 0 done; 1 more cells failed than --max-failed, or it had to stop; 2 it could not be
    started; 130 it was interrupted and goes on with --resume.
    """
    errors = Console(stderr=True)
    try:
        code = run(Console())
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
    store = named_store(sweep.kind, options)
    code = loop_hash(sweep)
    if options.resume and options.accept_code_change:
        # A key names the code that the sweep was started with: finished cells stay known.
        code = store.settings().get("loop_hash", code)
    with console.status("loading codecs and domains"):
        plan = make_plan(options, code, partial(_choose_precision, sweep, store))
    print_plan(console, sweep.kind, sweep.question, plan)
    if not options.dry_run:
        plan.check_memory()
    if options.calibrate:
        with console.status("timing a few steps of each method"):
            keep_timings(store.storage, calibrate(plan, sweep.make_runner(plan)))
    if options.dry_run:
        _show(plan, store, console)
        return 0
    command = typed_command(sweep.kind, arguments, store, options)
    with begun(store, _settings(sweep, plan, command), options, plan.num_cells) as tracker:
        return _drive(sweep, plan, store, tracker, console, command)


def _show(plan: Plan, store: SweepStore, console: Console) -> None:
    """What a sweep would do, for `--dry-run`; nothing is written."""
    options = plan.options
    measurements = _measurements(plan, store)
    wanted = {cell.key for cell in plan.cells}
    known = store.reusable(wanted) if options.reuse else frozenset()
    left = [cell for cell in plan.cells if cell.key not in known]
    packs = plan.packs(left, model=CostModel(measurements.timings, plan.setting))
    print_cells(console, plan, packs, known, every=options.list_cells)
    expected = packs if options.sampler == "grid" else expected_packs(plan)
    print_cost(console, estimate_plan(plan, expected, measurements))


def _measurements(plan: Plan, store: SweepStore) -> Measurements:
    return read_measurements(store.storage, machine_name(plan.loop.device))


def _choose_precision(sweep: Sweep, store: SweepStore, plan: Plan) -> PrecisionChoice:
    """What this storage was decided to use on such a machine, measured if nothing was."""
    options, device = plan.options, plan.loop.device
    if options.precision != "auto":
        return choose_precision(options.precision, device)
    if options.resume and store.exists:
        begun = store.settings().get("content", {}).get("precision in training")
        if begun in ("bfloat16", "float32"):
            return PrecisionChoice(begun, "as this sweep was started")
    machine = machine_name(device)
    kept = stored_choice(store.storage, machine)
    if kept is not None:
        return kept
    runner = sweep.make_runner(plan)
    timer = partial(step_seconds, plan, runner) if isinstance(runner, StepTimer) else None
    choice = choose_precision("auto", device, timer)
    if options.dry_run or timer is None or not has_bfloat16(device):
        return choice
    return keep_choice(store.storage, machine, choice)


def _print_error(console: Console, title: str, text: str) -> None:
    """A panel of one screen: of a longer text, its start and its end, where the remedy stands."""
    lines = list(Text(without_secrets(text)).wrap(console, console.width - 4))
    if len(lines) > ERROR_LINES:
        left_out = Text(f"... {len(lines) - ERROR_LINES} lines left out ...")
        half = ERROR_LINES // 2
        lines = [*lines[:half], left_out, *lines[-half:]]
    console.print(Panel(Text("\n").join(lines), title=title, border_style="red"))


def loop_hash(sweep: Sweep) -> str:
    """Hash of all code that decides a cell's numbers."""
    packages = [Path(str(p.__file__)).parent for p in (adaptation, codecs, metrics)]
    modules = [Path(str(m.__file__)) for m in (batches, distributed, domain, randomness)]
    return code_hash([*python_files(*packages, *modules), *sweep.code])


def _settings(sweep: Sweep, plan: Plan, command: str) -> dict[str, Any]:
    """What a resumption must not change, and the command for a reader."""
    return {
        "kind": sweep.kind,
        "loop_hash": plan.loop_hash,
        "options": masked_inside(plan.options.model_dump(mode="json", exclude=set(FREE_OPTIONS))),
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
    from interfero.engine.driver import ray_session, run_packs
    from interfero.engine.feeding import Feeder

    options = plan.options

    def drive() -> int:
        searches: list[BlockSearch] = []
        if options.sampler != "grid":
            searches = open_searches(plan, store.folder / "search.db", store.ended)
        progress = SweepProgress(console)
        run = SweepRun(store, tracker, progress)
        with progress:
            left = _recall(run, plan, console)
            known = _measurements(plan, store)
            model = CostModel(known.timings, plan.setting)
            packs = plan.packs(left, model=model)
            if model.num_timings:
                print_cost(console, estimate_plan(plan, packs or expected_packs(plan), known))
            feeder = Feeder(packs, searches, options.num_samples, store.ended, run)
            progress.expect(len(run.records) + feeder.num_cells_left)
            if feeder.num_left:
                started = time.time()
                with ray_session(options) as concurrent:
                    feeder.cells_at_once = cells_at_once(
                        options, len(plan.blocks), concurrent, plan.max_mixed_members
                    )
                    if concurrent != plan.at_once:
                        feeder.set_packs(plan.packs(left, concurrent, model))
                    run_packs(options, store, sweep.make_runner(plan), feeder, run, concurrent)
                _keep_start(run, plan, started)
        return report(console, sweep.question, sweep.answer, options, run, searches, command)

    return ended_well(drive, tracker, store, console, command)


def ended_well(
    drive: Callable[[], int], tracker: Tracker, store: SweepStore, console: Console, command: str
) -> int:
    """Drive a sweep; however that ends, its parent run says so.

    Raises:
        ConfigError: it could not begin.
        StoppedError: it had begun and cannot go on.
    """
    from interfero.engine.driver import uninterrupted

    try:
        return drive()
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


def _keep_start(run: SweepRun, plan: Plan, started: float) -> None:
    """Remember how long Ray and the first actor took, for the next estimate."""
    first = [r.started_at for r in run.records.values() if r.started_at > started]
    if first:
        keep_start(run.store.storage, machine_name(plan.loop.device), min(first) - started)


def _recall(run: SweepRun, plan: Plan, console: Console) -> list[Cell]:
    """Hear of every cell of the grid that needs no training; returns those that do."""
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
    return [cell for cell in plan.cells if cell.key not in run.records]
