"""Laws fitted to a sweep: which form, with which exponents, how sure, and when there is none.

Of each method and response the candidates of `laws` are compared by AICc and by held-out extrapolation:
fitted to the small cells, asked for the largest. A law is chosen only if it beats the null model, a
constant for each domain, clearly by the one and at all by the other. What cannot be fitted is refused,
with the reason.

A domain that is not in the map has no amplitude. It gets the mean of the others', or, if that predicts
the map's own domains much better when each is left out in turn, one by its distance from the source.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from interfero.analysis.axes import GROWTH_AXES, level
from interfero.analysis.laws.forms import Design, Law, candidates, with_distance
from interfero.analysis.laws.observations import (
    RESPONSES,
    Observations,
    Response,
    Subject,
    observations,
)
from interfero.analysis.laws.resampling import Bootstrap, bootstrap, half_width, seed_mean
from interfero.analysis.laws.robust_fit import (
    Fit,
    Space,
    aicc,
    choose_space,
    pooled_seed_sd,
    predicted,
    refit,
    rms,
    robust_fit,
    to_space,
)
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]

MIN_SEEDS = 3
"""Two seeds' scatter says next to nothing of a third: Student's t is then 12.7 scales wide."""
MIN_LEVELS = 3
"""Two levels give a slope and no way to see that there is none."""
MIN_POINTS = 5
MIN_EVIDENCE = 6.0
"""AICc that a law must be better than the null model: 20 times as likely, its parameters paid for. With
less, one of many candidates is better by luck."""
MAX_SHARE_OF_ERROR = 2 / 3
"""Of the mean of the others: what a distance's error on left-out domains may be to be used."""
MIN_DOMAINS_FOR_DISTANCE = 4
"""A line through three domains is fitted to two when one is left out, and nothing can check it."""


@dataclass(frozen=True)
class Refusal:
    """Why there is no law."""

    subject: Subject
    response: Response
    reason: str
    constant: float | None = None
    """The value that every cell has, if they all have one: routed forgetting of what detaches is 0."""


@dataclass(frozen=True)
class Candidate:
    """A law that was tried."""

    law: Law
    fit: Fit | None
    """None where it was not fitted; `note` says why."""
    aicc: float | None
    held_out: dict[str, float]
    """By axis: RMS error at its largest value after a fit without it, in the space of the fit."""
    left_out_domains: float | None
    """RMS error over domains, each left out in turn."""
    note: str = ""
    left_out: FloatArray | None = field(default=None, compare=False, repr=False)
    """(points,) what that error is of, in the space of the fit: each domain predicted from the others."""

    @property
    def extrapolation(self) -> float | None:
        """RMS over the axes held out; None where none could be."""
        return rms(np.array(list(self.held_out.values()))) if self.held_out else None


