"""What a fitted law says of a cell that was not run, with an interval, and whether it extrapolates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from interfero.analysis.axes import AXES, level
from interfero.analysis.laws.forms import Design
from interfero.analysis.laws.left_out import MIN_DOMAINS, groups_of
from interfero.analysis.laws.observations import (
    Observations,
    reference,
    setting_means,
    shares_amplitude,
)
from interfero.analysis.laws.resampling import half_width
from interfero.analysis.laws.robust_fit import Fit, pooled_seed_sd, predicted, to_space
from interfero.analysis.laws.scaling import Candidate, Scaling, fit_observations

FloatArray = npt.NDArray[np.float64]

SURROUNDED_WITHIN = 0.02
"""In logarithms: levels are rounded, and adapters of one size differ a little between codecs."""


@dataclass(frozen=True)
class Prediction:
    """Of one new cell: one seed of one domain."""

    value: float
    """Percent."""
    low: float
    """Of the 95 % interval for what the cell will measure."""
    high: float
    outside: tuple[str, ...]
    """Why it extrapolates, an axis a line; empty where it does not."""


@dataclass(frozen=True)
class NoPrediction:
    """Why there is none."""

    reason: str


def predict(
    scaling: Scaling, place: Mapping[str, float], domain: str | None
) -> Prediction | NoPrediction:
    """What one new cell will measure.

    The interval covers what the fit does not know (seeds and images, by bootstrap), what a single
    seed and setting scatter about the law, and, for a domain that is not in the map, how domains
    differ from each other.

    Args:
        scaling: A fitted law.
        place: Values of the law's axes; more are ignored.
        domain: A domain of the map, or None for a new one.
    """
    names = scaling.data.domain_names
    if domain is None and len(names) < MIN_DOMAINS:
        return NoPrediction(
            f"the map has {len(names)} domains ({', '.join(names)}), {MIN_DOMAINS} are needed to "
            "say how a new one may differ"
        )
    candidate = scaling.candidate_for(place) if domain is None else scaling.chosen
    missing = [axis for axis in candidate.law.axes if axis not in place]
    if missing or candidate.fit is None:
        return NoPrediction(f"the law needs {', '.join(missing)}")
    law, shared = candidate.law, shares_amplitude(candidate.law, scaling.data)
    rows = np.eye(1 if shared else len(names))
    if domain is not None:
        rows = rows[[names.index(domain)]]
    u = np.array([np.log(place[a] / reference(scaling.data, a)) for a in law.axes])
    design = Design(np.tile(u, (len(rows), 1)), rows)

    def value(params: FloatArray) -> float:
        return float(np.mean(predicted(law, params, design, scaling.space)))

    centre = value(candidate.fit.params)
    variances = [
        *scaling.resampled_of(candidate).variances(value),
        _cell_variance(scaling, candidate.fit),
    ]
    variances += _domain_variances(scaling, candidate, value, domain)
    half = half_width(variances)
    low, middle, high = scaling.percent(np.array([centre - half, centre, centre + half]))
    return Prediction(float(middle), float(low), float(high), outside(scaling, place))


@dataclass(frozen=True)
class LeftOutCoverage:
    """How a map's predictions did on its own domains, each left out whole and predicted as a new one."""

    held: int
    """Cells (a setting and seed) within their 95 % interval."""
    cells: int
    domains: int


def left_out_coverage(data: Observations) -> LeftOutCoverage | None:
    """Everything is fitted anew without a domain, the choice of the form too, and asked for its cells.

    Returns:
        None where too little is left without a domain to predict it.
    """
    held = cells = 0
    for group in groups_of(data.domain_names):
        inside = np.isin(data.domains, group)
        scaling = fit_observations(data.only(~inside))
        if not isinstance(scaling, Scaling):
            return None
        for row in np.flatnonzero(inside):
            place = dict(zip(data.axes, data.x[row].tolist(), strict=True))
            found = predict(scaling, place, None)
            if isinstance(found, NoPrediction):
                return None
            each = data.response.percent(data.values[row][np.isfinite(data.values[row])])
            held += int(((found.low <= each) & (each <= found.high)).sum())
            cells += len(each)
    return LeftOutCoverage(held, cells, len(data.domain_names))


