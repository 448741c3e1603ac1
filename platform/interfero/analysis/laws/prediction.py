"""What a fitted law says of a cell that was not run, with an interval, and whether it extrapolates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linprog

from interfero.analysis.axes import AXES, level
from interfero.analysis.laws.forms import Design
from interfero.analysis.laws.resampling import half_width
from interfero.analysis.laws.robust_fit import Fit, from_space, pooled_seed_sd, predicted, to_space
from interfero.analysis.laws.scaling import (
    Scaling,
    leave_one_domain_out,
    reference,
    setting_means,
    shares_amplitude,
)

FloatArray = npt.NDArray[np.float64]

SURROUNDED_WITHIN = 0.02
"""In logarithms: levels are rounded, and adapters of one size differ a little between codecs."""
MIN_DOMAINS = 3
"""Below, nothing says how domains differ: a new one cannot be predicted."""


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
    candidate, resampled = scaling.chosen, scaling.resampled
    # Without its distance, a new domain is one like the others.
    if domain is None and set(scaling.for_new_domains.law.axes) <= place.keys():
        candidate, resampled = scaling.for_new_domains, scaling.resampled_for_new
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
    variances = [*resampled.variances(value), _cell_variance(scaling)]
    if domain is None:
        each = predicted(law, candidate.fit.params, design, scaling.space)
        variances.append(_domain_variance(scaling, candidate.fit, each))
    half = half_width(variances)
    low, middle, high = from_space(np.array([centre - half, centre, centre + half]), scaling.space)
    return Prediction(float(middle), float(low), float(high), outside(scaling, place))


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


def _cell_variance(scaling: Scaling) -> tuple[float, int]:
    """Of one seed of one setting about the law, and its degrees of freedom."""
    values = to_space(scaling.data.values, scaling.space)
    residuals = scaling.fit.residuals
    degrees = max(1, len(residuals) - len(scaling.fit.params))
    # The scale is robust: one setting that went astray does not widen every interval.
    of_setting = scaling.fit.scale**2 * len(residuals) / degrees
    of_seed = pooled_seed_sd(values) ** 2
    num_seeds = len(scaling.data.seeds)
    return max(0.0, of_setting - of_seed / num_seeds) + of_seed, num_seeds - 1


def _domain_variance(scaling: Scaling, fit: Fit, each: FloatArray) -> tuple[float, int]:
    """Of a new domain about what is predicted for it, and its degrees of freedom.

    Args:
        scaling: The map's law.
        fit: What new domains are predicted by.
        each: (amplitudes,) the prediction with each domain's own, or the one that they share.
    """
    data = scaling.data
    names = data.domain_names
    if not shares_amplitude(fit.law, data):
        return float(np.var(each, ddof=1)) * (1 + 1 / len(names)), len(names) - 1
    left_out = leave_one_domain_out(data, fit, scaling.space)
    assert left_out is not None, "a distance is used only after leaving domains out"
    errors = setting_means(data, scaling.space) - left_out
    of_domain = [float(np.mean(errors[np.array(data.domains) == name])) for name in names]
    # Amplitude and exponent were fitted: two degrees of freedom are gone.
    return float(np.mean(np.square(of_domain))), len(names) - 2
