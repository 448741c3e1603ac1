"""Where a law is evaluated: the observations' axes, and which amplitude each point has."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from interfero.analysis.laws.forms import Design, Law
from interfero.analysis.laws.observations import Observations
from interfero.analysis.laws.resampling import seed_mean
from interfero.analysis.laws.robust_fit import Space, to_space

FloatArray = npt.NDArray[np.float64]


def design_of(data: Observations, law: Law) -> Design:
    """Logs over the axes' geometric means, and each point's amplitude."""
    columns = [np.log(data.column(a) / reference(data, a)) for a in law.axes]
    u = np.column_stack(columns) if columns else np.zeros((len(data.domains), 0))
    if shares_amplitude(law, data):
        return Design(u, np.ones((len(data.domains), 1)))
    names = data.domain_names
    z = np.array([[float(domain == name) for name in names] for domain in data.domains])
    return Design(u, z)


def reference(data: Observations, axis: str) -> float:
    """Geometric mean of an axis: where its logarithm is 0."""
    return float(np.exp(np.log(data.column(axis)).mean()))


def shares_amplitude(law: Law, data: Observations) -> bool:
    """Whether a domain distance stands for the domains."""
    return any(axis in data.distances for axis in law.axes)


def amplitude_names(data: Observations, law: Law) -> tuple[str, ...]:
    """`amplitude:DOMAIN` for each, or one `amplitude`."""
    if shares_amplitude(law, data):
        return ("amplitude",)
    return tuple(f"amplitude:{name}" for name in data.domain_names)


def setting_means(data: Observations, space: Space) -> FloatArray:
    """(points,) mean over seeds, in the space of a fit."""
    return seed_mean(to_space(data.values, space), np.ones(len(data.seeds)))
