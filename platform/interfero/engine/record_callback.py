"""Hears of ended nodes in Tune's results, and answers cells that a search may stop early."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
from ray.tune import Callback

from interfero.engine.feeding import DriverOnly, Feeder, SweepListener, past_tune
from interfero.engine.interrupts import hear_again, heed
from interfero.engine.killed import PARTS, REMEDY, after_kill, reason_of_kill
from interfero.engine.leaving import TAKEN_AWAY
from interfero.engine.node import Node
from interfero.engine.packs import PACK, RECORD, RETRIES, RUNG, Pack
from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.store.files import write_atomic
from interfero.store.sweep import SweepStore

SEEN_WITHIN_S = 60.0
"""A file that one node of a cluster has written may reach another later (NFS keeps what it looked up)."""
LOOK_EVERY_S = 0.2

logger = logging.getLogger(__name__)


@dataclass
class RecordCallback(DriverOnly, Callback):
    """Reads the records that trials report, and answers cells that have reached a rung."""

    feeder: Feeder
    listener: SweepListener
    store: SweepStore
    in_groups: bool = False
    """Whether a trial only starts the processes that train its pack (`run_group_trial`)."""
    seen: dict[str, str] = field(default_factory=dict)
    """Status that was passed on last, by key."""

    def setup(
        self, stop: Any = None, num_samples: int | None = None, total_num_samples: int | None = None,
        **info: Any,
    ) -> None:  # fmt: skip
        """Tune begins: it has just taken a signal that is ours."""
        hear_again()

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Tune goes on."""
        heed()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One node ended, or a cell reached a rung."""
        with past_tune():
            if result.get(RECORD) is not None:
                self._pass_on(kept_record(self.store, result[RECORD]))
            elif RUNG in result and self.feeder.should_stop(**result[RUNG]):
                write_atomic(self.store.stop_file(result[RUNG]["key"]), b"")

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack starts again: in halves if its process was killed, without what was killed twice."""
        if _last_error(trial).endswith(TAKEN_AWAY):
            logger.warning("a machine is being taken away: its pack goes on elsewhere")
            return
        reason = reason_of_kill(_errors(trial))
        if reason is None:
            return
        if self.in_groups:
            # It is no pack that was too large: Ray Train has the processes that train.
            logger.warning("%s, the one that starts a group of processes: it starts again", reason)
            return
        with past_tune():
            packs = map(Pack.from_text, trial.config.get(PARTS, [trial.config[PACK]]))
            left = [part for pack in packs if (part := pack.without(self._done(pack))) is not None]
            parts, lost = after_kill(left, again=PARTS in trial.config)
            logger.warning(_halved_text(reason, left, parts, lost))
            trial.config[PARTS] = [part.text for part in parts]
            for node in lost:
                self._pass_on(self._outcome(node, f"{reason}, twice: {REMEDY}"))

    def _done(self, pack: Pack) -> frozenset[str]:
        """Keys of its nodes that are not to be done again."""
        kept = ((node.key, self.store.outcome(node.key, node.files)) for node in pack.nodes)
        return frozenset(key for key, record in kept if record and record.status != "failed")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack's actor died too often: its unfinished nodes are failed."""
        reason = reason_of_kill(_errors(trial))
        text = f"its process died {RETRIES + 1} times; the last error: {_last_error(trial)}"
        if reason is not None:
            text = f"its process died {RETRIES + 1} times, the last time {reason}: {REMEDY}"
        with past_tune():
            for node in Pack.from_text(trial.config[PACK]).nodes:
                if node.key not in self.seen:
                    self._pass_on(self._outcome(node, text))

    def _outcome(self, node: Node, error: str) -> CellRecord:
        # Its worker may have died between keeping the record and reporting it.
        kept = self.store.outcome(node.key, node.files)
        if kept is not None and kept.status != "failed":
            return kept
        return CellRecord(key=node.key, params=node.params, status="failed", error=error)

    def _pass_on(self, record: CellRecord) -> None:
        # A pack that starts again tries its failed nodes again.
        known = self.seen.get(record.key)
        if known is None or (known == "failed" and record.status != "failed"):
            self.seen[record.key] = record.status
            self.feeder.tell(record)
            self.listener.on_record(record)


def kept_record(store: SweepStore, key: str) -> CellRecord:
    """The record that a worker has just reported.

    Raises:
        StorageError: it does not get here, or is damaged.
    """
    given_up = time.monotonic() + SEEN_WITHIN_S
    while (record := store.ended(key)) is None:
        if time.monotonic() > given_up:
            raise StorageError(
                f"the record of {key} was reported, and is not in {store.folder} after "
                f"{SEEN_WITHIN_S:.0f} s: give a --storage that all nodes see"
            )
        time.sleep(LOOK_EVERY_S)
    return record


def _last_error(trial: Any) -> str:
    """The last line that Ray wrote about a trial: what the exception says."""
    lines = _errors(trial).split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "none was written")


def _errors(trial: Any) -> str:
    """All that Ray wrote about the errors of a trial."""
    path = trial.error_file
    return Path(path).read_text("utf-8", "replace") if path and Path(path).exists() else ""


def _halved_text(
    reason: str, left: Sequence[Pack], parts: Sequence[Pack], lost: Sequence[Node]
) -> str:
    """What happens to a pack whose process was killed."""
    whole, now = (" and ".join(str(len(part.nodes)) for part in some) for some in (left, parts))
    if lost:
        return f"{reason}, for the second time: {len(lost)} of its cells or steps have failed"
    again = f"goes on with {now}" if len(parts) > len(left) else "starts again"
    return f"{reason}: its pack of {whole} cells or steps {again}"
