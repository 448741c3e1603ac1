"""Maps over two axes: means by hand over what all places share, and what cannot be compared."""

import re

import pytest

from interfero.analysis.charts.maps import REFUSED, map_figure
from interfero.analysis.charts.vega import variant_spec
from interfero.analysis.comparable import comparable
from interfero.analysis.maps import cell_table, connected_parts, default_axes, interference_map
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


def test_places_are_means_over_the_same_domains_and_seeds(cell):
    records = [
        cell(gain, n, v, domain=d, data_seed=seed)
        for n, gain in ((1, 2.0), (5, 4.0))
        for v in (0.0045, 0.013)
        for d in ("histology", "text")
        for seed in (0, 1)
    ]
    # A third seed at one place alone would make its mean one over another sample.
    found = interference_map(
        [*records, cell(99.0, 5, data_seed=2)], "finetune", GAIN, "num_images", "rd_lambda"
    )
    assert values(found) == [[2, 4], [2, 4]]
    assert found.rest == (
        "steps 300, simulated; every place is a mean over the same 2 domains, 2 data seeds"
    )
    assert found.left_out.startswith("1 of 17 results have no counterpart")


def test_a_map_is_of_one_budget_and_one_lambda_unless_these_are_its_axes(cell):
    """Planted: at 50 steps and at two other lambdas everything is 90 % better."""
    records = [
        cell(gain + more + most, n, v, num_steps=steps, learning_rate=1e-3)
        for n, gain in ((1, 2.0), (5, 4.0))
        for v, more in ((0.001, 90.0), (0.013, 0.0), (0.05, 90.0))
        for steps, most in ((50, 90.0), (300, 0.0))
    ]
    rate = interference_map(records, "finetune", GAIN, "num_images", "learning_rate")
    assert values(rate) == [[2, 4]]
    assert "lambda 0.013, steps 300" in rate.rest
    steps = interference_map(records, "finetune", GAIN, "num_images", "num_steps")
    assert values(steps) == [[92, 94], [2, 4]]
    both = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert values(both) == [[92, 94], [2, 4], [92, 94]]
    captions = {v.choice[1]: v.caption for v in map_figure(records).variants}
    assert "percents at two lambdas are of two different losses" in captions["images and lambda"]
    assert "two different losses" not in captions["images and steps"]


def test_an_image_count_that_is_a_domain_is_no_comparison(cell):
    """`all` is 6 crops of one domain and 51 images of another: a mean at 51 is that of one domain."""
    own = {"histology": 6, "charts": 51}
    records = [
        cell(100.0 if n == 51 else 1.0, n, v, domain=domain)
        for domain, most in own.items()
        for n in (1, 5, most)
        for v in (0.0045, 0.013)
    ]
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert found.x_names == ("1", "5", "6", "51")
    assert values(found) == [[1, 1, None, None]] * 2
    assert found.places[0][3].num_cells == 1
    tiles = map_figure(records).variants[0].panels[0].tiles
    assert {(t.x, t.text) for t in tiles if t.value is None} == {(2, "≠"), (3, "≠")}
    alone = [r for r in records if r.params["num_images"] == own[r.params["domain"]]]
    found = interference_map(alone, "finetune", GAIN, "num_images", "rd_lambda")
    assert {v for row in values(found) for v in row} == {None}
    assert found.refused.startswith("Cannot be compared: no results that share domain")
    (variant,) = map_figure(alone).variants
    assert not variant.file, "a picture of words"
    assert [p.empty for p in variant.panels] == [REFUSED]
    assert found.refused in variant.caption


def test_axes_that_change_together_are_no_comparison(cell):
    """Histology has 6 crops and text 51 images: two places on the diagonal were coloured on one scale."""
    own = {"histology": (6, 2.8), "text": (51, 3.8)}

    def cells(counts):
        return [
            cell(n / 10, n, v, domain=d, data_seed=seed, learning_rate=rate,
                 more={"distance/feature_sd": own[d][1], "val": rate})
            for d, images in counts.items()
            for n in images
            for seed in (0, 1)
            for v in (0.0045, 0.013)
            for rate in (1e-4, 1e-3)
        ]  # fmt: skip

    apart = cells({"histology": (6,), "text": (51,)})
    found = interference_map(apart, "finetune", GAIN, "num_images", "feature_sd")
    assert {v for row in values(found) for v in row} == {None}
    assert found.refused.startswith(
        "Cannot be compared: images and feature distance change together"
    )
    # The map that the page shows first can be compared; a picture is of it, too.
    figure = map_figure(apart)
    first = figure.variants[figure.start]
    assert first.choice == ("finetune", "lambda and learning rate")
    assert (first.file, first.panels[0].empty) == ("map_finetune", "")
    refused = {v.choice[1] for v in figure.variants if v.panels[0].empty}
    assert {"images and lambda", "images and feature distance"} < refused
    assert not any(v.file for v in figure.variants if v.panels[0].empty)
    # Two counts a domain, and none in common: each row could be read, the two of them could not.
    rows = cells({"histology": (5, 6), "text": (50, 51)})
    assert interference_map(rows, "finetune", GAIN, "num_images", "feature_sd").refused
    # A count in common links the rows; a part that is linked to nothing is left out.
    linked = cells({"histology": (6, 20), "text": (20, 51)})
    found = interference_map(linked, "finetune", GAIN, "num_images", "feature_sd")
    assert values(found) == [[0.6, 2.0, None], [None, 2.0, 5.1]]


