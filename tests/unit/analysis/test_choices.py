"""The choice of a learning rate, by hand; and that no test number can touch it."""

import random

import numpy as np
import pytest

from interfero.analysis.choices import (
    best_sizes,
    choose_learning_rates,
    missing_settings,
    setting_of,
)

VALIDATION = "val/rd_gain_percent"


def cells(record, gains, **params):
    """One cell a learning rate: {rate: validation gain, or None for a failure}."""
    return [
        record(learning_rate=rate, failed=gain is None, metrics={VALIDATION: gain or 0.0}, **params)
        for rate, gain in gains.items()
    ]


def only(choices):
    (choice,) = choices
    return choice


def rate_of(choices):
    (rate,) = only(choices).learning_rates
    return rate


def test_each_seed_has_the_learning_rate_that_is_best_in_it(record):
    # The best rate over both seeds would be 3e-4, with a mean of 2.5.
    first = cells(record, {1e-4: 4.0, 3e-4: 2.0, 1e-3: 0.0}, data_seed=0)
    second = cells(record, {1e-4: 0.0, 3e-4: 3.0, 1e-3: 4.5}, data_seed=1)
    choice = only(choose_learning_rates([*first, *second]))
    assert [p.learning_rate for p in choice.picks] == [1e-4, 1e-3]
    assert [p.edge for p in choice.picks] == ["lowest", "highest"]
    assert choice.learning_rates == (1e-4, 1e-3)
    assert choice.values(VALIDATION) == (4.0, 4.5)
    assert choice.mean(VALIDATION) == 4.25
    assert choice.num_seeds == 2


def test_a_sampler_that_tried_other_rates_in_each_seed_still_has_all_seeds(record):
    first = cells(record, {1.1e-4: 1.0, 5.2e-4: 3.0}, data_seed=0)
    second = cells(record, {2.3e-4: 2.0, 9.1e-4: 8.0}, data_seed=1)
    third = cells(record, {3.7e-4: 1.0, 4.4e-4: 0.0}, data_seed=2)
    choice = only(choose_learning_rates([*first, *second, *third]))
    assert choice.num_seeds == 3
    assert choice.values(VALIDATION) == (3.0, 8.0, 1.0)


def test_a_rate_that_halving_ended_at_fewer_steps_was_tried(record):
    short = cells(record, {1e-4: 1.0, 4e-4: 3.0, 2e-3: 2.0, 5e-3: 0.0}, num_steps=60)
    long = cells(record, {4e-4: 5.0, 2e-3: 7.0}, num_steps=250)
    last = cells(record, {2e-3: 9.0}, num_steps=1000)
    picks = {
        c.setting.num_steps: [(p.learning_rate, p.edge) for p in c.picks]
        for c in choose_learning_rates([*last, *long, *short])
    }
    assert picks == {60: [(4e-4, None)], 250: [(2e-3, None)], 1000: [(2e-3, None)]}
    # What only a longer training tried says nothing of a shorter one.
    (short_choice, _) = choose_learning_rates([*cells(record, {4e-4: 1.0}, num_steps=60), *long])
    assert [p.edge for p in short_choice.picks] == ["only"]


def test_init_seeds_count_as_seeds(record):
    records = [c for s in (0, 1, 2) for c in cells(record, {1e-3: 1.0}, init_seed=s)]
    assert only(choose_learning_rates(records)).num_seeds == 3


def test_the_whole_grid_stays_available(record):
    records = cells(record, {1e-3: 1.0, 1e-4: 3.0, 3e-4: None})
    choice = only(choose_learning_rates(records))
    assert [p.learning_rate for p in choice.grid] == [1e-4, 3e-4, 1e-3]
    assert [[c.metrics[VALIDATION] for c in p.cells] for p in choice.grid] == [[3.0], [], [1.0]]
    assert choice.picks[0].cell is choice.grid[0].cells[0]


def test_a_tie_goes_to_the_smaller(record):
    assert rate_of(choose_learning_rates(cells(record, {1e-3: 1.0, 1e-4: 1.0}))) == 1e-4


@pytest.mark.parametrize(
    ("gains", "edge"),
    [
        ({1e-4: 3.0, 3e-4: 2.0, 1e-3: 1.0}, "lowest"),
        ({1e-4: 1.0, 3e-4: 2.0, 1e-3: 3.0}, "highest"),
        ({1e-4: 1.0, 3e-4: 2.0, 1e-3: 1.0}, None),
        # The higher one was tried and failed: a larger grid would not help.
        ({1e-4: 1.0, 3e-4: 2.0, 1e-3: None}, None),
        ({1e-4: 1.0}, "only"),
    ],
)
def test_the_edge_of_the_grid_is_told(record, gains, edge):
    (pick,) = only(choose_learning_rates(cells(record, gains))).picks
    assert pick.edge == edge


def test_failed_cells_are_left_out_and_counted(record):
    records = cells(record, {1e-4: 1.0, 3e-4: None, 1e-3: None})
    unmeasured = record(learning_rate=3e-4, data_seed=1, metrics={"target/rd_gain_percent": 9.0})
    choice = only(choose_learning_rates([*records, unmeasured]))
    assert choice.learning_rates == (1e-4,)
    assert choice.num_left_out == 3


def test_a_seed_takes_what_finished_in_it_and_one_without_is_left_out(record):
    first = cells(record, {3e-4: 2.0, 1e-3: 9.0}, data_seed=0)
    second = cells(record, {3e-4: 2.0, 1e-3: None}, data_seed=1)
    third = cells(record, {3e-4: None, 1e-3: None}, data_seed=2)
    choice = only(choose_learning_rates([*first, *second, *third]))
    assert choice.values(VALIDATION) == (9.0, 2.0)
    assert choice.num_seeds == 2
    assert choice.num_left_out == 3


