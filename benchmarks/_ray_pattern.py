"""Ray's documented pattern: a TorchTrainer inside a Tune function, `MLflowLoggerCallback` for tracking.

`python -m benchmarks._ray_pattern CELLS IMAGES OUTPUT`: the peer of the sweep benchmark, with the
same training script in each worker. From "Hyperparameter Tuning with Ray Tune" in Ray Train's user guide:
the driver function takes no CPU of its own, metrics reach Tune by `TuneReportCallback`, and as many trials
run at once as there are CPUs.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import ray
import ray.train
import ray.tune
from ray.air.integrations.mlflow import MLflowLoggerCallback
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from benchmarks._training_script import train_cell
from interfero.engine.adaptation.nodes import Cell


def train_worker(config: dict[str, Any]) -> None:
    """What the one worker of a trial does."""
    cell, output = Cell.model_validate_json(config["cell"]), Path(config["output"])
    metrics = train_cell(
        cell, Path(config["images"]), output, lambda step, values: ray.train.report(values)
    )
    (output / f"{cell.key}.json").write_text(json.dumps(metrics))
    ray.train.report(metrics)


def train_driver(config: dict[str, Any]) -> None:
    """A trial: it starts a trainer and waits for it."""
    TorchTrainer(
        train_worker,
        train_loop_config=config,
        scaling_config=ray.train.ScalingConfig(num_workers=1, resources_per_worker={"CPU": 1}),
        run_config=ray.train.RunConfig(
            name=f"trial-{ray.tune.get_context().get_trial_id()}",
            storage_path=f"{config['output']}/train",
            callbacks=[TuneReportCallback()],
        ),
    ).fit()


def main() -> None:
    """Command line."""
    cells, images, output = json.loads(Path(sys.argv[1]).read_text()), *sys.argv[2:4]
    # Without an address Ray would join whatever cluster was last started on this machine.
    ray.init("local", include_dashboard=False, log_to_driver=False)
    space = {"cell": ray.tune.grid_search(cells), "images": images, "output": output}
    ray.tune.Tuner(
        ray.tune.with_resources(train_driver, {"CPU": 0.01}),
        param_space=space,
        tune_config=ray.tune.TuneConfig(max_concurrent_trials=os.cpu_count() or 1),
        run_config=ray.tune.RunConfig(
            name="sweep",
            storage_path=f"{output}/tune",
            callbacks=[
                MLflowLoggerCallback(
                    tracking_uri=os.environ["MLFLOW_TRACKING_URI"], experiment_name="sweep"
                )
            ],
        ),
    ).fit()
    ray.shutdown()


if __name__ == "__main__":
    main()