def test_places_by_what_they_share():
    assert connected_parts([(6, 1), (51, 2)]) == [{(6, 1)}, {(51, 2)}]
    assert connected_parts([(1, 1), (2, 2), (1, 2)]) == [{(1, 1), (1, 2), (2, 2)}]
    # The last one links two parts.
    assert connected_parts([(1, 1), (2, 2), (2, 1)]) == [{(1, 1), (2, 1), (2, 2)}]
    assert connected_parts([]) == []


def test_what_diverged_is_said_and_sets_no_colour(cell):
    """Places of -1481 and +3079 % stood among the others, without a word."""
    records = [
        cell(-1500.0 if (n, v) == (1, 0.0045) else float(n), n, v, data_seed=seed)
        for n in (1, 5, 20)
        for v in (0.0045, 0.013)
        for seed in (0, 1)
    ]
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert values(found) == [[None, 5, 20], [1, 5, 20]]
    assert found.places[0][0].all_diverged
    assert found.astray.startswith("2 of 12 results diverged and are in no mean (its loss on test")
    figure = map_figure(records)
    (variant,) = figure.variants
    (tile,) = [t for t in variant.panels[0].tiles if (t.x, t.y) == (0, 0)]
    assert (tile.value, tile.text) == (None, "diverged")
    assert tile.hover[1:] == ("2 results, all diverged", "-1500.00, -1500.00 %")
    assert "2 of 12 results diverged" in variant.caption
    assert "Where diverged stands every result diverged." in variant.caption
    assert not figure.note
    scales = [
        layer["encoding"]["color"]["scale"]["domain"]
        for panel in variant_spec(variant, {})["concat"]
        for layer in panel["layer"]
        if "scale" in layer.get("encoding", {}).get("color", {})
    ]
    assert scales == [[1, 20], [2, 40], [2, 40]]
    every = [cell(-1500.0, n, v) for n in (1, 5) for v in (0.0045, 0.013)]
    assert interference_map(every, "finetune", GAIN, "num_images", "rd_lambda").refused == (
        "Every result here diverged."
    )


def test_one_seed_that_diverged_is_in_no_mean(cell):
    records = [
        cell(-1500.0 if (n, v, seed) == (1, 0.0045, 1) else float(n + seed), n, v, data_seed=seed)
        for n in (1, 5, 20)
        for v in (0.0045, 0.013)
        for seed in (0, 1, 2)
    ]
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert values(found) == [[None, 6, 21], [2, 6, 21]]
    (variant,) = map_figure(records).variants
    tile = variant.panels[0].tiles[0]
    assert tile.hover[-1].startswith("3 results, 1 of them diverged, of other")
    assert "2 of 17 results have no counterpart" in variant.caption
    assert "1 of 18 results diverged" in variant.caption


def test_captions_are_sentences(cell):
    """`; Each lambda has ...` and `; Source forgetting, routed (%) is 0` had a capital in mid-sentence."""
    records = [
        cell(float(n), n, v).model_copy(
            update={"metrics": cell(float(n), n, v).metrics | {"source/forgetting_percent": 0.0}}
        )
        for n in (1, 5)
        for v in (0.0045, 0.013)
    ]
    (variant,) = map_figure(records).variants
    assert "Each lambda has" in variant.caption
    assert "Source forgetting, routed (%) is 0 everywhere" in variant.caption
    assert not re.search("; [A-Z]", variant.caption)
    assert not re.search(r"\.\.|\. [a-z]", variant.caption)


def test_a_missing_place_is_none(cell, fail):
    records = [
        cell(1.0, n, v, domain=d)
        for d in ("histology", "text")
        for n in (1, 5, 20)
        for v in (0.0045, 0.013)
    ]
    records = [fail(r) if r.params["num_images"] == 1 and r.params["rd_lambda"] < 0.01 else r
               for r in records]  # fmt: skip
    found = interference_map(records, "finetune", GAIN, "num_images", "rd_lambda")
    assert values(found) == [[None, 1, 1], [1, 1, 1]]
    assert found.places[0][0].num_cells == 0


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
    assert default_axes(cell_table(records)) == ("num_images", "feature_sd")


def test_unknown_axes_methods_and_one_axis_twice_are_refused(cell):
    records = [cell(1.0)]
    with pytest.raises(ConfigError, match="did you mean 'num_images'"):
        interference_map(records, "finetune", GAIN, "num_image", "rd_lambda")
    with pytest.raises(ConfigError, match="needs two different axes, got 'rd_lambda' twice"):
        interference_map(records, "finetune", GAIN, "rd_lambda", "rd_lambda")
    with pytest.raises(ConfigError, match="no finished cell of 'lora'"):
        interference_map(records, "lora", GAIN, "num_images", "rd_lambda")


def test_default_maps_need_two_axes_that_vary(sweep):
    table = cell_table(sweep(lambdas=(0.0045, 0.0067)))
    assert default_axes(table[table.method == "finetune"]) is None
    assert default_axes(table[table.method == "cawf"]) == ("adapter_fraction", "rd_lambda")
    assert map_figure([]) is None


def test_the_largest_block_that_everything_in_it_shares():
    have = {"a": {1, 2, 3}, "b": {1, 2}, "c": {1, 2}, "d": {9}}
    assert comparable(have) == (frozenset("abc"), frozenset({1, 2}))
    assert comparable({"a": {1}, "b": {2}}) == (frozenset(), frozenset())
    # Two patterns whose intersection alone is shared.
    have = {"a": {1, 2, 3}, "b": {2, 3, 4}, "c": {1, 2, 3}, "d": {2, 3, 4}}
    assert comparable(have) == (frozenset("abcd"), frozenset({2, 3}))
