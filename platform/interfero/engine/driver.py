"""Ray Tune runs packs in warm actors; Tune never sees a cell.

A Tune trial is a pack. It reports each member's record as it is finished; a member that fails is a
record, not an exception, because an exception would kill the warm actor.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

# Read by Ray at import: nothing of Tune's own files or handlers is wanted.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "120")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray
import torch
from ray import tune
from ray.tune import Callback, FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.search import Searcher

from interfero.engine.cells import CellRecord, Pack
from interfero.engine.options import SweepOptions
from interfero.engine.search import BlockSearch
from interfero.engine.store import SweepStore
from interfero.engine.worker import Metrics, PackRunner

PACK = "pack"
RECORD = "record"
RETRIES = 2
"""Times a pack starts again after its actor died; cells it had finished are not repeated."""


class SweepListener(Protocol):
    """Whoever wants to know how a sweep goes."""

    def on_started(self, pack: Pack) -> None:
        """A pack is about to train."""

    def on_record(self, record: CellRecord) -> None:
        """A cell ended. The same record may come twice."""


@dataclass
class TuneWorker:
    """The worker of a pack that trains inside a Tune actor."""

    folder: Path
    device: torch.device
    rank: int = 0
    world_size: int = 1

    def report(self, name: str, step: int, metrics: Metrics) -> None:
        """Curves travel with the record."""

    def should_stop(self) -> bool:
        """Packs are never stopped early."""
        return False


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
            recall: Looks up the record of a cell that is finished already.
            listener: Is told of recalled cells.
        """
        super().__init__(metric=RECORD, mode="max")
        self._packs = deque(packs)
        self._searches = {search: max(0, num_samples - search.num_told) for search in searches}
        self._recall = recall
        self._listener = listener
        self._owner: dict[str, BlockSearch] = {}

    @property
    def num_left(self) -> int:
        """Packs still to be handed out, at most."""
        return len(self._packs) + sum(self._searches.values())

    def suggest(self, trial_id: str) -> Any:
        """The next pack, as a Tune configuration."""
        pack = self._packs.popleft() if self._packs else self._search()
        if pack is None:
            return Searcher.FINISHED
        self._listener.on_started(pack)
        return {PACK: pack.model_dump(mode="json")}

    def _search(self) -> Pack | None:
        """Ask the block with most cells left; a cell known already is told, not trained."""
        while any(self._searches.values()):
            search = max(self._searches, key=lambda s: self._searches[s])
            self._searches[search] -= 1
            cell = search.ask()
            known = self._recall(cell.key)
            if known is not None:
                search.tell(known)
                self._listener.on_record(known)
                continue
            self._owner[cell.key] = search
            return Pack(cells=(cell,))
        return None

    def tell(self, record: CellRecord) -> None:
        """Give a cell's record to the search that asked for it, once."""
        search = self._owner.pop(record.key, None)
        if search is not None:
            search.tell(record)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Records were told as they came."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: sweeps go on from their own records, not from Tune's state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""


@dataclass
class RecordCallback(DriverOnly, Callback):
    """Takes records out of Tune's results."""

    feeder: Feeder
    listener: SweepListener
    seen: set[str] = field(default_factory=set)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """One cell ended."""
        if RECORD in result:
            self._pass_on(CellRecord.model_validate_json(result[RECORD]))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A pack's actor died too often: its unfinished cells are failed."""
        text = str(
            (trial.error_file and Path(trial.error_file).read_text()[-2000:]) or "actor died"
        )
        for cell in Pack.model_validate(trial.config[PACK]).cells:
            if cell.key not in self.seen:
                self._pass_on(
                    CellRecord(key=cell.key, params=cell.params, status="failed", error=text)
                )

    def _pass_on(self, record: CellRecord) -> None:
        if record.key not in self.seen:
            self.seen.add(record.key)
            self.feeder.tell(record)
            self.listener.on_record(record)


def run_pack_trial(
    config: dict[str, Any], *, runner: PackRunner, storage: Path, name: str, threads: int
) -> None:
    """What a Tune actor does with a pack: train what is not finished, report each record."""
    torch.set_num_threads(threads)
    store = SweepStore(storage, name)
    pack = Pack.model_validate(config[PACK])
    left = []
    for cell in pack.cells:
        record = store.finished(cell.key)
        if record is None:
            left.append(cell)
        else:
            tune.report({RECORD: record.model_dump_json()})
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    if left:
        for record in runner(Pack(cells=tuple(left)), TuneWorker(store.folder, device)):
            store.write_record(record)
            tune.report({RECORD: record.model_dump_json()})


def start_ray(options: SweepOptions) -> int:
    """Connect to the cluster, or start Ray on this machine; returns the number of packs at once."""
    if not ray.is_initialized():
        ray.init(
            address=options.address,
            include_dashboard=False if options.address is None else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            _skip_env_hook=True,
        )
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    room = [resources.get("CPU", 1.0) / options.cpus_per_trial]
    if options.gpus_per_trial:
        room.append(resources.get("GPU", 0.0) / options.gpus_per_trial)
    fitting = max(1, int(min(room)))
    return min(fitting, options.max_concurrent) if options.max_concurrent else fitting


def _trial_name(trial: Any) -> str:
    """Short: Tune would spell the pack's whole configuration, longer than file names may be."""
    return f"pack-{trial.trial_id}"


def run_packs(
    options: SweepOptions, store: SweepStore, runner: PackRunner, feeder: Feeder,
    listener: SweepListener, concurrent: int,
) -> None:  # fmt: skip
    """Run every pack the feeder gives, in warm actors, and pass on the records."""
    if feeder.num_left == 0:
        return
    trainable = tune.with_parameters(
        run_pack_trial,
        runner=runner,
        storage=store.storage,
        name=store.name,
        threads=max(1, int(options.cpus_per_trial)),
    )
    resources = {"cpu": options.cpus_per_trial, "gpu": options.gpus_per_trial}
    tuner = Tuner(
        tune.with_resources(trainable, resources),
        tune_config=TuneConfig(
            search_alg=feeder,
            num_samples=feeder.num_left,
            max_concurrent_trials=concurrent,
            reuse_actors=True,
            trial_name_creator=_trial_name,
            trial_dirname_creator=_trial_name,
        ),
        run_config=RunConfig(
            name=f"attempt-{os.getpid()}",
            storage_path=str(store.folder / "tune"),
            callbacks=[RecordCallback(feeder, listener)],
            failure_config=FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )
    tuner.fit()