@dataclass(frozen=True)
class Parameter:
    """Estimate with its interval."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Scaling:
    """The law of one method and response, with what it was compared with."""

    data: Observations
    space: Space
    chosen: Candidate
    tried: tuple[Candidate, ...]
    """The null model first."""
    by_distance: tuple[Candidate, ...]
    """The chosen form with each measure of domain distance in place of the domains' amplitudes."""
    seed_sd: float
    """Standard deviation of seeds at one setting, in the space of the fit."""

    @property
    def subject(self) -> Subject:
        """Whose law it is."""
        return self.data.subject

    @property
    def response(self) -> Response:
        """What it is about."""
        return self.data.response

    @property
    def null(self) -> Candidate:
        """A constant for each domain."""
        return self.tried[0]

    @property
    def beats_null(self) -> bool:
        """Whether any law does."""
        return self.chosen is not self.null

    @property
    def fit(self) -> Fit:
        """Of the chosen law."""
        assert self.chosen.fit is not None
        return self.chosen.fit

    @property
    def nearest_distance(self) -> Candidate | None:
        """The distance that predicts left-out domains best; None if none could be tried."""
        known = [c for c in self.by_distance if c.left_out_domains is not None]
        return min(known, key=lambda c: c.left_out_domains or 0.0, default=None)

    @property
    def for_new_domains(self) -> Candidate:
        """What a domain outside of the map is predicted by: the chosen law, or one with a distance."""
        best, mean = self.nearest_distance, self.chosen.left_out_domains
        if best is None or mean is None or best.left_out_domains is None:
            return self.chosen
        return best if best.left_out_domains < MAX_SHARE_OF_ERROR * mean else self.chosen

    @cached_property
    def design(self) -> Design:
        """Of the chosen law."""
        return design_of(self.data, self.chosen.law)

    @cached_property
    def resampled(self) -> Bootstrap:
        """Refits of the chosen law; the choice of the form is not repeated."""
        return bootstrap(self.data, self.fit, self.design, self.space)

    @cached_property
    def resampled_for_new(self) -> Bootstrap:
        """Refits of what new domains are predicted by."""
        fit = self.for_new_domains.fit
        if fit is None or self.for_new_domains is self.chosen:
            return self.resampled
        return bootstrap(self.data, fit, design_of(self.data, fit.law), self.space)

    def parameters(self) -> tuple[Parameter, ...]:
        """Shape of the chosen law with 95 % intervals, then the amplitudes.

        Intervals of amplitudes are in the space of the fit, so that none crosses zero in logarithms.
        """
        count = self.design.z.shape[1]
        names = amplitude_names(self.data, self.chosen.law) + self.chosen.law.shape_names
        found = []
        for i, name in enumerate(names):
            value = float(self.fit.params[i])
            logs = i < count and self.space == "log" and value > 0

            def read(params: FloatArray, i: int = i, logs: bool = logs) -> float:
                return float(np.log(max(params[i], 1e-9))) if logs else float(params[i])

            half = half_width(self.resampled.variances(read))
            if logs:
                found.append(Parameter(name, value, value * np.exp(-half), value * np.exp(half)))
            else:
                found.append(Parameter(name, value, value - half, value + half))
        return tuple(found[count:] + found[:count])

    @property
    def covers(self) -> str:
        """What the intervals speak for."""
        if self.resampled.images is not None:
            return "seeds and source images"
        domains = self.data.images.of_one_source if self.data.images is not None else ()
        if not domains:
            return "seeds"
        each = " each" * (len(domains) > 1)
        return f"seeds only: the test images of {', '.join(domains)} come from one picture{each}"


def fit_scaling(records: Sequence[CellRecord]) -> list[Scaling | Refusal]:
    """The laws of every method and response in the records, or why there is none."""
    found: list[Scaling | Refusal] = []
    for response in RESPONSES.values():
        found += [fit_observations(data) for data in observations(records, response).values()]
    return sorted(found, key=_order)


def fit_observations(data: Observations) -> Scaling | Refusal:
    """The law of one method and response, or why there is none."""
    refusal = refused(data)
    if refusal is not None:
        return refusal
    space = choose_space(data.values)
    y = setting_means(data, space)
    seed_sd = pooled_seed_sd(to_space(data.values, space))
    floor = seed_sd / np.sqrt(len(data.seeds)) / 2
    laws = candidates(data.own_axes, GROWTH_AXES)
    tried = tuple(_try(law, data, y, space, floor) for law in laws)
    if tried[0].fit is None:
        reason = f"not even a constant for each domain can be fitted: {tried[0].note}"
        return Refusal(data.subject, data.response, reason)
    chosen = _choose(tried)
    by_distance = tuple(
        _try(with_distance(chosen.law, name), data, y, space, floor) for name in data.distances
    )
    return Scaling(data, space, chosen, tried, by_distance, seed_sd)


def refused(data: Observations) -> Refusal | None:
    """Why these observations carry no law; None if they may."""

    def no(reason: str, constant: float | None = None) -> Refusal:
        return Refusal(data.subject, data.response, reason, constant)

    there = data.values[np.isfinite(data.values)]
    if np.ptp(there) == 0:
        value = float(there[0])
        return no(f"every cell has {value:g} %: there is nothing to explain", value)
    num_seeds = len(data.seeds)
    if num_seeds < MIN_SEEDS:
        return no(f"{num_seeds} data seeds, {MIN_SEEDS} are needed: add --data-seeds")
    if len(data.values) < MIN_POINTS:
        return no(f"{len(data.values)} settings, {MIN_POINTS} are needed")
    levels = {name: _levels_within(data, name) for name in data.own_axes}
    if not levels or max(levels.values()) < MIN_LEVELS:
        shown = ", ".join(f"{name} {count}" for name, count in levels.items()) or "none varies"
        return no(
            f"no axis has {MIN_LEVELS} levels within one domain ({shown}): an exponent could not be checked"
        )
    return None


def _levels_within(data: Observations, axis: str) -> int:
    """Levels of the domain that has most: between domains nothing tells an axis from the domain."""
    found: dict[str, set[float]] = defaultdict(set)
    for domain, value in zip(data.domains, data.column(axis).tolist(), strict=True):
        found[domain].add(level(value))
    return max(map(len, found.values()))


