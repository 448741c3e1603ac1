"""Ray Tune runs packs in warm actors; Tune never sees a cell.

A Tune trial is a pack. It reports each member's record as it is finished; a member that fails is a
record, not an exception, because an exception would kill the warm actor.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
import ray
import torch
from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.execution.class_cache import ENV_VARS_TO_PROPAGATE

from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.search import rung_steps
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.code_version import CodeVersion, on_cluster, shipped_code
from interfero.engine.feeding import PACK, RECORD, Feeder, PastTune, SweepListener
from interfero.engine.guarding import train_guarded
from interfero.engine.interrupts import interruptible, uninterrupted
from interfero.engine.options.base import SweepOptions
from interfero.engine.packs import Pack
from interfero.engine.record_callback import RETRIES, RUNG, RecordCallback
from interfero.engine.resources import packs_at_once
from interfero.engine.worker import Metrics, PackRunner, Shippable, TrialWorker
from interfero.errors import ConfigError, InterferoError
from interfero.redaction import without_secrets
from interfero.store.sweep import SweepStore

if TYPE_CHECKING:
    from interfero.engine.group_trial import GroupSize

# A pack that dies is a failed record and a line of ours; Tune would add pages of its own frames.
logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
# Tune sends AWS's keys to its actors in a runtime environment, and Ray's agent writes that into its log
# (Ray 2.60). Results lie in a folder, which needs no keys; machines of a cluster have their own.
ENV_VARS_TO_PROPAGATE -= {name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}


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
    """
    if code is not None:
        code.require()
    torch.set_num_threads(threads)
    store = SweepStore(storage, name)
    left = _report_finished(Pack.from_text(config[PACK]), store)
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    if left:
        worker, checkpoints = TuneWorker(store.folder, device), Checkpoints(store.folder)
        cell = left.nodes[0]
        if stops_early and isinstance(cell, Cell):
            worker.rungs = rung_steps(cell.loop.num_steps)
            worker.stop_file = store.stop_file(cell.key)
        for record in train_guarded(runner, left, worker):
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


@contextmanager
def ray_session(options: SweepOptions) -> Iterator[int]:
    """Ray, from before the first pack to after the last; yields the number of packs at once.

    Whatever ends the sweep, no actor outlives it.

    Raises:
        ConfigError: no cluster at the address, or a trial asks for more than this machine has.
    """
    ours = not ray.is_initialized()
    try:
        if ours:
            _start_ray(options)
        # Ray's driver takes SIGTERM for itself when it starts.
        with interruptible():
            yield _packs_at_once(options)
    finally:
        if ours:
            with uninterrupted():
                ray.shutdown()


def _start_ray(options: SweepOptions) -> None:
    try:
        with shipped_code() if on_cluster(options) else nullcontext() as runtime_env:
            ray.init(
                # Left out, Ray would join whatever cluster was last started on this machine.
                address=options.address if on_cluster(options) else "local",
                include_dashboard=None if on_cluster(options) else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=runtime_env,
                _skip_env_hook=True,
            )
    except (ConnectionError, ValueError, RuntimeError) as error:
        where = (
            "on this machine"
            if options.address is None
            else f"at {without_secrets(options.address)}"
        )
        raise ConfigError(
            f"--address must name a Ray cluster that answers, or be left out; Ray {where} does "
            f"not start: {without_secrets(str(error).splitlines()[0][:300])}"
        ) from error
    except Exception as error:
        # A bare Exception is what Ray raises where its processes need more than its 30 seconds (2.60).
        if type(error) is not Exception:
            raise
        said = without_secrets(str(error).splitlines()[0][:300])
        raise ConfigError(
            f"Ray's own processes must start within 30 seconds, and did not: {said} This machine may be "
            "too busy: end other programs and run the sweep again, with --resume if it had begun"
        ) from error


def _packs_at_once(options: SweepOptions) -> int:
    return packs_at_once(options, ray.cluster_resources())  # type: ignore[no-untyped-call]


def _trial_name(trial: Any) -> str:
    """Short: Tune would spell the pack's whole configuration, longer than file names may be."""
    return f"pack-{trial.trial_id}"


def _trainable(options: SweepOptions, store: SweepStore, runner: PackRunner) -> Any:
    """What Tune runs for each pack, with what a trial takes."""
    cpus, gpus = options.cpus_per_trial, options.gpus_per_trial
    code = CodeVersion.current() if on_cluster(options) else None
    if on_cluster(options) and isinstance(runner, Shippable):
        runner = runner.shipped(store.storage)
    place = {"storage": store.storage, "name": store.name, "code": code}
    if options.workers_per_trial == 1:
        stops = options.early_stopping != "none"
        trainable = tune.with_parameters(
            run_pack_trial, runner=runner, threads=max(1, int(cpus)), stops_early=stops, **place
        )
        return tune.with_resources(trainable, {"cpu": cpus, "gpu": gpus})
    # Ray Train takes a second to import, which sweeps of one worker are spared.
    from interfero.engine.group_trial import TRIAL_RESOURCES, GroupSize

    size = GroupSize(options.workers_per_trial, cpus, gpus)
    # In a list it stays a reference: the trial hands it on without loading the domains.
    trainable = tune.with_parameters(run_group_trial, runner=[ray.put(runner)], size=size, **place)
    return tune.with_resources(trainable, TRIAL_RESOURCES)


def run_packs(
    options: SweepOptions, store: SweepStore, runner: PackRunner, feeder: Feeder,
    listener: SweepListener, concurrent: int,
) -> None:  # fmt: skip
    """Run every pack the feeder gives, in warm actors, and pass on the records."""
    if feeder.num_left == 0:
        return
    # Of a driver that died: what it answered is no answer of this one.
    shutil.rmtree(store.folder / "stop", ignore_errors=True)
    tuner = Tuner(
        _trainable(options, store, runner),
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
            callbacks=[RecordCallback(feeder, listener, store)],
            failure_config=FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )
    try:
        tuner.fit()
    except PastTune as error:
        cause = error.__cause__
        assert cause is not None
        raise cause from cause.__cause__
    else:
        if feeder.num_left:
            raise InterferoError(
                f"Ray Tune ended although {feeder.num_left} packs had not been handed out: nothing of them "
                "is lost or done"
            )
    finally:
        # A sweep goes on from its own records: Tune's state is of no use to anybody.
        shutil.rmtree(store.folder / "tune", ignore_errors=True)
        shutil.rmtree(store.folder / "stop", ignore_errors=True)
