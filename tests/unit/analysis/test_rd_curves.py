"""BD-rates of adapted against source codecs: matched along the curve, and missing with a reason."""

import itertools

import pytest

from interfero.analysis.bd_paired import curve_difference_lines, curve_differences
from interfero.analysis.rd_curves import (
    NoDelta,
    chosen_curves,
    curves_text,
    rd_curves,
    write_curves,
)
from interfero.metrics.bd_rate import BjontegaardDelta
from interfero.records import ImageRow

LAMBDAS = (0.0016, 0.0045, 0.013, 0.025)
RATES = (0.2, 0.4, 0.8, 1.2)
PSNR = (27.0, 30.0, 33.5, 35.5)
SAVED = {"target": 0.9, "source": 1.0, "source_unrouted": 1.25}
"""Rate after adapting over rate before, at equal PSNR."""


def rows(place, factors=SAVED, images=2):
    """Test images of one lambda whose rate is multiplied; their means are `RATES` and `PSNR`."""
    found = []
    for role, factor in factors.items():
        for i in range(images):
            off = i - (images - 1) / 2
            before, psnr = RATES[place] * (1 + 0.1 * off), PSNR[place] + off
            found.append(
                ImageRow(
                    role=role, name=f"s{i}", group=f"s{i}", rd_loss_before=1, rd_loss=1,
                    bpp_before=before, psnr_db_before=psnr, bpp=before * factor, psnr_db=psnr,
                )
            )  # fmt: skip
    return tuple(found)


@pytest.fixture
def curve(record):
    def build(lambdas=LAMBDAS, factors=SAVED, val=1.0, **params):
        return [
            record(rd_lambda=value, metrics={"val/rd_gain_percent": val}, **params).model_copy(
                update={"images": rows(LAMBDAS.index(value), factors)}
            )
            for value in lambdas
        ]

    return build


def by_side(records):
    return {c.side: c for c in rd_curves(records)}


def test_ten_percent_less_rate_is_minus_ten_percent(curve):
    found = by_side(curve())
    for side, factor in SAVED.items():
        assert found[side].bd_rate.value == pytest.approx(100 * (factor - 1), abs=1e-6)
        assert found[side].bd_rate.overlap == pytest.approx(1)
    assert found["target"].bd_psnr.value > 0.3
    assert found["source"].bd_psnr.value == pytest.approx(0, abs=1e-9)
    assert found["source_unrouted"].bd_psnr.value < -0.3


def test_learning_rates_and_seeds_are_never_mixed_along_a_curve(curve):
    """Four lambdas, but two of them at another learning rate: neither half is a curve."""
    records = curve(LAMBDAS[:2], learning_rate=1e-3) + curve(LAMBDAS[2:], learning_rate=1e-4)
    records += curve(LAMBDAS[:2], data_seed=1) + curve(LAMBDAS[2:], data_seed=2)
    found = rd_curves(records)
    assert {len(c.points) for c in found} == {2}
    assert all(isinstance(c.bd_rate, NoDelta) for c in found)
    assert "has 2 of the 4 points it needs" in found[0].bd_rate.reason


def test_the_learning_rate_of_a_curve_is_the_best_on_validation(curve):
    records = curve(learning_rate=1e-3, val=2.0, factors={"target": 0.95})
    records += curve(learning_rate=1e-4, val=3.0, factors={"target": 0.97})
    records += curve(LAMBDAS[:3], learning_rate=1e-5, val=9.0, factors={"target": 0.5})
    (chosen,) = [c for c in chosen_curves(rd_curves(records)) if c.side == "target"]
    assert chosen.key.learning_rate == 1e-4
    assert chosen.bd_rate.value == pytest.approx(-3, abs=1e-6)


def test_too_little_overlap_is_missing_and_says_how_much(curve):
    records = [
        r.model_copy(
            update={
                "images": tuple(i.model_copy(update={"psnr_db": i.psnr_db + 7}) for i in r.images)
            }
        )
        for r in curve()
    ]
    found = by_side(records)["target"].bd_rate
    assert isinstance(found, NoDelta)
    assert "covers 18% of the tested curve's PSNR range" in found.reason


def test_other_test_images_along_a_curve_are_refused(curve):
    records = curve()
    records[1] = records[1].model_copy(update={"images": rows(1, images=3)})
    records[2] = records[2].model_copy(update={"images": ()})
    assert by_side(records[:2])["target"].bd_rate.reason == (
        "its points were measured on different test images"
    )
    assert by_side(records)["source"].bd_rate == NoDelta(
        "1 of 4 cells have no images of the source"
    )


def test_the_table_shows_what_is_missing_as_missing(curve):
    records = list(itertools.chain(*(curve(data_seed=s) for s in (0, 1))))
    records += curve(LAMBDAS[:3], method="cawf", adapter_size=4)
    text = curves_text(records)
    (tuned,) = [line for line in text.splitlines() if "| finetune |" in line]
    assert "| -10.00 ± 0.00 % [100 %] |" in tuned
    assert "| cawf |" not in text, "a row without any number"
    assert text.endswith(
        "\n\n1 of 2 settings has no number and is not listed: the anchor curve has 3 of the 4 points it "
        "needs: "
        "add lambdas.\n"
    )


