"""What a plan will cost, from what cells have taken before: pure arithmetic on measured times."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from interfero.engine.adaptation.nodes import Cell, Train
from interfero.engine.packs import Pack
from interfero.engine.spending import PackShare
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
    """What a cell's evaluation looks at, in megapixels, and what of its training is done."""

    coded: float
    validated: float
    taken_up: int = 0
    """Steps that it takes over from a shorter training."""


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

    def training(self, cell: Cell, taken_up: int = 0) -> Span | None:
        """Seconds of a cell's training without what its pack shares; None where its like was never timed.

        Args:
            cell: What is trained.
            taken_up: Steps that a shorter training has done.
        """
        method, size = cell.hyperparameters.method, cell.hyperparameters.adapter_size
        if method not in self._steps:
            return None
        steps = self._at(method, size, "step_seconds").times(cell.loop.num_steps - taken_up)
        return steps.plus(self._at(method, size, "prepare_seconds"))

    def evaluation(self, cell: Cell, work: Work) -> Span | None:
        """Seconds of a cell's evaluation on `work`; None where its like was never timed."""
        timed = self._evaluations.get(cell.hyperparameters.method)
        if not timed:
            return None
        coding = span([t.coding_seconds / t.coded_megapixels for t in timed])
        cost = coding.times(work.coded)
        validated = [
            t.validation_seconds / t.validated_megapixels for t in timed if t.validated_megapixels
        ]
        if validated:
            cost = cost.plus(span(validated).times(work.validated))
        return cost

    def shared(self, cell: Cell, taken_up: int = 0) -> Span | None:
        """Seconds that a pack of such cells spends once for all members; see `training`."""
        method, size = cell.hyperparameters.method, cell.hyperparameters.adapter_size
        if method not in self._steps:
            return None
        return self._at(method, size, "pack_step_seconds").times(cell.loop.num_steps - taken_up)

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
class CostEstimate:
    """What a plan will cost, as far as it is known."""

    num_cells: int
    """To train."""
    unknown: Mapping[str, int]
    """Cells whose like was never timed, by method; they are in no sum."""
    num_timings: int
    """Timed cells that it rests on."""
    pack_seconds: Span
    """Of all packs together."""
    share: PackShare
    """What each pack holds."""
    wall_seconds: Span
    """From start to end, with `at_once` packs at once."""
    start_up_seconds: float
    """Part of `wall_seconds`."""
    at_once: int

    @property
    def num_known(self) -> int:
        """Cells in the sums."""
        return self.num_cells - sum(self.unknown.values())


class Worked(Protocol):
    """What a plan knows of the images that nodes look at."""

    def __call__(self, cell: Cell, /) -> Work:
        """What a cell is evaluated on."""


def pack_cost(pack: Pack, model: CostModel, work: Worked) -> PackCost | None:
    """Seconds of a pack of cells or of shared trainings; None where a member's like was never timed.

    Args:
        pack: Of one method.
        model: What is known.
        work: What a cell is evaluated on.
    """
    members: list[Span] = []
    shared = NOTHING
    for node in pack.nodes:
        cell = node.cell if isinstance(node, Train) else node
        assert isinstance(cell, Cell)
        looked_at = work(cell)
        evaluated = NOTHING if isinstance(node, Train) else model.evaluation(cell, looked_at)
        # A training that others share is a node of its own.
        trains = isinstance(node, Train) or not cell.shares_training
        trained = model.training(cell, looked_at.taken_up) if trains else NOTHING
        if evaluated is None or trained is None:
            return None
        members.append(evaluated.plus(trained))
        shared = (model.shared(cell, looked_at.taken_up) or NOTHING) if trains else NOTHING
    return PackCost(shared, tuple(members))


def reference_cost(megapixels: float, model: CostModel) -> PackCost:
    """Seconds to evaluate the source codec on so many pixels; nothing if that was never timed."""
    return PackCost(NOTHING, (model.references(megapixels),))


def estimate(
    costs: Sequence[tuple[Pack, PackCost | None]],
    *,
    at_once: int,
    share: PackShare,
    num_timings: int,
    start_up_seconds: float = START_UP_S,
) -> CostEstimate:
    """Add up packs in the order in which they start.

    Args:
        costs: Packs and what each takes; None is unknown.
        at_once: Packs at once.
        share: What a pack holds.
        num_timings: Timed cells behind `costs`.
        start_up_seconds: Before the first pack trains.
    """
    unknown: dict[str, int] = defaultdict(int)
    for pack, cost in costs:
        if cost is None:
            unknown[_method(pack)] += pack.num_cells
    totals = [cost.total for _, cost in costs if cost is not None]
    busy = NOTHING
    for total in totals:
        busy = busy.plus(total)
    columns = list(zip(*totals, strict=True)) or [(), (), ()]
    wall = Span(*(makespan(column, at_once) for column in columns))
    start = Span(start_up_seconds, start_up_seconds, start_up_seconds) if costs else NOTHING
    return CostEstimate(
        num_cells=sum(pack.num_cells for pack, _ in costs),
        unknown={method: cells for method, cells in unknown.items() if cells},
        num_timings=num_timings,
        pack_seconds=busy,
        share=share,
        wall_seconds=wall.plus(start),
        start_up_seconds=start.middle,
        at_once=at_once,
    )


def _method(pack: Pack) -> str:
    node = pack.nodes[0]
    cell = node.cell if isinstance(node, Train) else node
    return cell.hyperparameters.method if isinstance(cell, Cell) else node.kind
