"""What an axis shows: the results that were chosen fill it, and what went astray is counted at its edge.

One diverged learning rate (-500 % next to +3 %) would otherwise set the scale and hide every other point.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from interfero.analysis.cells import DIVERGED_PERCENT
from interfero.analysis.charts.data import PlotAxis, PlotPoint, Range

SPREAD_LIMIT = 30.0
"""Percent: an axis that has to show more is logarithmic beyond one percent."""
FAINT_REACH = 1.0
"""Single cells further out than the chosen results' own span, or twice their own usual distance from their
median, stand at the edge."""
MARGIN = 0.06
"""Share of the span that is left free on both sides."""


@dataclass(frozen=True)
class Frame:
    """One axis of a panel."""

    kind: str
    """A scale of Vega's: linear, log or symlog."""
    low: float
    high: float

    def beyond(self, value: float) -> bool:
        """Whether a value has no place on the axis."""
        return not self.low <= value <= self.high

    def held(self, value: float) -> float:
        """The value, or the edge that is nearest to it."""
        return min(max(value, self.low), self.high)

    def forward(self, value: float) -> float:
        """To where distances are as they are drawn."""
        return _forward(value, self.kind)


def frame_of(axis: PlotAxis, points: Sequence[PlotPoint], which: str) -> Frame:
    """The part of an axis that serves what is drawn.

    Args:
        axis: Of the panel.
        points: All of the panel.
        which: `x` or `y`.
    """
    if axis.scale == "names":
        return Frame("linear", -0.5, max(len(axis.names), 1) - 0.5)
    chosen = _values(points, which, axis, faint=False)
    faint = _values(points, which, axis, faint=True)
    # Loss, however its axis is scaled; a number of images or dB has no such bound.
    loss = axis.scale == "percent" or "%" in axis.label
    limit = DIVERGED_PERCENT if loss else math.inf
    kept = [v for v in chosen if abs(v) <= limit] or chosen or faint
    if not kept:
        return Frame("linear", 0.0, 1.0)
    kind: str = axis.scale if axis.scale != "percent" else "linear"
    if axis.scale == "percent" and max(map(abs, kept)) > SPREAD_LIMIT:
        kind = "symlog"
    # A logarithmic axis of percent is read from zero.
    ends = [*kept, 0.0] if kind == "symlog" else kept
    low, high = (_forward(v, kind) for v in (min(ends), max(ends)))
    usual = [_forward(f, kind) for f in faint if abs(f) <= limit]
    reach = FAINT_REACH * (max(high - low, _half_width(usual)) or abs(high) or 1.0)
    near = [v for v in usual if low - reach <= v <= high + reach]
    low, high = min([low, *near]), max([high, *near])
    if high - low < 1e-9:
        room = max(0.1 * abs(low), 0.5) if kind == "linear" else 0.3
    else:
        room = MARGIN * (high - low)
    return Frame(kind, _back(low - room, kind), _back(high + room, kind))


def ticks_of(frame: Frame) -> list[float]:
    """Of a logarithmic axis; a linear one has the usual ones."""
    if frame.kind == "log":
        decades = range(math.floor(math.log10(frame.low)), math.ceil(math.log10(frame.high)) + 1)
        for factors in ((1, 2, 3, 5), (1, 2, 5), (1, 3), (1,)):
            ticks = [f * 10.0**e for e in decades for f in factors]
            seen = [t for t in ticks if frame.low <= t <= frame.high]
            if len(seen) <= 7:
                break
        return seen if len(seen) > 1 else _round_ticks(frame.low, frame.high)
    every = [0.0] + [s * v for v in (1, 3, 10, 30, 100, 300, 1e3, 1e4, 1e5) for s in (1, -1)]
    seen = sorted(v for v in every if frame.low <= v <= frame.high)
    return seen if len(seen) <= 8 else [v for v in seen if abs(v) not in (3, 30, 300)]


def _values(points: Sequence[PlotPoint], which: str, axis: PlotAxis, *, faint: bool) -> list[float]:
    found = []
    for point in points:
        if point.faint == faint:
            span: Range | None = getattr(point, f"{which}_range")
            found += [getattr(point, which), *(span or ())]
    return [v for v in found if math.isfinite(v) and (axis.scale != "log" or v > 0)]


def _round_ticks(low: float, high: float) -> list[float]:
    """Where a logarithmic axis is so short that none of the usual numbers is on it."""
    rough = (high - low) / 3
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(f * unit for f in (10, 5, 2, 1) if f * unit <= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [float(f"{step * i:.6g}") for i in range(first, last + 1)]


def _half_width(values: Sequence[float]) -> float:
    """Twice the median distance from the median: what fewer than half of the values do changes little."""
    if not values:
        return 0.0
    middle = median(values)
    return 2 * median(abs(v - middle) for v in values)


def _forward(value: float, kind: str) -> float:
    if kind == "log":
        return math.log10(value)
    return math.copysign(math.log10(1 + abs(value)), value) if kind == "symlog" else value


def _back(value: float, kind: str) -> float:
    if kind == "log":
        return float(10**value)
    return math.copysign(10 ** abs(value) - 1, value) if kind == "symlog" else value
