"""Methods subtracted within cases and seeds: planted differences are found, and none where there is none."""

from dataclasses import replace

import numpy as np
import pytest

from interfero.analysis.laws.observations import RESPONSES
from interfero.analysis.laws.resampling import half_width, holm, probability
from interfero.analysis.paired import (
    PairedDifference,
    difference_lines,
    differences,
    intervals_over,
)
from interfero.records import CellRecord, ImageRow


@pytest.fixture
def sweep(record):
    """Methods on two domains, each with a change of loss; seeds, pictures and cells scatter."""

    def build(changes, seed=0, seeds=(0, 1, 2), cell_sd=0.5, **more):
        rng = np.random.default_rng(seed)
        of_seed = {s: rng.normal(0, 2) for s in seeds}
        of_image = rng.normal(0, 3, 12)
        found: list[CellRecord] = []
        for domain in ("charts", "text"):
            for method, change in changes.items():
                for s in seeds:
                    lost = change + of_seed[s] + of_image + rng.normal(0, cell_sd)
                    rows = tuple(
                        ImageRow(
                            role="source_unrouted", name=f"s{i}", group=f"s{i}", bpp_before=0.5,
                            psnr_db_before=30.0, rd_loss_before=1.0, bpp=0.5, psnr_db=30.0,
                            rd_loss=1 + value / 100,
                        )
                        for i, value in enumerate(lost)
                    )  # fmt: skip
                    metrics = {
                        "val/rd_gain_percent": 1.0,
                        "source/forgetting_unrouted_percent": float(np.mean(lost)),
                    }
                    cell = record(method, domain=domain, data_seed=s, metrics=metrics, **more)
                    found.append(cell.model_copy(update={"images": rows}))
        return found

    return build


def unrouted(records):
    found = differences(records)
    return {
        (d.method, d.other): d
        for d in found
        if d.response.metric == "source/forgetting_unrouted_percent"
    }


def test_what_methods_share_is_no_scatter_of_their_difference(sweep):
    """Seeds and pictures move forgetting by points, and the difference of two methods not at all."""
    (found,) = unrouted(sweep({"finetune": 6.0, "lora": 4.5}, cell_sd=0.1)).values()
    assert found.value == pytest.approx(-1.5, abs=0.3)
    assert found.verdict == "less"
    assert found.half_width < 0.6
    assert (found.num_cases, found.num_seeds) == (2, 3)
    assert found.over == "seeds and test images"


def test_undecided_is_an_answer_and_equal_methods_are_rarely_told_apart(sweep):
    """Four methods that do the same as fine-tuning: corrected, one in twenty families has a false verdict."""
    names = ("finetune", *(f"method{i}" for i in range(4)))
    wrong = 0
    for seed in range(40):
        found = unrouted(sweep(dict.fromkeys(names, 5.0), seed))
        wrong += any(d.verdict != "undecided" for d in found.values())
    assert wrong <= 4
    (line,) = difference_lines(sweep(dict.fromkeys(names[:2], 5.0)), "method0")
    assert line.startswith(
        "method0 minus finetune, in percentage points, paired, median over 2 domains (3 seeds, "
    )
    assert line.endswith(": undecided.")


def test_intervals_of_differences_hold_what_was_planted(sweep):
    held = 0
    for seed in range(60):
        (found,) = unrouted(sweep({"finetune": 6.0, "lora": 4.0}, seed)).values()
        held += abs(found.value + 2) < found.half_width
    assert held >= 54


def test_probabilities_are_corrected_by_holm_and_match_their_intervals():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    variances = [(0.04, 2), (0.01, 11)]
    assert probability(half_width(variances), variances) == pytest.approx(0.05, abs=1e-6)
    assert (probability(0.0, variances), probability(1.0, [(0.0, 2)])) == (1.0, 0.0)


def test_one_seed_decides_nothing(sweep):
    (found,) = unrouted(sweep({"finetune": 9.0, "lora": 1.0}, seeds=(0,))).values()
    assert (found.half_width, found.verdict) == (None, "undecided")
    assert found.text.endswith("undecided (one seed)")


def controlled(record, measured, forgetting, **params):
    """The control at some learning rates; by its own choice it takes the one that harms least."""
    return [
        record("continue_source", learning_rate=rate, **params,
               metrics=measured(0.0, lost, **{"val/forgetting_percent": lost}))
        for rate, lost in forgetting.items()
    ]  # fmt: skip


def test_the_control_is_taken_at_the_methods_learning_rate_and_seed(record, measured):
    """Seed 0 chooses 1e-3 and seed 1 1e-4: 9 % and 1 % against the control's 8 % and 4 %."""
    records = []
    for seed, rate, lost in ((0, 1e-3, 9.0), (1, 1e-4, 1.0)):
        place = {"data_seed": seed}
        records += [
            record(learning_rate=rate, metrics=measured(5.0, lost), **place),
            record(learning_rate=3e-4, metrics=measured(2.0, 0.0), **place),
            *controlled(record, measured, {1e-4: 4.0, 3e-4: 0.1, 1e-3: 8.0}, **place),
        ]
    found = unrouted(records)["finetune", "continue_source"]
    assert found.value == pytest.approx(((9 - 8) + (1 - 4)) / 2)
    assert found.over == "seeds only", "these records have no images"
    slow = [
        r for r in records if r.params["method"] == "finetune" or r.params["learning_rate"] > 1e-4
    ]
    assert unrouted(slow)["finetune", "continue_source"].num_seeds == 1, "no pair at 1e-4"


def test_adapters_are_held_against_the_control_at_its_own_choice(record, measured):
    """At an adapter's rate the control, which trains every parameter, falls apart."""
    exact = {"source_mode/bytes_exact": 1.0, "source_mode/pixels_exact": 1.0}
    adapted = record("cawf", 4, learning_rate=5e-3, metrics=measured(5.0, 0.0, 3.0, **exact))
    control = controlled(record, measured, {1e-4: 2.0, 5e-3: 500.0})
    assert unrouted([adapted, *control])["cawf", "continue_source"].value == pytest.approx(1.0)


def test_what_intervals_are_over_is_said_of_each_response_where_they_differ():
    """Images of one domain may be drawn again, and its gain not: seeds are few there."""
    gain, lost = (
        PairedDifference("lora", "finetune", RESPONSES[name], 1.0, 0.5, 0.1, 1, 2, over)
        for name, over in (("gain", "seeds only"), ("forgetting", "seeds and test images"))
    )
    assert intervals_over([gain, replace(lost, over="seeds only")]) == "seeds only"
    said = intervals_over([gain, lost])
    assert said == "seeds only (target gain); seeds and test images (forgetting, routed)"
    assert intervals_over([replace(gain, over="")]) == ""
