"""Successive halving over numbers of steps (Jamieson and Talwalkar, arXiv:1502.07943), inside each setting.

Every learning rate trains for the smallest number of steps. Where the best is the highest or the lowest of a
grid that may be widened, the next rate of 1, 3, 10, 30, ... is trained as well, until the best lies between
others. Of each setting (a block, method, size, strength and initial seed), the best by
`val/rd_gain_percent` and the next larger rate go on to the next number, and so on: with more steps the best
rate stays or rises, by one place in nearly all cases (docs/learning_rates.md). The better half, which
successive halving takes, holds on to small rates that are never best again, and loses large ones that are
behind because they have not come to rest. Strengths compete with nobody: a strength trades gain for
forgetting, and halving by gain would keep the weakest. Nor do learning rates of a method that never sees the
target domain: its gain there says nothing of it.

Settings of one block and method go on together, once all that train of them have ended: cells that begin
together share a pack.

What goes on, and what is added, is a function of the records alone, so a sweep that was killed decides again
as it did.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence, Set
from typing import NamedTuple

from interfero.engine.adaptation.nodes import Cell
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

MAX_KEPT = 2
"""Learning rates that go on from a number of steps to the next."""
MAX_ADDED = 3
"""Learning rates that a setting's grid may gain: enough for a best rate ten times outside of it."""
LADDER = (1, 3)
"""First digits of the learning rates that are added, between one power of ten and the next."""
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

    @property
    def family(self) -> tuple[str, str]:
        """Whose cells may share a pack."""
        return self.block, self.method


class Decision(NamedTuple):
    """What follows from a record."""

    cells: list[Cell]
    """Are to be trained."""
    records: list[CellRecord]
    """Of cells that are not: they are stopped, or were added and have finished already."""
    added: list[Cell]
    """Those of either that no plan had, and others that will be decided on."""


class Halving:
    """Which cells of a grid go on, as their shorter ones end, and which learning rates are added to it."""

    def __init__(
        self, cells: Iterable[Cell], ended: FindRecord, *, widen: bool = False,
        known: FindRecord | None = None,
    ) -> None:  # fmt: skip
        """Take a grid; nothing is decided yet.

        Args:
            cells: All of them.
            ended: Looks up the record of a cell that ended in this sweep.
            widen: Whether learning rates may be added where the best is the highest or lowest.
            known: Looks up the record of an added cell, which an earlier sweep may have finished; like
                `ended` by default.
        """
        self._ended, self._known = ended, known or ended
        rungs: dict[_Group, dict[int, list[Cell]]] = defaultdict(lambda: defaultdict(list))
        self._group_of: dict[str, _Group] = {}
        for cell in cells:
            group = _group(cell)
            rungs[group][cell.loop.num_steps].append(cell)
            self._group_of[cell.key] = group
        self._rungs = {g: [r[n] for n in sorted(r)] for g, r in rungs.items()}
        self._left: set[str] = set()
        """Keys of the cells that have not finished."""
        self._open: dict[_Group, set[str]] = {}
        """Keys of the cells of a group's present rung that have not ended."""
        self._gain_of: dict[str, float | None] = {}
        """By key, of the cells that have ended; None where one failed."""
        self._level = dict.fromkeys(self._rungs, 0)
        self._training: Counter[tuple[str, str]] = Counter()
        """Cells in training, by family."""
        self._held: dict[tuple[str, str], list[Cell]] = defaultdict(list)
        """Cells that train once no other of their family does."""
        self._may_add = {g: MAX_ADDED for g in self._rungs if widen and g.competes}
        """Learning rates that a group may still gain; groups that have decided are left out."""

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
        """How many these are, and cells that wait for others to go on with."""
        return sum(map(len, [*self.waiting_rungs, *self._held.values()]))

    @property
    def max_added(self) -> int:
        """Trainings that may be added yet, at most; as many of all numbers of steps go on either way."""
        return sum(self._may_add.values())

    def begin(self, left: Iterable[str]) -> Decision:
        """What is to be trained first, and what records of an earlier driver decide.

        Args:
            left: Keys of the cells that have not finished.
        """
        self._left, found = set(left), Decision([], [], [])
        for group, rungs in self._rungs.items():
            if group.competes:
                self._enter(group, rungs[0], found)
            else:
                found.cells.extend(c for rung in rungs for c in rung if c.key in self._left)
        self._training.update(self._group_of[cell.key].family for cell in found.cells)
        return found

    def tell(self, record: CellRecord) -> Decision:
        """A cell ended."""
        found, group = Decision([], [], []), self._group_of.get(record.key)
        if group is None or record.key not in self._open.get(group, ()):
            return found
        self._gain_of[record.key] = _gain(record)
        self._left.discard(record.key)
        self._open[group].discard(record.key)
        self._training[group.family] -= 1
        if not self._open[group]:
            self._advance(group, found)
        return self._together(group.family, found)

    def _together(self, family: tuple[str, str], found: Decision) -> Decision:
        """What is to be trained now: all of a family that goes on, or nothing while others of it train."""
        held = self._held.pop(family, []) + found.cells
        if self._training[family]:
            self._held[family] = held
            return found._replace(cells=[])
        self._training[family] = len(held)
        return found._replace(cells=held)

    def _enter(self, group: _Group, rung: Sequence[Cell], found: Decision) -> None:
        """Let cells train that have not finished; where all have, what follows is decided at once."""
        todo = [c for c in rung if c.key in self._left]
        self._open[group] = {cell.key for cell in todo}
        found.cells.extend(todo)
        if not todo:
            self._advance(group, found)

    def _advance(self, group: _Group, found: Decision) -> None:
        rungs, level = self._rungs[group], self._level[group]
        here, gains = rungs[level], self._gains(rungs[level])
        # Failed cells are no candidates.
        best = min(gains, key=lambda rate: (-gains[rate], rate), default=math.inf)
        if group in self._may_add:
            # Where all failed, a lower rate would most likely fail of the same.
            tried = {c.hyperparameters.learning_rate for c in here}
            outside = _rate_outside(tried, best) if gains else None
            if self._may_add[group] and outside is not None:
                self._may_add[group] -= 1
                self._enter(group, self._add(group, outside, found), found)
                return
            del self._may_add[group]
        if level + 1 == len(rungs):
            return
        kept = [rate for rate in sorted(gains) if rate >= best][:MAX_KEPT]
        self._level[group] = level + 1
        going_on = [c for c in rungs[level + 1] if c.hyperparameters.learning_rate in kept]
        for later in rungs[level + 1 :]:
            lost = [c for c in later if c.hyperparameters.learning_rate not in kept]
            found.records.extend(_stopped(c, here[0].loop.num_steps, gains) for c in lost)
        rungs[level + 1 :] = [
            [c for c in later if c.hyperparameters.learning_rate in kept]
            for later in rungs[level + 1 :]
        ]
        self._enter(group, going_on, found)

    def _add(self, group: _Group, rate: float, found: Decision) -> list[Cell]:
        """Let a group's grid have one more learning rate; returns its shortest cell, of which all depends."""
        for rung in self._rungs[group]:
            cell = _at_rate(rung[0], rate)
            rung.append(cell)
            self._group_of[cell.key] = group
            found.added.append(cell)
            record = self._known(cell.key)
            if record is not None and record.status == "finished":
                self._gain_of[cell.key] = _gain(record)
                found.records.append(record)
            else:
                self._left.add(cell.key)
        return self._rungs[group][0][-1:]

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
    max_added: int = 0
    """Trainings that may be added to them, at most."""


