"""Domains as draws: a law refitted without each of them, for the interval of what they share and for errors.

Settings of one domain are not independent: each domain has a level and exponents of its own. Counted as if
they were, they give intervals of the mean exponent that hold it far too rarely. So what varies is the
domain, left out whole. The jackknife over clusters,

    variance = (D - 1) / D * sum over domains of (estimate without it - estimate)^2,

is the estimator CV3 of MacKinnon, Nielsen and Webb (2023, "Fast and reliable jackknife and bootstrap methods
for cluster-robust inference", Journal of Applied Econometrics 38, section 3; first in Bell and McCaffrey,
2002). Of few methods for few clusters it is the one that is not too narrow, with Student's t of D - 1 degrees
of freedom. Where every domain has the same settings and the law is linear in its logarithms, it is the
variance of the mean of the domains' own exponents, exactly: the two-stage estimate of random coefficients
(Swamy, 1970), which is right for any number of domains if exponents are normal. Of more than `MAX_GROUPS`
domains several are left out at once (the delete-a-group jackknife of Kott, 2001, Journal of Official
Statistics 17): the same variance, with fewer degrees of freedom and refits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interfero.analysis.laws.forms import Design, Law
from interfero.analysis.laws.observations import (
    Observations,
    design_of,
    setting_means,
    shares_amplitude,
)
from interfero.analysis.laws.robust_fit import Fit, Space, predicted, refit, rms

FloatArray = npt.NDArray[np.float64]

MIN_DOMAINS = 3
"""Below, nothing says how domains differ: a law is of these domains, and a new one is not predicted."""
MAX_GROUPS = 15
"""Student's t of 14 degrees of freedom is 2.14, of any more at least 1.96."""


@dataclass(frozen=True)
class WithoutDomains:
    """A law without each domain, or each group of them."""

    groups: tuple[tuple[str, ...], ...]
    """Domains that were left out together."""
    params: FloatArray
    """(groups, parameters); amplitudes of those left out are the mean of the others'."""
    whole: FloatArray
    """(parameters,) with all domains."""

    def variance(
        self, value: Callable[[FloatArray], float], own: str | None = None
    ) -> tuple[float, int]:
        """Of the mean over domains of a function of the parameters, and its degrees of freedom.

        Args:
            value: What is estimated.
            own: A domain whose amplitude it needs: fits without it do not count.
        """
        pairs = zip(self.groups, self.params, strict=True)
        rows = [params for group, params in pairs if own not in group]
        centre, degrees = value(self.whole), len(self.params) - 1
        return degrees * float(np.mean([(value(p) - centre) ** 2 for p in rows])), degrees


def groups_of(names: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """Each domain by itself, or several together where there are many."""
    count = min(len(names), MAX_GROUPS)
    return tuple(tuple(names[start::count]) for start in range(count))


def without_each_domain(data: Observations, fit: Fit, space: Space) -> WithoutDomains | None:
    """The law refitted without each domain; None with fewer than three, or too few settings without one."""
    names, law = np.array(data.domain_names), fit.law
    if len(names) < MIN_DOMAINS:
        return None
    y, design = setting_means(data, space), design_of(data, law)
    shared, count = shares_amplitude(law, data), design.z.shape[1]
    groups = groups_of(data.domain_names)
    found = np.tile(fit.params, (len(groups), 1))
    for row, group in zip(found, groups, strict=True):
        train = ~np.isin(data.domains, group)
        others = np.array([True]) if shared else ~np.isin(names, group)
        kept = np.append(others, np.ones(len(law.shape_names), dtype=bool))
        if train.sum() < kept.sum() + 1:
            return None
        at = Design(design.u[train], design.z[train][:, others])
        row[kept] = refit(fit, y[train], at, space, fit.params[kept])
        row[~kept] = _mean_amplitude(row[:count][others], space)
    return WithoutDomains(groups, found, fit.params)


def mean_own_shape(data: Observations, fit: Fit, space: Space) -> FloatArray | None:
    """(shape parameters,) mean over domains of what each has by itself.

    The common shape of a fit is no such mean where domains differ: what that leaves at the ends of an axis
    counts less in a robust fit. None with one domain, a shared amplitude, or too few settings in a domain.
    """
    law, design = fit.law, design_of(data, fit.law)
    count, num_shape = design.z.shape[1], len(law.shape_names)
    if len(data.domain_names) < 2 or shares_amplitude(law, data) or not num_shape:
        return None
    y, found = setting_means(data, space), []
    for i, name in enumerate(data.domain_names):
        inside = np.isin(data.domains, name)
        if inside.sum() < num_shape + 2:
            return None
        at = Design(design.u[inside], design.z[inside][:, [i]])
        start = np.append(fit.params[i], fit.params[count:])
        found.append(refit(fit, y[inside], at, space, start)[1:])
    return np.asarray(np.mean(found, axis=0))


def _mean_amplitude(amplitudes: FloatArray, space: Space) -> float:
    """In the space of the fit, so that the law at it is the mean of the laws at each."""
    if space == "log" and (amplitudes > 0).all():
        return float(np.exp(np.log(amplitudes).mean()))
    return float(amplitudes.mean())


def left_out_predictions(
    data: Observations, law: Law, left_out: WithoutDomains, space: Space
) -> FloatArray:
    """(points,) each predicted from the other domains, in the space of the fit.

    A law with amplitudes of its own for each domain predicts with the mean of the others'.
    """
    design, found = design_of(data, law), np.empty(len(data.domains))
    for params, group in zip(left_out.params, left_out.groups, strict=True):
        inside = np.isin(data.domains, group)
        found[inside] = predicted(law, params, design.rows(inside), space)
    return found


def shape_error(data: Observations, law: Law, left_out: WithoutDomains, space: Space) -> float:
    """RMS error of the other domains' shape at each domain's own level: what choosing a form is about."""
    y, design = setting_means(data, space), design_of(data, law)
    errors = []
    pairs = zip(left_out.params, left_out.groups, strict=True)
    for params, name in ((params, name) for params, group in pairs for name in group):
        inside = np.array(data.domains) == name
        at = design.rows(inside)
        if space == "log" or shares_amplitude(law, data):
            rest = y[inside] - predicted(law, params, at, space)
            errors.append(rest - rest.mean())
        else:
            # Every law is linear in its amplitude.
            own = int(np.flatnonzero(at.z[0])[0])
            rest = law.values(np.where(np.arange(len(params)) == own, 0.0, params), at)
            growth = law.values(np.where(np.arange(len(params)) == own, 1.0, params), at) - rest
            level = float(growth @ (y[inside] - rest)) / max(float(growth @ growth), 1e-12)
            errors.append(y[inside] - rest - level * growth)
    return rms(np.concatenate(errors))
