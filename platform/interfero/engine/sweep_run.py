"""One run of a sweep's driver: what it hears from the workers, keeps, tracks and shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interfero.engine.checkpoints import Checkpoints
from interfero.engine.console import SweepProgress
from interfero.engine.packs import Pack
from interfero.engine.spending import Spent, note_step
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord
from interfero.store.files import inside
from interfero.store.products import is_product_key
from interfero.store.sweep import SweepStore

if TYPE_CHECKING:
    from interfero.tracking.operations import DatasetUse
    from interfero.tracking.tracker import Tracker

InputsOf = Callable[[str, dict[str, str | int | float]], "tuple[DatasetUse, ...]"]
"""From a cell's key and params to the data sets that it uses."""


@dataclass
class SweepRun:
    """Keeps each record first, then tracks it, then shows it: what is kept is never lost.

    Records stay in the store: of each cell only its status stays here, so that a driver holds 100,000.
    """

    store: SweepStore
    tracker: Tracker
    progress: SweepProgress
    statuses: dict[str, str] = field(default_factory=dict)
    """What each cell came to, by key."""
    running: set[str] = field(default_factory=set)
    """Keys of the cells, and of the steps behind cells, that workers have."""
    with_curves: bool = True
    """Whether MLflow has learning curves, too: they are most of what a cell writes there."""
    inputs: InputsOf | None = None
    """Finds the data sets of each cell's run; None where there are too many cells to say it of each."""
    live: bool = False
    """Whether the parent run shows progress: not while records of an earlier driver are read."""
    spent: Spent = field(default_factory=Spent)
    """By the cells that this sweep computed itself."""
    num_added: int = 0
    """Cells that no plan had."""
    damaged: list[str] = field(default_factory=list)
    """Keys of cells and steps whose records were there when it began, and could not be read."""
    started: float = math.inf
    """When the first of its cells started; Unix time in seconds."""

    @property
    def num_failed(self) -> int:
        """Cells that failed."""
        return Counter(self.statuses.values())["failed"]

    @property
    def num_stopped(self) -> int:
        """Cells that a search stopped early."""
        return Counter(self.statuses.values())["stopped"]

    def standing(self) -> dict[str, float]:
        """How the sweep stands, as metrics of the parent run: counts, share, best validation gain so far."""
        came_to = Counter(self.statuses.values())
        counts = {f"cells/{end}": float(came_to[end]) for end in ("finished", "failed", "stopped")}
        total = self.progress.total
        share = {"cells/share": len(self.statuses) / total} if total else {}
        best = {
            f"best_val_gain_percent/{domain}": record.metrics[VALIDATION_GAIN]
            for domain, record in self.progress.best.items()
        }
        return {**counts, **share, **best}

    @property
    def reported(self) -> list[CellRecord]:
        """What tables, figures and fits may read, from the store: cells stopped early are no results."""
        return [record for record in self._kept() if record.status != "stopped"]

    def _kept(self) -> Iterator[CellRecord]:
        for key in self.statuses:
            record = self.store.ended(key)
            if record is not None:
                yield record

    def on_started(self, pack: Pack) -> None:
        """Open the cells' MLflow runs; other nodes have none."""
        for node in pack.nodes:
            self.running.add(node.key)
            if node.leaf:
                self.tracker.cell_started(
                    node.key, node.params, node.tags, datasets=self._inputs(node.key, node.params)
                )
        self.progress.set_running(len(self.running))
        self._tell_parent()

    def on_record(self, record: CellRecord) -> None:
        """Keep, track and show a record; one of a finished cell changes nothing."""
        if record.status != "failed":
            # Its worker may have died between keeping the record and deleting these.
            Checkpoints(self.store.folder).delete(record.key)
        self.running.discard(record.key)
        if is_product_key(record.key):
            self.store.keep(record)
            note_step(self.store.folder, record)
            self.progress.set_running(len(self.running))
            self.progress.add_step(record)
            return
        known = self.statuses.get(record.key)
        if known is None or known == "failed":
            self.statuses[record.key] = record.status
            self.started = min(self.started, record.started_at or math.inf)
            self.store.keep(record)
            self.spent.add(record)
            self._track(record)
            self.progress.add(record, replaces=known is not None)
        self.progress.set_running(len(self.running))
        self._tell_parent()

    def on_repeated(self) -> None:
        """A sampler asked for a cell again that it had asked for before: there is one less."""
        self.progress.total -= 1

    def on_added(self, count: int) -> None:
        """There are so many cells more than were planned."""
        self.num_added += count
        self.progress.total += count

    def _tell_parent(self) -> None:
        if self.live:
            self.tracker.parent_progress(self.standing)

    def _inputs(self, key: str, params: dict[str, str | int | float]) -> tuple[DatasetUse, ...]:
        return self.inputs(key, params) if self.inputs is not None else ()

    def _track(self, record: CellRecord) -> None:
        datasets = self._inputs(record.key, record.params)
        self.tracker.cell_started(record.key, record.params, {}, datasets=datasets)
        files = [
            (inside(self.store.folder, name), kind)
            for name, kind in ((record.adapter_file, "adapter"), (record.sample_file, "samples"))
            if name is not None
        ]
        if not self.with_curves:
            record = record.model_copy(update={"curve": ()})
        self.tracker.cell_finished(record, files)
