"""Static figures of domain distance against forgetting and gain, the same points as in the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from interfero.analysis.figure_style import figure_style, settle
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.map_figures import save_figures
from interfero.analysis.report.distance import distance_figure
from interfero.analysis.report.figure_data import INK, MapPanel, Panel, Series
from interfero.records import CellRecord

PANEL_INCHES = (2.9, 3.4)


def write_distance_figures(
    records: Sequence[CellRecord], results: Sequence[Scaling | Refusal], folder: Path
) -> list[Path]:
    """`distance_METHOD_RESPONSE.png` of every method and response, each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    found = distance_figure(records, results)
    figures = {}
    for variant in found.variants if found else ():
        panels = [panel for panel in variant.panels if isinstance(panel, Panel)]
        title = f"{variant.choice[0]}: {variant.choice[1]} and domain distance"
        figures[variant.files[0].removesuffix(".png")] = panels_figure(panels, title)
    return save_figures(figures, folder)


def panels_figure(panels: Sequence[Panel | MapPanel], title: str) -> Figure:
    """Scatter panels of the report side by side."""
    with figure_style():
        width, height = PANEL_INCHES
        figure = Figure(figsize=(width * len(panels), height), layout="constrained")
        FigureCanvasAgg(figure)
        for axes, panel in zip(
            figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
        ):
            if isinstance(panel, Panel):
                _draw(axes, panel)
        handles, labels = figure.axes[0].get_legend_handles_labels()
        figure.suptitle(title)
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        settle(figure)
    return figure


def _draw(axes: Axes, panel: Panel) -> None:
    for series in panel.series:
        _draw_series(axes, series)
    for scale, axis in ((axes.set_xscale, panel.x), (axes.set_yscale, panel.y)):
        scale("log" if axis.scale == "log" else "linear")
    axes.set(xlabel=panel.x.label, ylabel=panel.y.label)
    axes.set_title(panel.title, loc="left", fontweight="bold")


def _draw_series(axes: Axes, series: Series) -> None:
    colour = "#000000" if series.colour == INK else series.colour
    for faint in (True, False):
        points = [p for p in series.points if p.faint == faint]
        axes.plot(
            [p.x for p in points], [p.y for p in points], linestyle="none", marker=series.marker,
            markersize=3 if faint else 5.5, color=colour, alpha=0.3 if faint else 1.0,
            markerfacecolor="none" if series.hollow else colour, markeredgewidth=0.9,
            label=None if faint else series.label, zorder=3,
        )  # fmt: skip
