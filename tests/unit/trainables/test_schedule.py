"""The one schedule of every training."""

import math

import pytest

from interfero.engine.adaptation.nodes import LoopConfig
from trainables.member import learning_rate_at
from trainables.schedule import schedule, stable_schedule, warmup_of
from trainables.source import SourceConfig
from trainables.source import learning_rate_at as source_rate


def test_a_warm_up_and_half_a_cosine_by_hand():
    rates = [schedule(step, 8, 4, 0.2) for step in range(8)]
    # Quarters of the peak; then cosines of 0, 45, 90 and 135 degrees, from 1 and -1 to 1 and 0.
    falling = [0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0.1 * (1 - math.sqrt(0.5))]
    assert rates == pytest.approx([0.05, 0.1, 0.15, 0.2, *falling])


def test_a_warm_up_a_constant_and_a_cool_down_by_hand():
    rates = [stable_schedule(step, 8, 2, 4, 0.2) for step in range(8)]
    # Halves of the peak; the peak; then one minus the roots of 0, 1/4, 2/4 and 3/4.
    falling = [0.2, 0.1, 0.2 * (1 - math.sqrt(0.5)), 0.2 * (1 - math.sqrt(0.75))]
    assert rates == pytest.approx([0.1, 0.2, 0.2, 0.2, *falling])


def test_until_it_cools_down_the_length_does_not_matter():
    loops = [LoopConfig(num_steps=n, schedule="wsd", warmup_steps=5) for n in (20, 100)]
    assert [loop.trunk_steps for loop in loops] == [16, 80]
    rates = [[learning_rate_at(loop, 1e-3, step) for step in range(16)] for loop in loops]
    assert rates[0] == rates[1]
    assert learning_rate_at(loops[0], 1e-3, 17) < learning_rate_at(loops[1], 1e-3, 17)
    assert LoopConfig(num_steps=20).trunk_steps is None


def test_a_cool_down_that_begins_in_the_warm_up_never_rises_above_it():
    rates = [stable_schedule(step, 10, 100, 8) for step in range(10)]
    assert rates[:8] == pytest.approx([(step + 1) / 100 for step in range(8)])
    assert rates[9] < rates[8] <= 9 / 100


@pytest.mark.parametrize(
    ("num_steps", "warmup_steps", "expected"),
    [(1, 1, [1.0]), (2, 0, [1.0, 0.5]), (2, 2, [0.5, 1.0])],
)
def test_short_trainings(num_steps, warmup_steps, expected):
    assert [schedule(s, num_steps, warmup_steps) for s in range(num_steps)] == pytest.approx(
        expected
    )


def test_a_share_is_one_step_at_least():
    assert [warmup_of(share, 10) for share in (0, 0.01, 0.25, 0.5)] == [1, 1, 2, 5]


def test_rates_have_the_bits_that_published_cells_were_trained_with():
    """1e-3 * 3 / 5 and 1e-3 * (3 / 5) differ in their last bit."""
    loop = LoopConfig(num_steps=25, warmup_share=0.2)
    rates = [learning_rate_at(loop, 1e-3, step) for step in range(25)]
    assert rates[2] == 1e-3 * 3 / 5
    assert rates[2] != 1e-3 * (3 / 5)
    cosine = [1e-3 * 0.5 * (1 + math.cos(math.pi * (i / 20))) for i in range(20)]
    assert rates[5:] == cosine


def test_a_trunk_stays_at_its_peak():
    given = {"rd_lambda": 0.01, "num_steps": 6, "warmup_steps": 2, "learning_rate": 4e-3}
    constant = SourceConfig(**given, schedule="constant")
    assert [source_rate(constant, step) for step in range(6)] == [
        2e-3,
        4e-3,
        4e-3,
        4e-3,
        4e-3,
        4e-3,
    ]
    falls = [source_rate(SourceConfig(**given), step) for step in range(6)]
    assert falls == pytest.approx([2e-3, *(4e-3 * x for x in (1, 1, 0.85355339, 0.5, 0.14644661))])
