"""A pack that several processes train: Ray Train starts them, and starts them again if one dies.

Its Tune trial takes no CPU: it starts a `TorchTrainer` and passes on the records that the first process
keeps. What all processes do is the loop that one process runs; it sees a worker with a rank.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Read by Ray Train where its controller starts: how soon it sees that processes have ended, and that machines
# which are being taken away are no matter of its own. It would wait until they are gone; `Notice` does not.
os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")

from interfero.engine import ray_environment  # noqa: F401
from interfero.store.keys import CELL_DIGITS, text_key

# isort: split
import ray
import ray.train
import torch
import torch.distributed as dist
from ray.exceptions import RayActorError
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer, get_device

from interfero.engine.checkpoints import Checkpoints
from interfero.engine.code_version import CodeVersion
from interfero.engine.distributed import Group
from interfero.engine.guarding import train_guarded
from interfero.engine.leaving import Notice, moves_elsewhere, own_node
from interfero.engine.packs import AnyNode, Pack
from interfero.engine.worker import PackRunner, TrialWorker
from interfero.errors import GroupError
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore

POLL_SECONDS = 0.5
"""Between looks for new records while a group trains."""

TRIAL_RESOURCES = {"cpu": 0.0, "memory": 1024.0}
"""Of the trial that starts a group. Tune takes no trial without any; bytes of memory are nobody's lack."""


@dataclass(frozen=True)
class GroupSize:
    """How many processes train a pack, and what each of them takes."""

    num_workers: int
    cpus: float
    gpus: float

    @property
    def threads(self) -> int:
        """CPU threads of one process."""
        return max(1, int(self.cpus))

    @property
    def backend(self) -> str:
        """Of torch's process group: nccl refuses two processes on one GPU, gloo does not."""
        return "nccl" if self.gpus >= 1 else "gloo"


def train_in_group(
    runner: ray.ObjectRef[PackRunner], pack: Pack, store: SweepStore, size: GroupSize,
    retries: int, code: CodeVersion | None = None,
) -> Iterator[CellRecord]:  # fmt: skip
    """Train a pack by `size.num_workers` processes; a record a cell, as they are kept.

    A process that dies takes the group with it; it starts again `retries` times at most, goes on from
    the cells' checkpoints and repeats no finished cell, but tries failed ones again: these may give a
    second record. After that, the cells that are left are failed. What fails in all processes alike, a
    training that diverges say, is a record at once. A group that one of its machines is taken from starts
    again on others, as often as that happens.

    Raises:
        MachineLeavingError: the machine of this trial is being taken away.
    """
    known = {cell.key: store.outcome(cell.key, cell.files) for cell in pack.nodes}
    left = {cell.key: cell for cell in pack.nodes}
    notice = Notice({own_node()})
    while True:
        notice.check()
        trainer = _trainer(runner, pack, store, size, retries, code)
        error = yield from _train_until_end(trainer, pack, store, known, left)
        if not (left and _was_taken_away(error)):
            break
    text = "its processes ended without a record"
    if error is not None:
        text = f"its {size.num_workers} processes failed {retries + 1} times; {_reason(error)}"
    for cell in left.values():
        record = CellRecord(key=cell.key, params=cell.params, status="failed", error=text)
        store.write_record(record)
        yield record


def _train_until_end(
    trainer: TorchTrainer, pack: Pack, store: SweepStore, known: dict[str, CellRecord | None],
    left: dict[str, AnyNode],
) -> Generator[CellRecord, None, BaseException | None]:  # fmt: skip
    """Train until a group ends; gives the records that it keeps, takes their keys out of `left`.

    Returns:
        The error that it ended with, if any.
    """
    with ThreadPoolExecutor(max_workers=1) as thread:
        running = thread.submit(trainer.fit)
        ended = False
        while not ended:
            wait([running], timeout=POLL_SECONDS)
            # Asked before looking: what is kept until a group ends is seen.
            ended = running.done()
            for record in _new_records(store, pack, known):
                left.pop(record.key, None)
                yield record
    return running.exception()


def _was_taken_away(error: BaseException | None) -> bool:
    """Whether a group ended because a machine is being taken away, or was, after a notice."""
    failures = getattr(error, "worker_failures", {}).values()
    # Of a process that is gone, Train keeps Ray's error in its own.
    causes = [getattr(failure, "health_check_failure", failure) for failure in failures]
    return any(isinstance(cause, RayActorError) and cause.preempted for cause in causes)


