"""What of the driver can be tested without Ray's processes."""

import logging
import signal

import pytest

from interfero.engine import driver
from interfero.engine.cells import Pack
from interfero.engine.driver import train_guarded, uninterrupted
from interfero.engine.options import AdaptationOptions
from interfero.engine.resources import check_machine
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError, DomainError


def test_a_runner_that_fails_leaves_a_record_of_every_cell(cell, record, tmp_path, caplog):
    cells = [cell(learning_rate=rate) for rate in (1e-4, 1e-3, 1e-2)]

    def runner(pack, worker):
        yield record(pack.cells[0])
        raise DomainError("no such image")

    with caplog.at_level(logging.CRITICAL):
        records = list(train_guarded(runner, Pack(cells=tuple(cells)), LocalWorker(tmp_path)))
    assert [r.key for r in records] == [c.key for c in cells]
    assert [r.status for r in records] == ["finished", "failed", "failed"]
    assert records[1].error.startswith("DomainError: no such image (test_driver.py:")


def test_a_runner_that_is_interrupted_is_not_a_failed_cell(cell, tmp_path):
    def runner(pack, worker):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(train_guarded(runner, Pack(cells=(cell(),)), LocalWorker(tmp_path)))


@pytest.mark.parametrize(
    ("asked", "have", "packs"),
    [
        ({}, {"CPU": 4.0}, 4),
        ({"cpus_per_trial": 2.0}, {"CPU": 5.0}, 2),
        ({"cpus_per_trial": 0.5}, {"CPU": 2.0}, 4),
        ({"max_concurrent": 1}, {"CPU": 4.0}, 1),
        ({"max_concurrent": 9}, {"CPU": 4.0}, 4),
        ({"gpus_per_trial": 0.25}, {"CPU": 16.0, "GPU": 1.0}, 4),
        ({"cpus_per_trial": 8.0, "address": "auto"}, {"CPU": 4.0}, 1),
    ],
)
def test_packs_at_once_follow_the_scarcest_resource(monkeypatch, asked, have, packs):
    monkeypatch.setattr(driver.ray, "cluster_resources", lambda: have)
    assert driver._packs_at_once(AdaptationOptions(**asked)) == packs


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 8.0}, "--cpus-per-trial must fit this machine: asked for 8, it has 4"),
        ({"gpus_per_trial": 1.0}, "--gpus-per-trial must fit this machine: asked for 1, it has 0"),
    ],
)
def test_what_would_never_start_is_refused(monkeypatch, asked, message):
    monkeypatch.setattr(driver.ray, "cluster_resources", lambda: {"CPU": 4.0})
    with pytest.raises(ConfigError, match=message):
        driver._packs_at_once(AdaptationOptions(**asked))


def test_what_this_machine_lacks_is_refused_before_ray_starts(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_machine(AdaptationOptions())
    many = AdaptationOptions(cpus_per_trial=9999.0)
    with pytest.raises(ConfigError, match="--cpus-per-trial must fit this machine: asked for 9999"):
        check_machine(many)
    check_machine(many.model_copy(update={"address": "ray://head:10001"}))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    check_machine(many)


def test_a_second_ctrl_c_does_not_disturb_the_closing():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
