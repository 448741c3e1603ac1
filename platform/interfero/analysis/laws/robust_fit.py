"""One law through points, by Huber's loss at a scale found with it (scipy)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares, leastsq, minimize_scalar

from interfero.analysis.laws.forms import Design, Law

FloatArray = npt.NDArray[np.float64]
Space = Literal["linear", "log"]
"""Where residuals are taken: percent, or the logarithm of percent."""

_Residuals = Callable[[FloatArray], FloatArray]
_Two = tuple[FloatArray, FloatArray]
_Bounds = tuple[FloatArray, FloatArray]

HUBER = 1.345
"""Residuals beyond so many scales count linearly: 95 % as efficient as squares on normal noise."""
_ROUNDS = 3
_FLOOR = 1e-9
_TOLERANCE = 1e-8
_TINY = 1e-6
"""Percent. In log space a law that predicts less is wrong by as much as this says."""


@dataclass(frozen=True)
class Fit:
    """A law's parameters, and how well they do."""

    law: Law
    params: FloatArray
    scale: float
    """Of the residuals, in the space of the fit."""
    deviance: float
    """-2 log likelihood under Huber's density, without constants that all laws share."""
    residuals: FloatArray
    """(points,): measured less predicted, in the space of the fit."""


def choose_space(values: FloatArray) -> Space:
    """Where seeds scatter alike at all settings (Box and Cox, 1964, exponents 1 and 0).

    No law enters: the likelihood of the seeds' own scatter about each setting's mean is compared, in
    percent and in its logarithm. A value that is not positive has no logarithm.

    Args:
        values: (points, seeds); NaN where there is none.
    """
    there = values[np.isfinite(values)]
    if not (there > 0).all():
        return "linear"
    squares, count = _scatter(values)
    log_squares, _ = _scatter(np.log(values))
    if min(squares, log_squares) <= 0:
        return "log"
    jacobian = float(np.log(there).sum()) * count / len(there)
    linear = -count / 2 * math.log(squares / count)
    return "log" if -count / 2 * math.log(log_squares / count) - jacobian > linear else "linear"


def to_space(values: FloatArray, space: Space) -> FloatArray:
    """Percent to the space of a fit; NaN where it has no logarithm."""
    if space == "linear":
        return values
    return np.log(values, where=values > 0, out=np.full_like(values, np.nan))


def from_space(values: FloatArray, space: Space) -> FloatArray:
    """Back to percent."""
    return values if space == "linear" else np.exp(values)


def predicted(law: Law, params: FloatArray, design: Design, space: Space) -> FloatArray:
    """(points,) in the space of the fit."""
    values = law.values(params, design)
    return values if space == "linear" else np.log(np.maximum(values, _TINY))


def robust_fit(
    law: Law, y: FloatArray, design: Design, space: Space, floor: float = _FLOOR
) -> Fit | None:
    """Fit from every start that the law knows, each with its own scale; the likeliest is kept.

    Args:
        law: What is fitted.
        y: (points,) in the space of the fit.
        design: Where the points are.
        space: Of `y`.
        floor: Least scale: no law is closer to the truth than the points are.

    Returns:
        None where the fit cannot begin or finds nothing finite.
    """
    starts = law.starts(from_space(y, space), design)
    fits = [_fit_from(law, y, design, space, start, max(floor, _FLOOR)) for start in starts]
    found = [fit for fit in fits if fit is not None and math.isfinite(fit.deviance)]
    return min(found, key=lambda fit: fit.deviance, default=None)


def refit(
    fit: Fit, y: FloatArray, design: Design, space: Space, start: FloatArray | None = None
) -> FloatArray:
    """Parameters for other values at the same scale, begun where the fit ended.

    Args:
        fit: Of all values as they were measured.
        y: (points,) in the space of the fit; NaN where a point has none.
        design: Where these points are.
        space: As in the fit.
        start: Where to begin if the design has other amplitudes.
    """
    there = np.isfinite(y)
    if not there.all():
        y, design = y[there], design.rows(there)
    begin = fit.params if start is None else start
    return _solve(fit.law, y, design, space, begin, fit.scale)


