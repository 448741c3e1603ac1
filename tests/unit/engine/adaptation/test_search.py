"""Searches with simulated records: nothing is trained, no Ray."""

import shutil
from dataclasses import dataclass, field

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from interfero.engine.adaptation.search import BlockSearch, cells_at_once, open_searches, rung_steps
from interfero.engine.feeding import PACK, Feeder
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from tests.unit.engine.conftest import METRICS, plan_of


@pytest.fixture
def kept():
    """Records that are finished, by key."""
    return {}


@pytest.fixture(scope="module")
def plans():
    """Plans that were made, by options: nothing here changes one, and most tests want the same."""
    return {}


@pytest.fixture
def plan(options, plans):
    def build(**changes):
        asked = options(**changes)
        key = asked.model_dump_json()
        if key not in plans:
            plans[key] = plan_of(asked)
        return plans[key]

    return build


@pytest.fixture(scope="module")
def empty_studies(tmp_path_factory):
    """A database without studies, as a sweep makes it: its tables take longer to make than most tests."""
    path = tmp_path_factory.mktemp("studies") / "empty.db"
    RDBStorage(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture
def studies(empty_studies):
    """Opens a file of studies like a new driver, whatever is in it."""

    def open_file(path):
        if not path.exists():
            shutil.copy(empty_studies, path)
        return RDBStorage(
            f"sqlite:///{path}", skip_compatibility_check=True, skip_table_creation=True
        )

    return open_file


@pytest.fixture
def search(plan, studies, tmp_path, kept):
    """Opens the one block's search, the study of an earlier call included."""

    def build(sampler="tpe", **changes):
        made = plan(sampler=sampler, **changes)
        return BlockSearch(made, made.blocks[0], studies(tmp_path / "search.db"), kept.get)

    return build


class Listener:
    def __init__(self):
        self.started, self.repeated, self.records = [], 0, []

    def on_started(self, pack):
        self.started += [cell.key for cell in pack.nodes]

    def on_repeated(self):
        self.repeated += 1

    def on_record(self, record):
        self.records.append(record)


@pytest.fixture
def known(plan, record):
    """Cells that another sweep trained, with their gains: the best has the higher rate."""

    def build(**changes):
        made = plan(methods=("finetune",), learning_rates=(1e-4, 1e-3), **changes)
        return [
            record(cell, metrics=METRICS | {"val/rd_gain_percent": 1e4 * rate})
            for cell in made.cells
            for rate in (cell.hyperparameters.learning_rate,)
        ]

    return build


def warm(plan, tmp_path, earlier, sampler="tpe", **changes):
    made = plan(sampler=sampler, methods=("finetune", "cawf"), **changes)
    (search,) = open_searches(made, tmp_path / "warm.db", lambda key: None, earlier)
    return search


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_search_begins_with_what_earlier_sweeps_know(plan, known, tmp_path, sampler):
    earlier = known()
    search = warm(plan, tmp_path, earlier, sampler, learning_rates=(1e-5, 1e-2))
    told = search.study.get_trials()
    assert [t.state for t in told] == 2 * [TrialState.COMPLETE]
    assert {t.user_attrs["interfero.cell"] for t in told} == {r.key for r in earlier}
    assert {t.values[0] for t in told} == {1.0, 10.0}
    assert search.num_told == 0, "they are no samples of this sweep"
    if sampler == "tpe":
        assert search.best_keys() == [f"{earlier[1].key} (of an earlier sweep)"]
    again = warm(plan, tmp_path, earlier, sampler, learning_rates=(1e-5, 1e-2))
    assert len(again.study.get_trials()) == 2, "a study that is there is not told again"


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rates": (2e-3, 1e-2)},
        {"num_steps": 5},
        {"num_images": ("2",)},
        {"data_seeds": (1,)},
        {"sampler": "random"},
    ],
)
def test_it_is_told_only_of_cells_that_it_could_have_asked_for(plan, known, tmp_path, changes):
    search = warm(plan, tmp_path, known(), **{"learning_rates": (1e-5, 1e-2)} | changes)
    assert search.study.get_trials() == []


def test_cells_of_a_method_or_size_that_it_lacks_are_left_out(plan, record, tmp_path):
    others = plan(methods=("lora", "cawf"), adapter_sizes=(1, 3), learning_rates=(1e-3,)).cells
    search = warm(plan, tmp_path, map(record, others), learning_rates=(1e-5, 1e-2))
    sizes = [t.params["adapter_size cawf"] for t in search.study.get_trials()]
    assert sizes == [1]


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


