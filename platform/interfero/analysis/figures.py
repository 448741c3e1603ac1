"""Figures of a sweep, drawn without pyplot: the same picture in a driver, a test and a notebook."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from interfero.analysis.capacity_table import seeds_text
from interfero.analysis.choices import (
    CONTROL,
    CellSetting,
    Choice,
    choose_learning_rates,
    missing_settings,
    setting_of,
)
from interfero.analysis.figure_style import figure_style, method_style, rendered, settle, symlog
from interfero.metrics.names import FRACTION, GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord
from interfero.store.files import write_atomic

PANEL_INCHES = (3.6, 3.0)
TITLE_CHARACTERS = 85
SPREAD_LIMIT = 30
"""Percent: a forgetting axis that goes beyond is logarithmic beyond one percent."""
OUTLIER_FACTOR = 3
"""A gain axis is logarithmic beyond the chosen points if others lie this many times further out."""
FAINT = 0.28
"""Opacity of grid points that were not chosen."""
_ZERO_LINE = "#666666"
_NEUTRAL = "#444444"


def write_figures(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """A PNG and an SVG of each domain, `capacity_DOMAIN.png`.

    Raises:
        StorageError: the folder is not writable.
    """
    paths = []
    for domain in sorted({setting_of(r).domain for r in records}):
        figure = capacity_figure(records, domain)
        for suffix in ("png", "svg"):
            path = folder / f"capacity_{domain}.{suffix}"
            write_atomic(path, rendered(figure, suffix))
            paths.append(path)
    return paths


def capacity_figure(records: Sequence[CellRecord], domain: str) -> Figure:
    """How much adapter capacity a domain needs, and what each method destroys on the source.

    Left, target gain against adapter size as a share of the source codec's parameters; right, the
    learning/forgetting plane. One row a lambda and image count. Solid points are the learning rates
    that validation chose in each seed (mean over seeds, bars from minimum to maximum); faint points
    are the single cells of the grid.

    Args:
        records: All cells of a sweep; other domains tell which cells are missing here.
        domain: The target domain to draw.

    Raises:
        ValueError: the records hold no cell of that domain.
    """
    cases = sorted(
        {s.without_method for s in map(setting_of, records) if s.domain == domain}, key=_order
    )
    if not cases:
        known = sorted({setting_of(r).domain for r in records})
        raise ValueError(f"no cell of domain {domain!r}; the records have {known}")
    choices = [c for c in choose_learning_rates(records) if c.setting.domain == domain]
    with figure_style():
        width, height = PANEL_INCHES
        figure = Figure(figsize=(2 * width, height * len(cases) + 1.3), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(cases), 2, squeeze=False)
        for (left, right), case in zip(axes, cases, strict=True):
            members = [c for c in choices if c.setting.without_method == case]
            for axis, draw in ((left, _draw_gain), (right, _draw_plane)):
                (draw if members else _say_empty)(axis, members)
            if len(cases) > 1:
                left.set_title(_case_text(case, cases), loc="left", fontweight="bold")
        figure.suptitle("\n".join(_title_lines(records, domain, cases, choices)))
        figure.legend(handles=_legend(choices), loc="outside lower center", ncols=3, frameon=False)
        # The layout and all text are settled here, under this style, not where the figure is saved.
        settle(figure)
    return figure


def _order(case: CellSetting) -> tuple[float, int, int, str]:
    return case.rd_lambda, case.num_images, case.num_steps, case.codec


def _draw_gain(axes: Axes, choices: Sequence[Choice]) -> None:
    """Target gain against live trained parameters over the source codec's."""
    for choice in choices:
        _faint(axes, choice, FRACTION, GAIN, hollow=False)
    for method in dict.fromkeys(c.setting.method for c in choices):
        _gain_of_method(axes, method, [c for c in choices if c.setting.method == method])
    axes.axhline(0, color=_ZERO_LINE, linewidth=0.9, zorder=1.5)
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(min(low, 0.5), max(high, 1.6))
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}"))
    axes.set_xlabel("trained parameters, % of the source codec's\n(numbers: adapter size)")
    axes.set_ylabel(_gain_label(choices))
    _tame(axes, "y", choices)


