"""Laws fitted to a sweep: which form, with which exponents, how sure, and when there is none.

Of each method and response the candidates of `laws` are compared by AICc and by two errors on what was held
out: fitted to the small cells, asked for the largest; fitted without a domain, asked for its shape. A law is
chosen only if it beats the null model, a constant for each domain, clearly by AICc and at all by both errors.
AICc counts settings as independent, which they are not within a domain: left-out domains are the check that
knows it (cross-validation over clusters). What cannot be fitted is refused, with the reason.

A chosen law holds for the domains of the map. That it holds across domains is claimed only where an exponent
keeps its sign with domains as draws (`laws.left_out`), at a level corrected for the axes that were tried.

A domain that is not in the map has no amplitude. It gets a constant, the mean of the others', unless the law
or the law by a distance from the source errs less on the map's own domains when each is left out whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from interfero.analysis.axes import GROWTH_AXES, level
from interfero.analysis.laws.forms import Design, Law, candidates, with_distance
from interfero.analysis.laws.left_out import (
    WithoutDomains,
    left_out_predictions,
    mean_own_shape,
    shape_error,
    without_each_domain,
)
from interfero.analysis.laws.observations import (
    RESPONSES,
    Observations,
    Response,
    Subject,
    amplitude_names,
    design_of,
    observations,
    setting_means,
    shares_amplitude,
)
from interfero.analysis.laws.resampling import LEVEL, Bootstrap, bootstrap, half_width
from interfero.analysis.laws.robust_fit import (
    Fit,
    Space,
    aicc,
    choose_space,
    from_space,
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
    left_out_shape: float | None = None
    """The same with each domain's own level: of the shape alone."""
    note: str = ""
    without: WithoutDomains | None = field(default=None, compare=False, repr=False)
    """The law without each domain; None with fewer than three."""
    predictions: FloatArray | None = field(default=None, compare=False, repr=False)
    """(points,) in the space of the fit: each domain predicted from the others."""

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
    """Of the 95 % interval with domains as draws; with fewer than three, and of amplitudes, as `here`."""
    high: float
    here: tuple[float, float]
    """Of that for these domains: over seeds and source images, wide enough to hold the mean of the domains'
    own values, from which the common one may be off."""
    signed: bool
    """Whether an interval with domains as draws, corrected for the axes tried (Bonferroni), leaves out 0."""


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
    _resampled: dict[Law, Bootstrap] = field(default_factory=dict, compare=False, repr=False)

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

    def percent(self, values: FloatArray) -> FloatArray:
        """From the space of the fit."""
        return self.response.percent(from_space(values, self.space))

    def error_text(self, candidate: Candidate) -> str:
        """RMS error on domains left out whole: `1.40-fold`, or `2.10 log points`."""
        error = candidate.left_out_domains or 0.0
        return f"{np.exp(error):.2f}-fold" if self.space == "log" else f"{error:.2f} log points"

    @property
    def nearest_distance(self) -> Candidate | None:
        """The distance that predicts left-out domains best; None if none could be tried."""
        known = [c for c in self.by_distance if c.left_out_domains is not None]
        return min(known, key=lambda c: c.left_out_domains or 0.0, default=None)

    @property
    def without_distance(self) -> Candidate:
        """What a domain of unknown distance is predicted by: the law, or a constant that errs no more."""
        law, null = self.chosen.left_out_domains, self.null.left_out_domains
        return self.chosen if law is None or null is None or law < null else self.null

    @property
    def for_new_domains(self) -> Candidate:
        """What a domain outside of the map is predicted by: a distance only if it errs much less."""
        best, far = self.without_distance, self.nearest_distance
        if far is None or best.left_out_domains is None or far.left_out_domains is None:
            return best
        return far if far.left_out_domains < MAX_SHARE_OF_ERROR * best.left_out_domains else best

    def candidate_for(self, place: Collection[str]) -> Candidate:
        """What a new domain is predicted by, of which these axes are known."""
        best = self.for_new_domains
        return best if set(best.law.axes) <= set(place) else self.without_distance

    @cached_property
    def design(self) -> Design:
        """Of the chosen law."""
        return design_of(self.data, self.chosen.law)

    @property
    def resampled(self) -> Bootstrap:
        """Refits of the chosen law; the choice of the form is not repeated."""
        return self.resampled_of(self.chosen)

    def resampled_of(self, candidate: Candidate) -> Bootstrap:
        """Refits of a law that was fitted, computed once."""
        assert candidate.fit is not None
        if candidate.law not in self._resampled:
            design = design_of(self.data, candidate.law)
            found = bootstrap(self.data, candidate.fit, design, self.space)
            self._resampled[candidate.law] = found
        return self._resampled[candidate.law]

    def parameters(self) -> tuple[Parameter, ...]:
        """Shape of the chosen law with 95 % intervals, then the amplitudes.

        Intervals of amplitudes are in the space of the fit, so that none crosses zero in logarithms, and for
        these domains: each is a domain's own.
        """
        count = self.design.z.shape[1]
        names = amplitude_names(self.data, self.chosen.law) + self.chosen.law.shape_names
        found = [self._parameter(i, name, i < count) for i, name in enumerate(names)]
        return tuple(found[count:] + found[:count])

    @cached_property
    def shape(self) -> tuple[Parameter, ...]:
        """Exponents, slopes and what else the chosen law has but amplitudes."""
        return self.parameters()[: len(self.chosen.law.shape_names)]

    @property
    def form(self) -> str:
        """The chosen law's name as a sentence has it: `shifted power`."""
        return form_name(self.chosen)

    @cached_property
    def _own_shape(self) -> FloatArray | None:
        return mean_own_shape(self.data, self.fit, self.space)

    def _parameter(self, index: int, name: str, amplitude: bool) -> Parameter:
        value = float(self.fit.params[index])
        logs = amplitude and self.space == "log" and value > 0

        def read(params: FloatArray) -> float:
            return float(np.log(max(params[index], 1e-9))) if logs else float(params[index])

        def interval(half: float) -> tuple[float, float]:
            if logs:
                return value * float(np.exp(-half)), value * float(np.exp(half))
            return value - half, value + half

        here = self.resampled.variances(read)
        without = None if amplitude else self.chosen.without
        drawn = here if without is None else [*here, without.variance(read)]
        low, high = interval(half_width(drawn))
        own = None if amplitude else self._own_shape
        off = 0.0 if own is None else abs(value - float(own[index - self.design.z.shape[1]]))
        corrected = half_width(drawn, 1 - (1 - LEVEL) / max(1, len(self.data.own_axes)))
        these = interval(half_width(here) + off)
        return Parameter(name, value, low, high, these, abs(value) > corrected)

    @property
    def across_domains(self) -> bool:
        """Whether intervals speak for domains that are drawn like these, not for these alone."""
        return self.chosen.without is not None

    @property
    def covers(self) -> str:
        """What the intervals speak for."""
        return f"{self.data.drawn}, {self.covers_here}" if self.across_domains else self.covers_here

    @property
    def covers_here(self) -> str:
        """What those of these domains speak for."""
        if self.resampled.images is not None:
            return "seeds and source images"
        domains = self.data.images.of_one_source if self.data.images is not None else ()
        if not domains:
            return "seeds"
        each = " each" * (len(domains) > 1)
        return f"seeds only: the test images of {', '.join(domains)} come from one picture{each}"


