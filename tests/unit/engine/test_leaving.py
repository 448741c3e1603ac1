"""Machines that are being taken away, as their processes notice it, and what Tune and Train make of it."""

import pytest
from ray import cloudpickle
from ray.exceptions import RayTaskError
from ray.train.v2.api.exceptions import WorkerGroupError

from interfero.engine import leaving
from interfero.engine.group_trial import _was_taken_away
from interfero.engine.guarding import train_guarded
from interfero.engine.leaving import MachineLeavingError, Notice, moves_elsewhere
from interfero.engine.packs import Pack
from interfero.engine.worker import Leaving, LocalWorker


@pytest.fixture
def ray_told(monkeypatch):
    """Nodes that Ray says are being drained, and how often it was asked."""
    told = {"nodes": set(), "looks": 0, "now": 100.0}

    def look():
        told["looks"] += 1
        return told["nodes"]

    monkeypatch.setattr(leaving, "draining_nodes", look)
    monkeypatch.setattr(leaving.time, "monotonic", lambda: told["now"])
    return told


def test_a_notice_is_for_its_own_nodes_and_ray_is_asked_once_a_second(ray_told):
    notice = Notice({"a", "b"})
    ray_told["nodes"] = {"c"}
    assert not notice()
    ray_told["nodes"] = {"b"}
    ray_told["now"] += 0.9
    assert not notice()
    assert ray_told["looks"] == 1
    ray_told["now"] += 0.1
    assert notice()
    with pytest.raises(MachineLeavingError, match="taken away"):
        notice.check()


def test_a_notice_stays_given(ray_told):
    ray_told["nodes"] = {"a"}
    notice = Notice({"a"})
    assert notice()
    ray_told["nodes"] = set()
    ray_told["now"] += 60
    assert notice()
    assert ray_told["looks"] == 1


def test_leaving_is_no_failed_record_and_ends_a_pack_as_ray_ends_one_of_a_reclaimed_machine(
    tmp_path, cell
):
    def runner(pack, worker):
        raise Leaving
        yield

    pack = Pack(nodes=(cell(),))
    with pytest.raises(MachineLeavingError) as caught, moves_elsewhere():
        list(train_guarded(runner, pack, LocalWorker(tmp_path)))
    # As it travels: Tune asks the task's error for its cause, which must be marked.
    task = cloudpickle.loads(cloudpickle.dumps(RayTaskError("train", "trace", caught.value)))
    assert task.as_instanceof_cause().preempted


@pytest.mark.parametrize(
    ("failures", "taken"),
    [({0: MachineLeavingError()}, True), ({0: RuntimeError("nan")}, False), ({}, False)],
)
def test_a_group_was_taken_away_if_one_of_its_machines_was(failures, taken):
    assert _was_taken_away(WorkerGroupError("ended", failures)) is taken


def test_a_group_that_ended_well_was_not_taken_away():
    assert not _was_taken_away(None)


@pytest.mark.parametrize("node", ["here", "trial"])
def test_the_first_process_of_a_group_hears_of_its_nodes_and_of_its_trials(cell, in_a_group, node):
    heard = []

    def runner(pack, worker):
        heard.append(worker.leaving)
        yield from ()

    pack = Pack(nodes=(cell(),))
    in_a_group(pack, runner, draining={node})
    in_a_group(pack, runner, draining={"elsewhere"})
    in_a_group(pack, runner, rank=1, draining={node})
    assert heard == [True, False, False]