def _gain_of_method(axes: Axes, method: str, choices: Sequence[Choice]) -> None:
    """Its chosen points over the sizes; a method without sizes is a level to compare with."""
    look = method_style(method)
    points = [(c, p) for c in choices if (p := _point(c, FRACTION, GAIN)) and p[0] > 0]
    if not points:
        return
    axes.errorbar(
        [x for _, (x, _) in points],
        [y for _, (_, y) in points],
        yerr=_spread([c for c, _ in points], GAIN),
        color=look.colour,
        marker=look.marker,
        capsize=2,
        label=method,
        zorder=4,
    )
    for choice, point in points:
        if choice.setting.adapter_size == 0:
            axes.axhline(point[1], color=look.colour, linestyle=(0, (4, 3)), linewidth=1, zorder=2)
            continue
        axes.annotate(
            str(choice.setting.adapter_size),
            (point[0], max(choice.values(GAIN))),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            color=look.colour,
            path_effects=[withStroke(linewidth=2.5, foreground="white")],
            zorder=5,
        )


def _draw_plane(axes: Axes, choices: Sequence[Choice]) -> None:
    """Forgetting of the source against target gain: filled is routed, hollow is unrouted."""
    for choice in choices:
        routed, unrouted = _point(choice, GAIN, ROUTED), _point(choice, GAIN, UNROUTED)
        _plane_point(axes, choice, ROUTED, routed)
        if unrouted != routed:
            _plane_point(axes, choice, UNROUTED, unrouted)
        if routed and unrouted and routed != unrouted:
            colour = method_style(choice.setting.method).colour
            both = zip(routed, unrouted, strict=True)
            axes.plot(*both, color=colour, linewidth=0.8, alpha=0.5, zorder=2)
    axes.axhline(0, color=_ZERO_LINE, linewidth=0.9, zorder=1.5)
    axes.axvline(0, color=_ZERO_LINE, linewidth=0.9, zorder=1.5)
    axes.set_xlabel(_gain_label(choices))
    axes.set_ylabel("source forgetting (%)")
    _tame(axes, "x", choices)
    lost = [v for metric in (ROUTED, UNROUTED) for v in _grid_values(choices, metric)]
    if lost and max(map(abs, lost)) > SPREAD_LIMIT:
        symlog(axes, "y", 1)


def _plane_point(
    axes: Axes, choice: Choice, metric: str, point: tuple[float, float] | None
) -> None:
    look, hollow = method_style(choice.setting.method), metric == UNROUTED
    _faint(axes, choice, GAIN, metric, hollow=hollow)
    if point is None:
        return
    axes.errorbar(
        [point[0]],
        [point[1]],
        xerr=_spread([choice], GAIN),
        yerr=_spread([choice], metric),
        color=look.colour,
        marker=look.marker,
        markerfacecolor="white" if hollow else look.colour,
        linestyle="none",
        capsize=2,
        label=f"{choice.setting.method} {'unrouted' if hollow else 'routed'}",
        zorder=4,
    )


def _gain_label(choices: Sequence[Choice]) -> str:
    """What is averaged: crops of a few pictures are no independent images."""
    return f"target RD gain (%)\nmean of test {choices[0].setting.image_unit}"


def _point(choice: Choice, x: str, y: str) -> tuple[float, float] | None:
    """Means over seeds of two metrics; None if one is missing."""
    point = choice.mean(x), choice.mean(y)
    return None if point[0] is None or point[1] is None else (point[0], point[1])


def _spread(choices: Sequence[Choice], metric: str) -> list[list[float]] | None:
    """Distances from the mean to the minimum and the maximum; None with one seed each."""
    if all(c.num_seeds == 1 for c in choices):
        return None
    low, high = [], []
    for choice in choices:
        mean, values = choice.mean(metric) or 0.0, choice.values(metric)
        low.append(max(0.0, mean - min(values)))
        high.append(max(0.0, max(values) - mean))
    return [low, high]


