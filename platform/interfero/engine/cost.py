"""What a plan will cost, from what cells have taken before: pure arithmetic on measured times."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from interfero.engine.cells import Cell, Pack
from interfero.records import StepSetting, Timing

START_UP_S = 12.0
"""Ray's start and the first imports of an actor, where no sweep of this storage has measured them."""
QUANTILES = (0.1, 0.5, 0.9)
"""Low, middle and high of several measurements."""


class Span(NamedTuple):
    """A figure with its spread; seconds, here."""

    low: float
    middle: float
    high: float

    def plus(self, other: Span) -> Span:
        """The sum: spreads add up, since machines are slow for all cells at once."""
        return Span(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> Span:
        """A multiple; `factor` is not negative."""
        return Span(*(factor * value for value in self))


NOTHING = Span(0.0, 0.0, 0.0)


def span(values: Sequence[float]) -> Span:
    """Low, middle and high of one measurement or more."""
    return Span(*(float(q) for q in np.quantile(values, QUANTILES)))


class Work(NamedTuple):
    """What a cell's evaluation looks at, in megapixels."""

    coded: float
    validated: float


@dataclass(frozen=True)
class PackCost:
    """Seconds of one pack."""

    shared: Span
    """Once for all members."""
    members: tuple[Span, ...]
    """Of each cell alone."""

    @property
    def total(self) -> Span:
        """From its first step to its last record."""
        total = self.shared
        for member in self.members:
            total = total.plus(member)
        return total


class CostModel:
    """Costs of cells in one setting, as far as cells like them have been timed."""

    def __init__(self, timings: Iterable[Timing], setting: StepSetting) -> None:
        """Keep the timings that match.

        Args:
            timings: Of any sweeps.
            setting: Of the plan. Steps must match it whole; evaluation, which is always in float32
                on the CPU, its machine, codec and threads.
        """
        self.num_timings = 0
        self._steps: dict[str, dict[int, list[Timing]]] = defaultdict(lambda: defaultdict(list))
        self._evaluations: dict[str, list[Timing]] = defaultdict(list)
        self._references: list[Timing] = []
        for timing in timings:
            fits = timing.num_steps > 0 and timing.setting == setting
            if fits:
                self._steps[timing.method][timing.adapter_size].append(timing)
            evaluated = _evaluates_like(timing.setting, setting)
            if evaluated and timing.coded_megapixels:
                self._evaluations[timing.method].append(timing)
            if evaluated and timing.reference_megapixels:
                self._references.append(timing)
            self.num_timings += fits

    def cell(self, cell: Cell, work: Work, *, trains: bool = True) -> Span | None:
        """Seconds of a cell without what its pack shares; None where its like was never timed.

        Args:
            cell: The cell.
            work: What it is evaluated on.
            trains: False where another cell's training is taken over.
        """
        method, size = cell.hyperparameters.method, cell.hyperparameters.adapter_size
        timed = self._evaluations.get(method)
        if method not in self._steps or not timed:
            return None
        coding = span([t.coding_seconds / t.coded_megapixels for t in timed])
        cost = coding.times(work.coded)
        validated = [
            t.validation_seconds / t.validated_megapixels for t in timed if t.validated_megapixels
        ]
        if validated:
            cost = cost.plus(span(validated).times(work.validated))
        if trains:
            steps = self._at(method, size, "step_seconds").times(cell.loop.num_steps)
            cost = cost.plus(steps).plus(self._at(method, size, "prepare_seconds"))
        return cost

    def shared(self, cell: Cell) -> Span | None:
        """Seconds that a pack of such cells spends once for all members."""
        method, size = cell.hyperparameters.method, cell.hyperparameters.adapter_size
        if method not in self._steps:
            return None
        return self._at(method, size, "pack_step_seconds").times(cell.loop.num_steps)

    def references(self, megapixels: float) -> Span:
        """Seconds to evaluate the source codec on so many pixels; nothing if never timed."""
        if not self._references:
            return NOTHING
        rates = [t.reference_seconds / t.reference_megapixels for t in self._references]
        return span(rates).times(megapixels)

    def _at(self, method: str, size: int, name: str) -> Span:
        """A figure at a size: measured there, or between the nearest sizes that were."""
        sizes = sorted(self._steps[method])
        spans = [span([getattr(t, name) for t in self._steps[method][s]]) for s in sizes]
        columns = zip(*spans, strict=True)
        return Span(*(float(np.interp(size, sizes, column)) for column in columns))


def _evaluates_like(one: StepSetting, other: StepSetting) -> bool:
    if (one.device == "cpu") != (other.device == "cpu"):
        return False
    same = ("machine", "codec", "threads")
    return all(getattr(one, name) == getattr(other, name) for name in same)


def makespan(seconds: Sequence[float], at_once: int) -> float:
    """When the last job ends: each, in order, goes to the worker that is free first.

    Raises:
        ValueError: no worker.
    """
    if at_once < 1:
        raise ValueError(f"a schedule needs at least 1 worker, got {at_once}")
    free = [0.0] * min(at_once, max(1, len(seconds)))
    for job in seconds:
        heapq.heapreplace(free, free[0] + job)
    return max(free)


@dataclass(frozen=True)
class Estimate:
    """What a plan will cost, as far as it is known."""

    num_cells: int
    """To train."""
    unknown: Mapping[str, int]
    """Cells whose like was never timed, by method; they are in no sum."""
    num_timings: int
    """Timed cells that it rests on."""
    cpu_seconds: Span
    """Of all packs together, times the CPUs of each."""
    wall_seconds: Span
    """From start to end, with `at_once` packs at once."""
    start_up_seconds: float
    """Part of `wall_seconds`."""
    at_once: int

    @property
    def num_known(self) -> int:
        """Cells in the sums."""
        return self.num_cells - sum(self.unknown.values())


def pack_cost(
    pack: Pack, model: CostModel, work: Callable[[Cell], Work], trained: Set[str]
) -> PackCost | None:
    """Seconds of a pack; None where a member's like was never timed.

    Args:
        pack: Cells of one method.
        model: What is known.
        work: What a cell is evaluated on.
        trained: `source_training_key`s of cells that never see the target, and whose training
            another pack has done.
    """
    members, trains = [], []
    for cell in pack.cells:
        trains.append(cell.source_training_key not in trained)
        cost = model.cell(cell, work(cell), trains=trains[-1])
        if cost is None:
            return None
        members.append(cost)
    shared = model.shared(pack.cells[0])
    return PackCost((shared or NOTHING) if any(trains) else NOTHING, tuple(members))


def estimate(
    costs: Sequence[tuple[Pack, PackCost | None]],
    *,
    at_once: int,
    cpus: float,
    num_timings: int,
    references: Span = NOTHING,
    start_up_seconds: float = START_UP_S,
) -> Estimate:
    """Add up packs in the order in which they start.

    Args:
        costs: Packs and what each takes; None is unknown.
        at_once: Packs at once.
        cpus: CPUs a pack holds.
        num_timings: Timed cells behind `costs`.
        references: Evaluating the source codec, once for all cells.
        start_up_seconds: Before the first pack trains.
    """
    unknown: dict[str, int] = defaultdict(int)
    for pack, cost in costs:
        if cost is None:
            unknown[pack.cells[0].hyperparameters.method] += len(pack.cells)
    totals = [cost.total for _, cost in costs if cost is not None]
    busy = references
    for total in totals:
        busy = busy.plus(total)
    columns = list(zip(*totals, strict=True)) or [(), (), ()]
    wall = Span(*(makespan(column, at_once) for column in columns))
    # Workers that meet a domain at the same time share the reference's images between them.
    wall = wall.plus(references.times(1 / at_once))
    start = Span(start_up_seconds, start_up_seconds, start_up_seconds) if costs else NOTHING
    return Estimate(
        num_cells=sum(len(pack.cells) for pack, _ in costs),
        unknown=dict(unknown),
        num_timings=num_timings,
        cpu_seconds=busy.times(cpus),
        wall_seconds=wall.plus(start),
        start_up_seconds=start.middle,
        at_once=at_once,
    )
