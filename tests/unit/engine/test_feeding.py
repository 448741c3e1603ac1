"""Which pack comes when: what others need first, and what cannot be done any more is failed."""

from collections import Counter

import pytest
from ray.tune.search import Searcher

from interfero.engine.feeding import PACK, Feeder, _Waiting
from interfero.engine.packs import Pack
from interfero.records import CellRecord


class Listener:
    def __init__(self):
        self.records = []

    def on_started(self, pack):
        pass

    def on_record(self, record):
        self.records.append(record)


def fed(made, done=frozenset()):
    listener = Listener()
    packs = made.packs(made.cells, done)
    return Feeder(packs, [], 0, lambda key: None, listener, done), listener


def take(feeder):
    """All packs that may start now; and what was said when there was no more."""
    started = []
    while isinstance(given := feeder.suggest("x"), dict):
        started.append(Pack.model_validate_json(given[PACK]))
    return started, given


def tell(feeder, pack, status="finished", error=None):
    for node in pack.nodes:
        feeder.tell(CellRecord(key=node.key, params=node.params, status=status, error=error))


def kinds(packs):
    return Counter(node.kind for pack in packs for node in pack.nodes)


@pytest.fixture
def control(plan):
    """A control of two rates, for blocks of two counts of images, and fine-tuning."""
    return plan(max_concurrent=1, num_images=("2", "3"), methods=("finetune", "continue_source"))


def test_a_source_training_begins_once_and_its_cells_wait_for_it(control):
    feeder, _ = fed(control)
    first, said = take(feeder)
    assert said is None, "cells are left, and wait"
    assert kinds(first) == {"reference": 2, "distance": 1, "train": 2}
    looks = [p for p in first if p.nodes[0].kind != "train"]
    for pack in looks:
        assert take(feeder) == ([], None)
        tell(feeder, pack)
    tuned, said = take(feeder)
    assert {n.hyperparameters.method for p in tuned for n in p.nodes} == {"finetune"}
    assert (kinds(tuned), said) == ({"evaluate": 4}, None)
    for pack in first:
        if pack.nodes[0].kind == "train":
            tell(feeder, pack)
    controls, said = take(feeder)
    assert {n.hyperparameters.method for p in controls for n in p.nodes} == {"continue_source"}
    assert (kinds(controls), said) == ({"evaluate": 4}, Searcher.FINISHED)
    assert (feeder.num_left, feeder.num_nodes_left) == (0, 0)


def test_a_training_that_is_there_is_not_repeated(control):
    done = frozenset(k for k in control.behind(control.cells) if k.startswith("train-"))
    assert len(done) == 2
    feeder, _ = fed(control, done)
    first, _ = take(feeder)
    assert kinds(first) == {"reference": 2, "distance": 1}
    for pack in first:
        tell(feeder, pack)
    cells, said = take(feeder)
    assert (kinds(cells), said) == ({"evaluate": 8}, Searcher.FINISHED)


def test_what_needs_a_failed_training_fails_with_its_reason_and_nothing_else_does(control):
    feeder, listener = fed(control)
    first, _ = take(feeder)
    for pack in first:
        failed = pack.nodes[0].kind == "train"
        tell(feeder, pack, *(("failed", "loss is nan at step 3") if failed else ()))
    left, said = take(feeder)
    assert {n.hyperparameters.method for p in left for n in p.nodes} == {"finetune"}
    assert said == Searcher.FINISHED
    lost = {cell.key for cell in control.cells if cell.hyperparameters.method != "finetune"}
    assert {r.key for r in listener.records} == lost
    assert {r.status for r in listener.records} == {"failed"}
    for record in listener.records:
        assert record.error.startswith("it needs train-")
        assert record.error.endswith("which failed: loss is nan at step 3")


def chain(cell, length):
    """Packs of a cell each; each needs the one before."""
    cells = [cell(init_seed=i) for i in range(length)]
    needs = [frozenset[str](), *(frozenset({c.key}) for c in cells)]
    return [Pack(nodes=(c,), needs=n) for c, n in zip(cells, needs, strict=False)]


def test_a_chain_that_breaks_fails_in_order(cell):
    packs = chain(cell, 4)
    listener = Listener()
    feeder = Feeder(packs, [], 0, lambda key: None, listener)
    first, said = take(feeder)
    assert ([p.keys for p in first], said) == ([packs[0].keys], None)
    tell(feeder, first[0], "failed", "no disk")
    assert [r.key for r in listener.records] == [p.keys[0] for p in packs[1:]]
    assert all(r.error.endswith("no disk") for r in listener.records)
    assert listener.records[1].error.startswith(f"it needs {packs[1].keys[0]}, which failed:")
    assert take(feeder) == ([], Searcher.FINISHED)


def test_a_pack_is_handed_out_in_its_place_once_it_is_ready(cell):
    late, early = chain(cell, 2)[::-1], [Pack(nodes=(cell(init_seed=9),))]
    waiting = _Waiting([*late, *early], frozenset())
    assert waiting.pop().keys == late[1].keys
    waiting.done(late[1].keys[0])
    assert waiting.pop().keys == late[0].keys, "it stands before the other one"
    assert waiting.pop().keys == early[0].keys
    assert waiting.pop() is None


class Counted(frozenset):
    """Keys that count how often somebody looks through them."""

    looks = 0

    def __sub__(self, other):
        Counted.looks += 1
        return frozenset(self) - other


def test_many_packs_are_handed_out_without_looking_through_all_of_them(cell):
    """What a pack waits for is looked at when it is fed, and never again."""
    shared, one = cell(init_seed=1), cell()
    needs = Counted({shared.key})
    count = 500
    # The keys of the packs' own nodes do not matter here.
    packs = [Pack(nodes=(shared,)), *(Pack(nodes=(one,)) for _ in range(count))]
    packs[1:] = [pack.model_copy(update={"needs": needs}) for pack in packs[1:]]
    Counted.looks = 0
    waiting = _Waiting(packs, frozenset())
    fed = Counted.looks
    assert fed <= 2 * count
    assert waiting.pop() is packs[0]
    assert waiting.pop() is None
    waiting.done(shared.key)
    assert [waiting.pop() for _ in range(count)] == packs[1:]
    assert len(waiting) == 0
    assert Counted.looks == fed
