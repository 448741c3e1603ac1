"""Ray Tune runs packs in warm actors; Tune never sees a cell.

A Tune trial is a pack. It reports each member's record as it is finished; a member that fails is a
record, not an exception, because an exception would kill the warm actor.
"""

from __future__ import annotations

import logging
import os
import shutil
from typing import Any

from interfero.engine import ray_environment  # noqa: F401

# isort: split
import ray
from ray import tune
from ray.tune import FailureConfig, RunConfig, TuneConfig, Tuner
from ray.tune.execution.class_cache import DEFAULT_ENV_VARS, ENV_VARS_TO_PROPAGATE

from interfero.engine.code_version import CodeVersion, on_cluster
from interfero.engine.feeding import Feeder, PastTune, SweepListener
from interfero.engine.memory_monitor import kills_are_deaths
from interfero.engine.options.base import SweepOptions
from interfero.engine.packs import RETRIES
from interfero.engine.record_callback import RecordCallback
from interfero.engine.trial import run_group_trial, run_pack_trial
from interfero.engine.worker import PackRunner, Shippable
from interfero.errors import InterferoError
from interfero.store.sweep import SweepStore

# A pack that dies is a failed record and a line of ours; Tune would add pages of its own frames.
logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
# Tune sends AWS's keys to its actors in a runtime environment, and Ray's agent writes that into its log
# (Ray 2.60). Results lie in a folder, which needs no keys; machines of a cluster have their own.
ENV_VARS_TO_PROPAGATE -= {name for name in ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
# A variable for PyTorch Lightning, which nothing here uses. With it every actor would need a process with an
# environment of its own, and the workers that Ray starts beforehand would never be used.
DEFAULT_ENV_VARS.clear()


def _trial_name(trial: Any) -> str:
    """Short: Tune would spell the pack's whole configuration, longer than file names may be."""
    return f"pack-{trial.trial_id}"


def _trainable(
    options: SweepOptions, store: SweepStore, runner: PackRunner, code: CodeVersion | None
) -> Any:
    """What Tune runs for each pack, with what a trial takes."""
    cpus, gpus = options.cpus_per_trial, options.gpus_per_trial
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
    listener: SweepListener, concurrent: int, code: CodeVersion | None = None,
) -> None:  # fmt: skip
    """Run every pack the feeder gives, in warm actors, and pass on the records.

    Args:
        options: Of the sweep.
        store: Its folder.
        runner: Does the packs.
        feeder: Gives them.
        listener: Hears what becomes of them.
        concurrent: Packs at once.
        code: What a worker must run too; None where it cannot run anything else.
    """
    if feeder.num_left == 0:
        return
    # Of a driver that died: what it answered is no answer of this one.
    shutil.rmtree(store.folder / "stop", ignore_errors=True)
    tuner = Tuner(
        _trainable(options, store, runner, code),
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
            callbacks=[RecordCallback(feeder, listener, store, options.workers_per_trial > 1)],
            failure_config=FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )
    try:
        with kills_are_deaths():
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
