"""What runs in an actor of Ray Tune: a pack. A worker needs none of the driver's libraries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
import ray
import torch
from ray import tune

from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.rungs import rung_steps
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.code_version import CodeVersion
from interfero.engine.guarding import train_guarded
from interfero.engine.killed import PARTS
from interfero.engine.leaving import Notice, moves_elsewhere, own_node
from interfero.engine.packs import PACK, RECORD, RETRIES, RUNG, Pack
from interfero.engine.worker import Metrics, PackRunner, TrialWorker
from interfero.store.sweep import SweepStore

if TYPE_CHECKING:
    from interfero.engine.group_trial import GroupSize


@dataclass
class TuneWorker(TrialWorker):
    """The worker of a pack that trains inside a Tune actor."""

    rungs: Sequence[int] = ()
    stop_file: Path | None = None
    """The driver's answer to a report: it is there if the cell is to stop."""

    def report(self, name: str, step: int, metrics: Metrics) -> None:
        """Tell the driver of a rung; it has answered when this returns. Curves travel with the record.

        Tune asks for the next result once the driver's callbacks have seen this one, and only that
        lets `tune.report` return (`synchronous_result_reporting`, Ray 2.60).
        """
        # Tune wants the searcher's metric in every report.
        tune.report({RECORD: None, RUNG: {"key": name, "step": step, "metrics": dict(metrics)}})

    def should_stop(self) -> bool:
        """Whether the search stops the cell at the rung it has reported."""
        return self.stop_file is not None and self.stop_file.exists()


def run_pack_trial(
    config: dict[str, Any], *, runner: PackRunner, storage: Path, name: str, threads: int,
    stops_early: bool = False, code: CodeVersion | None = None,
) -> None:  # fmt: skip
    """What a Tune actor does with a pack: train what is not finished, report each record.

    Raises:
        ConfigError: this worker runs other code than `code`.
        MachineLeavingError: its machine is being taken away.
    """
    if code is not None:
        code.require()
    torch.set_num_threads(threads)
    store = SweepStore(storage, name)
    parts = config.get(PARTS, [config[PACK]])
    if not parts:
        # All was given up; Tune wants a report of every trial.
        tune.report({RECORD: None})
    for text in parts:
        left = _report_finished(Pack.from_text(text), store)
        if left:
            _do(left, runner, store, stops_early=stops_early)


def _do(pack: Pack, runner: PackRunner, store: SweepStore, *, stops_early: bool) -> None:
    """Train a pack and report each record."""
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    notice = Notice({own_node()})
    # Tune may hand a pack to a warm actor on a node that is being drained.
    notice.check()
    worker = TuneWorker(store.folder, device, notice=notice)
    checkpoints = Checkpoints(store.folder)
    cell = pack.nodes[0]
    if stops_early and isinstance(cell, Cell):
        worker.rungs = rung_steps(cell.loop.num_steps)
        worker.stop_file = store.stop_file(cell.key)
    with moves_elsewhere():
        for record in train_guarded(runner, pack, worker):
            store.write_record(record)
            checkpoints.delete(record.key)
            tune.report({RECORD: record.key})


def run_group_trial(
    config: dict[str, Any], *, runner: list[ray.ObjectRef[PackRunner]], storage: Path, name: str,
    size: GroupSize, code: CodeVersion | None = None,
) -> None:  # fmt: skip
    """The same for a pack that several processes train: start them, report what they keep."""
    from interfero.engine.group_trial import train_in_group

    if code is not None:
        code.require()
    store = SweepStore(storage, name)
    left = _report_finished(Pack.from_text(config[PACK]), store)
    if left:
        for record in train_in_group(runner[0], left, store, size, RETRIES, code):
            tune.report({RECORD: record.key})


def _report_finished(pack: Pack, store: SweepStore) -> Pack | None:
    """Report cells that were finished before; returns those that are left, if any."""
    done = set()
    for node in pack.nodes:
        record = store.outcome(node.key, node.files)
        if record is not None and record.status != "failed":
            done.add(node.key)
            # Its worker may have died between keeping the record and deleting these.
            Checkpoints(store.folder).delete(node.key)
            tune.report({RECORD: record.key})
    return pack.without(done)