def test_some_seeds_without_a_value_are_counted(curve):
    text = curves_text(curve() + curve(LAMBDAS[:3], data_seed=1))
    assert "-10.00 % [100 %]; 1 missing (1)" in text


def test_a_curve_with_a_diverged_cell_is_in_no_mean(curve):
    """Its point lies at the frame of the figure, and the table averaged it with the others."""
    astray = curve(data_seed=1)
    lost = {"source/forgetting_unrouted_percent": 1900.0}
    astray[2] = astray[2].model_copy(update={"metrics": {**astray[2].metrics, **lost}})
    text = curves_text(curve() + astray)
    assert "-10.00 % [100 %]; 1 missing (1)" in text
    assert "a cell diverged (lambda 0.013)" in text


def test_a_record_without_images_still_has_its_target_curve(curve):
    records = []
    for place, r in enumerate(curve()):
        metrics = {
            "target/bpp_before": RATES[place], "target/psnr_db_before": PSNR[place],
            "target/bpp": 0.8 * RATES[place], "target/psnr_db": PSNR[place],
        }  # fmt: skip
        records.append(r.model_copy(update={"images": (), "metrics": r.metrics | metrics}))
    found = by_side(records)
    assert isinstance(found["target"].bd_rate, BjontegaardDelta)
    assert found["target"].bd_rate.value == pytest.approx(-20, abs=1e-6)
    assert isinstance(found["source"].bd_rate, NoDelta)


def test_the_table_is_written_where_lambdas_differ(curve, tmp_path):
    assert write_curves(curve(LAMBDAS[:1]), tmp_path) == []
    (path,) = write_curves(curve(), tmp_path)
    assert path.read_text() == curves_text(curve())


def test_the_control_goes_by_what_it_harms_as_in_every_other_table(curve):
    def control(rate, gain, lost):
        cells = curve(method="continue_source", learning_rate=rate, val=gain)
        metrics = {"val/rd_gain_percent": gain, "val/forgetting_percent": lost}
        return [c.model_copy(update={"metrics": metrics}) for c in cells]

    records = [*control(1e-4, 0.1, 0.2), *control(1e-3, 0.9, 5.0)]
    assert {c.key.learning_rate for c in chosen_curves(rd_curves(records))} == {1e-4}


def seeds_of(curve, method, factors, **params):
    """A curve a seed: how much rate each saves at equal PSNR."""
    return [
        cell
        for seed, factor in enumerate(factors)
        for cell in curve(
            factors={"target": factor, "source": 1.0, "source_unrouted": 2 - factor},
            method=method, data_seed=seed, **params,
        )
    ]  # fmt: skip


def test_methods_bd_rates_are_subtracted_seed_by_seed(curve):
    """Seeds differ by five points of rate, and the two methods by two, give or take a tenth."""
    records = seeds_of(curve, "finetune", (0.90, 0.95, 0.85)) + seeds_of(
        curve, "lora", (0.92, 0.971, 0.869), adapter_size=4
    )
    found = {d.response.role: d for d in curve_differences(records)}
    assert found["target"].value == pytest.approx(2.0, abs=1e-3)
    assert found["target"].verdict == "more"
    # Three seeds, of standard deviation 0.1: the 95 % interval of the mean.
    assert found["target"].half_width == pytest.approx(0.1 / 3**0.5 * 4.303, rel=0.01)
    assert found["source_unrouted"].value == pytest.approx(-2.0, abs=1e-3)
    assert (found["source"].value, found["source"].verdict) == (0, "equal")
    (line,) = curve_difference_lines(records)
    assert line.startswith(
        "lora minus finetune, in percentage points, paired, in 1 domain (3 seeds, intervals over seeds "
        "only): BD-rate, target +2.00 ("
    )


def test_the_size_of_a_difference_is_the_one_that_validation_chose(curve):
    records = seeds_of(curve, "finetune", (0.9, 0.9))
    records += seeds_of(curve, "lora", (0.95, 0.95), adapter_size=4, val=3.0)
    records += seeds_of(curve, "lora", (0.80, 0.80), adapter_size=16, val=2.0)
    found = {d.response.role: d for d in curve_differences(records)}
    assert found["target"].value == pytest.approx(5.0, abs=1e-3)


def test_there_is_no_difference_of_curves_that_are_missing(curve):
    few = seeds_of(curve, "lora", (0.9, 0.9), lambdas=LAMBDAS[:2])
    assert curve_differences(seeds_of(curve, "finetune", (0.9, 0.9)) + few) == []
    assert curve_differences(seeds_of(curve, "lora", (0.9, 0.9))) == []


def test_a_size_with_one_lambda_does_not_stand_for_one_that_has_a_curve(curve):
    """As in a star, where every other size has the lambda of the centre alone."""
    records = seeds_of(curve, "finetune", (0.9, 0.9))
    records += seeds_of(curve, "lora", (0.95, 0.95), adapter_size=4, val=1.0)
    records += seeds_of(curve, "lora", (0.80, 0.80), adapter_size=8, val=9.0, lambdas=LAMBDAS[2:3])
    found = {d.response.role: d for d in curve_differences(records)}
    assert found["target"].value == pytest.approx(5.0, abs=1e-3)
