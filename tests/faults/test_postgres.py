"""MLflow on PostgreSQL, as a team shares it: two sweeps at once, and its servers killed in the middle."""

import base64
import json
import os
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mlflow.tracking.client import MlflowClient

from interfero.cli.doctor.services import check_tracking
from interfero.errors import TrackingError
from interfero.tracking.tracker import Tracker
from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests import postgres
from tests.faults.proxy import Proxy
from tests.faults.quick_sweep import KIND, NUM_CELLS
from tests.processes import PATIENCE_S, kill_all
from tests.unit.tracking.conftest import PARAMS, make_record
from tests.unit.tracking.test_server_away import Server

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(postgres.missing()), reason=postgres.missing()),
]
ROOT = Path(__file__).resolve().parents[2]
CURVES = ("train/bpp", "train/loss", "train/mse_255", "train/rd_loss")


@pytest.fixture(scope="module")
def database():
    found = postgres.Postgres()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def server(database, tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("server"), database.uri())
    try:
        server.start()
        database.let_read()
        yield server
    finally:
        server.kill()


class Quick:
    """A sweep of cells that train nothing, in a process of its own."""

    def __init__(self, folder, name, hold, tracking_uri):
        self.name, self.folder = name, folder / "interfero-storage" / name
        self.log = folder / f"{name}.log"
        environment = {
            "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}",
            "OMP_NUM_THREADS": "1",
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", ROOT / "tests/faults/quick_sweep.py", name, hold],
                cwd=folder, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **environment, "MLFLOW_TRACKING_URI": tracking_uri},
            )  # fmt: skip

    def records(self):
        return [json.loads(path.read_text()) for path in self.folder.glob("cells/*.json")]

    def wait_until(self, condition):
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def wait_for_a_record(self):
        self.wait_until(lambda: any(self.folder.glob("cells/*.json")))

    def wait_for_outbox(self, *, filled):
        path = self.folder / "outbox.jsonl"
        self.wait_until(lambda: path.exists() and bool(path.stat().st_size) == filled)

    def end(self):
        assert self.process.wait(PATIENCE_S) == 0, self.log.read_text()
        return self.log.read_text()

    def kill(self):
        if self.process.poll() is None:
            kill_all(psutil.Process(self.process.pid))


def restarted(sweeps, hold, stop, start):
    """Something is stopped until every sweep has writes that wait, and then until none has.

    The sweeps stand still before and after it, so that none is at its end too soon.
    """
    stop()
    hold.unlink()
    for sweep in sweeps:
        sweep.wait_for_outbox(filled=True)
    hold.touch()
    start()
    # What waits is delivered before what comes next.
    hold.unlink()
    for sweep in sweeps:
        sweep.wait_for_outbox(filled=False)
    hold.touch()


@contextmanager
def begun(folder, names, uri):
    """Sweeps that start at once and stand still after their first records, and the file that holds them."""
    hold = folder / "hold"
    hold.touch()
    sweeps = [Quick(folder, name, hold, uri) for name in names]
    try:
        for sweep in sweeps:
            sweep.wait_for_a_record()
        yield sweeps, hold
    finally:
        for sweep in sweeps:
            sweep.kill()


@pytest.fixture(scope="module")
def swept(database, server, tmp_path_factory):
    """Two sweeps start at once on a new database; MLflow's server is killed, then PostgreSQL."""
    with begun(tmp_path_factory.mktemp("two"), ("one", "two"), server.uri) as (sweeps, hold):
        restarted(sweeps, hold, server.kill, server.start)
        restarted(sweeps, hold, database.kill, database.start)
        hold.unlink()
        yield sweeps, [sweep.end() for sweep in sweeps]


def check_runs(sweep, uri):
    """Every cell has one run with the numbers of its record; returns the ids of all runs of the sweep."""
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(KIND)
    every = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in every if run.data.tags.get("interfero.sweep") == sweep.name]
    assert parent.info.status == "FINISHED"
    assert parent.data.params["num_cells"] == str(NUM_CELLS)
    mine = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    runs = {run.data.tags["interfero.cell"]: run for run in mine}
    records = sweep.records()
    assert len(records) == len(runs) == len(mine) == NUM_CELLS
    for record in records:
        run = runs[record["key"]]
        assert run.info.status == "FINISHED"
        assert run.data.params == {name: str(value) for name, value in record["params"].items()}
        found = run.data.metrics
        assert {name: found[name] for name in record["metrics"]} == record["metrics"]
        assert {name: found[name] for name in CURVES} == record["curve"][-1][1]
        assert run.data.tags["interfero.kind"] == "cell"
        assert run.inputs.dataset_inputs
    return [parent.info.run_id, *(run.info.run_id for run in mine)], len(records[0]["curve"])