def outlook(
    cells: Sequence[Cell], left: Set[str], ended: FindRecord, *, widen: bool = False
) -> Outlook:
    """Decide what records decide, as a driver will; of the rest, count what can go on.

    Args:
        cells: All of a grid.
        left: Keys of those that have not finished.
        ended: Looks up the record of one that has, or of an added one.
        widen: Whether learning rates may be added.
    """
    halving = Halving(cells, ended, widen=widen)
    begun = halving.begin(left)
    settled = {record.key for record in begun.records}
    added = [cell for cell in begun.added if cell.key not in settled]
    left = left | {cell.key for cell in added}
    waiting = [[c for c in rung if c.key in left] for rung in halving.waiting_rungs]
    later = [cell for rung in waiting for cell in rung[:MAX_KEPT]]
    possible = [c for c in [*cells, *added] if c.key in left and c.key not in settled]
    return Outlook(possible, [*begun.cells, *later], halving.max_added)


def _rate_outside(rates: Set[float], best: float) -> float | None:
    """The next learning rate of the ladder beyond those tried, if the best is an end of them.

    Args:
        rates: All that were tried.
        best: Of those that finished.
    """
    lowest, highest = min(rates), max(rates)
    if best == lowest != highest:
        return max(rate for rate in _ladder_near(lowest) if rate < lowest)
    if best != highest:
        return None
    above = min(rate for rate in _ladder_near(highest) if rate > highest)
    return above if above < 1 else None


def _ladder_near(rate: float) -> list[float]:
    """Rates of the ladder from one power of ten below to one above."""
    power = math.floor(math.log10(rate))
    # Written out, so that they are the very numbers that are typed.
    return [float(f"{d}e{p}") for p in range(power - 1, power + 2) for d in LADDER]


def _at_rate(cell: Cell, rate: float) -> Cell:
    wanted = cell.hyperparameters.model_copy(update={"learning_rate": rate})
    return cell.model_copy(update={"hyperparameters": wanted})


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