def test_the_same_seed_asks_the_same_cells(search, plan, studies, tmp_path):
    one = search("random")
    made = plan(sampler="random")
    two = BlockSearch(made, made.blocks[0], studies(tmp_path / "other.db"), {}.get)
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
    assert states(resumed) == [TrialState.COMPLETE, TrialState.RUNNING, TrialState.FAIL]
    assert resumed.num_told == 1
    assert resumed.best_keys() == [finished.key]
    assert resumed.ask().key == lost.key, "its checkpoint and its run are used"
    assert resumed.ask().key != lost.key
    resumed.tell(record(lost))
    assert resumed.num_told == 2


def test_a_cell_that_two_trials_of_a_dead_driver_waited_for_is_asked_once(search, record, kept):
    opened, listener = search(**one_cell()), Listener()
    assert opened.ask().key == opened.ask().key
    resumed = search(**one_cell())
    feeder = Feeder([], [resumed], 2, kept.get, listener, resumed.needs)
    assert feeder.suggest("a") is not None
    assert feeder.suggest("b") == "FINISHED"
    feeder.tell(record(FakeCell(listener.started[0])))
    assert len(listener.started) == 1
    assert resumed.num_told == 2


def test_a_cell_that_failed_under_a_dead_driver_is_not_asked_again(search, record, kept):
    opened = search()
    cell = opened.ask()
    kept[cell.key] = record(cell, status="failed", metrics={}, error="loss nan at step 2")
    resumed = search()
    assert states(resumed) == [TrialState.FAIL]
    assert resumed.num_told == 1


def one_cell(**changes):
    return {"methods": ("finetune",), "learning_rates": (1e-3,), **changes}


def test_a_repeated_suggestion_is_told_the_stored_value(search, record, kept):
    opened, listener = search(**one_cell()), Listener()
    feeder = Feeder([], [opened], 4, kept.get, listener, opened.needs)
    assert feeder.num_left == feeder.num_nodes_left == 4
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
    feeder = Feeder([], [opened], 3, kept.get, listener, opened.needs)
    assert feeder.suggest("a") is not None
    assert feeder.suggest("b") == "FINISHED"
    assert listener.repeated == 2
    cell_key = listener.started[0]
    (trial, *_) = opened.study.get_trials()
    assert trial.user_attrs["interfero.cell"] == cell_key
    cell = opened.ask()
    feeder.tell(record(cell))
    assert states(opened) == 4 * [TrialState.COMPLETE], "all who waited are told"


WIDE = {"learning_rates": (1e-5, 1e-1)}


def asked_packs(feeder):
    """Keys of the cells of each pack that is left."""
    packs = []
    while (suggestion := feeder.suggest("x")) != "FINISHED":
        packs.append(Pack.from_text(suggestion[PACK]).keys)
    return packs


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_several_cells_are_asked_together_and_told_one_by_one(search, record, kept, sampler):
    opened, listener = search(sampler, **WIDE), Listener()
    feeder = Feeder([], [opened], 5, kept.get, listener, opened.needs)
    feeder.cells_at_once = 3
    packs = asked_packs(feeder)
    assert [len(pack) for pack in packs] == [3, 2]
    assert listener.started == [*packs[0], *packs[1]]
    assert len(set(listener.started)) == 5
    assert states(opened) == 5 * [TrialState.RUNNING]
    for trial in opened.study.get_trials():
        # What is asked is stored at once, for a driver that comes after this one.
        assert trial.user_attrs["interfero.cell"] in listener.started
    for key in packs[1]:
        feeder.tell(record(FakeCell(key)))
    assert states(opened) == [*3 * [TrialState.RUNNING], *2 * [TrialState.COMPLETE]]


def test_what_was_asked_before_makes_room_in_the_pack_for_another(search, record, kept):
    two = {"methods": ("cawf",), "adapter_sizes": (1, 2), "learning_rates": (1e-3,)}
    opened, listener = search("random", **two), Listener()
    feeder = Feeder([], [opened], 12, kept.get, listener, opened.needs)
    feeder.cells_at_once = 2
    (pack,) = asked_packs(feeder)
    assert len(set(pack)) == 2
    assert listener.repeated == 10
    for key in pack:
        feeder.tell(record(FakeCell(key)))
    assert states(opened) == 12 * [TrialState.COMPLETE]


