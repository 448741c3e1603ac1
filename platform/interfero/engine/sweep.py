"""A sweep script from its command line to its last line, whatever it asks."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from interfero.engine.gone_reader import gone_reader_ends
from interfero.engine.options.base import SweepOptions, free_options
from interfero.engine.options.names import check_names, check_words
from interfero.engine.options.parsing import parse_options
from interfero.engine.prices import PRICE, price_for
from interfero.errors import InterferoError
from interfero.redaction import masked_inside, without_secrets
from interfero.tracking.database_file import check_listening

if TYPE_CHECKING:
    from interfero.engine.adaptation.halving import Halving
    from interfero.engine.node import Node
    from interfero.engine.plan import Plan
    from interfero.engine.ray_session import RaySession
    from interfero.engine.study import Study
    from interfero.engine.sweep_run import SweepRun
    from interfero.store.sweep import SweepStore
    from interfero.tracking.tracker import Tracker

USAGE_EXIT = 2
ERROR_LINES = 18
"""Lines of an error's text; with its frame it fits the smallest usual terminal, 24 lines."""


@dataclass(frozen=True)
class Sweep:
    """A question, its axes, and the kind of study that answers it."""

    kind: str
    """Name of the MLflow experiment."""
    question: str
    """What the sweep answers, in a sentence or two."""
    options: SweepOptions
    """The axes by default."""
    study: Callable[[], Study[Any, Any]]
    """Makes the study; called after the options were read, so that `--help` loads none of it."""