def design_of(data: Observations, law: Law) -> Design:
    """Where a law is evaluated: logs over the axes' geometric means, and each point's amplitude."""
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


def leave_one_domain_out(data: Observations, fit: Fit, space: Space) -> FloatArray | None:
    """(points,) predicted from the other domains alone, in the space of the fit; None if it cannot be.

    A law with amplitudes of its own for each domain predicts the mean over the others'.
    """
    names, law = np.array(data.domain_names), fit.law
    if len(names) < 3:
        return None
    y, design = setting_means(data, space), design_of(data, law)
    shared = shares_amplitude(law, data)
    found = np.full(len(y), np.nan)
    for name in names:
        inside = np.array(data.domains) == name
        others = np.array([True]) if shared else names != name
        train = Design(design.u[~inside], design.z[~inside][:, others])
        if (~inside).sum() < train.z.shape[1] + len(law.shape_names) + 1:
            return None
        kept = np.append(others, np.ones(len(law.shape_names), dtype=bool))
        params = refit(fit, y[~inside], train, space, fit.params[kept])
        each = [
            predicted(law, params, Design(design.u[inside], z), space)
            for z in (np.tile(row, (inside.sum(), 1)) for row in np.eye(int(others.sum())))
        ]
        found[inside] = np.mean(each, axis=0)
    return found


def setting_means(data: Observations, space: Space) -> FloatArray:
    """(points,) mean over seeds, in the space of a fit."""
    return seed_mean(to_space(data.values, space), np.ones(len(data.seeds)))


def _try(law: Law, data: Observations, y: FloatArray, space: Space, floor: float) -> Candidate:
    design = design_of(data, law)
    num_params = design.z.shape[1] + len(law.shape_names) + 1
    num_domains = len(data.domain_names)
    problem = ""
    if len(y) < num_params + 2:
        problem = f"{len(y)} settings, {num_params + 2} are needed for {num_params} parameters"
    elif shares_amplitude(law, data) and num_domains < MIN_DOMAINS_FOR_DISTANCE:
        problem = f"{num_domains} domains, {MIN_DOMAINS_FOR_DISTANCE} are needed"
    fit = None if problem else robust_fit(law, y, design, space, floor)
    if fit is None:
        return Candidate(law, None, None, {}, None, problem or "the fit found nothing finite")
    errors = {
        axis: _extrapolation_error(fit, data, axis, y, design, space)
        for axis in data.own_axes
        if axis in GROWTH_AXES
    }
    held_out = {axis: error for axis, error in errors.items() if error is not None}
    left_out = leave_one_domain_out(data, fit, space)
    error = None if left_out is None else rms(y - left_out)
    return Candidate(law, fit, aicc(fit), held_out, error, left_out=left_out)


def _extrapolation_error(
    fit: Fit, data: Observations, axis: str, y: FloatArray, design: Design, space: Space
) -> float | None:
    """RMS error at an axis' largest value after a fit without it; None where that cannot be fitted."""
    if len(data.levels(axis)) < MIN_LEVELS:
        return None
    column = data.column(axis)
    small = column < column.max() * (1 - 1e-6)
    # A domain or a parameter that only the largest cells speak for cannot be predicted by the others.
    known = design.z[small].any(axis=0)
    if not known.all() or small.sum() < len(fit.params) + 1:
        return None
    params = refit(fit, y[small], design.rows(small), space)
    return rms(y[~small] - predicted(fit.law, params, design.rows(~small), space))


def _choose(tried: Sequence[Candidate]) -> Candidate:
    """The lowest AICc among those that beat the null model."""
    null = tried[0]
    better = [c for c in tried[1:] if _beats(c, null)]
    return min(better, key=lambda c: c.aicc or 0.0, default=null)


def _beats(candidate: Candidate, null: Candidate) -> bool:
    if candidate.aicc is None or null.aicc is None:
        return False
    if candidate.aicc > null.aicc - MIN_EVIDENCE:
        return False
    if null.held_out:
        if candidate.held_out.keys() != null.held_out.keys():
            return False
        if (candidate.extrapolation or 0.0) >= (null.extrapolation or 0.0):
            return False
    return True


def _order(result: Scaling | Refusal) -> tuple[str, str, float, int]:
    place = list(RESPONSES).index(result.response.name)
    subject = result.subject
    return subject.codec, subject.method, subject.strength, place
