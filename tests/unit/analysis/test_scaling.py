"""Planted laws are found again, nothing is found where nothing is planted, too little is refused."""

from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from interfero.analysis.laws.fits_file import FITS_FILE, fits_value, write_scaling_fits
from interfero.analysis.laws.forms import Constant, Power
from interfero.analysis.laws.left_out import left_out_predictions, without_each_domain
from interfero.analysis.laws.observations import RESPONSES, design_of, observations, setting_means
from interfero.analysis.laws.prediction import (
    NoPrediction,
    Prediction,
    left_out_coverage,
    outside,
    predict,
)
from interfero.analysis.laws.resampling import bootstrap, half_width
from interfero.analysis.laws.robust_fit import robust_fit
from interfero.analysis.laws.scaling import (
    Refusal,
    Scaling,
    fit_observations,
    fit_scaling,
)
from interfero.analysis.laws.view import end_text, law_text
from interfero.analysis.laws.words import law_lines
from interfero.analysis.records import read_records, write_tables
from interfero.store.files import read_json
from tools import law_coverage
from tools.planted import PlantedSweep, Scatter

UNROUTED = RESPONSES["forgetting_unrouted"]
FIVE = {
    "domains": ("charts", "fundus", "histology", "maps", "text"),
    "distances": (1.0, 2.0, 4.0, 8.0, 16.0),
}


def growing(place):
    return 4 * place["num_images"] ** 0.3 * (place["rd_lambda"] / 0.013) ** 0.2


def level(place):
    return 6.0


def levelling_off(place):
    return 20 * place["num_images"] / (place["num_images"] + 8)


def floored(place):
    return 5 + 1.5 * (place["num_steps"] / 100) ** 0.8


def by_distance(place):
    return growing(place) * (place["feature_sd"] / 4) ** 0.9


def observed(sweep, seed=0):
    (data,) = observations(sweep.records(np.random.default_rng(seed)), UNROUTED).values()
    return data


@cache
def fitted(law, seed=0, **changes):
    changes = {"lambdas": (0.0045, 0.013), **changes}
    return fit_observations(observed(PlantedSweep(law, **changes), seed))


@cache
def far_domains():
    return fitted(by_distance, lambdas=(0.013,), scatter=Scatter(domain=0.15), **FIVE)


def exponents(scaling):
    return {p.name: p for p in scaling.parameters() if p.name.startswith("exponent")}


def test_a_planted_power_law_is_chosen_with_its_exponents():
    scaling = fitted(growing, seed=1)
    assert (scaling.chosen.law, scaling.space) == (Power(("num_images", "rd_lambda")), "log")
    found = exponents(scaling)
    for name, planted in (("num_images", 0.3), ("rd_lambda", 0.2)):
        interval = found[f"exponent:{name}"]
        assert interval.low < planted < interval.high
        assert interval.high - interval.low < 0.2
    assert scaling.covers == "domains, seeds and source images"


def test_a_planted_level_keeps_the_null_model():
    scaling = fitted(level)
    assert scaling.chosen.law == Constant()
    assert not scaling.beats_null


def test_levelling_off_is_told_from_growing():
    counts = (1, 3, 10, 30, 100, 300)
    scaling = fitted(levelling_off, num_images=counts, lambdas=(0.013,))
    assert scaling.chosen.law.name == "saturating"
    # Half of it is reached at 8 images.
    half = next(p for p in scaling.parameters() if p.name == "log_half")
    reference = np.exp(np.mean(np.log(counts)))
    assert half.low < np.log(8 / reference) < half.high


def test_a_floor_is_told_from_none():
    steps = (50, 100, 200, 400, 800, 1600)
    scaling = fitted(floored, num_images=(20,), num_steps=steps, lambdas=(0.013,))
    assert scaling.chosen.law.name == "shifted_power"
    found = {p.name: p for p in scaling.parameters()}
    assert found["exponent:num_steps"].low < 0.8 < found["exponent:num_steps"].high


def test_laws_that_only_fit_the_small_cells_are_not_chosen():
    """A jump at the largest count: whatever grew before says nothing of it, and must not beat the null."""

    def broken(place):
        return 8 * place["num_images"] ** 0.2 if place["num_images"] < 50 else 2.0

    scaling = fitted(broken, lambdas=(0.013,))
    growing_ones = [c for c in scaling.tried[1:] if c.extrapolation is not None]
    assert all(c.extrapolation > scaling.null.extrapolation for c in growing_ones)
    assert not scaling.beats_null


