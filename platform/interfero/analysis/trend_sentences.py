"""What changes along an axis, and with a domain's distance, in sentences computed from the records."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import permutations

from interfero.analysis.axes import AXES
from interfero.analysis.capacity_table import signed, value_range
from interfero.analysis.choices import CONTROL, Seed
from interfero.analysis.sentences import ENOUGH
from interfero.analysis.trends import DomainShift, Point, Trend

MIN_RANKED = 4
"""Three domains have six orders: one in six agrees with any distance by chance."""
MAX_EXACT = 8
"""Domains whose orders are all counted, 40,320; beyond, scipy's approximation serves."""


def trend_lines(found: Sequence[Trend], after: str = "") -> list[str]:
    """A sentence or two a method: gain and forgetting at the axis' two ends.

    Args:
        found: Lines along one axis.
        after: `, after 1000 steps`, of which budget they are.
    """
    lines = []
    for method in dict.fromkeys(t.method for t in found if t.method != CONTROL):
        lines.append(_method_line([t for t in found if t.method == method], after))
    return lines


def enough_lines(found: Sequence[Trend], after: str = "") -> list[str]:
    """The smallest value on the axis that brings most of a method's best validation gain."""
    lines = []
    for method in dict.fromkeys(t.method for t in found if t.method != CONTROL):
        members = [t for t in found if t.method == method]
        places: dict[str, list[str]] = {}
        for trend in members:
            places.setdefault(_enough(trend), []).append(_place(trend, members))
        answer = "; ".join(f"{count} on {', '.join(names)}" for count, names in places.items())
        what = AXES[members[0].axis].title.capitalize()
        share = f"{100 * ENOUGH:.0f} % of {method}'s best validation gain{after}"
        lines.append(f"{what} needed for {share}: {answer}.")
    return lines


def domain_lines(shifts: Sequence[DomainShift], after: str = "") -> list[str]:
    """Where a method forgets and gains most, and whether distance measured before adapting predicts it.

    Args:
        shifts: Of one budget.
        after: `, after 1000 steps`, which one.
    """
    lines = []
    for shift in shifts:
        if shift.method == CONTROL:
            continue
        who = subject_text(shift, shifts)
        lost = sorted(shift.points, key=lambda p: p.point.forgetting)
        gained = sorted(shift.points, key=lambda p: p.point.gain)
        lines.append(
            f"{who} forgets most, unrouted, on {lost[-1].domain} "
            f"({signed(lost[-1].point.forgetting)} % of the source loss) and least on "
            f"{lost[0].domain} ({signed(lost[0].point.forgetting)} %); it gains most on "
            f"{gained[-1].domain} ({signed(gained[-1].point.gain)} %) and least on "
            f"{gained[0].domain} ({signed(gained[0].point.gain)} %){after}."
        )
        lines.append(_rank_line(who, shift))
    return lines


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Spearman's rho, and the share of all orders of `y` that reach its size by chance.

    Args:
        x: At least three values, not all the same.
        y: As many.
    """
    # Takes a second to load, and most reports rank nothing.
    from scipy.stats import rankdata, spearmanr

    found = spearmanr(x, y)
    rho = float(found.statistic)
    if len(x) > MAX_EXACT:
        return rho, float(found.pvalue)
    a, b = rankdata(x), rankdata(y)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float((a**2).sum() * (b**2).sum()))
    reached = [abs(float(a @ list(order))) / scale for order in permutations(b)]
    return rho, sum(r >= abs(rho) - 1e-9 for r in reached) / len(reached)


def _method_line(found: Sequence[Trend], after: str) -> str:
    axis = AXES[found[0].axis]
    ends = [(t.points[0], t.points[-1]) for t in found]
    low = value_range([a.x for a, _ in ends], axis.text)
    high = value_range([b.x for _, b in ends], axis.text)
    who = axis.title if axis.name == "num_images" else axis.word
    return (
        f"From {low} to {high} {who}{after}, {found[0].method}'s gain on the target changes "
        f"{_change(ends, lambda p: p.gain, lambda p: p.gains)}; unrouted forgetting changes "
        f"{_change(ends, lambda p: p.forgetting, lambda p: p.losses)}."
    )


def _change(
    ends: Sequence[tuple[Point, Point]],
    mean: Callable[[Point], float],
    each: Callable[[Point], Mapping[Seed, float]],
) -> str:
    """`from +1 to +2 % to +4 to +6 % (higher in 3 of 3 comparisons; all 3 seeds agree in 2)`."""
    first = value_range([mean(a) for a, _ in ends], signed)
    last = value_range([mean(b) for _, b in ends], signed)
    rises = sum(mean(b) > mean(a) for a, b in ends)
    text = f"from {first} % to {last} % (higher in {rises} of {len(ends)} comparisons"
    seeds = [len(each(a)) for a, _ in ends]
    if max(seeds) < 2:
        return f"{text})"
    signs = [{each(b)[seed] > each(a)[seed] for seed in each(a)} for a, b in ends]
    agree = sum(len(own) == 1 and n > 1 for own, n in zip(signs, seeds, strict=True))
    count = value_range([float(n) for n in seeds], "{:.0f}".format)
    return f"{text}; all {count} seeds agree in {agree})"


def _enough(trend: Trend) -> str:
    best = max(p.validation for p in trend.points)
    if best <= 0:
        return "none (no gain)"
    first = next(p for p in trend.points if p.validation >= ENOUGH * best)
    note = " (the largest number tried)" if first is trend.points[-1] else ""
    return f"{first.x:.0f}{note}"


def _place(trend: Trend, found: Sequence[Trend]) -> str:
    """The domain, and the lambda if lines differ in it."""
    several = len({t.setting.rd_lambda for t in found}) > 1
    return trend.setting.domain + (f" (lambda {trend.setting.rd_lambda:g})" if several else "")


def subject_text(shift: DomainShift, shifts: Sequence[DomainShift]) -> str:
    """The method, and the lambda where it was adapted at several."""
    lambdas = {s.setting.rd_lambda for s in shifts if s.method == shift.method}
    return shift.method + (f" at lambda {shift.setting.rd_lambda:g}" if len(lambdas) > 1 else "")


def _rank_line(who: str, shift: DomainShift) -> str:
    count = len(shift.points)
    if count < MIN_RANKED:
        return (
            f"Whether domain distance predicts how much {who} forgets cannot be told from {count} domains: "
            f"{MIN_RANKED} are needed."
        )
    lost = [p.point.forgetting for p in shift.points]
    parts = []
    for name in shift.distances:
        x = [p.distances[name] for p in shift.points]
        if len(set(x)) > 1 and len(set(lost)) > 1:
            rho, chance = rank_correlation(x, lost)
            parts.append(f"{AXES[name].word} {rho:+.2f} ({chance:.0%})")
    if not parts:
        return f"No distance was measured before {who} was trained."
    return (
        f"Rank correlation between {who}'s forgetting and domain distance measured before adapting, over "
        f"{count} domains (in parentheses, how often chance gives a correlation as large): "
        f"{', '.join(parts)}."
    )
