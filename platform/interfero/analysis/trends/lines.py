"""Gain and forgetting along one axis: what joins two points of a line differs in that axis alone."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from interfero.analysis.axes import AXES, DISTANCES
from interfero.analysis.choices import CellSetting, Choice, Seed, choose_learning_rates
from interfero.metrics.names import GAIN, UNROUTED, VALIDATION_GAIN
from interfero.records import CellRecord

TREND_AXES = ("num_images", "rd_lambda", "num_steps")
"""Params that a trend can be drawn along."""


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
class Trend:
    """A line of two points or more, by rising `x`."""

    axis: str
    setting: CellSetting
    """What the points share; the axis itself is 0."""
    points: tuple[Point, ...]

    @property
    def method(self) -> str:
        """Of all points."""
        return self.setting.method


@dataclass(frozen=True)
class DomainPoint:
    """What a method did to one domain, and how far the domain was from the source before that."""

    domain: str
    num_images_text: str
    distances: dict[str, float]
    """Axis name to value; those that every seed's cell has."""
    point: Point


@dataclass(frozen=True)
class DomainShift:
    """A method on several domains, all else the same but the image counts."""

    setting: CellSetting
    """What the points share; no domain, no image count."""
    points: tuple[DomainPoint, ...]
    """One a domain, at its largest image count."""

    @property
    def method(self) -> str:
        """Of all points."""
        return self.setting.method

    @property
    def distances(self) -> tuple[str, ...]:
        """Measures that every domain has."""
        return tuple(n for n in DISTANCES if all(n in p.distances for p in self.points))


def trends(records: Iterable[CellRecord], axis: str) -> list[Trend]:
    """Every line along an axis; of several adapter sizes the one with the best mean validation.

    Args:
        records: All cells of a sweep.
        axis: One of `TREND_AXES`.
    """
    if axis not in TREND_AXES:
        raise ValueError(f"a trend runs along one of {', '.join(TREND_AXES)}, got {axis!r}")
    lines: dict[CellSetting, list[Choice]] = defaultdict(list)
    for choice in choose_learning_rates(records):
        lines[_without(choice.setting, axis)].append(choice)
    found = [_trend(axis, setting, members) for setting, members in lines.items()]
    long_enough = [t for t in found if len(t.points) > 1]
    return sorted(_best_sizes(long_enough), key=lambda t: t.setting.order)


def domain_shifts(records: Iterable[CellRecord]) -> list[DomainShift]:
    """Every method on two domains or more."""
    groups: dict[CellSetting, list[Choice]] = defaultdict(list)
    for choice in choose_learning_rates(records):
        if _point(choice, 0.0) is not None:
            shared = replace(choice.setting, domain="", num_images=0, image_unit="")
            groups[shared].append(choice)
    shifts = []
    for setting, members in groups.items():
        largest: dict[str, Choice] = {}
        for choice in sorted(members, key=lambda c: c.setting.num_images):
            largest[choice.setting.domain] = choice
        points = tuple(_domain_point(choice) for _, choice in sorted(largest.items()))
        if len(points) > 1:
            shifts.append(DomainShift(setting, points))
    return sorted(_best_shift_sizes(shifts), key=lambda s: s.setting.order)


def _without(setting: CellSetting, axis: str) -> CellSetting:
    if axis == "num_images":
        return replace(setting, num_images=0)
    if axis == "rd_lambda":
        return replace(setting, rd_lambda=0.0)
    return replace(setting, num_steps=0)


def _trend(axis: str, setting: CellSetting, members: Sequence[Choice]) -> Trend:
    pairs = [(float(getattr(c.setting, axis)), c) for c in members]
    points = [_point(c, x) for x, c in sorted(pairs, key=lambda p: p[0])]
    return Trend(axis, setting, tuple(p for p in points if p is not None))


def _point(choice: Choice, x: float) -> Point | None:
    """None unless every chosen cell has been measured on target and source."""
    gains, losses = choice.by_seed(GAIN), choice.by_seed(UNROUTED)
    validation = choice.mean(VALIDATION_GAIN)
    if not gains or not losses or validation is None:
        return None
    return Point(x, gains, losses, validation)


def _domain_point(choice: Choice) -> DomainPoint:
    distances = {}
    for name in DISTANCES:
        values = [AXES[name].value(pick.cell) for pick in choice.picks]
        known = [v for v in values if v is not None]
        if len(known) == len(values):
            distances[name] = math.fsum(known) / len(known)
    point = _point(choice, 0.0)
    assert point is not None
    return DomainPoint(choice.setting.domain, choice.setting.num_images_text, distances, point)


def _best_sizes(found: Iterable[Trend]) -> list[Trend]:
    """More points first, then validation, then the smaller size."""

    def merit(trend: Trend) -> tuple[int, float, int]:
        mean = math.fsum(p.validation for p in trend.points) / len(trend.points)
        return len(trend.points), mean, -trend.setting.adapter_size

    best: dict[CellSetting, Trend] = {}
    for trend in found:
        key = replace(trend.setting, adapter_size=0)
        if key not in best or merit(trend) > merit(best[key]):
            best[key] = trend
    return list(best.values())


def _best_shift_sizes(found: Iterable[DomainShift]) -> list[DomainShift]:
    def merit(shift: DomainShift) -> tuple[int, float, int]:
        mean = math.fsum(p.point.validation for p in shift.points) / len(shift.points)
        return len(shift.points), mean, -shift.setting.adapter_size

    best: dict[CellSetting, DomainShift] = {}
    for shift in found:
        key = replace(shift.setting, adapter_size=0)
        if key not in best or merit(shift) > merit(best[key]):
            best[key] = shift
    return list(best.values())
