"""Measures of a sequence's matrix: by hand, by properties, and against Avalanche and Mammoth."""

import numpy as np
import pytest

from interfero.metrics.continual import (
    average_loss,
    backward_transfer,
    forgetting,
    forward_transfer,
    intransigence,
    percent_of_source,
    stage_harm,
)

HAND = np.array(
    [[2.0, 1.5, 3.0, 0.8], [2.3, 1.2, 2.8, 0.9], [2.2, 1.1, 2.1, 0.7], [2.6, 1.3, 2.4, 0.5]]
)
"""Domain 1 is best after stage 2: later stages first helped, then did harm."""
MONOTONE = np.array([[1.30, 0.90, 2.60, 0.70], [1.52, 0.83, 2.71, 0.72], [1.61, 0.88, 2.25, 0.69],
                     [1.74, 0.86, 2.40, 0.61]])  # fmt: skip
"""Every domain is best where it is learned."""


def test_by_hand():
    assert average_loss(HAND) == pytest.approx((2.6 + 1.3 + 2.4 + 0.5) / 4)
    assert backward_transfer(HAND) == pytest.approx(((2.0 - 2.6) + (1.2 - 1.3) + (2.1 - 2.4)) / 3)
    assert forgetting(HAND) == pytest.approx(((2.6 - 2.0) + (1.3 - 1.1) + (2.4 - 2.1)) / 3)
    # Domain 2 before stage 2, domain 3 before stage 3, against the source codec.
    assert forward_transfer(HAND) == pytest.approx(((3.0 - 2.8) + (0.8 - 0.7)) / 2)
    joint = [9.0, 1.0, 2.2, 0.4]
    assert intransigence(HAND, joint) == pytest.approx(
        ((1.2 - 1.0) + (2.1 - 2.2) + (0.5 - 0.4)) / 3
    )
    assert percent_of_source(HAND)[1, 0] == pytest.approx(15.0)
    harms = [2.3 - 2.0, ((2.2 - 2.3) + (1.1 - 1.2)) / 2, (0.4 + 0.2 + 0.3) / 3]
    assert stage_harm(HAND) == pytest.approx(harms)


@pytest.mark.parametrize(
    ("loss", "avalanche_bwt", "avalanche_fwt", "mammoth_forgetting"),
    [
        (MONOTONE, -0.20666666666666664, -0.04999999999999993, 0.20666666666666664),
        (HAND, -0.3333333333333333, 0.15000000000000013, 0.36666666666666664),
    ],
)
def test_as_avalanche_and_mammoth_have_it(loss, avalanche_bwt, avalanche_fwt, mammoth_forgetting):
    """What their own code returned for accuracies `-loss`.

    Avalanche: `BWT` and `ForwardTransfer` of avalanche-lib 0.6.0 (forgetting_bwt.py and forward_transfer.py
    in avalanche/evaluation/metrics), fed stage by stage, averaged with its `Mean`; `initial` of the latter is
    the source codec. Its `Forgetting` is -BWT: the first value less the last, not the best one. Mammoth:
    `forgetting` of github.com/aimagelab/mammoth, utils/metrics.py at d75fe5f, given whole rows: rows that end
    at the diagonal it fills up with 0, the best of all accuracies that are negative.
    """
    assert backward_transfer(loss) == pytest.approx(avalanche_bwt)
    assert forward_transfer(loss) == pytest.approx(avalanche_fwt)
    assert forgetting(loss) == pytest.approx(mammoth_forgetting)


def mammoth(results, start):
    """Mammoth's formulas (utils/metrics.py), written as loops over whole rows of accuracies."""
    tasks = range(len(results))
    last = results[-1]
    backward = [last[i] - results[i][i] for i in tasks[:-1]]
    forward = [results[i - 1][i] - start[i] for i in tasks[1:]]
    lost = [max(row[i] for row in results) - last[i] for i in tasks[:-1]]
    return np.mean(backward), np.mean(forward), np.mean(lost)


def test_as_mammoths_formulas_on_random_matrices():
    rng = np.random.default_rng(0)
    for size in (3, 4, 6):
        loss = rng.uniform(0.5, 3.0, (size, size))
        # Its best counts the last stage, which is then no forgetting: the papers' may be negative.
        loss[-1, :-1] = loss[:-1, :-1].max(axis=0) + rng.uniform(0, 1, size - 1)
        backward, _, lost = mammoth(-loss, -loss[0])
        _, forward, _ = mammoth(-loss[1:, 1:], -loss[0, 1:])
        assert backward_transfer(loss) == pytest.approx(backward)
        assert forgetting(loss) == pytest.approx(lost)
        assert forward_transfer(loss) == pytest.approx(forward)


def test_nothing_is_forgotten_where_nothing_changes_for_the_worse():
    rng = np.random.default_rng(1)
    falling = np.sort(rng.uniform(1, 2, (5, 5)), axis=0)[::-1]
    assert forgetting(falling) < 0
    assert backward_transfer(falling) > 0
    still = np.tile(rng.uniform(1, 2, 5), (5, 1))
    assert forgetting(still) == backward_transfer(still) == forward_transfer(still) == 0
    assert intransigence(still, still.diagonal()) == 0


def test_forgetting_is_at_least_the_harm_since_learning():
    rng = np.random.default_rng(2)
    for _ in range(20):
        loss = rng.uniform(1, 2, (5, 5))
        assert forgetting(loss) >= -backward_transfer(loss) - 1e-12


def test_units_and_offsets_of_a_domain_do_not_matter():
    offset = np.array([5.0, -1.0, 0.3, 2.0])
    for measure in (backward_transfer, forgetting, forward_transfer):
        assert measure(HAND + offset) == pytest.approx(measure(HAND))
        assert measure(10 * HAND) == pytest.approx(10 * measure(HAND))


def test_a_leading_part_is_an_earlier_end():
    assert forgetting(HAND[:2, :2]) == pytest.approx(0.3)
    assert average_loss(HAND[:1, :1]) == 2.0


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: average_loss(HAND[:3]), r"R must be square.*\(3, 4\)"),
        (lambda: average_loss(HAND[0]), r"R must be square.*\(4,\)"),
        (lambda: forgetting([[1.0]]), "R has 1 stages.*2 are needed"),
        (lambda: forward_transfer(HAND[:2, :2]), "R has 2 stages.*3 are needed"),
        (lambda: forward_transfer(HAND, HAND[0, :2]), r"before has shape \(2,\), R has 4"),
        (lambda: intransigence(HAND, HAND), r"joint has shape \(4, 4\), R has 4"),
        (lambda: forgetting(np.where(HAND == 2.8, np.nan, HAND)), "no number"),
        (lambda: percent_of_source(HAND - 3), "positive losses"),
        (lambda: percent_of_source(HAND[0]), "positive losses"),
    ],
)
def test_wrong_shapes_are_refused_by_name(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
