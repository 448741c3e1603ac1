"""Whether distance matters: claimed where it is planted, not where it is not, undecided with few domains."""

import numpy as np
import pytest

from interfero.analysis.laws.distance_verdict import distance_line
from interfero.analysis.report.page import Report, report_html
from tools.planted import PlantedSweep

FIVE = {
    "domains": ("charts", "fundus", "histology", "maps", "text"),
    "distances": (1.0, 2.0, 4.0, 8.0, 16.0),
}
CLAIM = "A domain's distance matters:"
UNDECIDED = "Undecided whether a domain's distance matters for forgetting:"


def growing(place):
    return 4 * place["num_images"] ** 0.3


def by_distance(place):
    return growing(place) * (place["feature_sd"] / 4) ** 0.9


def opposed(place):
    """Nearer domains lose, farther ones win: there is no logarithm."""
    return 4 - 2 * np.log2(place["feature_sd"])


def lines(law, draws, **changes):
    planted = PlantedSweep(law, **{**FIVE, **changes})
    return [distance_line(planted.records(np.random.default_rng(seed))) for seed in range(draws)]


def test_a_planted_effect_is_claimed_with_number_interval_and_sample():
    (line,) = lines(by_distance, 1)
    assert line.startswith(
        f"{CLAIM} where the feature distance is twice as large, unrouted forgetting is "
    )
    factor = float(line.partition("forgetting is ")[2].split()[0])
    low, high = line.partition("interval ")[2].partition(";")[0].split(" to ")
    assert 1 < float(low) < factor < float(high)
    assert float(low) < 2**0.9 < float(high)
    assert line.endswith("; 5 domains, each the mean of 4 settings of finetune).")


def test_most_planted_effects_are_found_and_few_that_are_none():
    assert sum(line.startswith(CLAIM) for line in lines(by_distance, 20)) >= 18
    none = lines(growing, 40)
    assert all(line.startswith((CLAIM, UNDECIDED)) for line in none)
    assert sum(line.startswith(CLAIM) for line in none) <= 5, "a level of 5 % in 40 draws"


def test_without_an_effect_the_interval_holds_no_change():
    line = next(line for line in lines(growing, 5) if line.startswith(UNDECIDED))
    low, high = line.partition("% interval ")[2].partition(";")[0].split(" to ")
    assert float(low) < 1 < float(high)
    assert "but the interval holds 1, no change" in line


def test_forgetting_that_is_below_zero_somewhere_is_told_in_points():
    (line,) = lines(opposed, 1)
    assert line.startswith(CLAIM)
    assert "percentage points lower (95 % interval -" in line


def test_several_measures_of_distance_widen_the_interval():
    one, two = (records_with(copies) for copies in (0, 1))
    assert "corrected for 2 measures of distance" in two
    assert "corrected" not in one
    assert width(two) > width(one)


def records_with(copies):
    found = PlantedSweep(by_distance, **FIVE).records(np.random.default_rng(0))
    for record in found[: len(found) * copies]:
        record.metrics["distance/latent_bits"] = record.metrics["distance/feature_sd"]
    return distance_line(found)


def width(line):
    low, high = line.partition("% interval ")[2].partition(";")[0].partition(",")[0].split(" to ")
    return float(high) / float(low)


@pytest.mark.parametrize(
    ("domains", "distances"), [(("a", "b"), (1.0, 9.0)), (("a", "b", "c"), (1.0, 3.0, 9.0))]
)
def test_few_domains_are_too_few_and_the_page_says_so(domains, distances):
    planted = PlantedSweep(by_distance, domains=domains, distances=distances)
    records = planted.records(np.random.default_rng(0))
    line = distance_line(records)
    assert line == f"{UNDECIDED} {len(domains)} domains are too few, at least 4 are needed."
    page = report_html(Report("t", records, ())).replace("&#39;", "'")
    section = page.partition('id="distance"')[2].partition("</details>")[0]
    assert line in section


def test_nothing_is_said_of_one_domain_nor_of_severities_of_one():
    one = PlantedSweep(by_distance, domains=("a",), distances=(1.0,))
    assert distance_line(one.records(np.random.default_rng(0))) == ""
    graded = tuple(f"photos.fog-{i}" for i in (1, 2, 3, 4, 5))
    assert lines(by_distance, 1, domains=graded) == [""]


def test_domains_without_a_setting_in_common_are_undecided():
    records = [
        r
        for r in PlantedSweep(by_distance, num_images=(1, 5, 20, 80, 160), **FIVE).records(
            np.random.default_rng(0)
        )
        if FIVE["domains"].index(r.params["domain"]) == (1, 5, 20, 80, 160).index(r.params["num_images"])
    ]  # fmt: skip
    assert distance_line(records).startswith(f"{UNDECIDED} too few of the 5 domains")
