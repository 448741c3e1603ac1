"""Gain and forgetting along one axis: what joins two points of a line differs in that axis alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from interfero.analysis.axes import AXES, DISTANCES
from interfero.analysis.cells import once_for_cells
from interfero.analysis.choices import CellSetting, Choice, Seed, choose_learning_rates, seed_of
from interfero.analysis.comparable import comparable
from interfero.metrics.names import GAIN, UNROUTED, VALIDATION_GAIN
from interfero.records import CellRecord

TREND_AXES = ("num_images", "rd_lambda", "num_steps")
"""Params that a trend is drawn along."""
LINE_AXES = (*TREND_AXES, "adapter_size")
"""Params along which there are lines; figures of their own show adapter sizes."""


@dataclass(frozen=True)
class Point:
    """One setting, at the learning rate that validation chose in each seed."""

    x: float
    gains: Mapping[Seed, float]
    """Target gain in percent; a seed without a result is not among them."""
    losses: Mapping[Seed, float]
    """Forgetting of the source in percent, unrouted; of the same seeds."""
    validation: float
    """Mean validation gain in percent."""

    @property
    def gain(self) -> float:
        """Mean over seeds."""
        return math.fsum(self.gains.values()) / len(self.gains)

    @property
    def forgetting(self) -> float:
        """Mean over seeds, unrouted."""
        return math.fsum(self.losses.values()) / len(self.losses)


@dataclass(frozen=True)
class Astray:
    """A chosen cell that diverged, and is in no mean."""

    domain: str
    x: float
    seed: Seed
    gain: float | None
    """Percent, as the next one, unrouted."""
    forgetting: float | None
    distances: Mapping[str, float]
    """Of its domain, by the name of the measure."""


@dataclass(frozen=True)
class Trend:
    """A line of two points or more, by rising `x`."""

    axis: str
    setting: CellSetting
    """What the points share; the axis itself is 0."""
    points: tuple[Point, ...]
    astray: tuple[Astray, ...] = ()

    @property
    def method(self) -> str:
        """Of all points."""
        return self.setting.method


@dataclass(frozen=True)
class DomainPoint:
    """What a method did to one domain, and how far the domain was from the source before that."""

    domain: str
    distances: dict[str, float]
    """Axis name to value; those that every seed's cell has."""
    point: Point


@dataclass(frozen=True)
class DomainShift:
    """A method on several domains, all else the same: lambda, image count, size, steps and seeds."""

    setting: CellSetting
    """What the points share; no domain."""
    points: tuple[DomainPoint, ...]
    left_out: tuple[str, ...] = ()
    """Domains that have no result at this image count and these seeds."""
    astray: tuple[Astray, ...] = ()
    """Of every domain, whether it has a point or not."""

    @property
    def method(self) -> str:
        """Of all points."""
        return self.setting.method

    @property
    def distances(self) -> tuple[str, ...]:
        """Measures that every domain has."""
        return tuple(n for n in DISTANCES if all(n in p.distances for p in self.points))


_Line = TypeVar("_Line", Trend, DomainShift)


@once_for_cells
def trends(records: Iterable[CellRecord], axis: str) -> list[Trend]:
    """Every line along an axis; of several adapter sizes the one with the best mean validation.

    Args:
        records: All cells of a sweep.
        axis: One of `LINE_AXES`.
    """
    if axis not in LINE_AXES:
        raise ValueError(f"a trend runs along one of {', '.join(LINE_AXES)}, got {axis!r}")
    lines: dict[CellSetting, list[Choice]] = defaultdict(list)
    along: dict[str, Any] = {axis: 0}
    for choice in choose_learning_rates(records):
        lines[replace(choice.setting, **along)].append(choice)
    found = [_trend(axis, setting, members) for setting, members in lines.items()]
    long_enough = [t for t in found if len(t.points) > 1]
    best = _best(long_enough, lambda t: [p.validation for p in t.points])
    return sorted(best, key=lambda t: t.setting.order)


