"""Successive halving over numbers of steps (Jamieson and Talwalkar, arXiv:1502.07943), inside each setting.

Every learning rate trains for the smallest number of steps. Of each setting (a block, method, size, strength
and initial seed), the best by `val/rd_gain_percent` and the next larger rate go on to the next number, and so
on: with more steps the best rate stays or rises, by one place in nearly all cases (docs/learning_rates.md).
The better half, which successive halving takes, holds on to small rates that are never best again, and loses
large ones that are behind because they have not come to rest. Strengths compete with nobody: a strength
trades gain for forgetting, and halving by gain would keep the weakest. Nor do learning rates of a method that
never sees the target domain: its gain there says nothing of it.

What goes on is a function of the records alone, so a sweep that was killed decides again as it did.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from typing import NamedTuple

from interfero.engine.adaptation.nodes import Cell
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

MAX_KEPT = 2
"""Learning rates that go on from a number of steps to the next."""
FindRecord = Callable[[str], CellRecord | None]


class _Group(NamedTuple):
    """What the learning rates of one setting compete in, by cells of one number of steps."""

    block: str
    method: str
    adapter_size: int
    strength: float
    init_seed: int
    learning_rate: float | None
    """Of a method that never sees the target: nothing competes with it."""

    @property
    def competes(self) -> bool:
        """Whether its learning rates are compared at all."""
        return self.learning_rate is None


class Decision(NamedTuple):
    """What follows from a record."""

    cells: list[Cell]
    """Go on."""
    stopped: list[CellRecord]
    """Of the cells that do not."""


class Halving:
    """Which cells of a grid go on, as their shorter ones end."""

    def __init__(self, cells: Iterable[Cell], ended: FindRecord) -> None:
        """Take a grid; nothing is decided yet.

        Args:
            cells: All of them.
            ended: Looks up the record of a cell that ended in this sweep.
        """
        self._ended = ended
        rungs: dict[_Group, dict[int, list[Cell]]] = defaultdict(lambda: defaultdict(list))
        self._group_of: dict[str, _Group] = {}
        for cell in cells:
            group = _group(cell)
            rungs[group][cell.loop.num_steps].append(cell)
            self._group_of[cell.key] = group
        self._rungs = {g: [r[n] for n in sorted(r)] for g, r in rungs.items()}
        self._open: dict[_Group, set[str]] = {}
        """Keys of the cells of a group's present rung that have not ended."""
        self._gain_of: dict[str, float | None] = {}
        """By key, of the cells that have ended; None where one failed."""
        self._level = dict.fromkeys(self._rungs, 0)

    @property
    def waiting_rungs(self) -> list[list[Cell]]:
        """Cells of which it is not known whether they will go on, by setting and number of steps."""
        return [
            rung
            for group, rungs in self._rungs.items()
            if group.competes
            for rung in rungs[self._level[group] + 1 :]
        ]

    @property
    def num_waiting(self) -> int:
        """How many these are."""
        return sum(map(len, self.waiting_rungs))

    def begin(self, left: Iterable[str]) -> Decision:
        """What is to be trained first, and what records of an earlier driver stop.

        Args:
            left: Keys of the cells that have not finished.
        """
        missing, found = set(left), Decision([], [])
        for group, rungs in self._rungs.items():
            if group.competes:
                self._enter(group, rungs[0], missing, found)
            else:
                found.cells.extend(c for rung in rungs for c in rung if c.key in missing)
        return found

    def tell(self, record: CellRecord) -> Decision:
        """A cell ended."""
        found, group = Decision([], []), self._group_of.get(record.key)
        if group is None or record.key not in self._open.get(group, ()):
            return found
        self._gain_of[record.key] = _gain(record)
        self._open[group].discard(record.key)
        if not self._open[group]:
            self._advance(group, None, found)
        return found

    def _enter(
        self, group: _Group, rung: Sequence[Cell], missing: set[str] | None, found: Decision
    ) -> None:
        """Let cells train that have not finished; where all have, the next rung is decided at once."""
        todo = [c for c in rung if missing is None or c.key in missing]
        self._open[group] = {cell.key for cell in todo}
        found.cells.extend(todo)
        if not todo:
            self._advance(group, missing, found)

    def _advance(self, group: _Group, missing: set[str] | None, found: Decision) -> None:
        rungs, level = self._rungs[group], self._level[group]
        if level + 1 == len(rungs):
            return
        here, gains = rungs[level], self._gains(rungs[level])
        # Failed cells are no candidates.
        best = min(gains, key=lambda rate: (-gains[rate], rate), default=math.inf)
        kept = [rate for rate in sorted(gains) if rate >= best][:MAX_KEPT]
        self._level[group] = level + 1
        going_on = [c for c in rungs[level + 1] if c.hyperparameters.learning_rate in kept]
        for later in rungs[level + 1 :]:
            lost = [c for c in later if c.hyperparameters.learning_rate not in kept]
            found.stopped.extend(_stopped(c, here[0].loop.num_steps, gains) for c in lost)
        rungs[level + 1 :] = [
            [c for c in later if c.hyperparameters.learning_rate in kept]
            for later in rungs[level + 1 :]
        ]
        self._enter(group, going_on, missing, found)

    def _gains(self, rung: Sequence[Cell]) -> dict[float, float]:
        """Gain on validation by learning rate, of the cells that finished."""
        for cell in rung:
            if cell.key not in self._gain_of:
                self._gain_of[cell.key] = _gain(self._ended(cell.key))
        gains = {c.hyperparameters.learning_rate: self._gain_of[c.key] for c in rung}
        return {rate: gain for rate, gain in gains.items() if gain is not None}


class Outlook(NamedTuple):
    """What may train yet, as far as records decide it."""

    possible: list[Cell]
    """All but those that have finished or that records stop."""
    expected: list[Cell]
    """As many of these as will train at most, whichever they are."""


def outlook(cells: Sequence[Cell], left: Set[str], ended: FindRecord) -> Outlook:
    """Decide what records decide, as a driver will; of the rest, count what can go on.

    Args:
        cells: All of a grid.
        left: Keys of those that have not finished.
        ended: Looks up the record of one that has.
    """
    halving = Halving(cells, ended)
    begun = halving.begin(left)
    stopped = {record.key for record in begun.stopped}
    waiting = [[c for c in rung if c.key in left] for rung in halving.waiting_rungs]
    later = [cell for rung in waiting for cell in rung[:MAX_KEPT]]
    possible = [c for c in cells if c.key in left and c.key not in stopped]
    return Outlook(possible, [*begun.cells, *later])


def _gain(record: CellRecord | None) -> float | None:
    finished = record is not None and record.status == "finished"
    return record.metrics[VALIDATION_GAIN] if record is not None and finished else None


def _group(cell: Cell) -> _Group:
    wanted = cell.hyperparameters
    return _Group(
        cell.block.text, wanted.method, wanted.adapter_size, wanted.strength, wanted.init_seed,
        wanted.learning_rate if cell.shares_training else None,
    )  # fmt: skip


def _stopped(cell: Cell, num_steps: int, gains: dict[float, float]) -> CellRecord:
    gain = gains.get(cell.hyperparameters.learning_rate)
    return CellRecord(
        key=cell.key,
        params=cell.params,
        status="stopped",
        stopped_at=num_steps,
        metrics={} if gain is None else {VALIDATION_GAIN: gain},
        provenance=cell.provenance,
    )