def quick_refit(fit: Fit, y: FloatArray, design: Design, space: Space) -> FloatArray:
    """As `refit`, with the weights that the points had in the fit, some twenty times faster.

    For a bootstrap: which setting went astray is not decided anew in each draw.
    """
    there = np.isfinite(y)
    # Square roots of Huber's weights, since they multiply residuals.
    weights = np.sqrt(HUBER / np.maximum(np.abs(fit.residuals) / fit.scale, HUBER))[there]
    y, design = y[there], design.rows(there)
    if len(y) < len(fit.params):
        return refit(fit, y, design, space)
    curve = _curve(fit.law, design, space)
    found = _within_bounds(
        lambda params: weights * (curve(params)[0] - y),
        lambda params: weights[:, None] * curve(params)[1],
        fit.params,
        fit.law.bounds(design.z.shape[1], design),
    )
    return refit(fit, y, design, space) if found is None else found


def _within_bounds(
    residuals: _Residuals, jacobian: _Residuals, start: FloatArray, bounds: _Bounds
) -> FloatArray | None:
    """Least squares by Levenberg and Marquardt, some ten times as fast as a method that minds bounds.

    Where it leaves them, what left is held at the bound and the rest solved again; that is the solution if
    the squares would fall beyond the bound alone (Karush, Kuhn and Tucker).

    Returns:
        None where that does not settle it.
    """
    low, high = bounds
    found = _unbounded(residuals, jacobian, start.clip(low, high))
    if found is None or not np.isfinite(found).all():
        return None
    held = (found < low) | (found > high)
    if not held.any():
        return found
    free, at = ~held, found.clip(low, high)

    def whole(params: FloatArray) -> FloatArray:
        every = at.copy()
        every[free] = params
        return every

    rest = _unbounded(
        lambda params: residuals(whole(params)),
        lambda params: jacobian(whole(params))[:, free],
        at[free],
    )
    if rest is None:
        return None
    solved = whole(rest)
    gradient = jacobian(solved).T @ residuals(solved)
    outward = np.where(at >= high, gradient <= 0, gradient >= 0)
    fits = (low <= solved) & (solved <= high)
    return solved if fits.all() and outward[held].all() else None


def _unbounded(residuals: _Residuals, jacobian: _Residuals, start: FloatArray) -> FloatArray | None:
    with np.errstate(over="ignore", invalid="ignore"):
        found, _, _, _, how = leastsq(
            residuals, start, Dfun=jacobian, full_output=True, xtol=_TOLERANCE, ftol=_TOLERANCE,
            gtol=_TOLERANCE, maxfev=300,
        )  # fmt: skip
    return np.atleast_1d(found) if how in (1, 2, 3, 4) else None


def _fit_from(
    law: Law, y: FloatArray, design: Design, space: Space, start: FloatArray, floor: float
) -> Fit | None:
    params, scale = start, math.inf
    for _ in range(_ROUNDS):
        try:
            params = _solve(law, y, design, space, params, scale)
        except (ValueError, FloatingPointError, np.linalg.LinAlgError):
            return None
        residuals = y - predicted(law, params, design, space)
        scale = _profiled_scale(residuals, floor)
    z = np.abs(residuals) / scale
    deviance = 2 * len(y) * math.log(scale) + 2 * float(_huber(z).sum())
    return Fit(law, params, scale, deviance, residuals)


