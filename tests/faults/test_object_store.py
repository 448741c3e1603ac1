"""MLflow's files in an object store, through its server and without it; the store away, silent, refusing."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from mlflow.tracking.client import MlflowClient
from PIL import Image

from interfero.cli.doctor.services import check_tracking
from interfero.errors import TrackingError
from interfero.tracking.delivery import FILES_OUTBOX
from interfero.tracking.first_file import FIRST_FILE
from sweeps.adapter_capacity import SWEEP as CAPACITY
from tests import object_store, postgres
from tests.object_store import BUCKET
from tests.processes import standing_still
from tests.unit.tracking.test_server_away import Server

pytestmark = [
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(object_store.missing()), reason=object_store.missing()),
]
RATES = ("3e-4", "1e-3", "3e-3", "1e-2")
SWEEP = [
    "--methods", "lora", "--adapter-sizes", "1", "--no-packs", "--max-concurrent", "1",
    "--num-steps", "80", "--learning-rates",
]  # fmt: skip
LOADED = """
import sys, mlflow, numpy as np
from PIL import Image
model = mlflow.pyfunc.load_model(sys.argv[1])
pixels = np.asarray(Image.open(sys.argv[2]))
coded = model.predict({"image": [pixels]})
shown = model.predict(coded[["stream"]])
assert (shown["image"][0] == coded["image"][0]).all()
print(shown["image"][0].shape)
"""


@pytest.fixture(scope="module")
def store():
    store = object_store.ObjectStore()
    yield store
    store.remove()


@pytest.fixture(scope="module")
def database():
    if reason := postgres.missing():
        pytest.skip(reason)
    found = postgres.Postgres()
    yield found
    found.remove()


@pytest.fixture(scope="module")
def server(store, database, tmp_path_factory):
    """Writes to the store for its clients, which need neither its library nor its credentials."""
    server = Server(
        tmp_path_factory.mktemp("server"), database.uri(), environment=store.environment(),
        files=("--artifacts-destination", f"s3://{BUCKET}/served"),
    )  # fmt: skip
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="module")
def direct(empty_database, tmp_path_factory):
    """Leaves writing to the store to its clients."""
    folder = tmp_path_factory.mktemp("direct")
    shutil.copy(empty_database, folder / "mlflow.db")
    files = ("--no-serve-artifacts", "--default-artifact-root", f"s3://{BUCKET}/direct")
    server = Server(folder, files=files)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def at(make_workplace, name, server):
    """A workplace whose runs are on a server."""
    place = make_workplace(name)
    place.tracking_uri = place.environment["MLFLOW_TRACKING_URI"] = server.uri
    return place


@contextmanager
def away(store):
    store.tell("stop")
    try:
        yield
    finally:
        store.tell("start")


@contextmanager
def silent(store):
    """Connections are accepted and nothing is answered."""
    os.kill(store.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(store.process.pid, signal.SIGCONT)


def lost_in_the_middle(place, name, trouble, *options):
    """A sweep whose store has trouble after the first record, until files wait and another run has ended."""
    process = place.start("--name", name, *SWEEP, *options)
    place.wait_for_records(name, 1, process)
    waiting = place.sweep(name) / FILES_OUTBOX
    with trouble:
        place.wait_until(lambda: waiting.exists() and waiting.stat().st_size, process)
        place.wait_for_records(name, 2, process)
        with standing_still(place, process):
            place.wait_until(lambda: ended(place, name) > 1, process)
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tracking is behind" not in done.stdout
    assert "files are not stored, they wait on disk" in done.stderr
    for left in (FILES_OUTBOX, "outbox.jsonl", "outbox.jsonl.refused"):
        assert not (place.sweep(name) / left).exists()
    return done


def ended(place, name):
    return [run.info.status for run in place.runs(name)[1].values()].count("FINISHED")


def check_files(place, name, store, count):
    """Each run's files are in the bucket, as large as on the disk."""
    objects = store.objects()
    parent, runs = place.runs(name)
    assert len(runs) == count
    records = place.records(name)
    for run in (parent, *runs.values()):
        assert any(f"/{run.info.run_id}/artifacts/" in path for path in objects)
        if run.info.artifact_uri.startswith("mlflow-artifacts:"):  # The tests have no boto3.
            assert MlflowClient(place.tracking_uri).list_artifacts(run.info.run_id)
    folder = f"{parent.info.experiment_id}/{parent.info.run_id}/artifacts"
    inside = {path.partition(f"{folder}/")[2] for path in objects if folder in path}
    assert {FIRST_FILE, "report.html", "cells.parquet"} <= {path.split("/")[-1] for path in inside}
    for key, run in runs.items():
        adapter = place.sweep(name) / records[key]["adapter_file"]
        (found,) = [
            size
            for path, size in objects.items()
            if run.info.run_id in path and path.endswith(f"/artifacts/adapter/{adapter.name}")
        ]
        assert found == adapter.stat().st_size


