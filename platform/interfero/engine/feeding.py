"""Hands Tune one pack after another, and says who listens to a sweep."""

from __future__ import annotations

import heapq
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune.search import Searcher

from interfero.engine.adaptation.halving import Decision
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.node import Node
from interfero.engine.packs import PACK, RECORD, Pack
from interfero.engine.worker import Metrics
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

if TYPE_CHECKING:
    from interfero.engine.adaptation.search import BlockSearch


class SweepListener(Protocol):
    """Whoever wants to know how a sweep goes."""

    def on_started(self, pack: Pack) -> None:
        """A pack is about to train."""

    def on_record(self, record: CellRecord) -> None:
        """A node ended. The same record may come twice."""

    def on_repeated(self) -> None:
        """A sampler asked for a cell that it had asked for before."""

    def on_added(self, count: int) -> None:
        """There are so many cells more than were planned."""


class PastTune(BaseException):
    """Carries an error of ours out of Tune, which turns every Exception into text."""


@contextmanager
def past_tune() -> Iterator[None]:
    """Within Tune: an error of ours comes out of it as the cause of a `PastTune`."""
    try:
        yield
    except Exception as error:
        raise PastTune from error


class DriverOnly:
    """State that stays in the driver: Tune pickles its searcher and callbacks, to no use here."""

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: sweeps go on from their own records, not from Tune's state."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> DriverOnly:
        """The same object: there is one driver."""
        return self


class Growth(Protocol):
    """Decides, as cells end, which others are to be trained."""

    @property
    def num_waiting(self) -> int:
        """Cells that are not decided on."""

    @property
    def max_added(self) -> int:
        """Cells that may be added yet, at most."""

    def tell(self, record: CellRecord, /) -> Decision:
        """A cell ended: those that are to be trained now, and records of those that will not be."""


@dataclass(frozen=True)
class Growing:
    """What lets a plan grow while it is done."""

    growth: Growth
    packs: Callable[[Sequence[Cell], Set[str], int | None], list[Pack]]
    """Groups cells for training, given keys of what they need no more, and how many workers wait for them."""


class _Waiting:
    """Packs in order, handed out when all that they need is done, and all that they follow has ended."""

    def __init__(self, packs: Sequence[Pack], done: Set[str]) -> None:
        self._packs: dict[int, Pack] = {}
        self._missing: dict[int, int] = {}
        self._needed_by: dict[str, list[int]] = defaultdict(list)
        self._followed_by: dict[str, list[int]] = defaultdict(list)
        self._ready: list[int] = []
        self._numbers = itertools.count()
        self.add(packs, done)

    def add(self, packs: Sequence[Pack], done: Set[str]) -> None:
        """More packs, behind those that are there.

        Args:
            packs: What they follow that is nobody's to do any more has to be in `done`, failed or not.
            done: Keys that nothing waits for.
        """
        for i, pack in zip(self._numbers, packs, strict=False):
            needs, after = pack.needs - done, pack.after - pack.needs - done
            self._packs[i], self._missing[i] = pack, len(needs) + len(after)
            for key in needs:
                self._needed_by[key].append(i)
            for key in after:
                self._followed_by[key].append(i)
            if not self._missing[i]:
                heapq.heappush(self._ready, i)

    def __len__(self) -> int:
        return len(self._packs)

    @property
    def num_nodes(self) -> int:
        return sum(len(pack.nodes) for pack in self._packs.values())

    def pop(self) -> Pack | None:
        """The first pack that waits for nothing."""
        return self._packs.pop(heapq.heappop(self._ready)) if self._ready else None

    def done(self, key: str) -> None:
        """A node is done: others may be ready now."""
        self._release(self._needed_by.pop(key, ()))
        self._release(self._followed_by.pop(key, ()))

    def lost(self, key: str) -> list[Pack]:
        """A node has failed: takes out the packs that need it, and returns them."""
        self._release(self._followed_by.pop(key, ()))
        waiting = [i for i in self._needed_by.pop(key, ()) if i in self._packs]
        return [self._packs.pop(i) for i in waiting]

    def _release(self, waiting: Iterable[int]) -> None:
        for i in waiting:
            self._missing[i] -= 1
            if not self._missing[i] and i in self._packs:
                heapq.heappush(self._ready, i)