def _faint(axes: Axes, choice: Choice, x: str, y: str, *, hollow: bool) -> None:
    """The single cells of the whole grid; one that is its own mean is drawn solid elsewhere."""
    look = method_style(choice.setting.method)
    cells = [
        c.metrics
        for p in choice.grid
        for c in p.cells
        if (choice.num_seeds > 1 or c is not choice.picks[0].cell)
        and x in c.metrics
        and y in c.metrics
    ]
    axes.plot(
        [c[x] for c in cells],
        [c[y] for c in cells],
        linestyle="none",
        marker=look.marker,
        markersize=4,
        color=look.colour,
        markerfacecolor="none" if hollow else look.colour,
        markeredgewidth=0.8 if hollow else 0,
        alpha=FAINT,
        zorder=3,
    )


def _grid_values(choices: Sequence[Choice], metric: str) -> list[float]:
    cells = (c for choice in choices for p in choice.grid for c in p.cells)
    return [c.metrics[metric] for c in cells if metric in c.metrics]


def _tame(axes: Axes, which: Literal["x", "y"], choices: Sequence[Choice]) -> None:
    """Keep the chosen gains readable when a learning rate that was not chosen went far astray."""
    chosen = max((abs(v) for c in choices for v in c.values(GAIN)), default=0.0)
    every = max(map(abs, _grid_values(choices, GAIN)), default=0.0)
    if chosen > 0 and every > OUTLIER_FACTOR * chosen:
        symlog(axes, which, _round_up(chosen))


def _round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, ..."""
    decade = 10.0 ** math.floor(math.log10(value))
    return next(decade * step for step in (1, 2, 5, 10) if decade * step >= value)


def _say_empty(axes: Axes, choices: Sequence[Choice]) -> None:
    """Axes without ticks: zeros would be read as results."""
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, "no cell finished", transform=axes.transAxes, ha="center")


def _title_lines(
    records: Sequence[CellRecord],
    domain: str,
    cases: Sequence[CellSetting],
    choices: Sequence[Choice],
) -> list[str]:
    """The question, what the cells share, and what is missing."""
    alone, several = len(cases) == 1, any(c.num_seeds > 1 for c in choices)
    where = _case_text(cases[0], cases) if alone else "one row a lambda and image count"
    lines = [
        f"{domain}: gain on the target, damage on the source",
        f"{where}; {seeds_text(choices)}{', bars min to max' if several else ''}",
    ]
    here = [r for r in records if setting_of(r).domain == domain]
    failed = sum(r.status == "failed" for r in here)
    gaps = []
    if failed:
        gaps.append(f"{failed} of {len(here)} cells failed")
    empty = [m.setting for m in missing_settings(records) if m.setting.domain == domain]
    if empty:
        names = dict.fromkeys(f"{s.method} {s.adapter_size or ''}".strip() for s in empty)
        gaps.append(f"no result: {', '.join(names)}")
    return lines + textwrap.wrap("; ".join(gaps), TITLE_CHARACTERS)


def _case_text(case: CellSetting, cases: Sequence[CellSetting]) -> str:
    text = f"lambda {case.rd_lambda:g}, n = {case.num_images_text}"
    if len({c.num_steps for c in cases}) > 1:
        text += f", {case.num_steps} steps"
    told_apart = len({(c.rd_lambda, c.num_images, c.num_steps) for c in cases}) == len(cases)
    return text if told_apart else f"{text}, {case.codec}"


def _legend(choices: Sequence[Choice]) -> list[Line2D]:
    """Below the panels, where it covers no data."""
    if not choices:
        return []
    handles = []
    for method in dict.fromkeys(c.setting.method for c in choices):
        look = method_style(method)
        name = f"{method} (control)" if method == CONTROL else method
        handles.append(Line2D([], [], color=look.colour, marker=look.marker, label=name))
    for label, face, alpha in (
        ("routed", _NEUTRAL, 1.0),
        ("unrouted", "white", 1.0),
        ("single cells of the grid", _NEUTRAL, FAINT),
    ):
        handles.append(
            Line2D(
                [],
                [],
                linestyle="none",
                marker="o",
                color=_NEUTRAL,
                markerfacecolor=face,
                alpha=alpha,
                label=label,
            )
        )
    return handles
