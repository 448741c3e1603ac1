"""Maps over two axes: means by hand, what is fixed and averaged, and what is missing."""

import pytest

from interfero.analysis.maps import default_axes, default_maps, interference_map
from interfero.errors import ConfigError

GAIN = "target/rd_gain_percent"


@pytest.fixture
def cell(record, measured):
    def build(gain, images=5, rd_lambda=0.013, **params):
        metrics = measured(gain, 2 * gain, adapter_fraction=1.0, **params.pop("more", {}))
        return record(num_images=images, rd_lambda=rd_lambda, metrics=metrics, **params)

    return build


def values(found):
    return [[place.value for place in row] for row in found.places]


def test_places_are_means_over_seeds_then_settings(cell):
    records = [
        cell(1.0, 1), cell(3.0, 1, data_seed=1), cell(10.0, 1, domain="text"),
        cell(4.0, 5), cell(8.0, 5, domain="text"),
    ]  # fmt: skip
    records += [cell(6.0, n, 0.0045, domain=d) for n in (1, 5) for d in ("histology", "text")]
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert found.x_levels == (1, 5)
    assert found.y_levels == (0.0045, 0.013)
    # (1 + 3) / 2 and 10: a domain with more seeds counts no more.
    assert values(found) == [[6, 6], [6, 6]]
    assert found.places[1][0].num_cells == 3
    assert found.rest == "steps 300, simulated; mean over 2 domains, 2 data seeds"


def test_a_missing_place_is_none_and_a_partial_one_is_counted(cell, fail):
    records = [cell(1.0, n, v) for n in (1, 5) for v in (0.0045, 0.013)]
    records += [cell(1.0, n, v, domain="text") for n in (1, 5) for v in (0.0045, 0.013)]
    records[0] = fail(records[0])
    records[4] = fail(records[4])
    records[7] = fail(records[7])
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert values(found)[0][0] is None
    assert found.num_missing == 1
    assert found.num_settings == 2
    assert found.places[1][1].num_settings == 1


def test_only_chosen_rates_count_unless_the_rate_is_an_axis(cell):
    records = [
        cell(9.0, n, learning_rate=rate, more={"val": val})
        for n in (1, 5)
        for rate, val in ((1e-3, 1.0), (1e-4, 2.0))
    ]
    records = [
        r.model_copy(update={"metrics": r.metrics | {GAIN: 1e4 * r.params["learning_rate"]}})
        for r in records
    ]
    chosen = interference_map(records, "finetune", GAIN, "num_images", "num_steps")
    assert values(chosen) == [[pytest.approx(1), pytest.approx(1)]]
    every = interference_map(records, "finetune", GAIN, "num_images", "learning_rate")
    assert values(every) == [[pytest.approx(1)] * 2, [pytest.approx(10)] * 2]


def test_a_distance_names_its_domain(cell):
    records = [
        cell(1.0, n, domain=d, more={"distance/feature_sd": far})
        for n in (1, 5)
        for d, far in (("text", 7.5), ("fundus", 2.25))
    ]
    found = interference_map(records, "finetune", GAIN, "num_images", "feature_sd")
    assert found.y_names == ("fundus\n2.25", "text\n7.5")
    assert "domain" not in found.rest
    assert "text" not in found.rest
    assert default_axes(records, "finetune") == ("num_images", "feature_sd")


def test_unknown_axes_methods_and_one_axis_twice_are_refused(cell):
    records = [cell(1.0)]
    with pytest.raises(ConfigError, match="did you mean 'num_images'"):
        interference_map(records, "finetune", GAIN, "num_image", "rd_lambda")
    with pytest.raises(ConfigError, match="needs two different axes, got 'rd_lambda' twice"):
        interference_map(records, "finetune", GAIN, "rd_lambda", "rd_lambda")
    with pytest.raises(ConfigError, match="no finished cell of 'lora'"):
        interference_map(records, "lora", GAIN, "num_images", "rd_lambda")


def test_default_maps_need_two_axes_that_vary(sweep):
    records = sweep(lambdas=(0.0045, 0.0067))
    assert default_axes(records, "finetune") is None
    assert default_axes(records, "cawf") == ("adapter_fraction", "rd_lambda")
    ((gain, lost),) = default_maps(records)
    assert (gain.method, gain.metric) == ("cawf", GAIN)
    assert gain.x_names == tuple(f"{100 * 0.004 * s**1.15:.3g}" for s in (2, 4, 8, 16))
    assert lost.places[0][3].value > lost.places[0][0].value
