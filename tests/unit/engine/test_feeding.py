"""Which pack comes when: one training a source training, however many packs train at once."""

from types import SimpleNamespace

from ray.tune.search import Searcher

from interfero.engine.feeding import PACK, Feeder
from interfero.engine.packs import Pack

LISTENER = SimpleNamespace(on_started=lambda pack: None)


def fed(made):
    return Feeder(made.packs(made.cells), [], 0, lambda key: None, LISTENER)


def take(feeder, trials):
    """All that may start now, by trial; and what was said when there was no more."""
    started = {}
    for trial in trials:
        given = feeder.suggest(trial)
        if not isinstance(given, dict):
            return started, given
        started[trial] = Pack.model_validate_json(given[PACK])
    return started, "more"


def methods(started):
    return sorted(pack.nodes[0].hyperparameters.method for pack in started.values())


def test_a_source_training_begins_once_and_the_others_wait_for_it(plan):
    made = plan(
        max_concurrent=1, num_images=("2", "3", "4"), methods=("finetune", "continue_source")
    )
    feeder = fed(made)
    assert feeder.num_left == 6
    started, said = take(feeder, "abcdefgh")
    assert methods(started) == ["continue_source", "finetune", "finetune", "finetune"]
    assert said is None
    control = next(t for t, p in started.items() if methods({t: p}) == ["continue_source"])
    for trial in set(started) - {control}:
        feeder.on_trial_complete(trial)
        assert feeder.suggest("x") is None, "only the control's own end is waited for"
    feeder.on_trial_complete(control)
    # Whatever it came to: if it failed, the next one trains.
    again, said = take(feeder, "xyz")
    assert (methods(again), said) == (["continue_source"], None)
    feeder.on_trial_complete("x", error=True)
    last, said = take(feeder, "yz")
    assert (methods(last), said) == (["continue_source"], Searcher.FINISHED)
    assert (feeder.num_left, feeder.num_cells_left) == (0, 0)


def test_other_source_trainings_do_not_wait(plan):
    made = plan(max_concurrent=1, data_seeds=(0, 1), methods=("continue_source",))
    started, said = take(fed(made), "abc")
    assert (len(started), said) == (2, Searcher.FINISHED)


def test_packs_that_see_the_target_never_wait(plan):
    made = plan(max_concurrent=1, num_images=("2", "3"))
    started, said = take(fed(made), "abcde")
    assert (len(started), said) == (4, Searcher.FINISHED)
