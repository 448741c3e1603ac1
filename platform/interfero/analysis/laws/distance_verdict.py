"""Whether forgetting depends on how far a domain lies from the source, in one sentence.

Domains are what is drawn: a straight line is fitted to one value for each domain, the mean over settings
that all of them have, and its slope has Student's interval with two degrees of freedom less than domains. Of
several measures of distance the sentence gives the clearest, so the interval is corrected for how many were
tried (Bonferroni).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from interfero.analysis.axes import AXES, level
from interfero.analysis.capacity_table import counted
from interfero.analysis.cells import Cells
from interfero.analysis.comparable import comparable
from interfero.analysis.focus import focus_text, in_focus
from interfero.analysis.laws.observations import RESPONSES, Observations, Subject, observations
from interfero.analysis.laws.resampling import LEVEL
from interfero.analysis.laws.scaling import MIN_DOMAINS_FOR_DISTANCE
from interfero.domains.graded_names import parse_graded
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]
_Setting = tuple[Subject, tuple[tuple[str, float], ...]]

_FORGETTING = RESPONSES["forgetting_unrouted"]


@dataclass(frozen=True)
class Slope:
    """Change of forgetting where a distance is twice as large, with its interval."""

    axis: str
    """The measure of distance."""
    value: float
    half: float
    """Half the width of the interval."""
    log: bool
    """Whether these are natural logarithms of a factor; else percent of the source loss."""

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out that nothing changes."""
        return abs(self.value) > self.half


@dataclass(frozen=True)
class _Rows:
    """What each domain has at the settings that all of them have."""

    settings: list[_Setting]
    domains: list[str]
    percent: FloatArray
    """(settings, domains) unrouted forgetting, mean over seeds."""
    distances: dict[str, FloatArray]
    """By measure, (domains,): log2 of the distance, mean over settings."""


def verdict_lines(records: Iterable[CellRecord]) -> list[str]:
    """The sentence, if there is one."""
    line = distance_line(records)
    return [line] if line else []


def distance_line(records: Iterable[CellRecord]) -> str:
    """Whether distance matters, with number, interval and sample; empty with one domain or no distances.

    Severities of one corruption are no draws of domains: such domains do not count.
    """
    every = Cells(records)
    own = [r for r in in_focus(every) if parse_graded(str(r.params["domain"])) is None]
    found = {s: data for s, data in observations(Cells(own), _FORGETTING).items() if data.distances}
    names = {domain for data in found.values() for domain in data.domain_names}
    if len(names) < 2:
        return ""
    if len(names) < MIN_DOMAINS_FOR_DISTANCE:
        return _few(f"{len(names)} domains are too few")
    rows = _shared(found)
    if rows is None:
        return _few(f"too few of the {len(names)} domains have a setting in common")
    slopes = _slopes(rows)
    if not slopes:
        return ""
    best = max(slopes, key=lambda s: abs(s.value) / s.half if s.half else math.inf)
    where = focus_text(every)
    return _sentence(best, len(slopes), rows, f", {where}" if where else "")


def _few(why: str) -> str:
    return (
        f"Undecided whether a domain's distance matters for forgetting: {why}, at least "
        f"{MIN_DOMAINS_FOR_DISTANCE} are needed."
    )


def _shared(found: Mapping[Subject, Observations]) -> _Rows | None:
    """The largest block of settings and domains without a gap; None where too few domains share any."""
    place: dict[_Setting, dict[str, tuple[Observations, int]]] = defaultdict(dict)
    for subject, data in found.items():
        for i, domain in enumerate(data.domains):
            at = tuple((name, level(float(data.column(name)[i]))) for name in data.own_axes)
            place[subject, at][domain] = data, i
    units, domains = comparable(place, lambda names: len(names) >= MIN_DOMAINS_FOR_DISTANCE)
    if not units:
        return None
    settings, names = [s for s in place if s in units], sorted(domains)
    table = [[place[setting][name] for name in names] for setting in settings]
    points = np.array([[np.nanmean(data.values[i]) for data, i in row] for row in table])
    distances = {
        name: np.mean([[math.log2(d.column(name)[i]) for d, i in row] for row in table], axis=0)
        for name in AXES
        if all(name in found[subject].distances for subject, _ in settings)
    }
    return _Rows(settings, names, _FORGETTING.percent(points), distances)


def _slopes(rows: _Rows) -> list[Slope]:
    """One a measure that differs between the domains, each interval corrected for their number."""
    log = bool((rows.percent > 0).all())
    y = (np.log(rows.percent) if log else rows.percent).mean(axis=0)
    varying = {n: x for n, x in rows.distances.items() if len(set(map(level, x.tolist()))) > 1}
    wide = float(stdtrit(len(y) - 2, 1 - (1 - LEVEL) / 2 / max(1, len(varying))))
    found = []
    for name, x in varying.items():
        (slope, _), covariance = np.polyfit(x, y, 1, cov=True)
        found.append(Slope(name, float(slope), wide * math.sqrt(covariance[0, 0]), log))
    return found


def _sentence(slope: Slope, tried: int, rows: _Rows, where: str) -> str:
    middle, low, high = slope.value, slope.value - slope.half, slope.value + slope.half
    what = f"where the {AXES[slope.axis].word} is twice as large, unrouted forgetting is"
    if slope.log:
        factors = [f"{math.exp(v):.2f}" for v in (middle, low, high)]
        change, none = f"{factors[0]} times as large", "1, no change"
        interval = f"{factors[1]} to {factors[2]}"
    else:
        word = "higher" if middle > 0 else "lower"
        change, none = f"{abs(middle):.2f} percentage points {word}", "0, no change"
        interval = f"{low:+.2f} to {high:+.2f}"
    of = f"{100 * LEVEL:.0f} % interval {interval}"
    of += f", corrected for {tried} measures of distance" if tried > 1 else ""
    methods = list(dict.fromkeys(subject.text for subject, _ in rows.settings))
    who = counted(len(methods), "method") if len(methods) > 3 else ", ".join(methods)
    settings = counted(len(rows.settings), "setting")
    sample = f"{len(rows.domains)} domains, each the mean of {settings} of {who}{where}"
    if slope.decided:
        return f"A domain's distance matters: {what} {change} ({of}; {sample})."
    return (
        f"Undecided whether a domain's distance matters for forgetting: {what} {change}, but the interval "
        f"holds {none} ({of}; {sample})."
    )