def test_a_store_behind_the_server_is_away_in_mid_sweep(
    make_workplace, server, store, outcome, tmp_path
):
    place = at(make_workplace, "served", server)
    done = lost_in_the_middle(place, "served", away(store), *RATES)
    outcome(place, "served").check(len(RATES))
    check_files(place, "served", store, len(RATES))
    assert {path.split("/")[0] for path in store.objects()} == {"served"}
    # The best one is in the registry, and comes from there without a key to the bucket.
    name = "thing-tiny-lambda0.013"
    assert f"in the model registry: models:/{name}@best" in done.stdout
    picture = tmp_path / "picture.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (70, 90, 3), np.uint8)).save(picture)
    loaded = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED, f"models:/{name}@best", picture], text=True,
        cwd=tmp_path, env={**os.environ, "MLFLOW_TRACKING_URI": server.uri}, capture_output=True,
    )  # fmt: skip
    assert loaded.stdout.split("\n")[-2] == "(70, 90, 3)", loaded.stderr


def refusal(place, name):
    """What a sweep says that is not started; nothing of it is left."""
    with pytest.raises(TrackingError) as caught:
        place.called(CAPACITY, "--name", name, *SWEEP, "1e-3")
    assert not (place.sweep(name) / "cells").exists()
    assert not (place.sweep(name) / "sweep.json").exists()
    client = MlflowClient(place.tracking_uri)
    experiment = client.get_experiment_by_name("adapter-capacity")
    query = f"tags.`interfero.sweep` = '{name}'"
    assert client.search_runs([experiment.experiment_id], query) == []
    return str(caught.value)


@pytest.mark.parametrize(("word", "back"), [("deny", "allow"), ("hide", "show"), ("stop", "start")])
def test_a_server_whose_store_does_not_take_files_is_refused(
    make_workplace, server, store, word, back
):
    """Credentials that may not write, a bucket that is not there, a store that is away."""
    store.tell(word)
    try:
        shown = refusal(at(make_workplace, word, server), word)
    finally:
        store.tell(back)
    assert f"this sweep's files must be stored by the tracking server at {server.uri}" in shown
    assert "it answers with the error 500" in shown
    assert "a bucket that is there, credentials that may write to it" in shown


def test_clients_that_write_to_the_bucket_need_its_library(make_workplace, direct, monkeypatch):
    """Neither a sweep nor the doctor wait for a cell to have trained."""
    shown = refusal(at(make_workplace, "bare", direct), "bare")
    assert f"must be stored at s3://{BUCKET} before training starts; they are not" in shown
    assert "No module named 'boto3'" in shown
    assert "pip install boto3 here, and give this user credentials" in shown
    monkeypatch.setenv("MLFLOW_TRACKING_URI", direct.uri)
    finding = check_tracking()
    assert not finding.ok
    assert f"leaves storing files at s3://{BUCKET} to its clients" in finding.found
    assert f"pip install boto3, with credentials for s3://{BUCKET}" in finding.remedy


def test_clients_that_write_to_the_bucket_with_a_wrong_key_are_refused(
    make_workplace, direct, store
):
    place = at(make_workplace, "wrong", direct)
    place.environment |= store.environment(AWS_SECRET_ACCESS_KEY="of-another")
    done = place.run("--name", "wrong", *SWEEP, "1e-3")
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 2, said
    assert f"must be stored at s3://{BUCKET} before training starts; they are not" in said
    assert "SignatureDoesNotMatch" in said
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said
    assert not (place.sweep("wrong") / "sweep.json").exists()


def test_a_store_that_clients_write_to_is_silent_in_mid_sweep(
    make_workplace, direct, store, outcome
):
    place = at(make_workplace, "direct", direct)
    place.environment |= store.environment()
    lost_in_the_middle(place, "direct", silent(store), *RATES)
    outcome(place, "direct").check(len(RATES))
    check_files(place, "direct", store, len(RATES))