def outside(scaling: Scaling, place: Mapping[str, float]) -> tuple[str, ...]:
    """A line an axis of the map whose value lies beyond what was measured."""
    found = []
    for name in scaling.data.axes:
        if name not in place:
            continue
        axis, levels = AXES[name], scaling.data.levels(name)
        # Levels are rounded: so is what is compared with them.
        if not levels[0] <= level(place[name]) <= levels[-1]:
            found.append(
                f"{axis.title} {axis.text(place[name])} lies outside "
                f"{axis.text(levels[0])} to {axis.text(levels[-1])}"
            )
    return tuple(found) or _between_arms(scaling, place)


def _between_arms(scaling: Scaling, place: Mapping[str, float]) -> tuple[str, ...]:
    """Whether cells surround a place that lies inside every axis: a design may be a cross and no grid."""
    names = [n for n in scaling.data.own_axes if n in place and len(scaling.data.levels(n)) > 1]
    if len(names) < 2:
        return ()
    cells = np.log(np.column_stack([scaling.data.column(n) for n in names]))
    wanted = np.log([place[n] for n in names])
    # Weights of the cells, not negative and of sum 1, whose mean is the place.
    shifted = (cells - wanted).T
    found = linprog(
        np.zeros(len(cells)), A_ub=np.vstack([shifted, -shifted]),
        b_ub=np.full(2 * len(names), SURROUNDED_WITHIN), A_eq=np.ones((1, len(cells))), b_eq=[1.0],
    )  # fmt: skip
    if found.status == 0:
        return ()
    shown = ", ".join(f"{AXES[n].title} {AXES[n].text(place[n])}" for n in names)
    return (f"no cells of the map surround {shown} together",)


def _cell_variance(scaling: Scaling, fit: Fit) -> tuple[float, int]:
    """Of one seed of one setting about the law, and its degrees of freedom."""
    values = to_space(scaling.data.values, scaling.space)
    residuals = fit.residuals
    degrees = max(1, len(residuals) - len(fit.params))
    # The scale is robust: one setting that went astray does not widen every interval.
    of_setting = fit.scale**2 * len(residuals) / degrees
    of_seed = pooled_seed_sd(values) ** 2
    num_seeds = len(scaling.data.seeds)
    return max(0.0, of_setting - of_seed / num_seeds) + of_seed, num_seeds - 1


def _domain_variances(
    scaling: Scaling, candidate: Candidate, value: Callable[[FloatArray], float], domain: str | None
) -> list[tuple[float, int]]:
    """Of one domain about what its law says, with its degrees of freedom.

    Without a domain left out, the value at a place is a mean over the others; D (D - 1) / D times the squares
    of these are those of single domains about their mean (the jackknife's pseudo-values). A domain of the map
    is part of the mean, a new one is not.
    """
    data, without = scaling.data, candidate.without
    if without is None:
        return []
    num = len(data.domain_names)
    if domain is not None:
        variance, degrees = without.variance(value, domain)
        return [((num - 1) * variance, degrees)]
    variance, degrees = without.variance(value)
    found = [((num + 1) * variance, degrees)]
    if candidate.fit is not None and shares_amplitude(candidate.law, data):
        assert candidate.predictions is not None
        errors = setting_means(data, scaling.space) - candidate.predictions
        of_domain = [float(np.mean(errors[np.array(data.domains) == n])) for n in data.domain_names]
        # Amplitude and exponent were fitted: two degrees of freedom are gone.
        found.append((float(np.mean(np.square(of_domain))), num - 2))
    return found
