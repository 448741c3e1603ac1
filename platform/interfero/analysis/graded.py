"""Known shifts: gain and forgetting against severity or share, and whether a distance foretells them.

Corruptions are the draws: severities of one corruption are not independent. So each corruption gives one
rank correlation and one change from its lowest severity to its highest, and a law by a distance is asked for
corruptions that were left out of its fit whole (`laws.left_out`). What it is compared with is a constant, the
mean of the other corruptions.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interfero.analysis.axes import AXES
from interfero.analysis.capacity_table import counted, signed
from interfero.analysis.choices import CONTROL, Seed
from interfero.analysis.laws.forms import Constant, Law, with_distance
from interfero.analysis.laws.left_out import left_out_predictions, without_each_domain
from interfero.analysis.laws.observations import (
    RESPONSES,
    Observations,
    Response,
    Subject,
    design_of,
    setting_means,
)
from interfero.analysis.laws.resampling import LEVEL, half_width
from interfero.analysis.laws.robust_fit import robust_fit
from interfero.analysis.trend_sentences import rank_correlation, subject_text
from interfero.analysis.trends import DomainPoint, DomainShift, Point
from interfero.domains.graded_names import CORRUPTIONS, parse_graded

FloatArray = npt.NDArray[np.float64]

MIN_LEVELS = 3
"""Two severities have a difference and no order to speak of."""
MIN_CORRUPTIONS = 6
"""Of five whose signs agree, chance gives as many in 6 % of cases. And a distance that has nothing to do with
forgetting seemed to foretell it, with three of them tried, in 14 % of simulated studies of 4 corruptions, in
4 % of 6 and in 1 % of 8 and of 15, where 5 % are allowed."""
MAX_CHANCE = 0.05
_WORDS = {"forgetting_unrouted": "unrouted forgetting", "gain": "gain on the target"}
"""Of each response, the more important one first."""


@dataclass(frozen=True)
class GradedFamily:
    """One corruption, or one mixture of two domains, by rising severity or share."""

    base: str
    name: str
    """The corruption, or `mix-` and the domain that is mixed in."""
    label: str
    """The name, with the base where there are several."""
    levels: tuple[int, ...]
    """Severities, or percents of the other domain's images."""
    points: tuple[DomainPoint, ...]
    """By level."""

    @property
    def is_corruption(self) -> bool:
        """Whether its levels are severities."""
        return self.name in CORRUPTIONS

    def values(self, response: str) -> list[float]:
        """Percent by level, means over seeds."""
        return [_mean(p.point, response) for p in self.points]

    def change(self, response: str) -> float:
        """From the lowest level to the highest, in percentage points."""
        values = self.values(response)
        return values[-1] - values[0]

    def rho(self, response: str) -> float:
        """Rank correlation with the level; 0 where nothing changes."""
        values = self.values(response)
        return rank_correlation(self.levels, values)[0] if len(set(values)) > 1 else 0.0


@dataclass(frozen=True)
class Foretold:
    """How well a distance, measured before adapting, foretells a response on corruptions left out whole."""

    distance: str
    """Name of the axis."""
    skill: float
    """1 less the ratio of its squared errors to the constant's: 1 is perfect, 0 is no better."""
    low: float
    high: float
    """Ends of an interval with corruptions as draws, corrected for the number of distances."""


def graded_families(shift: DomainShift) -> tuple[GradedFamily, ...]:
    """The domains of known shift, in the order of the corruptions, mixtures last."""
    found: dict[tuple[str, str], dict[int, DomainPoint]] = defaultdict(dict)
    for point in shift.points:
        graded = parse_graded(point.domain)
        if graded is not None:
            found[graded.base, graded.family][graded.level] = point
    several = len({base for base, _ in found}) > 1
    places = [*CORRUPTIONS, *sorted({name for _, name in found} - set(CORRUPTIONS))]
    return tuple(
        GradedFamily(
            base, name, f"{base}.{name}" if several else name, tuple(sorted(own)),
            tuple(point for _, point in sorted(own.items(), key=lambda item: item[0])),
        )
        for (base, name), own in sorted(found.items(), key=lambda f: (f[0][0], places.index(f[0][1])))
    )  # fmt: skip


