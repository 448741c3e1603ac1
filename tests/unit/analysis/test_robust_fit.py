"""Fits through points: exact ones, outliers, the space of the residuals, and AICc by hand."""

import math

import numpy as np
import pytest

from interfero.analysis.laws.forms import Constant, Design, Power, ShiftedPower
from interfero.analysis.laws.robust_fit import (
    aicc,
    choose_space,
    pooled_seed_sd,
    quick_refit,
    refit,
    robust_fit,
)

X = np.array([1.0, 2, 5, 10, 20, 50, 100, 200])
ONE_DOMAIN = Design(np.log(X)[:, None], np.ones((len(X), 1)))


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize(
    ("law", "params"),
    [
        (Power(("num_images",)), [3.0, 0.4]),
        (Power(("num_images",)), [3.0, -0.4]),
        (ShiftedPower(("num_images",)), [2.0, 0.5, 5.0]),
        (ShiftedPower(("num_images",)), [-4.0, -0.5, 12.0]),
    ],
)
def test_points_on_a_law_give_it_back(law, params, space):
    y = law.values(np.array(params), ONE_DOMAIN)
    fit = robust_fit(law, np.log(y) if space == "log" else y, ONE_DOMAIN, space)
    assert fit.params == pytest.approx(params, rel=1e-2)


def test_one_setting_astray_hardly_moves_the_exponent():
    law = Power(("num_images",))
    rng = np.random.default_rng(0)
    y = np.log(law.values(np.array([3.0, 0.4]), ONE_DOMAIN)) + rng.normal(0, 0.02, len(X))
    y[-1] += 3
    fit = robust_fit(law, y, ONE_DOMAIN, "log")
    squares = np.polyfit(np.log(X), y, 1)[0]
    assert abs(fit.params[1] - 0.4) < abs(squares - 0.4) / 2


@pytest.mark.parametrize("astray", [0.0, 1.0])
def test_a_quick_refit_finds_what_the_whole_one_does(astray):
    law = ShiftedPower(("num_images",))
    rng = np.random.default_rng(0)
    y = law.values(np.array([2.0, 0.5, 5.0]), ONE_DOMAIN) + rng.normal(0, 0.1, len(X))
    y[2] += astray
    fit = robust_fit(law, y, ONE_DOMAIN, "linear")
    other = y + rng.normal(0, 0.05, len(X))
    other[4] = np.nan
    quick, whole = (f(fit, other, ONE_DOMAIN, "linear") for f in (quick_refit, refit))
    assert quick == pytest.approx(whole, rel=0.05)


def test_aicc_by_hand_on_normal_residuals():
    y = np.array([1.0, -1, 1, -1, 1, -1, 1, -1])
    fit = robust_fit(Constant(), y, Design(np.zeros((8, 0)), np.ones((8, 1))), "linear")
    # scale 1: deviance 2 * 8 * log(1) + sum of squares 8; k = 2: 4 + 12 / 5
    assert fit.scale == pytest.approx(1, abs=1e-3)
    assert aicc(fit) == pytest.approx(8 + 4 + 12 / 5, abs=1e-3)


def test_aicc_refuses_what_it_cannot_judge():
    design = Design(np.log(X[:4])[:, None], np.ones((4, 1)))
    fit = robust_fit(Power(("num_images",)), np.array([1.0, 2, 2.5, 4]), design, "linear")
    with pytest.raises(ValueError, match="4 points are too few for 3 parameters: 5 are needed"):
        aicc(fit)


def test_the_space_is_where_seeds_scatter_alike():
    rng = np.random.default_rng(0)
    level = np.geomspace(1, 100, 12)[:, None]
    assert choose_space(level * rng.lognormal(0, 0.2, (12, 3))) == "log"
    assert choose_space(level + rng.normal(0, 0.2, (12, 3))) == "linear"
    assert choose_space(np.array([[1.0, -0.1], [2.0, 2.1]])) == "linear"


def test_seeds_scatter_about_their_own_setting():
    # Deviations of 1, 1 and 0, 0 about two means: 2 squares, 2 degrees of freedom; a lone seed says nothing.
    values = np.array([[1.0, 3, np.nan], [5, 5, np.nan], [np.nan, 9, np.nan]])
    assert pooled_seed_sd(values) == pytest.approx(1.0)
    assert pooled_seed_sd(np.array([[1.0], [2.0]])) == 0
    assert math.isfinite(pooled_seed_sd(np.full((1, 2), np.nan)))
