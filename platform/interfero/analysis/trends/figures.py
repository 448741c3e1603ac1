"""Figures of trends: gain above, forgetting below, a column for each domain or measure of distance."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from interfero.analysis.axes import AXES
from interfero.analysis.choices import CONTROL, NAIVE
from interfero.analysis.figure_style import figure_style, method_style, settle, symlog
from interfero.analysis.figures import SPREAD_LIMIT
from interfero.analysis.map_figures import save_figures
from interfero.analysis.trends.lines import DomainShift, Point, Trend

COLUMN_INCHES = 2.5
FIGURE_INCHES = 6.2
MAX_COLUMNS = 4
"""More would not be readable at a page's width; further domains go into figures of their own."""
GAIN_TITLE = "target gain (%)"
LOSS_TITLE = "forgetting, unrouted (%)"


@dataclass(frozen=True)
class _Row:
    """One response."""

    title: str
    mean: Callable[[Point], float]
    seeds: Callable[[Point], Collection[float]]


_ROWS = (
    _Row(GAIN_TITLE, lambda p: p.gain, lambda p: p.gains.values()),
    _Row(LOSS_TITLE, lambda p: p.forgetting, lambda p: p.losses.values()),
)


def write_trend_figures(found: Sequence[Trend], folder: Path, name: str) -> list[Path]:
    """`NAME.png`, of more than four domains `NAME_2.png` and so on; each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    domains = sorted({t.setting.domain for t in found})
    parts = [domains[i : i + MAX_COLUMNS] for i in range(0, len(domains), MAX_COLUMNS)]
    figures = {}
    for number, part in enumerate(parts, start=1):
        members = [t for t in found if t.setting.domain in part]
        figures[name if number == 1 else f"{name}_{number}"] = trend_figure(members)
    return save_figures(figures, folder)


def write_domain_figures(shifts: Sequence[DomainShift], folder: Path) -> list[Path]:
    """`domain_shift.png`, one for each lambda if there are several; each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    figures = {}
    lambdas = sorted({s.setting.rd_lambda for s in shifts if s.distances})
    for value in lambdas:
        members = [s for s in shifts if s.setting.rd_lambda == value and s.distances]
        name = "domain_shift" if len(lambdas) == 1 else f"domain_shift_{value:g}"
        figures[name] = domain_figure(members)
    return save_figures(figures, folder)


def trend_figure(found: Sequence[Trend]) -> Figure:
    """A column a domain; lines are methods, means over seeds with bars from minimum to maximum."""
    axis = AXES[found[0].axis]
    domains = sorted({t.setting.domain for t in found})
    with figure_style():
        figure, grid = _panels(len(domains))
        for column, domain in enumerate(domains):
            members = [t for t in found if t.setting.domain == domain]
            for row, line in zip(_ROWS, grid, strict=True):
                for trend in members:
                    x = [p.x for p in trend.points]
                    _draw(line[column], trend.method, x, trend.points, row, joined=True)
            _x_levels(grid[1][column], axis.text, sorted({p.x for t in members for p in t.points}))
            grid[0][column].set_title(domain, loc="left", fontweight="bold")
            grid[1][column].set_xlabel(axis.title)
        every = [p for t in found for p in t.points]
        _finish(figure, grid, every, [t.method for t in found], f"along {axis.word}")
    return figure


def domain_figure(shifts: Sequence[DomainShift]) -> Figure:
    """A column a measure of distance; domains stand in its order, evenly, with its value."""
    names = list(dict.fromkeys(n for s in shifts for n in s.distances))
    with figure_style():
        figure, grid = _panels(len(names))
        for column, name in enumerate(names):
            members = [s for s in shifts if name in s.distances]
            far = {p.domain: p.distances[name] for s in members for p in s.points}
            order = sorted(far, key=lambda d: (far[d], d))
            for row, line in zip(_ROWS, grid, strict=True):
                for shift in members:
                    x = [float(order.index(p.domain)) for p in shift.points]
                    points = [p.point for p in shift.points]
                    _draw(line[column], shift.method, x, points, row, joined=False)
            bottom = grid[1][column]
            labels = [f"{domain} {far[domain]:.3g}" for domain in order]
            bottom.set_xticks(
                range(len(order)), labels, rotation=50, ha="right", rotation_mode="anchor"
            )
            bottom.set_xlabel("\n".join(textwrap.wrap(f"by {AXES[name].title}", 30)))
        every = [p.point for s in shifts for p in s.points]
        what = f"by distance before adapting; lambda {shifts[0].setting.rd_lambda:g}"
        _finish(figure, grid, every, [s.method for s in shifts], what)
    return figure


def _panels(columns: int) -> tuple[Figure, list[list[Axes]]]:
    width = max(FIGURE_INCHES, COLUMN_INCHES * columns)
    figure = Figure(figsize=(width, 5.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, columns, squeeze=False, sharex="col", sharey="row")
    return figure, [list(row) for row in grid]


def _draw(
    axes: Axes, method: str, x: Sequence[float], points: Sequence[Point], row: _Row, *, joined: bool
) -> None:
    """Means over seeds, with bars from the smallest to the largest."""
    look = method_style(method)
    axes.errorbar(
        x,
        [row.mean(p) for p in points],
        yerr=[
            [row.mean(p) - min(row.seeds(p)) for p in points],
            [max(row.seeds(p)) - row.mean(p) for p in points],
        ],
        color=look.colour,
        marker=look.marker,
        markersize=4.5,
        linestyle="-" if joined else "none",
        capsize=2,
        zorder=3,
    )


def _x_levels(axes: Axes, text: Callable[[float], str], levels: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: text(v)))


def _finish(
    figure: Figure,
    grid: list[list[Axes]],
    points: Sequence[Point],
    methods: Sequence[str],
    what: str,
) -> None:
    """Scales that all columns share, title and legend."""
    for row, line in zip(_ROWS, grid, strict=True):
        for axes in line:
            axes.axhline(0, color="#666666", linewidth=0.9, zorder=1.5)
        line[0].set_ylabel(row.title)
        if max(abs(row.mean(p)) for p in points) > SPREAD_LIMIT:
            symlog(line[0], "y", 1)
            line[0].set_ylabel(line[0].get_ylabel().replace(", log", ",\nlog"))
    count = max(len(p.gains) for p in points)
    seeds = f"n = {count} seeds, bars from smallest to largest"
    seeds = "illustration, n = 1 seed" if count == 1 else seeds
    figure.suptitle(f"Gain and forgetting {what}\n{seeds}")
    order = sorted(set(methods), key=lambda m: (m != NAIVE, m == CONTROL, m))
    handles = [
        Line2D([], [], color=method_style(m).colour, marker=method_style(m).marker, label=m)
        for m in order
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
    settle(figure)