def foretelling(shift: DomainShift, response: str) -> list[Foretold]:
    """Each measure of distance against the constant; empty with too few corruptions.

    The law is a power of the distance with one amplitude, the one that predicts for domains that a map does
    not have.

    Args:
        shift: A method on several domains.
        response: A name of `RESPONSES`.
    """
    families = [f for f in graded_families(shift) if f.is_corruption]
    names = [
        n for n in shift.distances if all(p.distances[n] > 0 for f in families for p in f.points)
    ]
    if len(families) < MIN_CORRUPTIONS:
        return []
    found = []
    for name in names:
        data = _observed(shift, families, name, RESPONSES[response])
        constant = _squares(data, Constant())
        law = _squares(data, with_distance(Constant(), name))
        if constant is not None and law is not None and constant.sum() > 0:
            found.append(_foretold(name, law, constant, len(names)))
    return found


def graded_lines(shifts: Sequence[DomainShift], after: str = "") -> list[str]:
    """What a known shift does, and whether a distance foretold it; nothing without domains of known shift.

    Args:
        shifts: Of one budget.
        after: `, after 1000 steps`, which one.
    """
    lines = []
    for shift in shifts:
        families = graded_families(shift)
        if shift.method == CONTROL or not families:
            continue
        who = subject_text(shift, shifts) + after.replace(",", "")
        ranked = [f for f in families if f.is_corruption and len(f.levels) >= MIN_LEVELS]
        if ranked:
            lines += [_severity_line(who, ranked, response) for response in _WORDS]
        lines += [_mixture_line(who, f) for f in families if f.name not in CORRUPTIONS]
        if any(f.is_corruption for f in families):
            lines += [_foretold_line(who, shift, response) for response in _WORDS]
    return lines


def _mean(point: Point, response: str) -> float:
    return point.gain if response == "gain" else point.forgetting


def _observed(
    shift: DomainShift, families: Sequence[GradedFamily], distance: str, response: Response
) -> Observations:
    """Corruptions take the place of domains: what is left out is one of them with all its severities."""
    rows = [(family.label, point) for family in families for point in family.points]
    values: list[Mapping[Seed, float]] = [
        p.point.gains if response.name == "gain" else p.point.losses for _, p in rows
    ]
    seeds = sorted({seed for row in values for seed in row})
    percent = np.array([[row.get(seed, np.nan) for seed in seeds] for row in values])
    return Observations(
        subject=Subject(shift.method, shift.setting.codec, shift.setting.strength),
        response=response,
        axes=(distance,),
        x=np.array([[p.distances[distance]] for _, p in rows]),
        domains=tuple(label for label, _ in rows),
        seeds=tuple(range(len(seeds))),
        values=response.log_points(percent),
        images=None,
        drawn="corruptions",
    )


def _squares(data: Observations, law: Law) -> FloatArray | None:
    """(corruptions,) squared errors on each when left out, in log points; None where nothing is fitted."""
    y, design = setting_means(data, "linear"), design_of(data, law)
    fit = robust_fit(law, y, design, "linear")
    without = None if fit is None else without_each_domain(data, fit, "linear")
    if without is None:
        return None
    errors = (y - left_out_predictions(data, law, without, "linear")) ** 2
    return np.array([errors[np.array(data.domains) == name].sum() for name in data.domain_names])


def _foretold(name: str, law: FloatArray, constant: FloatArray, num_distances: int) -> Foretold:
    """The ratio of two sums over corruptions, and its variance (the linear approximation of a ratio)."""
    count, ratio = len(law), float(law.sum() / constant.sum())
    rest = law - ratio * constant
    variance = count / (count - 1) * float(rest @ rest) / float(constant.sum()) ** 2
    half = half_width([(variance, count - 1)], 1 - (1 - LEVEL) / num_distances)
    return Foretold(name, 1 - ratio, 1 - ratio - half, 1 - ratio + half)


