"""Forms of laws: worked by hand, and their derivatives against differences."""

import numpy as np
import pytest

from interfero.analysis.laws.forms import (
    Constant,
    Design,
    Logarithmic,
    Power,
    Saturating,
    ShiftedPower,
    candidates,
    with_distance,
)

AXES = ("num_images", "rd_lambda")
ONE = np.ones((1, 1))


def at(*ratios):
    """One point at these multiples of the references."""
    return Design(np.log(np.array([ratios], dtype=float)), ONE)


@pytest.mark.parametrize(
    ("law", "params", "expected"),
    [
        (Power(AXES), [3, 0.5, -1], 3 * 4**0.5 / 2),
        (ShiftedPower(AXES), [3, 0.5, -1, 10], 10 + 3 * 4**0.5 / 2),
        (Saturating(AXES), [3, np.log(4), -1], 3 * 4 / (4 + 4) / 2),
        (Logarithmic(AXES), [3, 2, 1], 3 + 2 * np.log(4) + np.log(2)),
    ],
)
def test_values_by_hand(law, params, expected):
    assert law.values(np.array(params, dtype=float), at(4, 2)) == pytest.approx([expected])


def test_a_constant_is_each_domains_own():
    design = Design(np.zeros((3, 0)), np.array([[1, 0], [0, 1], [1, 0]], dtype=float))
    assert Constant().values(np.array([2.0, 5.0]), design).tolist() == [2, 5, 2]


@pytest.mark.parametrize("law", [f(AXES) for f in (Logarithmic, Power, ShiftedPower, Saturating)])
def test_derivatives_are_those_of_the_values(law):
    rng = np.random.default_rng(0)
    design = Design(rng.normal(size=(6, 2)), np.eye(3)[[0, 1, 2, 0, 1, 2]])
    params = rng.uniform(0.2, 1.0, 3 + len(law.shape_names))
    step = 1e-6
    numeric = [
        (law.values(params + step * unit, design) - law.values(params - step * unit, design))
        / (2 * step)
        for unit in np.eye(len(params))
    ]
    values, derivatives = law.both(params, design)
    assert (values == law.values(params, design)).all()
    assert derivatives == pytest.approx(np.array(numeric).T, abs=1e-6)


def test_the_null_model_is_the_first_candidate():
    laws = candidates(AXES, ("num_images",))
    assert laws[0] == Constant()
    assert Power(("num_images",)) in laws
    assert Saturating(("num_images", "rd_lambda")) in laws
    assert Saturating(("rd_lambda", "num_images")) not in laws
    assert candidates((), ()) == [Constant()]


def test_a_distance_joins_the_axes_of_a_law():
    assert with_distance(Saturating(AXES), "feature_sd") == Saturating((*AXES, "feature_sd"))
    assert with_distance(Constant(), "feature_sd") == Power(("feature_sd",))
