"""The Pareto front of each case as a figure: gain against forgetting, sizes by parameters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from interfero.analysis.choices import CONTROL, CellSetting, setting_of
from interfero.analysis.figure_style import figure_style, method_style, rendered, settle, symlog
from interfero.analysis.pareto import Front
from interfero.metrics.names import (
    GAIN,
    NUM_PARAMS,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic

PANELS = (
    ("validation: what fronts are made of", VALIDATION_GAIN, VALIDATION_UNROUTED),
    ("test: the same cells", GAIN, UNROUTED),
)
PANEL_INCHES = (3.6, 2.9)
SPREAD_LIMIT = 30
"""Percent: a forgetting axis that goes beyond is logarithmic beyond one percent."""
MARKER_POINTS = (3.5, 10.0)
"""Diameter for the fewest and for the most parameters; between them it grows with their logarithm."""
FAINT = 0.25
"""Opacity of cells that are on no front."""
_LINE, _NEUTRAL = "#666666", "#444444"


def write_front_figures(fronts: Sequence[Front], folder: Path) -> list[Path]:
    """A PNG and an SVG of each domain, `pareto_DOMAIN.png`.

    Raises:
        StorageError: the folder is not writable.
    """
    paths = []
    for domain in sorted({front.domain for front in fronts}):
        figure = pareto_figure([front for front in fronts if front.domain == domain])
        for suffix in ("png", "svg"):
            path = folder / f"pareto_{domain}.{suffix}"
            write_atomic(path, rendered(figure, suffix))
            paths.append(path)
    return paths


def pareto_figure(fronts: Sequence[Front]) -> Figure:
    """What target gain costs on the source, among cells that no other beats in everything.

    Left on validation, which decides; right the same cells on test. One row a lambda and image count,
    with one front a data seed. The line is the front in gain and forgetting alone: a member off the
    line has fewer parameters than those on it.

    Args:
        fronts: The cases of one target domain, one at least.
    """
    rows: dict[CellSetting, list[Front]] = defaultdict(list)
    for front in fronts:
        # Cases are in order, and so are the rows.
        rows[setting_of(front.cells[0]).without_method].append(front)
    diameter = _diameters([cell for front in fronts for cell in front.cells])
    with figure_style():
        width, height = PANEL_INCHES
        figure = Figure(figsize=(2 * width, height * len(rows) + 1.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(rows), 2, squeeze=False)
        for line, (case, here) in zip(axes, rows.items(), strict=True):
            for axis, (title, gain, forgetting) in zip(line, PANELS, strict=True):
                axis.set_ylabel("unrouted source forgetting (%)")
                _draw(axis, here, gain, forgetting, diameter)
                axis.set_title(title, loc="left")
            line[0].set_title(f"{_case_text(case)}\n{PANELS[0][0]}", loc="left")
        figure.suptitle("\n".join(_title_lines(fronts, max(map(len, rows.values())))))
        handles = _legend(fronts, diameter)
        figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)
        # The layout and all text are settled here, under this style, not where the figure is saved.
        settle(figure)
    return figure


def _draw(
    axes: Axes,
    fronts: Sequence[Front],
    gain: str,
    forgetting: str,
    diameter: Callable[[CellRecord], float],
) -> None:
    shown: list[float] = []
    for front in fronts:
        keys = {member.key for member in front.members}
        for cell in front.cells:
            if gain in cell.metrics and forgetting in cell.metrics:
                _point(axes, cell, gain, forgetting, diameter(cell), on_front=cell.key in keys)
                shown.append(cell.metrics[forgetting])
        if gain == VALIDATION_GAIN:
            axes.plot(
                [cell.metrics[gain] for cell in front.outline],
                [cell.metrics[forgetting] for cell in front.outline],
                # What has to be forgotten for more gain than the point to the left has.
                drawstyle="steps-pre", color=_LINE, linewidth=1.1, zorder=2.5,
            )  # fmt: skip
    axes.axhline(0, color=_LINE, linewidth=0.7, zorder=1.5)
    axes.axvline(0, color=_LINE, linewidth=0.7, zorder=1.5)
    axes.set_xlabel("target RD gain (%)")
    if shown and max(map(abs, shown)) > SPREAD_LIMIT:
        symlog(axes, "y", 1)


def _point(
    axes: Axes, cell: CellRecord, gain: str, forgetting: str, size: float, *, on_front: bool
) -> None:
    look = method_style(str(cell.params["method"]))
    axes.plot(
        [cell.metrics[gain]],
        [cell.metrics[forgetting]],
        linestyle="none",
        marker=look.marker,
        markersize=size,
        color=look.colour,
        markeredgecolor="white" if on_front else look.colour,
        markeredgewidth=0.5 if on_front else 0,
        alpha=1.0 if on_front else FAINT,
        zorder=4 if on_front else 3,
    )


def _diameters(cells: Sequence[CellRecord]) -> Callable[[CellRecord], float]:
    """The marker of a cell in points, by its live trained parameters."""
    counts = [max(1.0, cell.metrics[NUM_PARAMS]) for cell in cells]
    low, high = math.log(min(counts)), math.log(max(counts))
    small, large = MARKER_POINTS

    def diameter(cell: CellRecord) -> float:
        if high == low:
            return (small + large) / 2
        share = (math.log(max(1.0, cell.metrics[NUM_PARAMS])) - low) / (high - low)
        return small + share * (large - small)

    return diameter


def _title_lines(fronts: Sequence[Front], num_seeds: int) -> list[str]:
    members = sum(len(front.members) for front in fronts)
    cells = sum(len(front.cells) for front in fronts)
    seeds = f", one for each of {num_seeds} data seeds" if num_seeds > 1 else ""
    lines = [
        f"{fronts[0].domain}: {members} of {cells} finished cells are on a Pareto front",
        f"of gain, unrouted forgetting and parameters{seeds}",
    ]
    limit = fronts[0].max_forgetting
    if limit is not None:
        lines.append(f"feasible: routed forgetting of {limit:g} % at most")
    return lines


def _case_text(case: CellSetting) -> str:
    return f"lambda {case.rd_lambda:g}, n = {case.num_images_text}"


def _legend(fronts: Sequence[Front], diameter: Callable[[CellRecord], float]) -> list[Line2D]:
    cells = [cell for front in fronts for cell in front.cells]
    handles = []
    for method in sorted({str(cell.params["method"]) for cell in cells}):
        look = method_style(method)
        name = f"{method} (control)" if method == CONTROL else method
        handles.append(_handle(name, look.colour, look.marker))
    by_size = {cell.metrics[NUM_PARAMS]: cell for cell in cells}
    for count in sorted({min(by_size), max(by_size)}):
        size = diameter(by_size[count])
        handles.append(_handle(_count_text(count), _NEUTRAL, "o", size=size))
    handles.append(_handle("on no front", _NEUTRAL, "o", alpha=FAINT))
    handles.append(Line2D([], [], color=_LINE, label="front, parameters aside"))
    return handles


def _handle(label: str, colour: str, marker: str, *, size: float = 6, alpha: float = 1.0) -> Line2D:
    return Line2D(
        [], [], linestyle="none", color=colour, marker=marker, markersize=size, alpha=alpha,
        label=label, markeredgewidth=0,
    )  # fmt: skip


def _count_text(count: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit} parameters"
    return f"{count:.0f} parameters"
