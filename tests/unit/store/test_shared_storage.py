"""Storage of several machines: what holds where `flock` is missing, or succeeds without effect."""

import ctypes
import errno
import fcntl
import multiprocessing
import os
import socket
import time

import pytest

from interfero.errors import ConfigError
from interfero.store import locks, sweep
from interfero.store.locks import acquired, locked
from interfero.store.pruning import held_sweeps
from interfero.store.sweep import SweepStore

CLONE_NEWUTS = 0x04000000
OTHER = "other-machine"


@pytest.fixture
def without_effect(monkeypatch):
    """`flock` says yes to everybody, as over NFS with `local_lock`; leases are short."""
    monkeypatch.setattr(fcntl, "flock", lambda descriptor, how: None)
    monkeypatch.setattr(locks, "LEASE_S", 3.0)
    monkeypatch.setattr(sweep, "LEASE_S", 3.0)
    monkeypatch.setattr(sweep, "LEASE_MARGIN_S", 1.0)


def drive_elsewhere(folder, ready):
    """Hold a sweep on a machine of another name: a process in a UTS namespace of its own."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUTS):
        os._exit(77)
    socket.sethostname(OTHER)
    with SweepStore(folder, "one").lease():
        ready.set()
        multiprocessing.get_context("fork").Event().wait()


@pytest.fixture
def driver_elsewhere(tmp_path, without_effect):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    driver = context.Process(target=drive_elsewhere, args=(tmp_path, ready))
    driver.start()
    while not ready.wait(0.1):
        if driver.exitcode == 77:
            pytest.skip("a machine of another name needs root")
        assert driver.is_alive()
    yield driver
    driver.kill()
    driver.join()


def test_a_driver_on_another_machine_is_refused_by_name(tmp_path, driver_elsewhere):
    store = SweepStore(tmp_path, "one")
    assert store.is_running
    named = f"is running \\(process {driver_elsewhere.pid} on {OTHER}\\)"
    with pytest.raises(ConfigError, match=named), store.lease():
        pass


def test_a_machine_that_died_is_not_seen_running_for_ever(tmp_path, driver_elsewhere):
    """Who looks once, as `interfero status` and `store list`, cannot watch the lease; its time tells."""
    store = SweepStore(tmp_path, "one")
    store.folder.joinpath("sweep.json").write_text("{}")
    driver_elsewhere.kill()
    driver_elsewhere.join()
    assert store.is_running, "it may yet live"
    ended = time.monotonic() + 30
    while store.is_running and time.monotonic() < ended:
        time.sleep(0.2)
    assert not store.is_running
    assert [p.name for p in store.folder.glob("lease.shared*")] == ["lease.shared"], (
        "no probe is left"
    )
    with held_sweeps(tmp_path) as (state,):
        assert not state.running
        assert store.held() is None, "pruning holds it meanwhile"


def test_a_machine_that_died_lets_go_after_a_while(tmp_path, driver_elsewhere):
    driver_elsewhere.kill()
    driver_elsewhere.join()
    store = SweepStore(tmp_path, "one")
    with store.lease():
        assert store.holder() == f"process {os.getpid()} on {socket.gethostname()}"
    assert not store.is_running


@pytest.fixture(params=["ENOSYS", "ENOLCK", "EOPNOTSUPP"])
def without_flock(monkeypatch, request):
    number = getattr(errno, request.param)

    def refuse(descriptor, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)


def hold_lock(path, ready):
    with locked(path):
        ready.set()
        multiprocessing.get_context("fork").Event().wait()


@pytest.mark.usefixtures("without_flock")
def test_without_flock_a_lock_still_excludes_and_a_dead_process_lets_go(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    holder = context.Process(target=hold_lock, args=(tmp_path / "lock", ready))
    holder.start()
    assert ready.wait(60)
    assert acquired(tmp_path / "lock") is None
    holder.kill()
    holder.join()
    lock = acquired(tmp_path / "lock", 30)
    assert lock is not None
    lock.release()


@pytest.mark.usefixtures("without_flock")
def test_without_flock_a_sweep_has_one_driver(tmp_path):
    store = SweepStore(tmp_path, "one")
    with (
        store.lease(),
        pytest.raises(ConfigError, match=f"is running \\(process {os.getpid()} on"),
        SweepStore(tmp_path, "one").lease(),
    ):
        pass
    with store.lease():
        pass


def test_a_lease_that_a_fault_of_the_disk_emptied_is_over_when_nobody_touches_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(sweep, "LEASE_MARGIN_S", 0.5)
    store = SweepStore(tmp_path, "one")
    with store.lease():
        pass
    store.folder.joinpath("lease").write_text("999999999 elsewhere")
    emptied = store.folder / sweep.SHARED_LEASE
    emptied.touch()
    with monkeypatch.context() as patch:
        patch.setattr(sweep, "LEASE_S", 0.5)
        with pytest.raises(ConfigError, match="is running"), store.lease():
            pass
    long_ago = time.time() - locks.LEASE_S - 5
    os.utime(emptied, (long_ago, long_ago))
    assert not store.is_running
    with store.lease():
        assert emptied.stat().st_size > 0