def test_two_sweeps_lose_nothing_to_two_restarts(swept, server, database):
    sweeps, shown = swept
    for sweep, text in zip(sweeps, shown, strict=True):
        assert "tracking is behind" not in text
        assert not (sweep.folder / "outbox.jsonl").exists()
        assert not (sweep.folder / "outbox.jsonl.refused").exists()
        ids, points = check_runs(sweep, server.uri)
        rows = database.sql("SELECT run_uuid, key, count(*) FROM metrics GROUP BY run_uuid, key")
        counts = Counter(count for run, key, count in rows if run in ids[1:] and key in CURVES)
        assert counts == {points: NUM_CELLS * len(CURVES)}, "points of curves lost or doubled"
    (deleted,) = database.sql("SELECT count(*) FROM runs WHERE lifecycle_stage = 'deleted'")
    assert deleted == (0,), "runs had a twin"


def test_a_sweep_that_writes_to_the_database_itself(database, tmp_path):
    """In a database without a server: the files of a server's experiment are behind it."""
    database.sql(f"CREATE DATABASE direct OWNER {postgres.WRITER}", database="postgres")
    uri = database.uri().replace("/mlflow", "/direct")
    with begun(tmp_path, ["direct"], uri) as ((sweep,), hold):
        restarted([sweep], hold, database.kill, database.start)
        hold.unlink()
        assert postgres.PASSWORD not in sweep.end()
    assert not (sweep.folder / "outbox.jsonl.refused").exists()
    check_runs(sweep, uri)
    kept = b"".join(path.read_bytes() for path in sweep.folder.rglob("*") if path.is_file())
    assert postgres.PASSWORD.encode() not in kept


def refusal(make_workplace, name, uri):
    """What a sweep says that is not started; nothing of it is left."""
    place = make_workplace(name, untracked=True)
    place.tracking_uri = uri
    with pytest.raises(TrackingError) as caught:
        place.called(CAPACITY, "--name", name)
    assert not (place.sweep(name) / "cells").exists()
    assert not (place.sweep(name) / "sweep.json").exists()
    assert postgres.PASSWORD not in str(caught.value)
    return str(caught.value)


def test_a_wrong_password_is_refused(make_workplace, database, server):
    shown = refusal(make_workplace, "wrong", database.uri(password="something-else"))
    assert "must accept the user and password before training starts; it does not" in shown
    assert 'password authentication failed for user "tracker"' in shown
    assert "Correct them in MLFLOW_TRACKING_URI" in shown
    assert "something-else" not in shown


def test_a_user_who_may_only_read_is_refused(make_workplace, database, server):
    shown = refusal(make_workplace, "reader", database.uri(postgres.READER))
    assert "must let its database user write before training starts; it does not" in shown
    assert "permission denied for table" in shown
    assert "SELECT, INSERT, UPDATE and DELETE in all of MLflow's tables (GRANT)" in shown


def test_a_server_whose_user_may_only_read_is_refused(
    make_workplace, database, server, tmp_path, monkeypatch
):
    reading = Server(tmp_path, database.uri(postgres.READER))
    try:
        reading.start()
        shown = refusal(make_workplace, "through", reading.uri)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", reading.uri)
        finding = check_tracking()
    finally:
        reading.kill()
    for said in (shown, finding.found):
        assert f"the tracking server at {reading.uri} must let its database user write" in said
        assert "permission denied for table" in said
    assert not finding.ok


def test_a_database_without_tables_and_without_the_right_to_make_them(database, tmp_path):
    database.sql("CREATE DATABASE empty", database="postgres")
    uri = database.uri(postgres.READER).replace("/mlflow", "/empty")
    began = time.monotonic()
    with pytest.raises(TrackingError, match="must let its database user write"):
        Tracker.open(uri, KIND, "empty", tags={}, params={}, outbox=tmp_path / "outbox.jsonl")
    assert time.monotonic() - began < 30


