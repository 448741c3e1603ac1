"""Which pack comes when: what others need first, and what cannot be done any more is failed."""

from collections import Counter

import pytest
from ray.tune.search import Searcher

from interfero.engine.adaptation.halving import Halving
from interfero.engine.feeding import PACK, Feeder, Growing, _Waiting
from interfero.engine.packs import Pack
from interfero.records import CellRecord


class Listener:
    def __init__(self):
        self.records, self.num_added = [], 0

    def on_added(self, count):
        self.num_added += count

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
        started.append(Pack.from_text(given[PACK]))
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


def test_a_longer_training_waits_for_the_shorter_one_whatever_it_comes_to(plan):
    made = plan(num_steps=(4, 8), methods=("finetune",), learning_rates=(1e-3,), max_concurrent=1)
    shared = {node.key for cell in made.cells for node in made.needs(cell)}
    feeder, listener = fed(made, frozenset(shared))
    (short,), said = take(feeder)
    assert (short.nodes[0].loop.num_steps, said) == (4, None)
    tell(feeder, short, "failed", "NaN")
    (long,), said = take(feeder)
    assert (long.nodes[0].loop.num_steps, said) == (8, Searcher.FINISHED)
    assert listener.records == [], "it fails by itself, or not at all"


def halved(made, **options):
    """A feeder of a grid that is halved, and who listens to it."""
    halving = Halving(made.cells, lambda key: None, **options)
    first = halving.begin(c.key for c in made.cells).cells
    shared = frozenset(node.key for cell in made.cells for node in made.needs(cell))
    listener = Listener()
    packs = made.packs(first, shared)
    growing = Growing(halving, made.packs)
    return Feeder(packs, [], 0, lambda key: None, listener, shared, growing), listener


def end(feeder, pack, gain_of):
    """All cells of a pack finish with a gain by learning rate."""
    for node in pack.nodes:
        gain = {"val/rd_gain_percent": gain_of(node.hyperparameters.learning_rate)}
        feeder.tell(CellRecord(key=node.key, params=node.params, status="finished", metrics=gain))


def points(pack):
    return [(n.hyperparameters.learning_rate, n.loop.num_steps) for n in pack.nodes]


def test_halving_hands_out_what_goes_on_and_records_what_does_not(plan):
    made = plan(
        num_steps=(4, 8), methods=("finetune",), learning_rates=(1e-4, 1e-3), sampler="halving",
        max_concurrent=1,
    )  # fmt: skip
    feeder, listener = halved(made)
    assert (feeder.num_left, feeder.num_nodes_left) == (1 + 2, 2 + 2)
    (pack,), said = take(feeder)
    assert (len(pack.nodes), said) == (2, None), "the longer ones are not decided on"
    end(feeder, pack, lambda rate: rate)
    (following,), said = take(feeder)
    assert said == Searcher.FINISHED
    assert points(following) == [(1e-3, 8)]
    assert [(r.status, r.params["learning_rate"]) for r in listener.records] == [("stopped", 1e-4)]


def test_a_grid_that_may_be_widened_is_not_finished_before_it_is_decided(plan):
    made = plan(methods=("finetune",), learning_rates=(), sampler="halving", max_concurrent=1)
    feeder, listener = halved(made, widen=True)
    (pack,), said = take(feeder)
    assert said is None, "the best may be the highest"
    assert feeder.num_nodes_left == 0, "nothing is counted that nobody knows of"
    end(feeder, pack, lambda rate: rate)
    assert listener.num_added == 1
    (added,), said = take(feeder)
    assert (points(added), said) == ([(1e-3, made.loop.num_steps)], None)
    end(feeder, added, lambda rate: -rate)
    assert take(feeder) == ([], Searcher.FINISHED)
    assert listener.num_added == 1


@pytest.mark.parametrize(("packs_at_once", "sizes"), [(1, [2]), (2, [2]), (3, [1, 1]), (None, [2])])
def test_what_goes_on_is_split_for_workers_that_have_nothing_else(plan, packs_at_once, sizes):
    made = plan(
        num_steps=(4, 8), methods=("finetune", "lora"), learning_rates=(1e-4, 1e-3), sampler="halving",
        adapter_sizes=(1,), max_concurrent=1,
    )  # fmt: skip
    feeder, _ = halved(made)
    feeder.packs_at_once = packs_at_once
    first = Pack.from_text(feeder.suggest("x")[PACK])
    # The other pack waits still, and is one worker's.
    end(feeder, first, lambda rate: -rate)
    following = [p for p in take(feeder)[0] if p.nodes[0].loop.num_steps == 8]
    assert [len(p.nodes) for p in following] == sizes
