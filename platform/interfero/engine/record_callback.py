"""Takes records out of Tune's results, and answers cells that a search may stop early."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune import Callback

from interfero.engine.feeding import PACK, RECORD, DriverOnly, Feeder, SweepListener, past_tune
from interfero.engine.learning.products import files_of
from interfero.engine.packs import members, read_pack
from interfero.records import CellRecord
from interfero.store.files import write_atomic
from interfero.store.sweep import SweepStore

RUNG = "rung"
"""Of a trial's result: the validation of a cell in training."""
RETRIES = 2
"""Times a pack starts again after its actor died; cells it had finished are not repeated."""


@dataclass
class RecordCallback(DriverOnly, Callback):
    """Takes records out of Tune's results, and answers cells that have reached a rung."""

    feeder: Feeder
    listener: SweepListener
    store: SweepStore
    seen: dict[str, str] = field(default_factory=dict)
    """Status that was passed on last, by key."""

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One cell ended, or reached a rung."""
        with past_tune():
            if result.get(RECORD) is not None:
                self._pass_on(CellRecord.model_validate_json(result[RECORD]))
            elif RUNG in result and self.feeder.should_stop(**result[RUNG]):
                write_atomic(self.store.stop_file(result[RUNG]["key"]), b"")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack's actor died too often: its unfinished cells are failed."""
        text = f"its process died {RETRIES + 1} times; the last error: {_last_error(trial)}"
        with past_tune():
            for cell in members(read_pack(trial.config[PACK])):
                if cell.key not in self.seen:
                    failed = CellRecord(
                        key=cell.key, params=cell.params, status="failed", error=text
                    )
                    # Its worker may have died between keeping the record and reporting it.
                    kept = self.store.outcome(cell.key, files_of(cell))
                    self._pass_on(kept if kept and kept.status != "failed" else failed)

    def _pass_on(self, record: CellRecord) -> None:
        # A pack that starts again tries its failed cells again.
        known = self.seen.get(record.key)
        if known is None or (known == "failed" and record.status != "failed"):
            self.seen[record.key] = record.status
            self.feeder.tell(record)
            self.listener.on_record(record)


def _last_error(trial: Any) -> str:
    """The last line that Ray wrote about a trial: what the exception says."""
    path = trial.error_file
    lines = Path(path).read_text().split("\n") if path and Path(path).exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "none was written")
