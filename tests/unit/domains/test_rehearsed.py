"""Memories of what was met."""

from collections import Counter

import numpy as np
import pytest

from interfero.domains.images import Sample
from interfero.domains.rehearsed import remembered


def images(name, count):
    pixels = np.zeros((2, 2, 3), dtype=np.uint8)
    return tuple(Sample(f"{name}{i}", f"{name}{i}", pixels) for i in range(count))


MET = images("a", 20), images("b", 6), images("c", 10)


def names(kept):
    return [sample.name for domain in kept for sample in domain]


def counts(kept):
    return Counter(name[0] for name in names(kept))


@pytest.mark.parametrize("buffer", ["reservoir", "balanced"])
def test_a_memory_keeps_to_its_budget_and_to_its_seed(buffer):
    kept = remembered(MET, 9, buffer, 0)
    assert len(set(names(kept))) == 9
    assert names(kept) == names(remembered(MET, 9, buffer, 0))
    assert names(kept) != names(remembered(MET, 9, buffer, 1))
    # All that was met, in the order in which it was met: what a memory of any size rehearses.
    assert remembered(MET, 99, buffer, 0) == MET


@pytest.mark.parametrize("buffer", ["reservoir", "balanced"])
def test_what_was_lost_does_not_come_back(buffer):
    early, late = remembered(MET[:2], 9, buffer, 0), remembered(MET, 9, buffer, 0)
    assert {n for n in names(late) if n[0] != "c"} <= set(names(early))


def test_a_balanced_memory_divides_its_budget_and_what_a_small_domain_leaves():
    assert counts(remembered(MET, 9, "balanced", 0)) == {"a": 3, "b": 3, "c": 3}
    assert counts(remembered(MET, 10, "balanced", 0)) == {"a": 4, "b": 3, "c": 3}
    assert counts(remembered(MET, 26, "balanced", 0)) == {"a": 10, "b": 6, "c": 10}


def test_a_reservoir_keeps_each_image_with_the_same_probability():
    drawn = Counter(n for seed in range(400) for n in names(remembered(MET, 9, "reservoir", seed)))
    expected = 400 * 9 / 36
    # Five standard deviations of a binomial count.
    assert all(abs(drawn[n] - expected) < 5 * 8.7 for n in names(MET))
    shares = Counter()
    for name, count in drawn.items():
        shares[name[0]] += count
    assert shares["a"] / 400 == pytest.approx(9 * 20 / 36, abs=0.3)
