"""A pool of warm workers, with real processes: sweeps join it, share it, and notice its code and its end."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from interfero.engine.pool import FOLDER_VARIABLE, read_pool, warm_workers
from interfero.engine.ray_environment import OF_A_POOL
from tests.processes import PATIENCE_S, is_training

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
CELLS = (
    "--methods",
    "finetune",
    "--learning-rates",
    "1e-4",
    "1e-3",
    "--no-packs",
    "--precision",
    "float32",
)


def until(condition):
    """What a condition gives as soon as it is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def code(tmp_path_factory):
    """A copy of the code, to be changed."""
    folder = tmp_path_factory.mktemp("code")
    for package in ("platform/interfero", "trainables"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / Path(package).name, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def place(make_workplace, code):
    """A workplace whose sweeps run the copy and find the pool of this module alone."""
    place = make_workplace("pool")
    place.environment |= {
        "PYTHONPATH": str(code),
        FOLDER_VARIABLE: str(place.folder / "pool"),
        "RAY_worker_niceness": "0",
    }
    return place


@pytest.fixture(scope="module")
def command(place):
    """`interfero pool ...` as a user types it."""

    def run(*words):
        return place.finish(
            place.start_command([sys.executable, "-m", "interfero.cli", "pool", *words])
        )

    return run


@pytest.fixture(scope="module")
def pool(place, command):
    """(the pool, what starting it printed); whatever is left of it in the end is killed."""
    done = command("start", "--cpus", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    started = read_pool(place.folder / "pool")
    family = family_of(started)
    yield started, done.stdout
    command("stop")
    for process in family:
        if process.is_running():
            process.kill()


def family_of(pool):
    keeper = psutil.Process(pool.pid)
    return [keeper, *keeper.children(recursive=True)]


def test_a_second_pool_is_refused(pool, command):
    again = command("start")
    assert again.returncode == 2
    assert (
        f"a pool runs already, process {pool[0].pid}: `interfero pool stop` ends it" in again.stderr
    )


def test_status_says_what_there_is(pool, command):
    assert "pool started in " in pool[1]
    shown = command("status")
    assert shown.returncode == 0
    assert f"pool of process {pool[0].pid}: 2 CPUs, 0 GPUs at 127.0.0.1:" in shown.stdout
    assert (
        "2 workers with its code, 0 being replaced\nno sweep uses it\nsweeps join it"
        in shown.stdout
    )


def test_nothing_of_it_listens_to_other_machines(pool):
    listening = {
        (process.name(), connection.laddr.ip)
        for process in family_of(pool[0])
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert [one for one in listening if one[1] not in LOOPBACK] == []


def test_who_has_no_token_is_turned_away(pool, place):
    script = f"import ray; ray.init('{pool[0].address}', log_to_driver=False); print('JOINED')"
    environment = {**os.environ, **OF_A_POOL, "RAY_AUTH_TOKEN": "x" * 64}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], env=environment, capture_output=True,
        text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode != 0
    assert "JOINED" not in done.stdout


@pytest.fixture(scope="module")
def shared(pool, place):
    """Two sweeps at once: what they printed, the workers before, and those that trained at each look."""
    folder = place.folder / "pool"
    before = set(warm_workers(folder))
    sweeps = [place.start("--name", name, *CELLS) for name in ("one", "two")]
    looks = []
    keeper = psutil.Process(pool[0].pid)
    while any(sweep.poll() is None for sweep in sweeps):
        children = keeper.children(recursive=True)
        looks.append({process.pid for process in children if is_training(process)})
        time.sleep(0.1)
    return [place.finish(sweep) for sweep in sweeps], before, looks


def test_sweeps_join_it_and_finish(shared, place, pool):
    for name, done in zip(("one", "two"), shared[0], strict=True):
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"joining the pool of process {pool[0].pid}" in done.stdout
        assert {r["status"] for r in place.records(name).values()} == {"finished"}


def test_they_train_in_its_warm_workers(shared):
    _, before, looks = shared
    assert before & set.union(*looks)


def test_no_more_train_at_once_than_there_are_cpus(shared):
    assert max(map(len, shared[2])) <= 2


def test_the_workers_of_ended_sweeps_are_replaced(shared, place):
    _, before, looks = shared
    used = set.union(*looks)
    found = until(lambda: len(now := set(warm_workers(place.folder / "pool")) - used) >= 2 and now)
    assert found - before


def test_changed_code_is_never_run_with_old_modules(shared, place, code, command):
    folder = place.folder / "pool"
    old, workers = read_pool(folder), set(warm_workers(folder))
    with (code / "trainables/loop.py").open("a") as file:
        file.write("\nCHANGED = True\n")
    new = until(lambda: (now := read_pool(folder)).code != old.code and now)
    assert new.pid == old.pid
    until(lambda: list(warm_workers(folder).values()) == 2 * [new.code])
    assert workers.isdisjoint(warm_workers(folder))


def test_a_pool_that_crashes_ends_its_sweep_and_is_said(shared, place, pool, command):
    sweep = place.start("--name", "crashed", *CELLS, "--num-steps", "3000")
    keeper = psutil.Process(pool[0].pid)
    place.wait_until(lambda: [p for p in keeper.children(recursive=True) if is_training(p)], sweep)
    assert "used by sweep crashed" in command("status").stdout
    keeper.send_signal(signal.SIGKILL)
    done = place.finish(sweep)
    assert done.returncode == 1, done.stdout + done.stderr
    said = " ".join(done.stderr.replace("│", " ").split())
    assert f"the pool that this sweep used has ended (process {keeper.pid})" in said
    assert "go on with: " in said
    shown = command("status")
    assert shown.returncode == 1
    assert f"the pool has crashed: its process {keeper.pid} ended without" in shown.stdout
    assert command("stop").returncode == 0
    assert command("status").stdout == "no pool runs; `interfero pool start` starts one\n"
