"""Divergences against numbers worked by hand."""

import math

import numpy as np
import pytest

from interfero.metrics.divergence import frechet_distance, jensen_shannon_bits


def test_equal_histograms_are_at_0_and_disjoint_ones_at_1_bit():
    a = np.array([[1.0, 3.0, 0.0], [5.0, 0.0, 0.0]])
    b = np.array([[2.0, 6.0, 0.0], [0.0, 1.0, 1.0]])
    assert jensen_shannon_bits(a, b) == pytest.approx([0.0, 1.0], abs=1e-12)


def test_half_shared_by_hand():
    # (1, 0) and (1/2, 1/2): H(3/4, 1/4) - H(1/2, 1/2) / 2 = 0.811278 - 0.5
    found = jensen_shannon_bits(np.array([4.0, 0.0]), np.array([1.0, 1.0]))
    assert float(found) == pytest.approx(0.3112781, abs=1e-6)


def test_frechet_of_two_gaussians_by_hand():
    # (3, 4) apart; standard deviations 1 and 3 on one axis, equal on the other: 25 + (3 - 1)^2
    found = frechet_distance(
        np.array([0.0, 0.0]), np.diag([1.0, 4.0]), np.array([3.0, 4.0]), np.diag([9.0, 4.0])
    )
    assert found == pytest.approx(math.sqrt(29))


def test_frechet_of_correlated_features_does_not_depend_on_the_axes():
    rng = np.random.default_rng(0)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    a, b = np.diag([1.0, 2.0, 0.0]), np.diag([4.0, 1.0, 0.0])
    mean = np.array([1.0, 0.0, 0.0])
    straight = frechet_distance(np.zeros(3), a, mean, b)
    turned = frechet_distance(
        np.zeros(3), rotation @ a @ rotation.T, rotation @ mean, rotation @ b @ rotation.T
    )
    assert straight == pytest.approx(math.sqrt(1 + 1 + (math.sqrt(2) - 1) ** 2))
    assert turned == pytest.approx(straight)


def test_shapes_and_empty_histograms_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        jensen_shannon_bits(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="without counts"):
        jensen_shannon_bits(np.ones((2, 3)), np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]))
    with pytest.raises(ValueError, match="differ in shape"):
        frechet_distance(np.zeros(2), np.eye(2), np.zeros(3), np.eye(3))