def _severity_line(who: str, families: Sequence[GradedFamily], response: str) -> str:
    # Takes a second to load, and most reports rank nothing.
    from scipy.stats import binomtest

    rhos = [f.rho(response) for f in families]
    rises, moved = sum(rho > 0 for rho in rhos), sum(rho != 0 for rho in rhos)
    chance = float(binomtest(rises, moved).pvalue) if moved else 1.0
    count, total = len(families), counted(len(families), "corruption")
    if count < MIN_CORRUPTIONS:
        verdict = f"cannot be decided to follow severity by {total}: {MIN_CORRUPTIONS} are needed"
    elif chance < MAX_CHANCE:
        verdict = f"{'grows' if rises > moved - rises else 'falls'} with severity"
    else:
        verdict = "neither clearly grows nor clearly falls with severity"
    changes = {f.label: f.change(response) for f in families}
    most, least = (pick(changes, key=lambda name: changes[name]) for pick in (max, min))
    return (
        f"{who}'s {_WORDS[response]} {verdict}. It rises in {rises} of {total} (sign test: "
        f"chance gives as uneven a count {chance:.0%} of the time); mean rank correlation "
        f"{np.mean(rhos):+.2f}. From the lowest severity to the highest it changes by "
        f"{_mean_text(list(changes.values()))}, most under {most} ({signed(changes[most])}), least under "
        f"{least} ({signed(changes[least])})."
    )


def _mean_text(changes: Sequence[float]) -> str:
    """`+1.20 percentage points on average (95 % interval, corruptions as draws: +0.40 to +2.00)`."""
    mean, count = math.fsum(changes) / len(changes), len(changes)
    text = f"{signed(mean)} percentage points on average"
    if count < 2:
        return text
    half = half_width([(float(np.var(changes, ddof=1)) / count, count - 1)])
    ends = f"{signed(mean - half)} to {signed(mean + half)}"
    return f"{text} ({LEVEL:.0%} interval, corruptions as draws: {ends})"


def _mixture_line(who: str, family: GradedFamily) -> str:
    graded = parse_graded(family.points[0].domain)
    assert graded is not None
    low, high = family.levels[0], family.levels[-1]
    parts, rhos = [], []
    for response in reversed(_WORDS):
        values = family.values(response)
        parts.append(
            f"{_WORDS[response]} goes from {signed(values[0])} % to {signed(values[-1])} %"
        )
        rhos.append(f"{family.rho(response):+.2f}" if len(values) >= MIN_LEVELS else "not known")
    return (
        f"As the share of {graded.other} in {family.base} rises from {low} to {high} %, {who}'s "
        f"{' and its '.join(parts)} (rank correlations {' and '.join(rhos)} over {len(family.levels)} "
        "shares; one mixture has no interval)."
    )


def _foretold_line(who: str, shift: DomainShift, response: str) -> str:
    what = f"{who}'s {_WORDS[response]}"
    count = sum(f.is_corruption for f in graded_families(shift))
    if count < MIN_CORRUPTIONS:
        return (
            f"Whether a distance measured before adapting foretells {what} cannot be told from "
            f"{counted(count, 'corruption')}: {MIN_CORRUPTIONS} are needed."
        )
    found = foretelling(shift, response)
    if not found:
        return f"No distance was measured that could foretell {what}."
    better = [AXES[f.distance].word for f in found if f.low > 0]
    parts = [
        f"{AXES[f.distance].word} {f.skill:+.2f} ({f.low:+.2f} to {f.high:+.2f})" for f in found
    ]
    answer = f"{' and '.join(better).capitalize()}, measured before adapting, foretold"
    answer = answer if better else "No distance measured before adapting foretold"
    return (
        f"{answer} {what} better than a constant on corruptions left out whole. Skill (1: perfect, 0: the "
        f"constant), with its interval over {count} corruptions, corrected for {len(found)} distances: "
        f"{', '.join(parts)}."
    )
