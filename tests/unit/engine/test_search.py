"""Searches with simulated records: nothing is trained, no Ray."""

import optuna
import pytest
from optuna.trial import TrialState

from interfero.engine.driver import Feeder
from interfero.engine.search import BlockSearch, open_searches


@pytest.fixture
def kept():
    """Records that are finished, by key."""
    return {}


@pytest.fixture
def search(plan, tmp_path, kept):
    """Opens the one block's search, the study of an earlier call included."""

    def build(sampler="tpe", **changes):
        made = plan(sampler=sampler, **changes)
        return BlockSearch(made, made.blocks[0], tmp_path / "search.db", kept.get)

    return build


class Listener:
    def __init__(self):
        self.started, self.repeated, self.records = [], 0, []

    def on_started(self, pack):
        self.started += [cell.key for cell in pack.cells]

    def on_repeated(self):
        self.repeated += 1

    def on_record(self, record):
        self.records.append(record)


def states(search):
    return [t.state for t in search.study.get_trials(deepcopy=False)]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_every_trial_is_told_what_validation_said(search, record, sampler):
    opened = search(sampler)
    for _ in range(8):
        cell = opened.ask()
        opened.tell(record(cell))
    assert states(opened) == 8 * [TrialState.COMPLETE]
    assert opened.num_told == 8
    values = {tuple(t.values) for t in opened.study.get_trials()}
    # The simulated record's test gain is -50 and must not appear.
    assert values == {(1.0, 2.0, 100.0) if sampler == "nsga2" else (1.0,)}


def test_no_objective_is_a_test_metric(search):
    for sampler in ("random", "tpe", "nsga2"):
        for name in search(sampler, data_seeds=(len(sampler),)).objectives:
            assert name.startswith(("val/", "adapter/"))


def test_a_search_stays_inside_the_space(search):
    opened = search(adapter_sizes=(2, 8), learning_rates=(1e-4, 1e-2))
    for _ in range(20):
        point = opened.ask().hyperparameters
        assert point.adapter_size in ((0,) if point.method == "finetune" else (2, 8))
        assert 1e-4 <= point.learning_rate <= 1e-2


def test_the_same_seed_asks_the_same_cells(search, plan, tmp_path):
    one = search("random")
    made = plan(sampler="random")
    two = BlockSearch(made, made.blocks[0], tmp_path / "other.db", {}.get)
    assert [one.ask().key for _ in range(5)] == [two.ask().key for _ in range(5)]


def test_a_resumed_search_does_not_repeat_its_first_draws(search, record):
    opened = search("random", learning_rates=(1e-5, 1e-1))
    first = [opened.ask() for _ in range(3)]
    for cell in first:
        opened.tell(record(cell))
    resumed = search("random", learning_rates=(1e-5, 1e-1))
    again = [resumed.ask() for _ in range(3)]
    assert not {c.key for c in first} & {c.key for c in again}


def test_a_failed_cell_is_a_failed_trial_and_counts(search, record):
    opened = search()
    cell = opened.ask()
    opened.tell(record(cell, status="failed", metrics={}, error="loss nan at step 2"))
    assert states(opened) == [TrialState.FAIL]
    assert opened.num_told == 1
    assert opened.best_keys() == []


def test_trials_of_a_dead_driver_are_settled(search, record, kept):
    opened = search()
    finished, lost = opened.ask(), opened.ask()
    opened.study.ask()  # Died between asking and naming the cell.
    assert finished.key != lost.key
    kept[finished.key] = record(finished)
    resumed = search()
    assert states(resumed) == [TrialState.COMPLETE, TrialState.FAIL, TrialState.FAIL]
    assert resumed.num_told == 1, "a lost trial is asked for again"
    assert resumed.best_keys() == [finished.key]


def one_cell(**changes):
    return {"methods": ("finetune",), "learning_rates": (1e-3,), **changes}


def test_a_repeated_suggestion_is_told_the_stored_value(search, record, kept):
    opened, listener = search(**one_cell()), Listener()
    feeder = Feeder([], [opened], 4, kept.get, listener)
    assert feeder.num_left == feeder.num_cells_left == 4
    assert feeder.suggest("a") is not None
    key = listener.started[0]
    done = record(opened.plan.cell(opened.block, opened.ask().hyperparameters))
    kept[key] = done
    feeder.tell(done)
    assert feeder.suggest("b") == "FINISHED"
    assert listener.started == [key], "one cell, trained once"
    assert listener.repeated == 3
    assert set(states(opened)) == {TrialState.COMPLETE}


def test_a_cell_in_training_is_not_trained_beside_itself(search, record, kept):
    opened, listener = search(**one_cell()), Listener()
    feeder = Feeder([], [opened], 3, kept.get, listener)
    assert feeder.suggest("a") is not None
    assert feeder.suggest("b") == "FINISHED"
    assert listener.repeated == 2
    cell_key = listener.started[0]
    (trial, *_) = opened.study.get_trials()
    assert trial.user_attrs["interfero.cell"] == cell_key
    cell = opened.ask()
    feeder.tell(record(cell))
    assert states(opened) == 4 * [TrialState.COMPLETE], "all who waited are told"


def test_a_feeder_asks_blocks_in_turn_up_to_the_number_of_samples(plan, record, tmp_path):
    made = plan(sampler="random", num_images=("2", "all"), learning_rates=(1e-5, 1e-1))
    searches = open_searches(made, tmp_path / "search.db", {}.get)
    listener = Listener()
    feeder = Feeder([], searches, 3, {}.get, listener)
    asked = []
    while (suggestion := feeder.suggest("x")) != "FINISHED":
        asked.append(suggestion["pack"]["cells"][0]["block"]["num_images"])
    most = made.domains["thing"].max_images
    assert sorted(asked) == [2, 2, 2, most, most, most]
    assert set(asked[:2]) == {2, most}


def test_told_trials_count_against_the_number_of_samples(search, record, kept):
    opened = search("random", learning_rates=(1e-5, 1e-1))
    for _ in range(2):
        opened.tell(record(opened.ask()))
    feeder = Feeder([], [search("random", learning_rates=(1e-5, 1e-1))], 3, kept.get, Listener())
    assert feeder.num_left == 1


def test_grid_packs_come_first_and_once(plan):
    made = plan()
    listener = Listener()
    feeder = Feeder(made.packs(made.cells), [], 16, {}.get, listener)
    assert feeder.num_left == 2
    assert feeder.num_cells_left == 6
    while feeder.suggest("x") != "FINISHED":
        pass
    assert sorted(listener.started) == sorted(c.key for c in made.cells)


def test_the_study_is_an_optuna_study_anyone_can_open(search, record, tmp_path):
    opened = search()
    opened.tell(record(opened.ask()))
    study = optuna.load_study(
        study_name=opened.study.study_name, storage=f"sqlite:///{tmp_path}/search.db"
    )
    count = opened.block.num_images
    assert study.study_name == f"thing lambda 0.013 n {count} seed 0"
    assert len(study.trials) == 1