def form_name(candidate: Candidate) -> str:
    """`shifted power` for `shifted_power`."""
    return candidate.law.name.replace("_", " ")


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
        reason = f"not even a constant for each {data.drawn_one} can be fitted: {tried[0].note}"
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
        value = float(data.response.percent(there[:1])[0])
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
            f"no axis has {MIN_LEVELS} levels within one {data.drawn_one} ({shown}): an exponent could "
            "not be checked"
        )
    return None


def _levels_within(data: Observations, axis: str) -> int:
    """Levels of the domain that has most: between domains nothing tells an axis from the domain."""
    found: dict[str, set[float]] = defaultdict(set)
    for domain, value in zip(data.domains, data.column(axis).tolist(), strict=True):
        found[domain].add(level(value))
    return max(map(len, found.values()))


def _try(law: Law, data: Observations, y: FloatArray, space: Space, floor: float) -> Candidate:
    design = design_of(data, law)
    num_params = design.z.shape[1] + len(law.shape_names) + 1
    num_domains = len(data.domain_names)
    problem = ""
    if len(y) < num_params + 2:
        problem = f"{len(y)} settings, {num_params + 2} are needed for {num_params} parameters"
    elif shares_amplitude(law, data) and num_domains < MIN_DOMAINS_FOR_DISTANCE:
        problem = f"{num_domains} {data.drawn}, {MIN_DOMAINS_FOR_DISTANCE} are needed"
    fit = None if problem else robust_fit(law, y, design, space, floor)
    if fit is None:
        return Candidate(law, None, None, {}, None, note=problem or "the fit found nothing finite")
    errors = {
        axis: _extrapolation_error(fit, data, axis, y, design, space)
        for axis in data.own_axes
        if axis in GROWTH_AXES
    }
    held_out = {axis: error for axis, error in errors.items() if error is not None}
    without = without_each_domain(data, fit, space)
    if without is None:
        return Candidate(law, fit, aicc(fit), held_out, None)
    predictions = left_out_predictions(data, law, without, space)
    shape = shape_error(data, law, without, space)
    whole = rms(y - predictions)
    return Candidate(law, fit, aicc(fit), held_out, whole, shape, "", without, predictions)


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
    """The lowest AICc among those that beat the null model, on domains left out too."""
    null = tried[0]
    better = [c for c in tried[1:] if _beats(c, null)]
    return min(better, key=lambda c: c.aicc or 0.0, default=null)


def _beats(candidate: Candidate, null: Candidate) -> bool:
    if candidate.aicc is None or null.aicc is None or candidate.aicc > null.aicc - MIN_EVIDENCE:
        return False
    if null.held_out and (
        candidate.held_out.keys() != null.held_out.keys()
        or (candidate.extrapolation or 0.0) >= (null.extrapolation or 0.0)
    ):
        return False
    if null.left_out_shape is None:
        return True
    return candidate.left_out_shape is not None and candidate.left_out_shape < null.left_out_shape


def _order(result: Scaling | Refusal) -> tuple[str, str, float, int]:
    place = list(RESPONSES).index(result.response.name)
    subject = result.subject
    return subject.codec, subject.method, subject.strength, place