@once_for_cells
def domain_shifts(records: Iterable[CellRecord]) -> list[DomainShift]:
    """Every method on two domains or more, at the one image count that most of them share."""
    groups: dict[CellSetting, dict[int, list[Choice]]] = defaultdict(lambda: defaultdict(list))
    for choice in choose_learning_rates(records):
        if _point(choice, 0.0) is not None:
            shared = replace(choice.setting, domain="", num_images=0, image_unit="")
            groups[shared][choice.setting.num_images].append(choice)
    shifts = []
    for counts in groups.values():
        every = {c.setting.domain for choices in counts.values() for c in choices}
        found = [s for choices in counts.values() if (s := _domain_shift(choices, every))]
        if found:
            shifts.append(max(found, key=lambda s: (len(s.points), s.setting.num_images)))
    best = _best(shifts, lambda s: [p.point.validation for p in s.points])
    return sorted(best, key=lambda s: s.setting.order)


def _domain_shift(choices: Sequence[Choice], every: set[str]) -> DomainShift | None:
    """Of one image count, over the seeds that the domains share; None with fewer than two domains."""
    coverage: dict[Seed, set[str]] = defaultdict(set)
    for choice in choices:
        for seed in choice.by_seed(GAIN):
            coverage[seed].add(choice.setting.domain)
    seeds, domains = comparable(coverage)
    if not domains:
        return None
    points = tuple(
        _domain_point(c, seeds)
        for c in sorted(choices, key=lambda c: c.setting.domain)
        if c.setting.domain in domains
    )
    setting = replace(choices[0].setting, domain="", image_unit="images")
    astray = tuple(a for c in choices for a in _astray(c, 0.0))
    return DomainShift(setting, points, tuple(sorted(every - domains)), astray)


def _trend(axis: str, setting: CellSetting, members: Sequence[Choice]) -> Trend:
    """Its points are means over the seeds that all of them have."""
    by_x = {float(getattr(c.setting, axis)): c for c in members}
    coverage: dict[Seed, set[float]] = defaultdict(set)
    for x, choice in by_x.items():
        if _point(choice, x) is not None:
            for seed in choice.by_seed(GAIN):
                coverage[seed].add(x)
    seeds, places = comparable(coverage)
    points = [_point(by_x[x], x, seeds) for x in sorted(places)]
    astray = tuple(a for x, choice in sorted(by_x.items()) for a in _astray(choice, x))
    return Trend(axis, setting, tuple(p for p in points if p is not None), astray)


def _astray(choice: Choice, x: float) -> list[Astray]:
    """Cells that no point has; where every seed diverged the point itself is of them."""
    if choice.all_diverged:
        return []
    found = []
    for cell in (p.cell for p in choice.picks if p.cell.key in choice.diverged):
        known = {name: AXES[name].value(cell) for name in DISTANCES}
        found.append(
            Astray(
                domain=choice.setting.domain,
                x=x,
                seed=seed_of(cell),
                gain=cell.metrics.get(GAIN),
                forgetting=cell.metrics.get(UNROUTED),
                distances={name: v for name, v in known.items() if v is not None},
            )
        )
    return found


def _point(choice: Choice, x: float, seeds: Collection[Seed] | None = None) -> Point | None:
    """Of some seeds, or all; None unless every chosen cell has been measured on target and source."""
    metrics = (GAIN, UNROUTED, VALIDATION_GAIN)
    gains, losses, known = (
        {s: v for s, v in choice.by_seed(m).items() if seeds is None or s in seeds} for m in metrics
    )
    if not gains or not losses or not known:
        return None
    return Point(x, gains, losses, math.fsum(known.values()) / len(known))


def _domain_point(choice: Choice, seeds: Collection[Seed]) -> DomainPoint:
    distances = {}
    for name in DISTANCES:
        values = [AXES[name].value(pick.cell) for pick in choice.picks]
        known = [v for v in values if v is not None]
        if len(known) == len(values):
            distances[name] = math.fsum(known) / len(known)
    point = _point(choice, 0.0, seeds)
    assert point is not None
    return DomainPoint(choice.setting.domain, distances, point)


def _best(found: Iterable[_Line], validation: Callable[[_Line], list[float]]) -> list[_Line]:
    """Of each method's sizes one: more points first, then validation, then the smaller size."""
    best: dict[CellSetting, tuple[tuple[int, float, int], _Line]] = {}
    for line in found:
        key, values = replace(line.setting, adapter_size=0), validation(line)
        merit = len(values), math.fsum(values) / len(values), -line.setting.adapter_size
        if key not in best or merit > best[key][0]:
            best[key] = merit, line
    return [line for _, line in best.values()]
