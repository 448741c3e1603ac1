"""Hands Tune one pack after another, and says who listens to a sweep."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from typing import Any, Protocol

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune.search import Searcher

from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.search import BlockSearch
from interfero.engine.node import Node
from interfero.engine.packs import Pack
from interfero.engine.worker import Metrics
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

PACK = "pack"
"""Of a trial's configuration: what it trains."""
RECORD = "record"
"""Of a trial's result: the key of a node whose record is kept, or None."""


class SweepListener(Protocol):
    """Whoever wants to know how a sweep goes."""

    def on_started(self, pack: Pack) -> None:
        """A pack is about to train."""

    def on_record(self, record: CellRecord) -> None:
        """A node ended. The same record may come twice."""

    def on_repeated(self) -> None:
        """A sampler asked for a cell that it had asked for before."""


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


class _Waiting:
    """Packs in order, handed out as soon as all that they need is done."""

    def __init__(self, packs: Sequence[Pack], done: Set[str]) -> None:
        self._packs = dict(enumerate(packs))
        self._missing = {i: len(pack.needs - done) for i, pack in self._packs.items()}
        self._waits_for: dict[str, list[int]] = defaultdict(list)
        for i, pack in self._packs.items():
            for key in pack.needs - done:
                self._waits_for[key].append(i)
        self._ready = [i for i, missing in self._missing.items() if not missing]

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
        for i in self._waits_for.pop(key, ()):
            self._missing[i] -= 1
            if not self._missing[i] and i in self._packs:
                heapq.heappush(self._ready, i)

    def lost(self, key: str) -> list[Pack]:
        """A node has failed: takes out the packs that wait for it, and returns them."""
        waiting = [i for i in self._waits_for.pop(key, ()) if i in self._packs]
        return [self._packs.pop(i) for i in waiting]


class Feeder(DriverOnly, Searcher):
    """Hands Tune one pack after another: those of a plan as they get ready, then those of searches."""

    def __init__(
        self, packs: Sequence[Pack], searches: Sequence[BlockSearch], num_samples: int,
        recall: Callable[[str], CellRecord | None], listener: SweepListener,
        done: Set[str] = frozenset(),
    ) -> None:  # fmt: skip
        """Feed `packs`, then `num_samples` cells for each search.

        Args:
            packs: What is to be done, in order, with everything that it needs and that is not done.
            searches: Searches of a sampler.
            num_samples: Cells per block that a sampler may ask for, earlier ones included.
            recall: Looks up the record of a cell that has ended already.
            listener: Is told what starts, of repeated cells, and of nodes that can be done no more.
            done: Keys of nodes that are done already.
        """
        super().__init__(metric=RECORD, mode="max")
        self.recall = recall
        self.cells_at_once = 1
        """Cells that a search is asked for together; they are one pack."""
        self._done = set(done)
        self._failed: dict[str, str] = {}
        """Why, by key."""
        self.set_packs(packs)
        self._searches = {search: max(0, num_samples - search.num_told) for search in searches}
        self._listener = listener
        self._owner: dict[str, BlockSearch] = {}

    @property
    def num_left(self) -> int:
        """Packs still to be handed out, at most."""
        return len(self._waiting) + sum(self._searches.values())

    @property
    def num_nodes_left(self) -> int:
        """Nodes still to be handed out, at most."""
        return self._waiting.num_nodes + sum(self._searches.values())

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
        # As text: Tune keeps the configuration of every trial.
        return {PACK: pack.model_dump_json()}

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

    def _give_up(self, record: CellRecord) -> None:
        """Fail what needs a failed node, and what needs that, and so on."""
        self._failed[record.key] = record.error or "no reason was given"
        for pack in self._waiting.lost(record.key):
            for node in pack.nodes:
                lost = failed_for_want_of(node, record.key, self._failed[record.key])
                self._listener.on_record(lost)
                self._give_up(lost)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweeps go on from their own records, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: records were told as they came."""


def failed_for_want_of(node: Node, needed: str, why: str) -> CellRecord:
    """The record of a node that cannot be done, because `needed` failed."""
    error = f"it needs {needed}, which failed: {why}"
    return CellRecord(key=node.key, params=node.params, status="failed", error=error)
