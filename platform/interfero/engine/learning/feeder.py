"""Hands Tune the jobs of a graph: each once what it needs is done, none whose need has failed."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune.search import Searcher

from interfero.engine.feeding import PACK, Feeder, SweepListener
from interfero.engine.learning.jobs import JobPack
from interfero.records import CellRecord


class GraphFeeder(Feeder):
    """A feeder that lets jobs wait for each other; Tune asks again while some are running."""

    def __init__(
        self, packs: Sequence[JobPack], done: Set[str],
        recall: Callable[[str], CellRecord | None], listener: SweepListener,
    ) -> None:  # fmt: skip
        """Feed `packs`, the first that is ready first.

        Args:
            packs: Jobs to do, with all jobs that they need and that are not done.
            done: Keys of steps that are done already.
            recall: Looks up the record of a job that has ended already.
            listener: Is told what starts, and of cells that cannot be tested any more.
        """
        super().__init__([], [], 0, recall, listener)
        self._waiting = list(packs)
        self._done = set(done)
        self._failed: dict[str, str] = {}

    @property
    def num_left(self) -> int:
        """Packs still to be handed out, at most."""
        return len(self._waiting)

    @property
    def num_cells_left(self) -> int:
        """Jobs still to be handed out, at most."""
        return sum(len(pack.cells) for pack in self._waiting)

    def suggest(self, trial_id: str) -> Any:
        """The next pack that is ready; None where all wait for what is running."""
        self._give_up()
        if not self._waiting:
            return Searcher.FINISHED
        for pack in self._waiting:
            if all(need.key in self._done for job in pack.cells for need in job.needs):
                self._waiting.remove(pack)
                self._listener.on_started(pack)
                return {PACK: pack.model_dump(mode="json")}
        return None

    def tell(self, record: CellRecord) -> None:
        """A job ended; others may be ready now."""
        if record.status == "finished":
            self._done.add(record.key)
        else:
            self._failed[record.key] = record.error or "no reason was given"

    def _give_up(self) -> None:
        """Fail what needs a failed job, and what needs that, ..."""
        lost = True
        while lost:
            lost = False
            for pack in list(self._waiting):
                needs = [need.key for job in pack.cells for need in job.needs]
                failed = next((key for key in needs if key in self._failed), None)
                if failed is None:
                    continue
                lost = True
                self._waiting.remove(pack)
                for job in pack.cells:
                    error = f"it needs {failed}, which failed: {self._failed[failed]}"
                    record = CellRecord(
                        key=job.key, params=job.params, status="failed", error=error
                    )
                    self.tell(record)
                    self._listener.on_record(record)