def test_a_domain_distance_speaks_for_new_domains_from_four_domains_on():
    scaling = far_domains()
    assert scaling.chosen.law == Power(("num_images",))
    used = scaling.for_new_domains
    assert used.law == Power(("num_images", "feature_sd"))
    assert used.left_out_domains < scaling.chosen.left_out_domains / 2
    assert used.fit.params[-1] == pytest.approx(0.9, abs=0.3)
    near, far = (predict(scaling, {"num_images": 20, "feature_sd": d}, None) for d in (1, 16))
    assert far.value / near.value == pytest.approx(16**0.9, rel=0.5)
    # Without its distance a new domain is one like the others.
    unknown = predict(scaling, {"num_images": 20}, None)
    assert near.value < unknown.value < far.value
    assert unknown.high / unknown.low > far.high / far.low
    few = fitted(by_distance, scatter=Scatter(domain=0.05))
    (with_distance,) = few.by_distance
    assert with_distance.fit is None
    assert with_distance.note == "3 domains, 4 are needed"
    assert few.for_new_domains is few.chosen


def test_a_distance_that_says_nothing_is_not_used():
    scaling = fitted(growing, lambdas=(0.013,), **FIVE)
    (tried,) = scaling.by_distance
    assert tried.left_out_domains > 2 / 3 * scaling.chosen.left_out_domains
    assert scaling.for_new_domains is scaling.chosen


def test_a_left_out_domain_is_predicted_without_its_own_cells():
    scaling = far_domains()
    data, fit, space = scaling.data, scaling.fit, scaling.space

    def predicted(data):
        return left_out_predictions(data, fit.law, without_each_domain(data, fit, space), space)

    before = predicted(data)
    inside = np.array(data.domains) == "text"
    changed = data.only(np.ones(len(inside), dtype=bool))
    changed.values[inside] *= 3
    after = predicted(changed)
    assert after[inside] == pytest.approx(before[inside], rel=1e-3)
    assert not np.allclose(after[~inside], before[~inside], rtol=1e-2)


def test_levels_that_each_belong_to_another_domain_are_no_axis():
    """`--num-images all`: with one count a domain, a law of images would be a law of domains."""
    records = PlantedSweep(growing, lambdas=(0.0045, 0.013)).records(np.random.default_rng(0))
    own = {"charts": 5, "fundus": 20, "text": 80}
    alone = [r for r in records if r.params["num_images"] == own[r.params["domain"]]]
    (data,) = observations(alone, RESPONSES["forgetting_unrouted"]).values()
    result = fit_observations(data)
    assert isinstance(result, Refusal)
    assert "no axis has 3 levels within one domain (num_images 1, rd_lambda 2)" in result.reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"seeds": (0, 1)}, "2 data seeds, 3 are needed"),
        ({"domains": ("text",), "distances": (2.0,)}, "4 settings, 5 are needed"),
        ({"num_images": (1, 5)}, r"no axis has 3 levels within one domain \(num_images 2\)"),
        ({"num_images": (20,)}, "3 settings, 5 are needed"),
    ],
)
def test_too_little_is_refused_with_the_reason(changes, reason):
    result = fitted(growing, lambdas=(0.013,), **changes)
    assert isinstance(result, Refusal)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(result.reason)


def test_what_every_cell_has_is_no_law_but_a_value():
    quiet = Scatter(0, 0, 0, 0, 0)
    result = fitted(lambda place: 0.0, scatter=quiet)
    assert isinstance(result, Refusal)
    assert result.constant == 0
    assert "every cell has 0 %" in result.reason


def test_failed_and_missing_cells_are_left_out(fail):
    records = PlantedSweep(growing).records(np.random.default_rng(0))
    whole = observations(records, UNROUTED)
    records[0] = fail(records[0])
    ((subject, data),) = observations(records, UNROUTED).items()
    assert np.isnan(data.values).sum() == 1
    result = fit_observations(data)
    assert isinstance(result, Scaling)
    assert np.isfinite([p.low for p in result.parameters()]).all()
    assert whole[subject].values.shape == data.values.shape


def test_what_diverged_is_in_no_fit():
    """One cell of 180 that is a hundred times off would bend any law, and is counted beside the table."""
    records = PlantedSweep(level, num_images=(5, 10, 20, 40)).records(np.random.default_rng(0))
    one = next(r for r in records if r.params["method"] == "finetune")
    lost = {"target/rd_gain_percent": -5000.0, "source/forgetting_unrouted_percent": 90000.0}
    broken = one.model_copy(update={"metrics": {**one.metrics, **lost}})
    with_it = [broken if r is one else r for r in records]
    found = observations(with_it, RESPONSES["forgetting_unrouted"])
    values = next(iter(found.values())).values
    assert np.isnan(values).sum() == 1
    assert np.nanmax(values) < 100
    without = observations([r for r in records if r is not one], RESPONSES["forgetting_unrouted"])
    assert np.nanmean(values) == pytest.approx(np.nanmean(next(iter(without.values())).values))


