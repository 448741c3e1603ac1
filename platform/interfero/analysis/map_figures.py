"""Figures of maps, and of methods at matched gain."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle

from interfero.analysis.choices import NAIVE
from interfero.analysis.figure_style import figure_style, method_style, rendered, settle
from interfero.analysis.maps import Map, Place, default_maps
from interfero.analysis.matched_gain import MatchedRow, matched_rows
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord
from interfero.store.files import write_atomic

MAP_INCHES = 3.6
"""Width of a panel: a column of a paper."""
ROW_INCHES = 0.45
TITLES = {
    GAIN: "target gain (%)",
    ROUTED: "source forgetting, routed (%)",
    UNROUTED: "source forgetting, unrouted (%)",
}
_COLOURS = "cividis"
"""Made to look the same to readers with and without colour vision deficiency (Nunez et al., 2018)."""
_MISSING: dict[str, Any] = {
    "facecolor": "#f4f4f4",
    "edgecolor": "#9a9a9a",
    "hatch": "////",
    "linewidth": 0,
}


def write_map_figures(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`map_METHOD.png` for each method with two axes that vary, and `matched_gain.png`; each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    figures = {
        f"map_{_file_name(maps[0].method)}": map_figure(maps) for maps in default_maps(records)
    }
    rows = matched_rows(records)
    if any(row.found for row in rows):
        figures["matched_gain"] = matched_figure(rows)
    return save_figures(figures, folder)


def save_figures(figures: dict[str, Figure], folder: Path) -> list[Path]:
    """A PNG and an SVG of each."""
    paths = []
    for name, figure in figures.items():
        for suffix in ("png", "svg"):
            path = folder / f"{name}.{suffix}"
            write_atomic(path, rendered(figure, suffix))
            paths.append(path)
    return paths


def map_figure(maps: Sequence[Map]) -> Figure:
    """One panel a map, side by side; they share method and axes.

    Each place shows its number. Hatched places were not run or did not finish; a dotted frame marks
    a mean over fewer settings than the other places have.
    """
    first = maps[0]
    with figure_style():
        height = ROW_INCHES * len(first.y_levels) + 2.1
        figure = Figure(figsize=(MAP_INCHES * len(maps), height), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, drawn in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps, strict=True):
            _draw_map(figure, axes, drawn)
        width = 48 * len(maps)
        lines = [f"{first.method}: {first.x.word} and {first.y.word}", first.rest]
        figure.suptitle("\n".join(part for line in lines for part in textwrap.wrap(line, width)))
        handles = _map_legend(maps)
        if handles:
            figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
        settle(figure)
    return figure


def _draw_map(figure: Figure, axes: Axes, drawn: Map) -> None:
    values = [p.value for row in drawn.places for p in row if p.value is not None]
    low, high = min(values), max(values)
    norm = Normalize(low, high if high > low else low + 1)
    colours = ScalarMappable(norm, _COLOURS)
    for y, row in enumerate(drawn.places):
        for x, place in enumerate(row):
            _draw_place(axes, (x, y), place, colours, partial=_partial(place, drawn))
    axes.set(xlim=(-0.5, len(drawn.x_levels) - 0.5), ylim=(-0.5, len(drawn.y_levels) - 0.5))
    axes.set_xticks(range(len(drawn.x_levels)), drawn.x_names)
    axes.set_yticks(range(len(drawn.y_levels)), drawn.y_names)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel=drawn.x.title, ylabel="\n".join(textwrap.wrap(drawn.y.title, 26)))
    axes.set_title(TITLES.get(drawn.metric, drawn.metric), loc="left", fontweight="bold")
    bar = figure.colorbar(colours, ax=axes, shrink=0.9, pad=0.02)
    bar.outline.set_visible(False)
    bar.ax.set_ylabel("%")


def _draw_place(
    axes: Axes, at: tuple[int, int], place: Place, colours: ScalarMappable, *, partial: bool
) -> None:
    corner = (at[0] - 0.48, at[1] - 0.48)
    if place.value is None:
        axes.add_patch(Rectangle(corner, 0.96, 0.96, **_MISSING))
        return
    colour = colours.to_rgba(np.array([place.value]))[0]
    axes.add_patch(Rectangle(corner, 0.96, 0.96, facecolor=colour, linewidth=0))
    dark = float(np.dot(colour[:3], (0.299, 0.587, 0.114))) < 0.5
    ink = "white" if dark else "black"
    if partial:
        inner = (at[0] - 0.43, at[1] - 0.41)
        axes.add_patch(
            Rectangle(inner, 0.86, 0.82, fill=False, edgecolor=ink, linestyle=":", linewidth=1.2)
        )
    axes.text(*at, _number(place.value), ha="center", va="center", color=ink)


def _number(value: float) -> str:
    return (
        f"{value:+.0f}"
        if abs(value) >= 99.5
        else f"{value:+.1f}"
        if abs(value) >= 9.95
        else f"{value:+.2f}"
    )


def _partial(place: Place, drawn: Map) -> bool:
    return place.value is not None and place.num_settings < drawn.num_settings


def _map_legend(maps: Sequence[Map]) -> list[Patch]:
    handles = []
    if any(drawn.num_missing for drawn in maps):
        handles.append(Patch(**_MISSING, label="no result"))
    if any(_partial(place, drawn) for drawn in maps for row in drawn.places for place in row):
        handles.append(
            Patch(fill=False, edgecolor="black", linestyle=":", label="mean over fewer settings")
        )
    return handles


def matched_figure(rows: Sequence[MatchedRow]) -> Figure:
    """Unrouted and routed forgetting of each method at shares of fine-tuning's gain.

    Small points are the single cases (a domain, lambda, image count and seed); large ones their mean.
    The numbers say in how many cases a method reaches the gain; elsewhere it has no value.
    """
    shares = sorted({row.share for row in rows})
    methods = list(dict.fromkeys(row.method for row in rows))
    with figure_style():
        height = 0.45 * len(methods) + 1.9
        figure = Figure(figsize=(2 * MAP_INCHES, height), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, len(shares), sharey=True, squeeze=False)[0]
        for axes, share in zip(panels, shares, strict=True):
            for y, method in enumerate(reversed(methods)):
                row = next(r for r in rows if (r.method, r.share) == (method, share))
                _draw_matched(axes, y, row)
            axes.axvline(0, color="#666666", linewidth=0.9, zorder=1.5)
            axes.set_title(f"at {share:.0%} of {NAIVE}'s gain", loc="left", fontweight="bold")
            axes.set_xlabel("source forgetting (%)")
            axes.margins(x=0.08)
        panels[0].set_yticks(range(len(methods)), list(reversed(methods)))
        panels[0].set_ylim(-0.5, len(methods) - 0.3)
        figure.suptitle("Forgetting at matched gain; gain matched on validation, results on test")
        figure.legend(handles=_matched_legend(), loc="outside lower center", ncols=3, frameon=False)
        settle(figure)
    return figure


def _draw_matched(axes: Axes, y: int, row: MatchedRow) -> None:
    look = method_style(row.method)
    total = len(row.found) + len(row.refused)
    for name, face, offset in (
        ("forgetting_unrouted", "white", 0.12),
        ("forgetting", look.colour, -0.12),
    ):
        values = [getattr(matched, name) for _, matched in row.found]
        axes.plot(
            values, [y + offset] * len(values), linestyle="none", marker=look.marker,
            markersize=3, color=look.colour, alpha=0.35, markeredgewidth=0, zorder=3,
        )  # fmt: skip
        mean = row.mean(name)
        if mean is not None:
            axes.plot(
                [mean], [y + offset], linestyle="none", marker=look.marker, color=look.colour,
                markerfacecolor=face, label=f"{row.method} {name}", zorder=4,
            )  # fmt: skip
    # Above the row, where no point can be.
    axes.annotate(
        f"{len(row.found)} of {total} cases", (1.0, y + 0.24), xycoords=("axes fraction", "data"),
        ha="right", va="bottom", color="#444444",
    )  # fmt: skip


def _matched_legend() -> list[Line2D]:
    return [
        Line2D(
            [], [], linestyle="none", marker="o", color="#444444", markerfacecolor=face,
            markersize=size, alpha=alpha, label=label,
        )
        for label, face, size, alpha in (
            ("mean, unrouted", "white", 6, 1.0),
            ("mean, routed", "#444444", 6, 1.0),
            ("single case", "#444444", 3, 0.35),
        )
    ]  # fmt: skip


def _file_name(method: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "-", method)