def test_a_text_that_postgresql_cannot_hold(database, server, tmp_path):
    """It has no NUL and no half of a surrogate pair in a text; SQLite has both."""
    outbox = tmp_path / "outbox.jsonl"
    tracker = Tracker.open(server.uri, KIND, "texts", tags={}, params={}, outbox=outbox)
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a", status="failed", error="read \0 of caf\udce9.png"))
    assert tracker.close("FAILED") == 0
    assert tracker.num_refused == 0
    (found,) = database.sql("SELECT value FROM tags WHERE key = 'interfero.error'")
    assert found == ("read \ufffd of caf\ufffd.png",)


@pytest.fixture
def proxy(server, monkeypatch):
    """Of a team: it wants a token, which the environment has."""
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret-token")
    with Proxy(server.port, "Bearer s3cret-token").serving() as found:
        yield found


def opened(proxy, folder, name):
    """A tracker with one cell that runs."""
    outbox = folder / name / "outbox.jsonl"
    tracker = Tracker.open(proxy.uri, KIND, name, tags={}, params={}, outbox=outbox)
    tracker.cell_started("a", PARAMS, {})
    return tracker


def check_one_run(server, name):
    """The sweep's one cell has one run, whose curve and file are there once."""
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name(KIND)
    every = client.search_runs([experiment.experiment_id], max_results=1000)
    (parent,) = [run for run in every if run.data.tags.get("interfero.sweep") == name]
    (run,) = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert (parent.info.status, run.info.status) == ("FINISHED", "FINISHED")
    assert len(client.get_metric_history(run.info.run_id, "train/loss")) == 3
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["adapter.bin"]


def finish(tracker, folder):
    adapter = folder / "adapter.bin"
    adapter.write_bytes(b"weights")
    tracker.cell_finished(make_record("a"), [(adapter, "")])


@pytest.mark.parametrize("way", ["token", "password"])
def test_a_proxy_with_a_path_and_credentials(server, tmp_path, monkeypatch, way):
    if way == "token":
        monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "s3cret-token")
        wanted = "Bearer s3cret-token"
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter22")
        wanted = "Basic " + base64.b64encode(b"ann:hunter22").decode()
    with Proxy(server.port, wanted).serving() as proxy:
        tracker = opened(proxy, tmp_path, way)
        finish(tracker, tmp_path)
        assert tracker.close("FINISHED") == 0
        check_one_run(server, way)
        for name in ("TOKEN", "USERNAME", "PASSWORD"):
            monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
        with pytest.raises(TrackingError) as caught:
            opened(proxy, tmp_path, "refused")
    assert "must accept the user and password before training starts" in str(caught.value)
    assert "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN" in str(
        caught.value
    )


def test_a_proxy_that_lets_only_read_is_refused(proxy, monkeypatch, tmp_path):
    """Before a sweep by the doctor, on a server without experiments too, and by a sweep."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
    assert check_tracking().ok
    proxy.read_only = True
    finding = check_tracking()
    assert not finding.ok
    with pytest.raises(TrackingError) as caught:
        opened(proxy, tmp_path, "read-only")
    for said in (finding.found, str(caught.value)):
        assert f"the tracking server at {proxy.uri} must let this user write" in said
        assert "403" in said
        assert "MLFLOW_TRACKING_TOKEN, to another user's" in said


@pytest.mark.parametrize("status", [429, 500, 502, 401, 403])
def test_an_answer_that_is_an_error_costs_nothing(proxy, server, tmp_path, status):
    """Refused credentials too: a token that ran out in mid-sweep can be renewed."""
    name = f"answer-{status}"
    tracker = opened(proxy, tmp_path, name)
    proxy.answers = [status]
    finish(tracker, tmp_path)
    assert str(status) in tracker.trouble
    assert tracker.pending
    assert tracker.close("FINISHED") == 0
    assert tracker.num_refused == 0
    check_one_run(server, name)


def test_a_server_that_answers_after_half_a_minute(proxy, server, tmp_path):
    """What it carried out and confirmed too late is not there twice."""
    tracker = Tracker.open(
        proxy.uri, KIND, "slow", tags={}, params={}, outbox=tmp_path / "outbox.jsonl"
    )
    proxy.delay_s = 30.0
    began = time.monotonic()
    tracker.cell_started("a", PARAMS, {})
    finish(tracker, tmp_path)
    assert time.monotonic() - began < 15, "training waits"
    assert tracker.pending
    proxy.delay_s = 0.0
    assert tracker.close("FINISHED") == 0
    check_one_run(server, "slow")