class Feeder(DriverOnly, Searcher):
    """Hands Tune one pack after another: those of a plan as they get ready, then those of searches."""

    def __init__(
        self, packs: Sequence[Pack], searches: Sequence[BlockSearch], num_samples: int,
        recall: Callable[[str], CellRecord | None], listener: SweepListener,
        done: Set[str] = frozenset(), growing: Growing | None = None,
    ) -> None:  # fmt: skip
        """Feed `packs`, then `num_samples` cells for each search.

        Args:
            packs: What is to be done, in order, with everything that it needs and that is not done.
            searches: Searches of a sampler.
            num_samples: Cells per block that a sampler may ask for, earlier ones included.
            recall: Looks up the record of a cell that has ended already.
            listener: Is told what starts, of repeated cells, and of nodes that can be done no more.
            done: Keys of nodes that are done already.
            growing: Adds packs as cells end.
        """
        super().__init__(metric=RECORD, mode="max")
        self.recall = recall
        self.cells_at_once = 1
        """Cells that a search is asked for together; they are one pack."""
        self.packs_at_once: int | None = None
        """Packs that train at once, if that is known."""
        self._num_running = 0
        """Packs that were handed out and have not ended."""
        self._done = set(done)
        self._failed: dict[str, str] = {}
        """Why, by key."""
        self.set_packs(packs)
        self._searches = {search: max(0, num_samples - search.num_told) for search in searches}
        self._listener, self._growing = listener, growing
        self._owner: dict[str, BlockSearch] = {}

    @property
    def num_left(self) -> int:
        """Packs still to be handed out, at most, those of cells that may be added included."""
        added = self._growing.growth.max_added if self._growing else 0
        return len(self._waiting) + sum(self._searches.values()) + self._num_waiting + added

    @property
    def num_nodes_left(self) -> int:
        """Nodes still to be handed out, of those that are there."""
        return self._waiting.num_nodes + sum(self._searches.values()) + self._num_waiting

    @property
    def _num_waiting(self) -> int:
        return self._growing.growth.num_waiting if self._growing else 0

    def set_packs(self, packs: Sequence[Pack]) -> None:
        """Hand out these packs instead, before the first."""
        self._waiting = _Waiting(packs, self._done)

    def suggest(self, trial_id: str) -> Any:
        """The next pack, as a Tune configuration; None where all that are left wait for others."""
        with past_tune():
            pack = self._waiting.pop() or self._search()
            if pack is None:
                return None if self.num_left else Searcher.FINISHED
            self._listener.on_started(pack)
            self._num_running += 1
        return {PACK: pack.text}

    def _search(self) -> Pack | None:
        """A pack of new cells of the block with most cells left, among those that wait for nothing."""
        settled = self._done | self._failed.keys()
        while ready := [s for s, left in self._searches.items() if left and s.needs <= settled]:
            search = max(ready, key=lambda s: self._searches[s])
            cells: list[Cell] = []
            while self._searches[search] and len(cells) < self.cells_at_once:
                self._searches[search] -= 1
                cell = self._ask(search)
                cells += [cell] if cell else []
            if cells:
                return Pack(nodes=tuple(cells))
        return None

    def _ask(self, search: BlockSearch) -> Cell | None:
        """A new cell; None if it was asked for before: it is a sample, and not trained again."""
        cell = search.ask()
        known = self.recall(cell.key)
        if known is None and cell.key not in self._owner:
            self._owner[cell.key] = search
            return cell
        # One in training now is told to every trial that waits for it.
        if known is not None:
            search.tell(known)
        self._listener.on_repeated()
        return None

    def should_stop(self, key: str, step: int, metrics: Metrics) -> bool:
        """What the search that asked for a cell says of it at a rung."""
        search = self._owner.get(key)
        return search is not None and search.should_stop(key, step, metrics[VALIDATION_GAIN])

    def tell(self, record: CellRecord) -> None:
        """A node ended: the search that asked for it hears of it, once; others may be ready now."""
        search = self._owner.pop(record.key, None)
        if search is not None:
            search.tell(record)
        if record.status != "failed":
            self._done.add(record.key)
            self._waiting.done(record.key)
        else:
            self._give_up(record)
        self._grow(record)

    def _grow(self, record: CellRecord) -> None:
        """Hear what a record decides."""
        if self._growing is None:
            return
        found = self._growing.growth.tell(record)
        if found.added:
            self._listener.on_added(len(found.added))
        if found.cells:
            settled = self._done | self._failed.keys()
            # Halves of a pack repeat what it shares: workers that have other packs need none of it.
            # Of those that train, the one that has just heard of this is about to be free.
            busy = len(self._waiting) + max(0, self._num_running - 1)
            idle = self.packs_at_once and max(1, self.packs_at_once - busy)
            self._waiting.add(self._growing.packs(found.cells, settled, idle), settled)
        for known in found.records:
            self._listener.on_record(known)

    def _give_up(self, record: CellRecord) -> None:
        """Fail what needs a failed node, and what needs that, and so on."""
        self._failed[record.key] = record.error or "no reason was given"
        for pack in self._waiting.lost(record.key):
            for node in pack.nodes:
                lost = failed_for_want_of(node, record.key, self._failed[record.key])
                self._listener.on_record(lost)
                self._give_up(lost)
                self._grow(lost)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweeps go on from their own records, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A pack has ended; its records were told as they came."""
        self._num_running -= 1


def failed_for_want_of(node: Node, needed: str, why: str) -> CellRecord:
    """The record of a node that cannot be done, because `needed` failed."""
    error = f"it needs {needed}, which failed: {why}"
    return CellRecord(key=node.key, params=node.params, status="failed", error=error)
