"""Several numbers of steps: an axis of the plan, and the order in which its cells train."""

import pytest

from interfero.engine.adaptation.halving import outlook
from interfero.engine.adaptation.nodes import Cell, Train
from interfero.errors import ConfigError

BUDGETS = (10, 40, 160)


def steps_of(pack):
    (steps,) = {
        (n.cell if isinstance(n, Train) else n).loop.num_steps
        for n in pack.nodes
        if isinstance(n, Cell | Train)
    }
    return steps


def training(packs, kind=Cell):
    return [pack for pack in packs if isinstance(pack.nodes[0], kind)]


def test_steps_are_an_axis_and_one_number_is_the_cosine_it_always_was(plan):
    made = plan(num_steps=BUDGETS)
    one = plan(num_steps=10)
    assert len(made.cells) == 3 * len(one.cells)
    assert {c.params["num_steps"] for c in made.cells} == {*BUDGETS}
    assert {c.loop.schedule for c in made.cells} == {"wsd"}
    assert {c.loop.schedule for c in one.cells} == {"cosine"}
    assert len({c.key for c in (*made.cells, *one.cells)}) == 4 * len(one.cells)
    # Whichever numbers stand beside it, a cell is the same.
    alone = plan(num_steps=40, schedule="wsd")
    assert {c.key for c in alone.cells} < {c.key for c in made.cells}


def test_a_longer_training_follows_the_one_it_goes_on_from(plan):
    made = plan(num_steps=BUDGETS, methods=("finetune",), max_concurrent=1)
    packs = training(made.packs(made.cells))
    by_steps = {steps_of(pack): pack for pack in packs}
    keys = {steps: frozenset(pack.keys) for steps, pack in by_steps.items()}
    assert [by_steps[n].after for n in BUDGETS] == [frozenset(), keys[10], keys[40]]
    assert [by_steps[n].continued for n in BUDGETS] == [keys[10], keys[40], frozenset()]
    longer = [c for c in made.cells if c.loop.num_steps > 10]
    by_steps = {steps_of(pack): pack for pack in training(made.packs(longer))}
    assert by_steps[40].after == frozenset(), "it waits for a cell that nobody trains"


def test_cosines_share_nothing_and_wait_for_nobody(plan):
    made = plan(num_steps=BUDGETS, schedule="cosine")
    packs = training(made.packs(made.cells))
    assert {pack.after | pack.continued for pack in packs} == {frozenset()}


def test_source_trainings_go_on_and_their_cells_only_evaluate(plan):
    made = plan(num_steps=(10, 40), methods=("continue_source",), max_concurrent=1)
    packs = made.packs(made.cells)
    short, long = sorted(training(packs, Train), key=steps_of)
    assert long.after == short.continued == frozenset(short.keys)
    assert all(pack.after == frozenset() for pack in training(packs))


def test_what_a_shorter_training_has_done_is_not_paid_for_again(plan):
    made = plan(num_steps=BUDGETS)
    taken_up = {c.loop.num_steps: made.work(c).taken_up for c in made.cells}
    assert taken_up == {10: 0, 40: 8, 160: 32}


def test_with_halving_all_but_the_longest_may_go_on(plan):
    rates = (1e-4, 3e-4, 1e-3, 3e-3)
    made = plan(num_steps=BUDGETS, sampler="halving", methods=("finetune",), learning_rates=rates)
    first = [c for c in made.cells if c.loop.num_steps == 10]
    (pack,) = training(made.packs(first, at_once=1))
    assert pack.continued == frozenset(pack.keys)
    left = outlook(made.cells, {c.key for c in made.cells}, {}.get)
    assert [sum(c.loop.num_steps == n for c in left.expected) for n in BUDGETS] == [4, 2, 2]
    assert left.possible == list(made.cells)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"num_steps": (10, 0)}, "--num-steps must be above 0, got 0"),
        ({"num_steps": (10, 10)}, "--num-steps names one value twice"),
        ({"num_steps": ()}, "--num-steps is empty"),
        ({"sampler": "tpe", "num_steps": (10, 40)}, "--sampler tpe takes one of --num-steps"),
        (
            {"sampler": "halving"},
            "and --learning-rates: its rungs are the numbers of steps; name several",
        ),
        (
            {"sampler": "halving", "learning_rates": (), "widen_rates": False},
            "and --no-widen-rates: its rungs",
        ),
        (
            {"sampler": "tpe", "design": "star"},
            "--design star with --sampler tpe: a star is planned",
        ),
        (
            {"sampler": "halving", "num_steps": (10, 40), "early_stopping": "asha"},
            "--early-stopping asha with --sampler halving",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_the_remedy(options, changes, text):
    with pytest.raises(ConfigError, match=text):
        options(**changes).check()


def test_the_smallest_run_of_several_still_goes_on_from_one_to_the_other(options):
    assert options(num_steps=BUDGETS).smallest().budgets == (10, 20)
    assert options(num_steps=(4, 60)).smallest().budgets == (4, 8)
    assert options(num_steps=60).smallest().num_steps == 10
