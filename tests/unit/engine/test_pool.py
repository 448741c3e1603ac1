"""Which pool a sweep joins; that processes do what they should, tests/integration/test_pool.py sees."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext, suppress
from types import SimpleNamespace

import psutil
import pytest

from interfero.cores import usable_cores
from interfero.engine import pool, ray_session
from interfero.engine.code_version import noted_fingerprint
from interfero.engine.interrupts import heeding, interruptible
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.pool import (
    FOLDER_VARIABLE,
    Pool,
    check_counts,
    environment,
    own_start,
    read_pool,
    stop_pool,
    used_by,
    using_sweeps,
    warm_workers,
    why_not,
)
from interfero.engine.ray_session import RaySession
from interfero.errors import ConfigError, PoolError
from interfero.store.files import write_atomic


def described(**changes):
    """A pool that this process keeps, as it says itself."""
    found = {
        "pid": os.getpid(),
        "created": own_start(),
        "address": "127.0.0.1:1",
        "cpus": 2,
        "gpus": 0,
    }
    return Pool(code=noted_fingerprint(), environment=environment(), **found).model_copy(
        update=changes
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    folder = tmp_path / "pool"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    return folder


def written(folder, pool):
    write_atomic(folder / "pool.json", pool.model_dump_json().encode())
    return pool


def test_a_pool_of_the_same_code_and_environment_is_joined(folder):
    assert read_pool() is None
    pool = written(folder, described())
    assert read_pool() == pool
    assert why_not(pool) is None


def test_a_pool_of_other_code_is_not(folder):
    assert why_not(described(code="another")) == "the code has changed since its workers started"


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "INTERFERO_DATA", "ONEDNN_MAX_CPU_ISA"])
def test_a_pool_of_another_environment_is_not(folder, monkeypatch, name):
    pool = described()
    monkeypatch.setenv(name, "another value")
    assert why_not(pool) == f"it was started in another environment: {name} differs"
    monkeypatch.setenv("LD_SOMETHING", "x")
    assert " and 1 more differs" in why_not(pool)


def test_what_does_not_change_a_worker_is_no_other_environment(folder, monkeypatch):
    pool = described()
    monkeypatch.setenv("COLUMNS", "41")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://somewhere")
    assert why_not(pool) is None


def test_the_description_shows_no_value_of_a_variable(folder, monkeypatch):
    monkeypatch.setenv("INTERFERO_TOKEN", "a-secret")
    written(folder, described())
    assert "a-secret" not in (folder / "pool.json").read_text()


def test_a_pool_whose_process_is_gone_has_crashed(folder):
    gone = described(created=own_start() - 100)
    assert not gone.is_alive
    assert why_not(gone).startswith(
        f"its process {os.getpid()} ended without `interfero pool stop`"
    )


def test_a_folder_of_somebody_else_is_not_believed(folder):
    written(folder, described())
    folder.chmod(0o770)
    with pytest.raises(PoolError, match="must belong to you and be writable by you alone"):
        read_pool()


def test_a_file_that_is_no_description_is_no_pool(folder):
    (folder / "pool.json").write_text(json.dumps({"pid": 1}))
    assert read_pool() is None


def test_sweeps_that_use_it_are_known_while_they_run(folder):
    with used_by("study", folder):
        assert using_sweeps(folder) == {os.getpid(): "study"}
    assert using_sweeps(folder) == {}


def test_workers_that_have_ended_are_not_warm(folder):
    (folder / "warm").mkdir()
    (folder / "warm" / str(os.getpid())).write_text(f"{own_start()} abc")
    (folder / "warm" / str(max(psutil.pids()) + 1)).write_text("1.0 abc")
    assert warm_workers(folder) == {os.getpid(): "abc"}


def test_no_pool_cannot_be_stopped(folder):
    with pytest.raises(PoolError, match="no pool runs: `interfero pool start` starts one"):
        stop_pool()


@pytest.mark.parametrize(("name", "count"), [("--cpus", 0), ("--gpus", -1)])
def test_counts_that_no_pool_can_have_are_refused(name, count):
    with pytest.raises(ConfigError, match=f"{name} must be . or more, got {count}"):
        check_counts(**{"cpus": None, "gpus": None, name.strip("-"): count})


def test_more_cpus_than_the_machine_has_are_refused(monkeypatch):
    most = usable_cores()
    with pytest.raises(ConfigError, match=rf"--cpus {most + 1} is more than the {most} cores"):
        check_counts(most + 1, None)
    monkeypatch.setattr(pool, "WORKER_BYTES", 2**60)
    with pytest.raises(ConfigError, match=r"a pool of 1 CPUs needs .* GiB are free: close"):
        check_counts(1, None)
    monkeypatch.setattr(pool, "WORKER_BYTES", 1)
    assert check_counts(None, 0) == most


@pytest.mark.parametrize("asked", [signal.SIGINT, signal.SIGTERM])
def test_a_start_that_is_interrupted_leaves_nothing(tmp_path, asked):
    # A keeper that never becomes ready stands for a start of Ray that takes long.
    (tmp_path / "slow_keeper.py").write_text(
        "import os, pathlib, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"path = pathlib.Path({str(tmp_path)!r}) / 'pids'\n"
        "path.with_suffix('.new').write_text(f'{os.getpid()} {child.pid}')\n"
        "path.with_suffix('.new').rename(path)\n"
        "time.sleep(60)\n"
    )
    script = (
        "import interfero.engine.pool as pool; from interfero.cli.pool import start_command\n"
        "pool.KEEPER, pool.WORKER_BYTES, pool.STOP_S = 'slow_keeper', 1, 0.5\n"
        "start_command(1)\n"
    )
    started = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), FOLDER_VARIABLE: str(tmp_path / "pool")},
    )  # fmt: skip
    assert started.stdout.readline().startswith("starting Ray and 1 workers, in 180 s at most")
    while not (tmp_path / "pids").exists():
        assert started.poll() is None, started.stderr.read()
        time.sleep(0.02)
    started.send_signal(asked)
    _, said = started.communicate(timeout=30)
    assert (started.returncode, said) == (130, "interrupted: no process of the pool is left\n")
    for text in (tmp_path / "pids").read_text().split():
        # In a container, nobody may ask for the exit status of an orphan.
        with suppress(psutil.NoSuchProcess):
            assert psutil.Process(int(text)).status() == psutil.STATUS_ZOMBIE
    assert not (tmp_path / "pool").exists()


@pytest.mark.parametrize(
    ("options", "variable"),
    [({"address": "head:1"}, ""), ({}, "head:1")],
)
def test_a_named_cluster_wins(folder, monkeypatch, options, variable):
    written(folder, described())
    monkeypatch.setenv("RAY_ADDRESS", variable)
    session = RaySession(AdaptationOptions(**options), "study")
    session.begin()
    assert (session.pool, session.note) == (None, None)


def test_a_pool_that_ends_under_a_sweep_is_an_error_and_no_interruption(monkeypatch):
    """Its watch interrupts the process to say so; nobody has asked the sweep to end."""
    monkeypatch.setattr(ray_session, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(ray_session, "used_by", lambda name, folder: nullcontext())
    session = RaySession(AdaptationOptions(), "one")
    session.pool = SimpleNamespace(is_alive=False, pid=7)

    def train():
        with heeding(), session._watched():
            time.sleep(60)

    with interruptible(), pytest.raises(PoolError, match=r"has ended \(process 7\)"):
        train()