def _new_records(
    store: SweepStore, pack: Pack, known: dict[str, CellRecord | None]
) -> Iterator[CellRecord]:
    """Records of a pack that are not as `known`, by key, which is brought up to date.

    A failed cell is looked at again: a group that starts again tries it again.
    """
    for cell in pack.nodes:
        before = known[cell.key]
        if before is not None and before.status == "finished":
            continue
        record = store.outcome(cell.key, cell.files)
        if record is not None and record != before:
            known[cell.key] = record
            yield record


def _trainer(
    runner: ray.ObjectRef[PackRunner], pack: Pack, store: SweepStore, size: GroupSize,
    retries: int, code: CodeVersion | None,
) -> TorchTrainer:  # fmt: skip
    keys = " ".join(cell.key for cell in pack.nodes)
    config = {
        "runner": runner,
        "pack": pack.model_dump_json(),
        "storage": store.storage,
        "name": store.name,
        "size": size,
        "code": code,
        "node": own_node(),
    }
    return TorchTrainer(
        train_rank,
        train_loop_config=config,
        torch_config=TorchConfig(backend=size.backend),
        scaling_config=ScalingConfig(
            num_workers=size.num_workers,
            use_gpu=size.gpus > 0,
            resources_per_worker={"CPU": size.cpus, "GPU": size.gpus},
        ),
        run_config=RunConfig(
            # By content: a pack that starts again finds itself.
            name=f"group-{text_key(keys, digits=CELL_DIGITS)}",
            storage_path=str(store.folder / "tune" / "groups"),
            # A machine that is taken away is no failure: `train_in_group` starts the group again.
            failure_config=FailureConfig(  # type: ignore[call-arg]  # Its types are those of the first Train.
                max_failures=retries, max_preemption_failures=0
            ),
        ),
    )


def train_rank(config: dict[str, Any]) -> None:
    """What each process of a group does; the first one keeps the records.

    Raises:
        ConfigError: this process runs other code than the driver.
        MachineLeavingError: a machine of the group, or that of its trial, is being taken away.
    """
    code: CodeVersion | None = config["code"]
    if code is not None:
        # The trial that starts a group may stand on another machine than the processes.
        code.require()
    size: GroupSize = config["size"]
    torch.set_num_threads(size.threads)
    storage: Path = config["storage"]
    store = SweepStore(storage, config["name"])
    context = ray.train.get_context()
    worker = TrialWorker(
        store.folder,
        get_device() if size.gpus else torch.device("cpu"),
        rank=context.get_world_rank(),
        world_size=context.get_world_size(),
    )
    group = Group(worker)
    nodes = _nodes_of(group)
    if worker.rank == 0:
        # If it leaves, it ends the group: the others wait for it in their next step, until Train ends them.
        worker.notice = Notice({*nodes, config["node"]})
    pack = Pack.model_validate_json(config["pack"])
    # The first one looks: files may reach another machine later.
    finished = group.from_first(
        lambda: {c.key for c in pack.nodes if _is_finished(store.outcome(c.key, c.files))}
    )
    left = pack.without(finished)
    if left is None:
        return
    runner: PackRunner = ray.get(config["runner"])
    checkpoints = Checkpoints(store.folder)
    with moves_elsewhere():
        for record in train_guarded(runner, left, worker, _met_by_all(left)):
            if worker.rank == 0:
                store.write_record(record)
                checkpoints.delete(record.key)


def _nodes_of(group: Group) -> list[str]:
    """Nodes of the processes of a group."""
    if group.alone:
        return [own_node()]
    nodes = [""] * group.world_size
    dist.all_gather_object(nodes, own_node())
    return nodes


def _met_by_all(pack: Pack) -> type[Exception]:
    """Errors that starting the group again would only repeat, and that leave no process waiting.

    Where all processes step together, one that met another error must end: the others wait for it in
    torch's process group. Where the first one works alone, the others have gone home.
    """
    together = any(node.together for node in pack.nodes)
    return GroupError if together else Exception


def _is_finished(record: CellRecord | None) -> bool:
    return record is not None and record.status == "finished"


def _reason(error: BaseException) -> str:
    """What a process said last, without Ray's frames."""
    failures = getattr(error, "worker_failures", {})
    first: BaseException = next(iter(failures.values()), error)
    lines = [line.strip() for line in str(first).splitlines() if line.strip()]
    return f"the last error: {lines[-1] if lines else type(first).__name__}"
