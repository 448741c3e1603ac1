from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking.client import MlflowClient

from interfero.records import CellRecord
from interfero.tracking.tracker import Tracker

START_S = 1_700_000_000.0
PARAMS = {"domain": "histology", "method": "cawf", "adapter_size": 4, "learning_rate": 1e-3}


def make_record(key, *, points=3, started_at=START_S, **changes):
    fields = {
        "key": key,
        "params": {**PARAMS, "num_steps": 100},
        "status": "finished",
        "metrics": {"target/bpp": 0.5, "source/forgetting": 0.0},
        "curve": tuple((10 * i, {"loss": 2.0 / i}) for i in range(1, points + 1)),
        "seconds": 30.0,
        "started_at": started_at,
    }
    return CellRecord(**{**fields, **changes})


@dataclass
class Place:
    """A tracking server, and a driver's folder."""

    uri: str
    outbox: Path
    experiment: str = "adapter-capacity"

    def open(self, sweep="demo", tags=None, params=None, **more):
        return Tracker.open(
            self.uri,
            self.experiment,
            sweep,
            tags=tags or {"interfero.git_commit": "abc"},
            params=params or {"sampler": "grid"},
            outbox=self.outbox,
            **more,
        )

    @property
    def client(self):
        return MlflowClient(tracking_uri=self.uri)

    def runs(self, kind):
        experiment = self.client.get_experiment_by_name(self.experiment)
        return self.client.search_runs(
            [experiment.experiment_id], f"tags.`interfero.kind` = '{kind}'", max_results=1000
        )

    @property
    def parent(self):
        (run,) = self.runs("sweep")
        return run

    @property
    def cells(self):
        """By key; fails when two runs have one."""
        runs = self.runs("cell")
        by_key = {run.data.tags["interfero.cell"]: run for run in runs}
        assert len(by_key) == len(runs)
        return by_key

    def history(self, run, metric):
        points = self.client.get_metric_history(run.info.run_id, metric)
        return sorted((point.step, point.value, point.timestamp) for point in points)


@pytest.fixture
def place(tmp_path, tracking_uri, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Place(tracking_uri, tmp_path / "sweep" / "outbox.jsonl")
