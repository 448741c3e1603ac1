"""A sweep about learning from compressed images, from its command line to its last line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro
from rich.console import Console

from interfero import codecs, randomness
from interfero.codecs import channels_last, compressed
from interfero.domains import batches, copies, images, labelled
from interfero.engine import distributed
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.command import FREE_OPTIONS, ended_well, exit_with
from interfero.engine.console import SweepProgress
from interfero.engine.fingerprint import MODEL_LIBRARIES, code_hash, library_versions, python_files
from interfero.engine.learning import configs
from interfero.engine.learning.ending import report_learning
from interfero.engine.learning.jobs import JobPack
from interfero.engine.learning.options import (
    LearningOptions,
    check_learning_options,
    smoke_learning_options,
)
from interfero.engine.learning.plan_text import print_learning_plan
from interfero.engine.learning.planning import (
    Code,
    LearningPlan,
    make_learning_plan,
)
from interfero.engine.learning.products import files_of
from interfero.engine.learning.rates import match_rates
from interfero.engine.opening import begun, named_store, typed_command
from interfero.engine.sweep_run import SweepRun
from interfero.engine.worker import PackRunner
from interfero.metrics import lpips, segmentation
from interfero.redaction import masked_inside
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker

MakeRunner = Callable[[LearningPlan], PackRunner[JobPack]]


@dataclass(frozen=True)
class LearningSweep:
    """A question, its axes, and what does the jobs."""

    kind: str
    """Name of the MLflow experiment."""
    question: str
    """What the sweep answers, in a sentence or two."""
    options: LearningOptions
    """The axes by default."""
    make_runner: MakeRunner
    """Builds the trainable's `PackRunner`, and refuses a plan whose models cannot be built."""
    restoration_code: tuple[Path, ...]
    """Files of the trainable that decide a restorer."""
    segmentation_code: tuple[Path, ...]
    """Files of the trainable that decide a segmentation model and its score."""


def main(sweep: LearningSweep, arguments: Sequence[str] | None = None) -> None:
    """Run a sweep script and exit, with the exit codes of every sweep (see `exit_with`)."""
    exit_with(lambda console: run_learning_sweep(sweep, arguments, console))


def run_learning_sweep(
    sweep: LearningSweep, arguments: Sequence[str] | None, console: Console
) -> int:
    """Parse, plan, run the graph, report; returns the exit code.

    Raises:
        InterferoError: something cannot be run, a rate that a codec does not reach included; nothing
            has been trained.
        StoppedError: a full disk, say, while it was running.
    """
    options = tyro.cli(
        LearningOptions, args=arguments, default=sweep.options, description=sweep.question
    )
    if options.smoke:
        options = smoke_learning_options(options)
    check_learning_options(options)
    store = named_store(sweep.kind, options)
    code = step_code(sweep)
    if options.resume and options.accept_code_change:
        # Keys name the code that the sweep was started with: what is finished stays known.
        code = Code(*str(store.settings().get("loop_hash", code_text(code))).split(" "))
    with console.status("loading codecs and domains"):
        plan = make_learning_plan(options, code)
    done = _done(plan, store)
    products = Products(store.storage)
    with console.status("building models and matching rates"):
        runner = sweep.make_runner(plan)
        match_rates(plan, plan.packs(done), products, keep=not options.dry_run)
    print_learning_plan(console, sweep.kind, sweep.question, plan, done, products)
    if options.dry_run:
        return 0
    command = typed_command(sweep.kind, arguments, store, options)
    with begun(store, _settings(sweep, plan, command), options, len(plan.cells)) as tracker:
        return ended_well(
            lambda: _drive(sweep, plan, runner, store, tracker, console, command),
            tracker, store, console, command,
        )  # fmt: skip


def step_code(sweep: LearningSweep) -> Code:
    """Hashes of all code that decides what each kind of step makes."""
    codec_files = python_files(Path(str(codecs.__file__)).parent)
    copying = [Path(str(m.__file__)) for m in (compressed, copies, images)]
    shared = [
        Path(str(m.__file__)) for m in (configs, randomness, batches, distributed, channels_last)
    ]
    scoring = [Path(str(m.__file__)) for m in (segmentation, labelled)]
    return Code(
        copies=code_hash([*codec_files, *copying]),
        restoration=code_hash([*shared, Path(str(lpips.__file__)), *sweep.restoration_code]),
        segmentation=code_hash([*shared, *scoring, *sweep.segmentation_code]),
    )


def code_text(code: Code) -> str:
    """The hashes in one text, as settings keep them."""
    return f"{code.copies} {code.restoration} {code.segmentation}"


def _done(plan: LearningPlan, store: SweepStore) -> set[str]:
    """Keys of steps that this storage has, and of cells that this or, with --reuse, any sweep has."""
    products = Products(store.storage)
    done = {key for key, job in plan.jobs.items() if products.is_done(key, files_of(job))}
    cells = {cell.key for cell in plan.cells}
    if plan.options.reuse:
        return done | store.reusable(cells)
    return done | {key for key in cells if store.finished(key) is not None}


def _settings(sweep: LearningSweep, plan: LearningPlan, command: str) -> dict[str, Any]:
    """What a resumption must not change, and the command for a reader."""
    options = plan.options.model_dump(mode="json", exclude=set(FREE_OPTIONS))
    return {
        "kind": sweep.kind,
        "loop_hash": code_text(plan.code),
        "options": masked_inside(options),
        "content": {
            **{f"codec {c.name}": c.identity for c in plan.codecs.values()},
            **{f"domain {n}": d.fingerprint for n, d in plan.domains.items()},
            **{f"version of {n}": v for n, v in library_versions(MODEL_LIBRARIES).items()},
        },
        "command": command,
    }


def _drive(
    sweep: LearningSweep, plan: LearningPlan, runner: PackRunner[JobPack], store: SweepStore,
    tracker: Tracker, console: Console, command: str,
) -> int:  # fmt: skip
    # Ray takes a second to import; errors before this point answer at once.
    from interfero.engine.driver import ray_session, run_packs
    from interfero.engine.learning.feeder import GraphFeeder

    options = plan.options
    progress = SweepProgress(console)
    run = SweepRun(store, tracker, progress)
    with progress:
        _recall(run, plan, console)
        products = Products(store.storage)
        kept = {key for key, job in plan.jobs.items() if products.is_done(key, files_of(job))}
        packs = plan.packs(kept | {r.key for r in run.records.values()})
        feeder = GraphFeeder(packs, kept, store.ended, run)
        progress.steps = sum(pack.cells[0].kind != "test" for pack in packs)
        progress.expect(len(plan.cells))
        if feeder.num_left:
            with ray_session(options) as concurrent:
                run_packs(options, store, runner, feeder, run, concurrent)
        for key in kept:
            # A step another driver finished while its worker here was dying.
            Checkpoints(store.folder).delete(key)
    return report_learning(console, sweep.question, plan, run, command)


def _recall(run: SweepRun, plan: LearningPlan, console: Console) -> None:
    """Hear of every cell that needs no test."""
    store = run.store
    wanted = {cell.key for cell in plan.cells}
    kept = [r for r in store.records().values() if r.status == "finished" and r.key in wanted]
    if plan.options.reuse:
        taken = store.take_over(wanted - {r.key for r in kept})
        kept += taken
        if taken:
            console.print(f"{len(taken)} cells taken over from earlier sweeps")
    for record in kept:
        run.on_record(record)