def main(sweep: Sweep, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a sweep script and exit; errors that a user can mend are a panel, no traceback.

    Exit codes: 0 done; 1 more cells failed than --max-failed, or it had to stop; 2 it could not be
    started; 130 it was interrupted (Ctrl-C, SIGTERM, SIGHUP or SIGUSR1) and goes on with --resume.
    """
    from interfero.engine.ending import FAILED_EXIT, INTERRUPTED_EXIT, StoppedError
    from interfero.engine.interrupts import interruptible

    errors = Console(stderr=True)
    try:
        with interruptible():
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
    """Parse, plan, do what is left, report; returns the exit code.

    Raises:
        InterferoError: something cannot be run; nothing has been trained.
        StoppedError: a full disk, say, while it was running.
    """
    with gone_reader_ends():
        options = parse_options(sweep.options, arguments, sweep.question)
    options = _as_begun(options)
    if options.smoke:
        options = options.smallest()
    options = options.settled()
    check_words(options)
    options.check()
    check_names(options)
    price_for(options)
    if not options.dry_run:
        check_listening()
    # Libraries take seconds to import: an option that is refused is refused before.
    from interfero.engine.ending import interrupted_outside
    from interfero.engine.interrupts import forget, heeding
    from interfero.engine.opening import named_store, typed_command
    from interfero.engine.ray_session import ray_for

    store = named_store(sweep.kind, options)
    # A command most likely trains. What calls this from Python often does not, and has its libraries already.
    early = arguments is None and not options.dry_run
    code: int | None = None
    try:
        with heeding(), ray_for(options, store.name, early=early) as session:
            code = _plan_and_drive(sweep, options, arguments, store, session, console)
    except KeyboardInterrupt:
        forget()
        if code is None and (options.dry_run or not store.exists):
            raise
    if code is not None:
        return code  # It has ended, whatever interrupted the end of Ray.
    command = typed_command(sweep.kind, arguments, store, options)
    return interrupted_outside(console, store, command)


def _as_begun(options: SweepOptions) -> SweepOptions:
    """A sweep that an earlier build began goes on as it was: no grid was widened then."""
    from interfero.engine.options.base import storage_folder
    from interfero.store.sweep import SweepStore

    if (
        not options.resume
        or options.name is None
        or "widen_rates" not in type(options).model_fields
    ):
        return options
    store = SweepStore(storage_folder(options), options.name)
    if not store.exists or "widen_rates" in store.settings().get("options", {}):
        return options
    return options.model_copy(update={"widen_rates": False})


def _plan_and_drive(
    sweep: Sweep, options: SweepOptions, arguments: Sequence[str] | None, store: SweepStore,
    session: RaySession, console: Console,
) -> int:  # fmt: skip
    from interfero.engine.builds import BUILDS, Build, check_build
    from interfero.engine.ending import ended_well
    from interfero.engine.opening import begun, typed_command

    study = sweep.study()
    code = study.code()
    build = Build.current(code)
    if options.resume and store.exists:
        said = check_build(store, code, accept_code=options.accept_code_change)
        if said is not None:
            console.print(said, highlight=False, markup=False, soft_wrap=True)
    if options.resume and options.accept_code_change:
        # A key names the code that the sweep was started with: finished cells stay known.
        code = str(store.settings().get("loop_hash", code))
    with console.status("loading codecs and domains"):
        plan = study.plan(options, code, store)
    done = _done(plan, store)
    if not options.dry_run:
        plan.check()
    with console.status("preparing"):
        study.prepare(plan, store, done)
    study.show(console, sweep.kind, sweep.question, plan, store, done)
    if options.dry_run:
        return 0
    command = typed_command(sweep.kind, arguments, store, options)
    settings = _settings(sweep, plan, command) | {BUILDS: [build.model_dump()]}
    with begun(store, settings, options, plan.num_cells) as tracker:
        driven = partial(_drive, sweep, study, plan, store, session, tracker, console, command)
        return ended_well(driven, tracker, store, console, command)


def _done(plan: Plan, store: SweepStore) -> frozenset[str]:
    """Keys of nodes that this storage has, and of cells that this or, with --reuse, any sweep has."""
    cells = {cell.key for cell in plan.leaves}
    if plan.options.reuse:
        known = store.reusable(cells)
    else:
        known = frozenset(key for key in cells if store.finished(key) is not None)
    return known | _made(plan, plan.leaves, store)


def _made(plan: Plan, cells: Sequence[Node], store: SweepStore) -> frozenset[str]:
    """Keys of nodes behind some cells whose products are there."""
    from interfero.store.products import Products

    products = Products(store.storage)
    return frozenset(
        k for k, node in plan.behind(cells).items() if products.is_done(node.key, node.files)
    )


def _print_error(console: Console, title: str, text: str) -> None:
    """A panel of one screen: of a longer text, its start and its end, where the remedy stands."""
    lines = list(Text(without_secrets(text)).wrap(console, console.width - 4))
    if len(lines) > ERROR_LINES:
        left_out = Text(f"... {len(lines) - ERROR_LINES} lines left out ...")
        half = ERROR_LINES // 2
        lines = [*lines[:half], left_out, *lines[-half:]]
    console.print(Panel(Text("\n").join(lines), title=title, border_style="red"))


def _settings(sweep: Sweep, plan: Plan, command: str) -> dict[str, Any]:
    """What a resumption must not change, and the command for a reader."""
    fixed = plan.options.model_dump(mode="json", exclude=free_options(type(plan.options)))
    price = price_for(plan.options)
    return {
        "kind": sweep.kind,
        "loop_hash": plan.code,
        "options": masked_inside(fixed),
        "content": plan.content,
        "num_cells": plan.num_cells,
        PRICE: None if price is None else price.model_dump(),
        "command": command,
    }


def _drive(
    sweep: Sweep, study: Study[Any, Any], plan: Plan, store: SweepStore, session: RaySession,
    tracker: Tracker, console: Console, command: str,
) -> int:  # fmt: skip
    # Ray takes a second to import; errors before this point answer at once.
    from interfero.engine.checkpoints import Checkpoints
    from interfero.engine.console import SweepProgress
    from interfero.engine.damage import damaged_steps
    from interfero.engine.driver import run_packs
    from interfero.engine.ending import conclude
    from interfero.engine.feeding import Feeder, Growing
    from interfero.engine.opening import MAX_CELLS_IN_DETAIL
    from interfero.engine.sweep_run import SweepRun

    options = plan.options
    searches = study.searches(plan, store)
    progress = SweepProgress(console)
    inputs, in_detail = study.inputs(plan, store), plan.num_cells <= MAX_CELLS_IN_DETAIL
    run = SweepRun(
        store, tracker, progress, with_curves=in_detail, inputs=inputs if in_detail else None
    )
    if not in_detail:
        console.print(
            f"more than {MAX_CELLS_IN_DETAIL} cells: learning curves are kept only in curves.parquet; MLflow "
            "has the final metrics of each cell, and the data sets of the sweep",
            highlight=False,
        )
    tracker.parent_datasets(study.all_inputs(plan, inputs))
    with progress:
        left, halving = _recall(run, plan, console), study.halving(plan, store)
        if halving is not None:
            left = _begun(halving, left, run)
        run.live = True
        made = _made(plan, left, store)
        run.damaged += damaged_steps(store.storage, plan.behind(left).keys() - made)
        packs = study.packs(plan, left, made, store)
        study.say_cost(console, plan, packs, store)
        growing = None
        if halving is not None:
            growing = Growing(
                halving, lambda cells, done, idle: study.packs(plan, cells, done, store, idle)
            )
        feeder = Feeder(packs, searches, options.num_samples, store.ended, run, made, growing)
        progress.steps = sum(not node.leaf for pack in packs for node in pack.nodes)
        progress.expect(len(run.statuses) + feeder.num_nodes_left - progress.steps)
        if feeder.num_left:
            began, run.started = time.time(), math.inf
            with session.ready() as concurrent:
                if session.note is not None:
                    console.print(session.note, highlight=False, markup=False)
                feeder.cells_at_once = study.cells_at_once(plan, concurrent)
                feeder.packs_at_once = concurrent
                feeder.set_packs(study.packs(plan, left, made, store, concurrent))
                run_packs(options, store, study.runner(plan), feeder, run, concurrent, session.code)
            study.ended(plan, run, began)
        for key in made:
            # A node another driver finished while its worker here was dying.
            Checkpoints(store.folder).delete(key)
    end = partial(study.end, sweep.question, plan, run, searches, command)
    return conclude(console, options, run, end, command)


def _begun(halving: Halving, left: Sequence[Node], run: SweepRun) -> list[Node]:
    """The cells that train first; records of an earlier driver stop others, or are of added ones."""
    first = halving.begin(node.key for node in left)
    run.on_added(len(first.added))
    for record in first.records:
        run.on_record(record)
    return list(first.cells)


def _recall(run: SweepRun, plan: Plan, console: Console) -> list[Node]:
    """Hear of every cell that is there already; returns those that are not."""
    from interfero.engine.damage import damaged_cells

    options, store = plan.options, run.store
    cells, readable = {cell.key: cell for cell in plan.leaves}, set()
    for record in store.each_record():
        readable.add(record.key)
        # A failed cell of a sampler is a sample as well: the sampler was told of it.
        # One that was added is in no plan.
        known = record.key in cells or options.widens
        if options.searches or (record.status == "finished" and known):
            run.on_record(record)
    run.damaged += damaged_cells(store, readable)
    if not options.searches and options.reuse:
        taken = 0
        for record in store.take_over(cells.keys() - run.statuses.keys()):
            run.on_record(record)
            taken += 1
        if taken:
            console.print(f"{taken} cells taken over from earlier sweeps")
    return [cell for key, cell in cells.items() if key not in run.statuses]
