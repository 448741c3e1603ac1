"""What Ray's processes are told to import before a sweep asks for it."""

import os

import pytest

from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.ray_environment import (
    KEEP_IDLE,
    MAX_WARM_WORKERS,
    PRELOAD,
    WARM_WORKER,
    prepare,
)
from interfero.engine.ray_processes import cpus_to_offer


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in (PRELOAD, KEEP_IDLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_workers_import_what_trains_beforehand(environment):
    prepare(None, groups=False, cpus=2)
    assert os.environ[PRELOAD] == WARM_WORKER
    # Ray Train's own processes train nothing; nor is what an earlier sweep set left behind.
    prepare(None, groups=True, cpus=2)
    assert PRELOAD not in os.environ
    prepare(None, groups=False, cpus=2)
    prepare(None, groups=False, cpus=MAX_WARM_WORKERS + 1)
    assert PRELOAD not in os.environ


def test_workers_that_import_are_kept(environment):
    prepare(None, groups=False, cpus=2)
    assert int(os.environ[KEEP_IDLE]) >= 60_000
    environment.setenv(KEEP_IDLE, "5000")
    prepare(None, groups=False, cpus=2)
    assert os.environ[KEEP_IDLE] == "5000", "what a user says"


@pytest.mark.parametrize(
    ("asked", "cpus"),
    [
        ({}, None),
        ({"max_concurrent": 1}, 1),
        ({"max_concurrent": 3, "cpus_per_trial": 0.5}, 2),
        ({"max_concurrent": 2, "cpus_per_trial": 2.0}, None),
        ({"max_concurrent": 9}, None),
        ({"max_concurrent": 1, "workers_per_trial": 2}, None),
    ],
)
def test_a_sweep_has_warm_workers_for_the_packs_that_it_trains_at_once(monkeypatch, asked, cpus):
    monkeypatch.setattr("interfero.engine.ray_processes.usable_cores", lambda: 4)
    assert cpus_to_offer(AdaptationOptions(**asked)) == cpus


def test_what_a_user_has_ray_import_stays(environment):
    environment.setenv(PRELOAD, "my_module")
    for groups in (True, False):
        prepare(None, groups=groups, cpus=2)
        assert os.environ[PRELOAD] == "my_module"
