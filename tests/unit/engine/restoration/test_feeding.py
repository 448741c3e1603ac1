"""The feeder of a graph, without Tune: what is ready comes, what waits waits, what cannot be is failed."""

import pytest
from ray.tune.search import Searcher

from interfero.engine.feeding import PACK, Feeder
from interfero.engine.packs import Pack
from interfero.records import CellRecord

from .conftest import packs_of, plan_of


class Listener:
    def __init__(self):
        self.started, self.records = [], []

    def on_started(self, pack):
        self.started.append(pack)

    def on_record(self, record):
        self.records.append(record)

    def on_repeated(self):
        raise AssertionError


@pytest.fixture
def fed():
    plan = plan_of(configurations=("OO", "CO"))
    listener = Listener()
    return Feeder(packs_of(plan), [], 0, lambda key: None, listener), listener


def take_all(feeder):
    found = []
    while isinstance(value := feeder.suggest("t"), dict):
        found.append(Pack.from_text(value[PACK]))
    return found, value


def tell(feeder, records):
    for record in records:
        feeder.tell(record)


def ended(pack, status="finished", error=None):
    return [CellRecord(key=j.key, params=j.params, status=status, error=error) for j in pack.nodes]


def test_jobs_come_when_what_they_need_is_done(fed):
    feeder, listener = fed
    assert feeder.num_left == 5
    first, nothing = take_all(feeder)
    # The copy and the model of originals need nothing; everything else waits.
    assert [p.nodes[0].kind for p in first] == ["compress", "segmentation"]
    assert nothing is None
    tell(feeder, ended(first[0]))
    second, _ = take_all(feeder)
    assert [p.nodes[0].kind for p in second] == ["segmentation"]
    tell(feeder, ended(first[1]))
    tell(feeder, ended(second[0]))
    third, end = take_all(feeder)
    assert [p.nodes[0].configuration for p in third] == ["OO", "CO"]
    assert end == Searcher.FINISHED
    assert len(listener.started) == 5


def test_what_needs_a_failed_step_is_failed_with_its_reason(fed):
    feeder, listener = fed
    first, _ = take_all(feeder)
    tell(feeder, ended(first[0], "failed", "no disk"))
    tell(feeder, ended(first[1]))
    rest, end = take_all(feeder)
    assert [p.nodes[0].configuration for p in rest] == ["OO"]
    assert end == Searcher.FINISHED
    lost = {r.params.get("configuration") or r.params["step"]: r.error for r in listener.records}
    assert set(lost) == {"segmentation", "CO"}
    assert all("no disk" in error for error in lost.values())


def test_steps_that_are_there_are_not_fed():
    plan = plan_of(configurations=("OO", "CO"))
    done = set(plan.behind(plan.cells))
    packs = packs_of(plan, done)
    feeder = Feeder(packs, [], 0, lambda key: None, Listener(), done)
    found, end = take_all(feeder)
    assert [p.nodes[0].kind for p in found] == ["test", "test"]
    assert end == Searcher.FINISHED
