"""Hands Tune one pack after another, and says who listens to a sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune.search import Searcher

from interfero.adaptation import find_method
from interfero.engine.cells import Cell, Pack
from interfero.engine.packs import AnyPack
from interfero.engine.search import BlockSearch
from interfero.engine.worker import Metrics
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

PACK = "pack"
"""Of a trial's configuration: what it trains."""
RECORD = "record"
"""Of a trial's result: what a cell came to, or None."""


class SweepListener(Protocol):
    """Whoever wants to know how a sweep goes."""

    def on_started(self, pack: AnyPack) -> None:
        """A pack is about to train."""

    def on_record(self, record: CellRecord) -> None:
        """A cell ended. The same record may come twice."""

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


class Feeder(DriverOnly, Searcher):
    """Hands Tune one pack after another: from a list, or from the blocks' searches."""

    def __init__(
        self, packs: Sequence[Pack], searches: Sequence[BlockSearch], num_samples: int,
        recall: Callable[[str], CellRecord | None], listener: SweepListener,
    ) -> None:  # fmt: skip
        """Feed `packs`, then `num_samples` cells for each search.

        Args:
            packs: Packs of a grid.
            searches: Searches of a sampler.
            num_samples: Cells a block that a sampler may ask for, earlier ones included.
            recall: Looks up the record of a cell that has ended already.
            listener: Is told what starts, and of repeated cells.
        """
        super().__init__(metric=RECORD, mode="max")
        self.recall = recall
        self.cells_at_once = 1
        """Cells that a search is asked for together; they are one pack."""
        self.set_packs(packs)
        self._searches = {search: max(0, num_samples - search.num_told) for search in searches}
        self._listener = listener
        self._owner: dict[str, BlockSearch] = {}
        self._under_way: dict[str, frozenset[str]] = {}
        """Source trainings that no other pack may begin, by the trial that does them."""

    @property
    def num_left(self) -> int:
        """Packs still to be handed out, at most."""
        return len(self._packs) + sum(self._searches.values())

    @property
    def num_cells_left(self) -> int:
        """Cells still to be handed out, at most."""
        return sum(len(pack.cells) for pack, _ in self._packs) + sum(self._searches.values())

    def set_packs(self, packs: Sequence[Pack]) -> None:
        """Hand out these packs of the grid instead, before the first."""
        self._packs = [(pack, _source_trainings(pack)) for pack in packs]

    def suggest(self, trial_id: str) -> Any:
        """The next pack, as a Tune configuration; None where all that are left wait for others."""
        with past_tune():
            pack = self._next(trial_id) or self._search()
            if pack is None:
                return None if self._packs else Searcher.FINISHED
            self._listener.on_started(pack)
        return {PACK: pack.model_dump(mode="json")}

    def _next(self, trial_id: str) -> Pack | None:
        """The first pack of the grid that need not wait.

        A method that never sees the target is trained in one block, and taken over in the others: these
        start once the first has ended, or each of them would train the same again.
        """
        busy: frozenset[str] = frozenset().union(*self._under_way.values())
        for index, (pack, trainings) in enumerate(self._packs):
            if not trainings & busy:
                del self._packs[index]
                self._under_way[trial_id] = trainings
                return pack
        return None

    def _search(self) -> Pack | None:
        """A pack of new cells of the block with most cells left."""
        while any(self._searches.values()):
            search = max(self._searches, key=lambda s: self._searches[s])
            cells: list[Cell] = []
            while self._searches[search] and len(cells) < self.cells_at_once:
                self._searches[search] -= 1
                cell = self._ask(search)
                cells += [cell] if cell else []
            if cells:
                return Pack(cells=tuple(cells))
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
        """Give a cell's record to the search that asked for it, once."""
        search = self._owner.pop(record.key, None)
        if search is not None:
            search.tell(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Its source trainings are kept, or have failed. Records were told as they came."""
        self._under_way.pop(trial_id, None)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweeps go on from their own records, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""


def _source_trainings(pack: Pack) -> frozenset[str]:
    """Trainings of a pack that never see the target domain, by what they have in common elsewhere."""
    shared = (
        cell
        for cell in pack.cells
        if find_method(cell.hyperparameters.method).trains_on == "source"
    )
    return frozenset(cell.source_training_key for cell in shared)
