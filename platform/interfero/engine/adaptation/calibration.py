"""A few real steps and a small evaluation of each method of a plan, timed in this process.

The sweep's own runner does the work, in a folder that is removed: what it trains is thrown away.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch

from interfero.adaptation import find_method
from interfero.engine.adaptation.grid import grid_hyperparameters
from interfero.engine.adaptation.loading import Loaded
from interfero.engine.adaptation.nodes import Cell, Hyperparameters, LoopConfig
from interfero.engine.adaptation.plan import AdaptationPlan, make_plan
from interfero.engine.adaptation.precision import (
    Precision,
    PrecisionChoice,
    choose_precision,
    has_bfloat16,
    keep_choice,
    stored_choice,
)
from interfero.engine.packs import Pack
from interfero.engine.timing import machine_name
from interfero.engine.worker import LocalWorker, PackRunner, Worker
from interfero.errors import ConfigError
from interfero.records import Timing
from interfero.store.sweep import SweepStore

STEPS = 6
"""Timed steps a cell; the first, which also allocates, is left out of the mean."""
FUSED_CELLS = 4
"""Cells of one size, at most, that are timed as one computation."""
TIMED_RATE = 1e-6
"""Learning rate of cells that are timed: a step takes as long at any, and none diverges at this."""
IMAGES = 4
"""Test images of each domain that are coded, at most."""


@runtime_checkable
class StepTimer(Protocol):
    """A runner that can time training without evaluating."""

    def time_steps(self, pack: Pack, worker: Worker) -> list[Timing]:
        """Train the pack's cells, keep nothing, and say what a step took."""


def calibrate(plan: AdaptationPlan, runner: PackRunner) -> list[Timing]:
    """Time the smallest and the largest cell of each method of a plan, packed where it packs.

    Raises:
        ConfigError: a cell failed.
    """
    timings = []
    for name in plan.options.methods:
        pack = Pack(nodes=tuple(_extremes(plan, name)))
        with _worker(plan.loop) as worker:
            for record in runner(pack, worker):
                if record.timing is None:
                    raise ConfigError(
                        f"--calibrate: {name} was not timed: {record.error or 'no time was kept'}; "
                        "leave --calibrate out, or mend it first"
                    )
                timings.append(record.timing)
    return timings


def _extremes(plan: AdaptationPlan, method: str) -> list[Cell]:
    """Two cells of the plan's first block, shortened; several of each size where they fuse."""
    points = [p for p in grid_hyperparameters(plan.options) if p.method == method]
    points.sort(key=lambda p: (p.adapter_size, p.learning_rate))
    loop = _short(plan.loop)
    if plan.fuses(method):
        shapes = dict.fromkeys((points[0].shape, points[-1].shape))
        ends = [point for shape in shapes for point in _alike(points, shape)]
    else:
        ends = points[:1] if len(points) == 1 else [points[0], points[-1]]
    # Members of a pack differ in their keys, and so in their rates.
    slow = [p.model_copy(update={"learning_rate": TIMED_RATE * i}) for i, p in enumerate(ends, 1)]
    return [plan.cell(plan.blocks[0], p).model_copy(update={"loop": loop}) for p in slow]


def _alike(points: Sequence[Hyperparameters], shape: object) -> list[Hyperparameters]:
    """The first few points of a shape."""
    return [point for point in points if point.shape == shape][:FUSED_CELLS]


def _short(loop: LoopConfig) -> LoopConfig:
    return loop.model_copy(
        update={
            "num_steps": min(loop.num_steps, STEPS),
            "max_source_images": min(loop.max_source_images, IMAGES),
            "max_target_images": min(loop.max_target_images, IMAGES),
        }
    )


def step_seconds(plan: AdaptationPlan, timer: StepTimer, precision: Precision) -> float:
    """What a step of fine-tuning all of the codec takes in a precision."""
    method = find_method("finetune")
    point = grid_hyperparameters(plan.options)[0].model_copy(
        update={
            "method": method.name,
            "adapter_size": 0,
            "strength": 0.0,
            "learning_rate": TIMED_RATE,
        }
    )
    loop = _short(plan.loop).model_copy(update={"precision": precision, "num_steps": STEPS})
    cell = plan.cell(plan.blocks[0], point).model_copy(update={"loop": loop})
    with _worker(loop) as worker:
        return _mean(timer.time_steps(Pack(nodes=(cell,)), worker))


def _mean(timings: Sequence[Timing]) -> float:
    return sum(t.step_seconds + t.pack_step_seconds for t in timings) / len(timings)


@contextmanager
def _worker(loop: LoopConfig) -> Iterator[LocalWorker]:
    """A worker as the sweep's actors are, whose results go nowhere."""
    threads = torch.get_num_threads()
    torch.set_num_threads(loop.threads)
    try:
        with tempfile.TemporaryDirectory(prefix="interfero-calibration-") as folder:
            # One level down: what a runner keeps beside the sweeps is thrown away with it.
            yield LocalWorker(Path(folder) / "sweep", torch.device(loop.device))
    finally:
        torch.set_num_threads(threads)


def settled_precision(
    loaded: Loaded,
    code: str,
    store: SweepStore,
    make_runner: Callable[[AdaptationPlan], PackRunner],
) -> PrecisionChoice:
    """What this storage was decided to use on such a machine, measured if nothing was.

    A dry run measures nothing: it would have to train.

    Args:
        loaded: Codecs and domains.
        code: Hash of all code that decides a cell's numbers.
        store: The sweep's folder.
        make_runner: Builds what trains.
    """
    options = loaded.options
    device = "cuda" if options.gpus_per_trial else "cpu"
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
    if options.dry_run or not has_bfloat16(device):
        return choose_precision("auto", device)
    plan = make_plan(loaded, code, PrecisionChoice("float32", "not chosen yet"))
    runner = make_runner(plan)
    if not isinstance(runner, StepTimer):
        return choose_precision("auto", device)
    timer: Callable[[Precision], float] = partial(step_seconds, plan, runner)
    return keep_choice(store.storage, machine, choose_precision("auto", device, timer))
