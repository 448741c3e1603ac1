"""What Ray's processes are told to import before a sweep asks for it."""

import os

import pytest

from interfero.engine.ray_environment import (
    KEEP_IDLE,
    MAX_WARM_WORKERS,
    PRELOAD,
    WARM_WORKER,
    prepare,
)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    for name in (PRELOAD, KEEP_IDLE):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_workers_import_what_trains_beforehand(environment):
    prepare(None, groups=False)
    assert os.environ[PRELOAD] == WARM_WORKER
    # Ray Train's own processes train nothing; nor is what an earlier sweep set left behind.
    prepare(None, groups=True)
    assert PRELOAD not in os.environ
    environment.setattr("os.cpu_count", lambda: MAX_WARM_WORKERS + 1)
    prepare(None, groups=False)
    assert PRELOAD not in os.environ


def test_workers_that_import_are_kept(environment):
    prepare(None, groups=False)
    assert int(os.environ[KEEP_IDLE]) >= 60_000
    environment.setenv(KEEP_IDLE, "5000")
    prepare(None, groups=False)
    assert os.environ[KEEP_IDLE] == "5000", "what a user says"


def test_what_a_user_has_ray_import_stays(environment):
    environment.setenv(PRELOAD, "my_module")
    for groups in (True, False):
        prepare(None, groups=groups)
        assert os.environ[PRELOAD] == "my_module"
