"""What fails in all processes of a group alike is a record at once, and no reason to train again."""

import logging

import pytest

from interfero.engine.worker import LocalWorker
from interfero.errors import CodecError, GroupError, StorageError
from interfero.store.sweep import SweepStore
from trainables import segmentation
from trainables.runner import Runner
from trainables.scene_training import DivergedError

from .conftest import Local, packs_of, plan_of


@pytest.fixture(autouse=True)
def quiet(caplog):
    caplog.set_level(logging.CRITICAL)


@pytest.fixture
def packs():
    """A pack of each kind, by kind."""
    return {p.nodes[0].kind: p for p in packs_of(plan_of(configurations=("CO",)))}


def failing(error):
    def runner(pack, worker):
        raise error
        yield

    return runner


def errors(store, pack):
    return [
        record and record.error
        for record in (store.outcome(node.key, node.files) for node in pack.nodes)
    ]


def test_a_training_that_diverges_is_not_trained_again(tmp_path, packs, in_a_group, monkeypatch):
    """The loop's own error, in its own words."""
    loss = segmentation._loss
    monkeypatch.setattr(segmentation, "_loss", lambda *given: loss(*given) * float("nan"))
    plan = plan_of(configurations=("OO",))
    pack = packs_of(plan)[0]
    in_a_group(pack, Runner.of_restoration(plan))
    (error,) = errors(SweepStore(tmp_path, "s"), pack)
    assert error.startswith("DivergedError: loss is nan at step 1")


@pytest.mark.parametrize("error", [GroupError("no memory"), DivergedError("nan")])
def test_what_all_processes_met_is_a_record_of_the_first(tmp_path, packs, in_a_group, error):
    store, pack = SweepStore(tmp_path, "s"), packs["segmentation"]
    in_a_group(pack, failing(error), rank=1)
    assert errors(store, pack) == [None]
    in_a_group(pack, failing(error))
    assert str(error) in errors(store, pack)[0]


def test_what_one_process_met_ends_it(tmp_path, packs, in_a_group):
    """The others wait for it: Ray starts the group again, from the last checkpoint."""
    for error in (RuntimeError("out of memory"), StorageError("no disk")):
        with pytest.raises(type(error)):
            in_a_group(packs["segmentation"], failing(error))
    assert errors(SweepStore(tmp_path, "s"), packs["segmentation"]) == [None]


@pytest.mark.parametrize("kind", ["compress", "test"])
def test_nobody_waits_for_what_the_first_process_does_alone(tmp_path, packs, in_a_group, kind):
    in_a_group(packs[kind], failing(CodecError("no such rate")))
    assert "no such rate" in errors(SweepStore(tmp_path, "s"), packs[kind])[0]
    with pytest.raises(StorageError):
        in_a_group(packs[kind], failing(StorageError("no disk")))


def test_jobs_say_who_does_them(tmp_path):
    plan = plan_of(configurations=("RO",), restorations=("regression",))
    together = {job.kind: job.together for pack in packs_of(plan) for job in pack.nodes}
    assert together == {"compress": False, "restoration": True, "restore": False,
                        "segmentation": True, "test": False}  # fmt: skip
    # The runner parts the work in the same way: what is done alone is nothing to the others.
    local = Local(tmp_path)
    local.run(plan)
    runner = Runner.of_restoration(plan)
    for pack in packs_of(plan):
        if not pack.nodes[0].together:
            assert list(runner(pack, LocalWorker(local.store.folder, rank=1))) == []