def _solve(
    law: Law, y: FloatArray, design: Design, space: Space, start: FloatArray, scale: float
) -> FloatArray:
    low, high = law.bounds(design.z.shape[1], design)
    curve = _curve(law, design, space)
    if len(y) >= len(start):
        pseudo = _kept(lambda params: _pseudo(curve(params)[0] - y, scale))
        found = _within_bounds(
            lambda params: pseudo(params)[0],
            lambda params: pseudo(params)[1][:, None] * curve(params)[1],
            start,
            (low, high),
        )
        if found is not None:
            return found
    robust = {} if math.isinf(scale) else {"loss": "huber", "f_scale": HUBER * scale}
    solution = least_squares(
        lambda params: curve(params)[0] - y,
        start.clip(low, high),
        # It works in what it is given.
        jac=lambda params: curve(params)[1].copy(),
        bounds=(low, high),
        x_scale="jac",
        max_nfev=60,
        xtol=1e-6,
        ftol=1e-6,
        gtol=1e-6,
        **robust,
    )
    return np.asarray(solution.x)


def _pseudo(residuals: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    """Numbers whose squares are Huber's loss, and their derivatives by the residuals."""
    limit = HUBER * scale
    if math.isinf(limit):
        return residuals, np.ones_like(residuals)
    far = np.maximum(np.abs(residuals) / limit, 1.0)
    # Beyond the limit the loss is limit^2 (2 |r| / limit - 1).
    root = np.sqrt(2 * far - 1)
    return np.where(far > 1, np.sign(residuals) * limit * root, residuals), 1 / root


def _kept(compute: Callable[[FloatArray], _Two]) -> Callable[[FloatArray], _Two]:
    """What it came to for the last parameters is not computed again: a step asks for it several times."""
    last: list[tuple[bytes, _Two]] = []

    def found(params: FloatArray) -> _Two:
        at = params.tobytes()
        if not last or last[0][0] != at:
            last[:] = [(at, compute(params))]
        return last[0][1]

    return found


def _curve(law: Law, design: Design, space: Space) -> Callable[[FloatArray], _Two]:
    """`predicted` and (points, parameters) its derivatives, by the parameters."""

    def both(params: FloatArray) -> _Two:
        values, by_params = law.both(params, design)
        if space == "linear":
            return values, by_params
        held = np.maximum(values, _TINY)
        return np.log(held), np.asarray(by_params / held[:, None])

    return _kept(both)


def _profiled_scale(residuals: FloatArray, floor: float) -> float:
    """The likeliest scale of Huber's density, at least the floor."""
    sizes = np.abs(residuals)
    highest = max(float(np.sqrt((sizes**2).mean())), floor) * 2

    def deviance(log_scale: float) -> float:
        return len(sizes) * log_scale + float(_huber(sizes / math.exp(log_scale)).sum())

    found = minimize_scalar(deviance, bounds=(math.log(floor), math.log(highest)), method="bounded")
    return max(float(np.exp(found.x)), floor)


def _huber(z: FloatArray) -> FloatArray:
    return np.where(z <= HUBER, z**2 / 2, HUBER * z - HUBER**2 / 2)


def _scatter(values: FloatArray) -> tuple[float, int]:
    """Sum of squares about each point's mean, and how many degrees of freedom it has."""
    counts = np.isfinite(values).sum(axis=1)
    rows = values[counts > 1]
    centred = rows - np.nanmean(rows, axis=1, keepdims=True) if len(rows) else rows
    return float(np.nansum(centred**2)), int((counts[counts > 1] - 1).sum())


def pooled_seed_sd(values: FloatArray) -> float:
    """Standard deviation of seeds about their setting's mean, pooled; 0 with one seed each.

    Args:
        values: (points, seeds) in the space of a fit.
    """
    squares, count = _scatter(values)
    return math.sqrt(squares / count) if count else 0.0


def aicc(fit: Fit) -> float:
    """Akaike's criterion with Hurvich and Tsai's correction; the scale counts as a parameter.

    Raises:
        ValueError: too few points for the parameters.
    """
    n, k = len(fit.residuals), len(fit.params) + 1
    if n < k + 2:
        raise ValueError(f"{n} points are too few for {k} parameters: {k + 2} are needed")
    return fit.deviance + 2 * k + 2 * k * (k + 1) / (n - k - 1)


def rms(values: FloatArray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean(np.square(values))))
