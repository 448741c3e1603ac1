"""A driver that did not renew its lease in time wakes beside its successor, where `flock` has no effect."""

import fcntl
import io
import multiprocessing
import os
import signal
import socket
import time

import pytest
from mlflow.tracking.client import MlflowClient
from rich.console import Console

from interfero.engine import lease_watch
from interfero.engine.ending import ended_well
from interfero.engine.interrupts import interruptible
from interfero.engine.opening import begun
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.store import locks, sweep
from interfero.store.sweep import SHARED_LEASE, SweepStore

SETTINGS = {
    "kind": "bitrate", "command": "python sweeps/bitrate.py", "loop_hash": "0", "options": {},
    "content": {}, "num_cells": 1,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """`flock` says yes to everybody; a lease is over after 3 s, and a driver looks often."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: None)
    monkeypatch.setattr(locks, "LEASE_S", 3.0)
    monkeypatch.setattr(sweep, "LEASE_S", 3.0)
    monkeypatch.setattr(lease_watch, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(lease_watch, "SURE_S", 0.1)


@pytest.fixture
def store(tmp_path, tracking_uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return SweepStore(tmp_path / "storage", "one")


def parent_status(uri):
    client = MlflowClient(uri)
    (parent,) = client.search_runs([client.get_experiment_by_name("bitrate").experiment_id])
    return parent.info.status


def drive(store, driving):
    """(exit code, last lines) of a driver."""
    text = io.StringIO()
    with interruptible(), begun(store, SETTINGS, AdaptationOptions(), 1) as tracker:
        code = ended_well(driving, tracker, store, Console(file=text, width=200), "python s.py")
    return code, text.getvalue()


def test_a_driver_whose_lease_another_one_has_ends_and_leaves_it_the_runs(
    store, tracking_uri, caplog
):
    def driving():
        other = store.folder / "other"
        other.write_text("of another driver\n")
        (store.folder / "lease").write_text("7 elsewhere")
        other.replace(store.folder / SHARED_LEASE)
        time.sleep(60)
        return 0

    code, said = drive(store, driving)
    assert code == 130
    assert "process 7 on elsewhere drives sweep one now" in said
    assert "wait for it or stop it" in said
    assert "go on with" not in said
    assert "process 7 on elsewhere has taken the lease of sweep 'one'" in caplog.text
    assert parent_status(tracking_uri) == "RUNNING", "the other driver's"
    assert (store.folder / SHARED_LEASE).read_text() == "of another driver\n"


def test_who_only_looks_or_removes_the_file_ends_nobody(store, tracking_uri):
    def driving():
        for _ in range(10):
            assert SweepStore(store.storage, "one").is_running
        (store.folder / SHARED_LEASE).unlink()
        time.sleep(1)
        return 0

    assert drive(store, driving) == (0, "")


def stand_still(store, ready):
    def driving():
        ready.set()
        time.sleep(120)
        return 0

    os._exit(drive(store, driving)[0])


def test_a_driver_that_stood_still_for_longer_than_its_lease_ends_when_it_wakes(
    store, tracking_uri
):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    driver = context.Process(target=stand_still, args=(store, ready))
    driver.start()
    try:
        assert ready.wait(120)
        os.kill(driver.pid, signal.SIGSTOP)
        held = store.held(60)
        assert held is not None
        with held:
            (store.folder / "lease").write_text(f"{os.getpid()} {socket.gethostname()}")
            os.kill(driver.pid, signal.SIGCONT)
            driver.join(60)
            assert driver.exitcode == 130
            assert parent_status(tracking_uri) == "RUNNING"
            assert SweepStore(store.storage, "one").held() is None, "its end released another's"
    finally:
        driver.kill()
        driver.join()