@pytest.mark.parametrize(
    ("value", "text"),
    [(-0.003, "-0.003"), (0.0, "0.00"), (0.0049, "0.005"), (-0.56, "-0.56"), (11, "11.00")],
)
def test_the_end_of_an_interval_shows_on_which_side_of_zero_it_is(value, text):
    assert end_text(value) == text


def test_images_give_the_metric_back_and_resampling_moves_it():
    data = observed(PlantedSweep(growing))
    once = data.resampled_values(np.ones(24))
    assert once == pytest.approx(data.values)
    half = data.resampled_values(np.arange(24) % 2 * 2.0)
    assert not np.allclose(half, data.values, rtol=1e-2)


def from_picture(records, picture):
    """The same records, test image i cut from `picture(i)`."""
    return [
        r.model_copy(
            update={
                "images": tuple(
                    row.model_copy(update={"group": picture(i)}) for i, row in enumerate(r.images)
                )
            }
        )
        for r in records
    ]


def test_crops_of_one_picture_give_intervals_over_seeds_alone():
    """Sentences, figures and the file of fits say so."""
    records = PlantedSweep(growing).records(np.random.default_rng(0))
    (scaling,) = [
        s for s in fit_scaling(from_picture(records, lambda _: "retina")) if isinstance(s, Scaling)
    ]
    assert scaling.resampled.images is None
    covered = "domains, seeds only: the test images of the source domain come from one picture"
    assert scaling.covers == covered
    assert law_text(scaling).endswith(f"intervals over {covered}")
    assert any(line.endswith(f"(95 % intervals over {covered}).") for line in law_lines([scaling]))
    assert fits_value([scaling])["fits"][0]["intervals_cover"] == covered
    (halves,) = observations(from_picture(records, lambda i: f"{i % 2}"), UNROUTED).values()
    assert halves.images.smallest_stratum == 2
    assert halves.images.of_one_source == ()


def test_cells_that_mark_pictures_in_two_ways_have_no_interval_over_images():
    records = PlantedSweep(growing).records(np.random.default_rng(0))
    (data,) = observations(
        [*records[:5], *from_picture(records[5:], lambda _: "retina")], UNROUTED
    ).values()
    assert data.images is None
    assert fit_observations(data).covers == "domains, seeds"


def test_the_same_fits_from_an_export_days_later(tmp_path):
    records = PlantedSweep(growing).records(np.random.default_rng(0))
    folder = write_tables(records, tmp_path)[0].parent
    assert fits_value(fit_scaling(read_records(folder))) == fits_value(fit_scaling(records))


def test_the_file_says_what_was_tried_and_why_not(tmp_path, sweep):
    records = PlantedSweep(growing).records(np.random.default_rng(0))
    (path,) = write_scaling_fits(fit_scaling([*records, *sweep(domains=("text",))]), tmp_path)
    assert path.name == FITS_FILE == "scaling_fits.json"
    value = read_json(path)
    (fit,) = [f for f in value["fits"] if f["codec"] == "simulated" and f["num_seeds"] == 3]
    assert (fit["law"], fit["metric"]) == ("power", "source/forgetting_unrouted_percent")
    assert fit["candidates"][0]["law"] == "constant"
    assert set(fit["parameters"]["exponent:num_images"]) == {
        "value",
        "low",
        "high",
        "these_domains",
    }
    assert fit["axes"]["num_images"]["levels"] == [1, 5, 20, 80]
    reasons = {r["response"]: r["reason"] for r in value["refused"] if r["method"] == "cawf"}
    assert reasons["gain"].startswith("1 data seeds, 3 are needed")


def test_a_prediction_says_that_it_extrapolates():
    scaling = fitted(growing)
    inside = predict(scaling, {"num_images": 10, "rd_lambda": 0.01}, "text")
    assert isinstance(inside, Prediction)
    assert inside.outside == ()
    assert inside.low < inside.value < inside.high
    beyond = predict(scaling, {"num_images": 1000, "rd_lambda": 0.05}, "text")
    assert beyond.outside == (
        "training images 1000 lies outside 1 to 80",
        "lambda (bpp per MSE) 0.05 lies outside 0.0045 to 0.013",
    )