def test_every_setting_has_a_choice_of_its_own(record):
    places = [
        {"domain": "text"},
        {"domain": "charts"},
        {"rd_lambda": 0.025},
        {"num_images": 5},
        {"method": "cawf", "adapter_size": 2},
        {"method": "cawf", "adapter_size": 4},
        {"num_steps": 500},
        {"codec": "other"},
    ]
    records = [
        c
        for i, place in enumerate(places)
        for c in cells(record, {1e-4: float(i % 2), 1e-3: 0.5}, **place)
    ]
    choices = choose_learning_rates(records)
    assert len(choices) == len(places)
    assert sorted(r for c in choices for r in c.learning_rates) == [1e-4] * 4 + [1e-3] * 4


def test_the_order_of_records_decides_nothing(sweep):
    records = sweep(seeds=(0, 1, 2))
    expected = choose_learning_rates(records)
    random.Random(0).shuffle(records)
    assert choose_learning_rates(records) == expected
    assert missing_settings(records) == []
    methods = [c.setting.method for c in expected if c.setting.domain == "text"]
    assert methods == ["finetune", "cawf", "cawf", "cawf", "cawf", "continue_source"]


@pytest.mark.parametrize("seed", range(20))
def test_test_metrics_never_influence_a_choice(sweep, seed):
    rng = np.random.default_rng(seed)
    records = sweep(domains=("text", "charts"), seeds=(0, 1), seed=seed)

    def perturbed(record):
        searched = {
            name: value if name.startswith("val/") else value + rng.normal(0, 1000)
            for name, value in record.metrics.items()
            if name.startswith("val/") or rng.random() > 0.1
        }
        return record.model_copy(update={"metrics": searched})

    def picks(choices):
        return [(c.setting, [(p.learning_rate, p.edge) for p in c.picks]) for c in choices]

    plain = choose_learning_rates(records)
    moved = choose_learning_rates([perturbed(r) for r in records])
    assert picks(moved) == picks(plain)
    assert picks(best_sizes(moved)) == picks(best_sizes(plain))


def test_the_best_size_is_validations_and_the_smaller_of_a_tie(record):
    records = [
        *cells(record, {1e-3: 2.0}, method="cawf", adapter_size=8),
        *cells(record, {1e-3: 2.0}, method="cawf", adapter_size=4),
        *cells(record, {1e-3: 1.0}, method="cawf", adapter_size=2),
        *cells(record, {1e-3: 0.5}),
    ]
    best = best_sizes(choose_learning_rates(records))
    pairs = [(c.setting.method, c.setting.adapter_size) for c in best]
    assert pairs == [("finetune", 0), ("cawf", 4)]


def test_settings_without_a_result_are_told(record):
    records = [
        *cells(record, {1e-4: 1.0, 1e-3: 2.0}),
        *cells(record, {1e-4: None, 1e-3: None}, method="cawf", adapter_size=8),
        *cells(record, {1e-4: 1.0}, domain="text"),
    ]
    missing = missing_settings(records)
    told = [(m.setting.domain, m.setting.method, m.num_failed) for m in missing]
    assert told == [("histology", "cawf", 2), ("text", "cawf", 0)]


def test_no_records_no_choices():
    assert choose_learning_rates([]) == []
    assert missing_settings([]) == []


def test_a_metric_that_a_seed_lacks_has_no_mean(record):
    gains = {VALIDATION: 1.0}
    records = [
        record(metrics={**gains, "target/rd_gain_percent": 5.0}),
        record(metrics=gains, data_seed=1),
    ]
    choice = only(choose_learning_rates(records))
    assert choice.mean("target/rd_gain_percent") is None
    assert choice.values("target/rd_gain_percent") == ()


def test_the_control_is_chosen_by_the_source_it_trains_on(record):
    """It never sees the target: the rate with the luckiest target gain is not its best."""
    forgets = "val/forgetting_percent"
    values = {3e-4: (-2.0, 0.5), 3e-3: (1.0, 9.0)}
    records = [
        record("continue_source", 0, rate, metrics={VALIDATION: gain, forgets: lost})
        for rate, (gain, lost) in values.items()
    ]
    assert rate_of(choose_learning_rates(records)) == 3e-4


def test_records_without_a_unit_load_and_join_those_with_one(record):
    older = record(learning_rate=1e-4, metrics={VALIDATION: 1.0})
    newer = record(learning_rate=1e-3, metrics={VALIDATION: 2.0}, image_unit="crops")
    assert only(choose_learning_rates([older])).setting.num_images_text == "20 images"
    assert only(choose_learning_rates([newer])).setting.num_images_text == "20 crops"
    assert len(only(choose_learning_rates([older, newer])).grid) == 2


def test_strengths_are_settings_and_no_choice_favours_the_weakest(record):
    """By target gain alone the weakest penalty would always win."""
    records = [
        record("ewc", 0, rate, metrics={"val/rd_gain_percent": gain}, strength=strength)
        for strength, rate, gain in ((0.1, 1e-3, 9.0), (10.0, 1e-4, 1.0), (10.0, 1e-3, 2.0))
    ]
    choices = choose_learning_rates(records)
    assert [(c.setting.strength, c.learning_rates) for c in choices] == [
        (0.1, (1e-3,)), (10.0, (1e-3,)),
    ]  # fmt: skip


def test_one_crop_is_no_plural(record):
    assert setting_of(record(num_images=1, image_unit="crops")).num_images_text == "1 crop"
    assert setting_of(record(num_images=2, image_unit="crops")).num_images_text == "2 crops"