def test_a_finished_cell_is_told_within_the_ask(search, record, kept):
    opened, listener = search("random", **WIDE), Listener()
    first = opened.ask()
    opened.tell(record(first))
    kept[first.key] = record(first)
    opened.study.enqueue_trial(opened.study.get_trials()[0].params)
    feeder = Feeder([], [opened], 4, kept.get, listener, opened.needs)
    feeder.cells_at_once = 2
    # One sample of four was told before, one is the first cell again.
    (pack,) = asked_packs(feeder)
    assert len(pack) == 2
    assert first.key not in pack
    assert listener.repeated == 1
    assert states(opened).count(TrialState.COMPLETE) == 2


@pytest.mark.parametrize(
    ("asked", "num_blocks", "packs_at_once", "cells"),
    [
        ({"sampler": "tpe", "num_samples": 16}, 1, 1, 4),
        ({"sampler": "tpe", "num_samples": 16}, 1, 2, 2),
        ({"sampler": "nsga2", "num_samples": 64}, 1, 2, 8),
        ({"sampler": "nsga2", "num_samples": 64}, 4, 2, 8),
        ({"sampler": "tpe", "num_samples": 16}, 2, 4, 2),
        ({"sampler": "tpe", "num_samples": 3}, 1, 1, 1),
        ({"sampler": "random", "num_samples": 16}, 1, 3, 6),
        ({"sampler": "random", "num_samples": 64}, 1, 2, 8),
        ({"sampler": "random", "num_samples": 64, "packs": False}, 1, 2, 1),
        ({"sampler": "random", "num_samples": 64, "early_stopping": "asha"}, 1, 2, 1),
    ],
)
def test_a_quarter_of_the_samples_trains_at_once(asked, num_blocks, packs_at_once, cells):
    options = AdaptationOptions(**asked)
    assert cells_at_once(options, num_blocks, packs_at_once, most=8) == cells


def forgets(record, cell, percent, gain=1.0):
    metrics = record(cell).metrics | {
        "val/forgetting_percent": percent,
        "val/forgetting_unrouted_percent": percent,
        "val/rd_gain_percent": gain,
    }
    return record(cell, metrics=metrics)


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_the_best_cell_is_a_feasible_one(search, record, sampler):
    opened = search(sampler, max_forgetting=1.0, **WIDE)
    cells = [opened.ask() for _ in range(3)]
    for cell, percent, gain in zip(cells, (5.0, 1.0, 0.5), (9.0, 2.0, 1.0), strict=True):
        opened.tell(forgets(record, cell, percent, gain))
    feasible = {cells[1].key, cells[2].key}
    assert set(opened.best_keys()) == (feasible if sampler == "nsga2" else {cells[1].key})
    assert [t.constraints for t in opened.study.get_trials()] == [
        {"val/forgetting_percent": excess} for excess in (4.0, 0.0, -0.5)
    ]
    # The next ones can be asked for with constrained trials in the study.
    for _ in range(9):
        opened.tell(forgets(record, opened.ask(), 0.2))


def test_no_feasible_cell_is_no_best_cell(search, record):
    opened = search("nsga2", max_forgetting=1.0)
    for _ in range(3):
        opened.tell(forgets(record, opened.ask(), 1.01))
    assert opened.best_keys() == []


def test_routed_forgetting_is_what_the_limit_limits(search, record):
    opened = search("tpe", max_forgetting=0.0)
    cell = opened.ask()
    metrics = {"val/forgetting_percent": 0.0, "val/forgetting_unrouted_percent": 70.0}
    opened.tell(record(cell, metrics=record(cell).metrics | metrics))
    assert opened.best_keys() == [cell.key]


def test_cells_of_a_dead_driver_are_constrained_too(search, record, kept):
    opened = search("tpe", max_forgetting=1.0)
    cell = opened.ask()
    kept[cell.key] = forgets(record, cell, 3.0)
    resumed = search("tpe", max_forgetting=1.0)
    assert states(resumed) == [TrialState.COMPLETE]
    assert resumed.best_keys() == []


@pytest.mark.parametrize(
    ("num_steps", "steps"),
    [(1, ()), (2, (1,)), (4, (1, 3)), (9, (1, 3)), (90, (10, 30)), (500, (55, 165))],
)
def test_rungs_are_a_ninth_and_a_third_of_the_steps(num_steps, steps):
    assert rung_steps(num_steps) == steps