def test_what_was_measured_does_not_lie_outside_for_its_seventh_digit():
    scaling = fitted(growing)
    rough = 0.0012 - 4e-9
    data = replace(scaling.data, x=np.where(scaling.data.x == 0.0045, rough, scaling.data.x))
    scaling = replace(scaling, data=data)
    assert scaling.data.levels("rd_lambda")[0] > rough
    assert outside(scaling, {"rd_lambda": rough}) == ()
    assert outside(scaling, {"rd_lambda": 0.00119}) != ()


def test_a_new_domain_is_less_sure_than_a_known_one():
    scaling = fitted(growing, scatter=Scatter(seed=0.02, domain=0.8))
    place = {"num_images": 20, "rd_lambda": 0.013}
    known, new = (predict(scaling, place, domain) for domain in ("text", None))
    assert new.high / new.low > 2 * known.high / known.low


def test_what_cannot_be_predicted_says_why():
    scaling = fitted(growing, domains=("a", "b"), distances=(2.0, 8.0))
    assert predict(scaling, {"rd_lambda": 0.013}, "a") == NoPrediction("the law needs num_images")
    found = predict(scaling, {"num_images": 5, "rd_lambda": 0.013}, None)
    assert isinstance(found, NoPrediction)
    assert "the map has 2 domains (a, b), 3 are needed" in found.reason


def test_intervals_hold_what_was_planted():
    """Thirty simulated sweeps of three seeds, two 95 % intervals each: 57 of 60 are to be expected."""
    law, held = Power(("num_images", "rd_lambda")), 0
    for seed in range(30):
        sweep = PlantedSweep(
            growing, num_images=(1, 5, 20), lambdas=(0.0045, 0.013), domains=("text",)
        )
        data = observed(sweep, seed)
        design, y = design_of(data, law), setting_means(data, "log")
        fit = robust_fit(law, y, design, "log")
        resampled = bootstrap(data, fit, design, "log", seed)
        for index, planted in ((1, 0.3), (2, 0.2)):
            half = half_width(resampled.variances(lambda params, i=index: float(params[i])))
            held += abs(fit.params[index] - planted) < half
    assert held >= 52


def test_three_seeds_are_drawn_in_all_ten_ways():
    data = observed(PlantedSweep(growing, num_images=(1, 5, 20), domains=("text",)))
    law = Power(("num_images",))
    design, y = design_of(data, law), setting_means(data, "log")
    # At a wide scale no setting counts less than another, and the amplitude is a plain mean.
    fit = replace(robust_fit(law, y, design, "log"), scale=1e3)
    seeds = bootstrap(data, fit, design, "log").seeds
    assert sorted(np.round(27 * seeds.weights)) == [1] * 3 + [3] * 6 + [6]
    assert seeds.weights.sum() == pytest.approx(1)
    # A mean over three drawn from three varies by 2 / 3 of what the sample says; corrected, by all of it.
    values = np.log(data.values).mean(axis=0)
    level = seeds.variance(lambda params: float(np.log(params[0])))
    assert level == pytest.approx(values.var(ddof=1) / 3, rel=0.02)


def test_between_the_arms_of_a_cross_nothing_was_measured():
    """Inside every axis, and no cell near: both rare images and the lowest lambda."""
    sweep = PlantedSweep(
        lambda place: 4 * place["num_images"] ** 0.3,
        num_images=(1, 5, 20),
        lambdas=(0.002, 0.006, 0.018),
    )
    records = sweep.records(np.random.default_rng(0))
    cross = [r for r in records if r.params["num_images"] == 5 or r.params["rd_lambda"] == 0.006]
    grid, scaling = (fit_scaling(found)[0] for found in (records, cross))
    corner = {"num_images": 1, "rd_lambda": 0.002}
    assert outside(grid, corner) == ()
    assert outside(scaling, corner) == (
        "no cells of the map surround training images 1, lambda (bpp per MSE) 0.002 together",
    )
    assert outside(scaling, {"num_images": 1, "rd_lambda": 0.006}) == ()
    assert outside(scaling, {"num_images": 3, "rd_lambda": 0.005}) == ()


COVERED = {"seeds": (0, 1, 2), "domains": FIVE["domains"], "distances": FIVE["distances"]}


def test_the_mean_exponent_is_covered_where_exponents_differ_between_domains():
    """SD 0.15 between five domains, three seeds: 60 intervals of 95 %, and 30 of new cells of new domains."""
    held: Counter[str] = Counter()
    for seed in range(30):
        held.update(what for what, true in law_coverage.covered(COVERED, seed).items() if true)
    for which in ("all domains", "these domains"):
        both = [held[f"mean exponent of {axis}, {which}"] for axis in ("num_images", "rd_lambda")]
        assert sum(both) >= 54, which
    assert held["a new cell of a domain new"] >= 26


