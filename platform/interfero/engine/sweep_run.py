"""One run of a sweep's driver: what it hears from the workers, keeps, tracks and shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from interfero.engine.cells import Cell
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.console import SweepProgress
from interfero.engine.learning.jobs import TestCell
from interfero.engine.packs import AnyPack, members
from interfero.records import CellRecord
from interfero.store.files import inside
from interfero.store.products import is_step_key
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


@dataclass
class SweepRun:
    """Keeps each record first, then tracks it, then shows it: what is kept is never lost."""

    store: SweepStore
    tracker: Tracker
    progress: SweepProgress
    records: dict[str, CellRecord] = field(default_factory=dict)
    """By key."""
    steps: dict[str, CellRecord] = field(default_factory=dict)
    """Records of steps behind cells, by key."""
    running: set[str] = field(default_factory=set)
    """Keys of cells in training."""

    @property
    def num_failed(self) -> int:
        """Cells that failed."""
        return self._count("failed")

    @property
    def num_stopped(self) -> int:
        """Cells that a search stopped early."""
        return self._count("stopped")

    def _count(self, status: str) -> int:
        return sum(record.status == status for record in self.records.values())

    @property
    def reported(self) -> list[CellRecord]:
        """What tables, figures and fits may read: cells that were stopped early are no results."""
        return [record for record in self.records.values() if record.status != "stopped"]

    def on_started(self, pack: AnyPack) -> None:
        """Open the cells' MLflow runs; steps have none."""
        for cell in members(pack):
            if not isinstance(cell, Cell | TestCell):
                continue
            self.tracker.cell_started(cell.key, cell.params, cell.tags)
            self.running.add(cell.key)
        self.progress.set_running(len(self.running))

    def on_record(self, record: CellRecord) -> None:
        """Keep, track and show a record; one of a finished cell changes nothing."""
        if record.status != "failed":
            # Its worker may have died between keeping the record and deleting these.
            Checkpoints(self.store.folder).delete(record.key)
        if is_step_key(record.key):
            self.steps[record.key] = record
            self.progress.add_step(record)
            return
        self.running.discard(record.key)
        known = self.records.get(record.key)
        if known is None or known.status == "failed":
            self.records[record.key] = record
            self.store.keep(record)
            self._track(record)
            self.progress.add(record, known)
        self.progress.set_running(len(self.running))

    def on_repeated(self) -> None:
        """A sampler asked for a cell again that it had asked for before: there is one less."""
        self.progress.total -= 1

    def _track(self, record: CellRecord) -> None:
        self.tracker.cell_started(record.key, record.params, {})
        self.tracker.cell_curve(record.key, record.curve)
        files = [
            (inside(self.store.folder, name), kind)
            for name, kind in ((record.adapter_file, "adapter"), (record.sample_file, "samples"))
            if name is not None
        ]
        self.tracker.cell_finished(record, files)