@pytest.fixture
def halving(search):
    """A search that stops cells early at 10 and 30 of 90 steps, and so many cells of it."""

    def build(count, sampler="random"):
        opened = search(sampler, early_stopping="asha", num_steps=90, **WIDE)
        return opened, [opened.ask().key for _ in range(count)]

    return build


def test_a_third_of_the_cells_passes_a_rung(halving):
    opened, keys = halving(9)
    gains = (5.0, 1.0, 2.0, 6.0, 3.0, 7.0, 6.5, 4.0, 8.0)
    stopped = [opened.should_stop(k, 10, g) for k, g in zip(keys, gains, strict=True)]
    # Fewer than three reached the rung: the best one passes. Then the best third so far.
    assert stopped == [False, True, True, False, True, False, False, True, False]
    assert opened.should_stop(keys[0], 30, 5.0) is False
    assert opened.should_stop(keys[3], 30, 4.0) is True


def test_the_first_answer_for_a_rung_stays(halving):
    opened, keys = halving(3)
    assert [opened.should_stop(k, 10, g) for k, g in zip(keys, (5.0, 1.0, 9.0), strict=True)] == [
        False, True, False,
    ]  # fmt: skip
    # Their worker died: they reach the rung again.
    assert [opened.should_stop(k, 10, g) for k, g in zip(keys, (5.0, 1.0, 9.0), strict=True)] == [
        False, True, False,
    ]  # fmt: skip


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_stopped_cell_is_a_pruned_trial_and_a_sample(halving, record, sampler):
    opened, (good, bad) = halving(2, sampler)
    assert not opened.should_stop(good, 10, 2.0)
    assert opened.should_stop(bad, 10, 1.0)
    opened.tell(stopped_record(record, bad))
    opened.tell(record(FakeCell(good)))
    assert states(opened) == [TrialState.COMPLETE, TrialState.PRUNED]
    assert opened.num_told == 2
    assert opened.best_keys() == [good]
    for _ in range(9):
        opened.tell(record(opened.ask()))


def test_a_stopped_cell_is_not_trained_again(search, record, kept):
    opened, listener = search(early_stopping="asha", **one_cell()), Listener()
    feeder = Feeder([], [opened], 3, kept.get, listener, opened.needs)
    assert feeder.suggest("a") is not None
    (key,) = listener.started
    assert not feeder.should_stop(key, 1, {"val/rd_gain_percent": 2.0})
    kept[key] = stopped_record(record, key)
    feeder.tell(kept[key])
    assert feeder.suggest("b") == "FINISHED"
    assert listener.started == [key]
    resumed = search(early_stopping="asha", **one_cell())
    assert resumed.num_told == 3
    assert set(states(resumed)) == {TrialState.PRUNED}


def stopped_record(record, key):
    metrics = {"val/rd_gain_percent": 1.0}
    return record(FakeCell(key), status="stopped", stopped_at=10, metrics=metrics)


@dataclass
class FakeCell:
    """All of a cell that a record takes."""

    key: str
    params: dict = field(default_factory=dict)


def test_a_feeder_asks_blocks_in_turn_up_to_the_number_of_samples(plan, record, tmp_path):
    made = plan(sampler="random", num_images=("2", "all"), learning_rates=(1e-5, 1e-1))
    searches = open_searches(made, tmp_path / "search.db", {}.get)
    listener = Listener()
    feeder = Feeder([], searches, 3, {}.get, listener, searches[0].needs | searches[1].needs)
    asked = []
    while (suggestion := feeder.suggest("x")) != "FINISHED":
        asked.append(Pack.from_text(suggestion[PACK]).nodes[0].block.num_images)
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
    done = frozenset(made.behind(made.cells))
    feeder = Feeder(made.packs(made.cells, done), [], 16, {}.get, listener, done)
    assert feeder.num_left == 2
    assert feeder.num_nodes_left == 6
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


def test_a_cell_of_a_dead_driver_keeps_the_rungs_it_has_passed(search, record, kept):
    options = {"early_stopping": "asha", "num_steps": 90, **WIDE}
    opened = search("random", **options)
    first, second = opened.ask(), opened.ask()
    assert not opened.should_stop(first.key, 10, 5.0)
    resumed = search("random", **options)
    assert {resumed.ask().key, resumed.ask().key} == {first.key, second.key}
    # From its checkpoint, which lies behind the first rung; later gains are larger.
    assert not resumed.should_stop(first.key, 30, 9.0)
    assert not resumed.should_stop(second.key, 10, 6.0), "better at this rung than all before it"
