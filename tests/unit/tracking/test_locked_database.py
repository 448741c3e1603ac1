"""A SQLite database that another program has locked for a while."""

import sqlite3

import pytest
from mlflow.tracking.client import MlflowClient

from interfero.tracking.tracker import Tracker

from .conftest import make_record


@pytest.fixture
def tracker(tmp_path, tracking_uri):
    outbox = tmp_path / "one/outbox.jsonl"
    return Tracker.open(tracking_uri, "kind", "one", tags={}, params={}, outbox=outbox)


def test_writes_wait_until_it_is_free_and_are_all_delivered(
    tmp_path, tracking_uri, tracker, caplog
):
    other = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    finished = make_record("one-cell")
    tracker.cell_finished(finished)
    assert tracker.pending
    assert "database is locked" in tracker.trouble
    assert "the tracking server is away, writes wait on disk" in caplog.text
    other.execute("ROLLBACK")
    assert tracker.flush(60) == 0
    assert tracker.trouble is None
    assert tracker.close("FINISHED") == 0
    runs = MlflowClient(tracking_uri).search_runs(
        [MlflowClient(tracking_uri).get_experiment_by_name("kind").experiment_id]
    )
    assert [run.info.status for run in runs] == 2 * ["FINISHED"]
    (found,) = [run for run in runs if run.data.tags["interfero.kind"] == "cell"]
    assert found.data.metrics.items() >= finished.metrics.items()
