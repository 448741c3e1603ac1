"""Figures of very many cells: a browser opens a page of a few thousand marks, not of a hundred thousand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from interfero.analysis.charts.data import Figure, MapPanel, Panel, Series, Variant

MAX_FAINT = 4000
"""Faint marks of a panel: single cells, which no mean and no line needs."""


def thinned(figure: Figure) -> Figure:
    """The same figure with so many faint marks that it can be opened; captions say what is left out."""
    return replace(figure, variants=tuple(_variant(variant) for variant in figure.variants))


def _variant(variant: Variant) -> Variant:
    most = max(map(_num_faint, variant.panels), default=0)
    if most <= MAX_FAINT:
        return variant
    every = -(-most // MAX_FAINT)
    panels = tuple(p if isinstance(p, MapPanel) else _panel(p, every) for p in variant.panels)
    told = f"{variant.caption} There are {most:,} faint marks or fewer in each part: one of {every} is drawn."
    return replace(variant, panels=panels, caption=told)


def _num_faint(panel: Panel | MapPanel) -> int:
    if isinstance(panel, MapPanel):
        return 0
    return sum(point.faint for series in panel.series for point in series.points)


def _panel(panel: Panel, every: int) -> Panel:
    return replace(panel, series=tuple(_series(s, every) for s in panel.series))


def _series(series: Series, every: int) -> Series:
    """All other marks, and of the faint ones each that comes after so many; the first is one."""
    counted: Iterator[int] = iter(range(len(series.points)))
    kept = tuple(p for p in series.points if not p.faint or next(counted) % every == 0)
    return replace(series, points=kept)