def test_a_law_across_domains_is_rarely_claimed_where_there_is_none():
    claims = sum(law_coverage.claimed_without(COVERED, seed, 0.15) for seed in range(40))
    assert claims <= 4


def test_a_law_of_too_few_domains_is_worded_for_these():
    scaling = fitted(growing, domains=("a", "b"), distances=(2.0, 8.0))
    assert (scaling.across_domains, scaling.covers) == (False, "seeds and source images")
    line, count = law_lines([scaling])
    assert count == ("Laws for 1 combination of method and response: 1 for these domains only.")
    assert line.startswith(
        "For these domains (a, b), unrouted forgetting of finetune follows a power law: exponent of images 0."
    )
    assert line.endswith("2 domains do not speak for others).")
    assert fits_value([scaling])["fits"][0]["holds"] == "for these domains"


def test_exponents_that_contradict_each_other_are_no_law_across_domains():
    """Exponents 0.5, 0.5 and -0.4: a mean that seeds and images determine, and domains do not."""
    own = {"charts": 0.5, "fundus": 0.5, "text": -0.4}
    records = []
    for seed, (domain, exponent) in enumerate(own.items()):
        sweep = PlantedSweep(
            lambda place, e=exponent: 6 * (place["num_images"] / 10) ** e,
            domains=(domain,), distances=(2.0 + seed,), scatter=Scatter(seed=0.02, domain=0.0),
        )  # fmt: skip
        records += sweep.records(np.random.default_rng(0))
    (data,) = observations(records, UNROUTED).values()
    scaling = fit_observations(data)
    power = next(c for c in scaling.tried if c.law == Power(("num_images",)))
    forced = replace(scaling, chosen=power)
    (exponent,) = exponents(forced).values()
    assert exponent.here[0] > 0
    assert exponent.low < 0 < exponent.high
    assert not any("follows" in line and "For these" not in line for line in law_lines([scaling]))


def test_a_new_domain_gets_the_constant_unless_the_law_beats_it_on_domains_left_out():
    scaling = fitted(growing)
    assert scaling.chosen.left_out_domains < scaling.null.left_out_domains
    few, many = ({"num_images": n, "rd_lambda": 0.013} for n in (1, 80))
    assert predict(scaling, many, None).value > 2 * predict(scaling, few, None).value
    worse = replace(scaling.chosen, left_out_domains=1.01 * scaling.null.left_out_domains)
    scaling = replace(scaling, chosen=worse)
    assert scaling.for_new_domains is scaling.null
    assert predict(scaling, many, None).value == predict(scaling, few, None).value
    assert predict(scaling, many, "text").value > 2 * predict(scaling, few, "text").value


def test_the_coverage_on_domains_left_out_is_counted_over_cells():
    data = observed(PlantedSweep(growing, num_images=(1, 5, 20), **FIVE))
    found = left_out_coverage(data)
    assert (found.cells, found.domains) == (5 * 3 * 3, 5)
    assert found.held / found.cells > 0.8
    narrow = data.only(np.array(data.domains) != "text")
    astray = replace(
        narrow, values=np.where(np.array(narrow.domains)[:, None] == "maps", 2000, narrow.values)
    )
    assert left_out_coverage(astray).held < left_out_coverage(narrow).held
    assert left_out_coverage(narrow.only(np.array(narrow.domains) != "maps")) is None, (
        "two would be left"
    )


def test_no_prediction_is_a_loss_below_nothing():
    """Log points of both signs and wide: percents would have given an interval below -100 %."""
    wild = Scatter(seed=0.0, cell=0.0, domain=0.0)
    sweep = PlantedSweep(lambda place: 80 * (np.log10(place["num_images"]) - 0.8), scatter=wild)
    records = sweep.records(np.random.default_rng(0))
    (data,) = observations(records, UNROUTED).values()
    rng = np.random.default_rng(1)
    data = replace(data, values=data.values + rng.normal(0, 60, data.values.shape), images=None)
    found = predict(fit_observations(data), {"num_images": 1}, "text")
    assert -100 < found.low < found.value < found.high


def test_log_points_and_percent():
    gain, lost = RESPONSES["gain"], UNROUTED
    assert lost.log_points(np.array([0.0, 100.0])) == pytest.approx([0, 69.3147], abs=1e-3)
    assert gain.log_points(np.array([50.0])) == pytest.approx([69.3147], abs=1e-3)
    for response in (gain, lost):
        assert response.percent(response.log_points(np.array([-3.0, 40.0]))) == pytest.approx(
            [-3, 40]
        )
