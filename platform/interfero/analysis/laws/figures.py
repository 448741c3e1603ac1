"""Figures of fitted laws, of domains left out, and of rate-distortion curves."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from interfero.analysis.axes import AXES
from interfero.analysis.figure_style import figure_style, method_style, settle
from interfero.analysis.laws.scaling import Scaling
from interfero.analysis.laws.view import (
    BY_DISTANCE,
    MEAN_OF_OTHERS,
    domain_laws,
    domain_look,
    errors_text,
    law_text,
    left_out_domains,
    main_axis,
    measured,
    nothing_left_out,
    others_text,
)
from interfero.analysis.map_figures import MAP_INCHES, save_figures
from interfero.analysis.rd_curves import RdCurve, chosen_curves, rd_curves
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]


def write_law_figures(results: Sequence[object], folder: Path) -> list[Path]:
    """`law_METHOD_RESPONSE.png` of every law that was fitted, each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    figures = {
        f"law_{r.subject.method}_{r.response.name}": law_figure(r)
        for r in results
        if isinstance(r, Scaling)
    }
    return save_figures(figures, folder)


def write_curve_figures(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`rd_DOMAIN.png` of every domain with two lambdas or more, each as SVG too.

    Raises:
        StorageError: the folder is not writable.
    """
    curves = [c for c in chosen_curves(rd_curves(records)) if len(c.points) > 1]
    domains = sorted({c.key.domain for c in curves})
    return save_figures({f"rd_{d}": curve_figure(curves, d) for d in domains}, folder)


def law_figure(scaling: Scaling) -> Figure:
    """Left, the law along its main axis; right, each domain predicted from the others alone.

    Points on the left are settings moved along the law to the other axes' geometric means (partial
    residuals), so that what is left is scatter about the law; bars reach one standard deviation of
    seeds. On the right, hollow points are predicted with the mean of the other domains' amplitudes, filled
    ones by the distance that predicts best, which is tried from four domains on.
    """
    with figure_style():
        figure = Figure(figsize=(2 * MAP_INCHES, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        left, right = figure.subplots(1, 2)
        _draw_law(left, scaling)
        _draw_left_out(right, scaling)
        title = f"{scaling.subject.text}: {scaling.response.title}"
        figure.suptitle("\n".join([title, *textwrap.wrap(law_text(scaling), 95)]))
        figure.legend(
            handles=_domain_legend(scaling), loc="outside lower center", ncols=4, frameon=False
        )
        settle(figure)
    return figure


def _draw_law(axes: Axes, scaling: Scaling) -> None:
    main = main_axis(scaling)
    for index, one in enumerate(domain_laws(scaling)):
        colour, marker = domain_look(index)
        axes.errorbar(
            one.x, one.y, yerr=[one.y - one.low, one.high - one.y], color=colour, marker=marker,
            linestyle="none", markersize=4.5, capsize=2, linewidth=1, label=one.domain, zorder=3,
        )  # fmt: skip
        axes.plot(one.line_x, one.line_y, color=colour, zorder=2)
    axes.set_xscale("log")
    levels = scaling.data.levels(main)
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: AXES[main].text(v)))
    axes.set(xlabel=AXES[main].title, ylabel=scaling.response.title)
    if scaling.space == "log":
        _log_scale(axes, "y")
    axes.set_title("\n".join(textwrap.wrap(others_text(scaling), 42)), loc="left")


def _draw_left_out(axes: Axes, scaling: Scaling) -> None:
    data = scaling.data
    y = measured(scaling)
    drawn: list[FloatArray] = []
    for way in left_out_domains(scaling):
        for index, name in enumerate(data.domain_names):
            colour, marker = domain_look(index)
            inside = np.array(data.domains) == name
            hollow = way.kind == MEAN_OF_OTHERS
            axes.plot(
                way.predicted[inside], y[inside], linestyle="none", marker=marker, color=colour,
                markersize=4.5, markerfacecolor="none" if hollow else colour,
                alpha=0.6 if hollow else 1.0, label=f"{name} {way.kind}", zorder=3,
            )  # fmt: skip
        drawn += [way.predicted, y]
    if not drawn:
        axes.set_axis_off()
        axes.text(
            0.5, 0.5, nothing_left_out(scaling).replace(": ", ":\n"),
            transform=axes.transAxes, ha="center", va="center",
        )  # fmt: skip
        return
    every = np.concatenate(drawn)
    ends = [every.min(), every.max()]
    axes.plot(ends, ends, color="#666666", linewidth=0.9, zorder=1.5)
    if scaling.space == "log":
        _log_scale(axes, "x")
        _log_scale(axes, "y")
    name = scaling.response.title
    axes.set(xlabel=f"predicted from the other domains:\n{name}", ylabel=f"measured:\n{name}")
    axes.set_title(errors_text(scaling), loc="left")


def _log_scale(axes: Axes, which: str) -> None:
    """Plain numbers at 1, 2 and 5 of each decade that shows."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    low, high = axis.get_view_interval()
    ticks = [f * 10.0**e for e in range(-4, 6) for f in (1, 2, 5) if low <= f * 10.0**e <= high]
    wide = len(ticks) > 7
    axis.set_major_locator(FixedLocator([t for t in ticks if not wide or f"{t:e}"[0] == "1"]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))


def _domain_legend(scaling: Scaling) -> list[Line2D]:
    handles = [
        Line2D([], [], color=domain_look(i)[0], marker=domain_look(i)[1], label=name)
        for i, name in enumerate(scaling.data.domain_names)
    ]
    kinds = [MEAN_OF_OTHERS] if scaling.chosen.left_out_domains is not None else []
    kinds += [BY_DISTANCE] if scaling.nearest_distance is not None else []
    for kind in kinds:
        face = "none" if kind == MEAN_OF_OTHERS else "#444444"
        handles.append(
            Line2D(
                [], [], linestyle="none", marker="o", color="#444444", markerfacecolor=face,
                label=kind,
            )
        )  # fmt: skip
    return handles


def curve_figure(curves: Sequence[RdCurve], domain: str) -> Figure:
    """Rate-distortion curves of one domain: the source codecs', and each method's mean over seeds.

    Target on the left, source (unrouted) on the right, at the largest image count and step count and
    each method's size with the best validation.
    """
    here = [c for c in curves if c.key.domain == domain]
    most = max((c.key.num_images, c.key.num_steps) for c in here)
    here = [c for c in here if (c.key.num_images, c.key.num_steps) == most]
    methods = list(dict.fromkeys(c.key.method for c in here))
    with figure_style():
        figure = Figure(figsize=(2 * MAP_INCHES, 3.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = figure.subplots(1, 2)
        for axes, side in zip(panels, ("target", "source_unrouted"), strict=True):
            members = [c for c in here if c.side == side]
            for number, method in enumerate(methods):
                _draw_curve(axes, method, _best_setting(members, method), first=number == 0)
            axes.set(xlabel="rate (bpp)", ylabel="PSNR (dB)")
            title = "target" if side == "target" else "source"
            how = "" if side == "target" else ", unrouted"
            axes.set_title(f"{title} test images{how}", loc="left", fontweight="bold")
        seeds = len({(c.key.data_seed, c.key.init_seed) for c in here})
        figure.suptitle(
            f"{domain}: adapted against source codecs\n{most[0]} images, {most[1]} steps; "
            f"mean over {seeds} seed{'s' if seeds > 1 else ''}"
        )
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
        settle(figure)
    return figure


def _best_setting(curves: Sequence[RdCurve], method: str) -> list[RdCurve]:
    """The curves, one a seed, of the method's setting with the best mean validation gain."""
    settings: dict[tuple[object, ...], list[RdCurve]] = {}
    for curve in curves:
        if curve.key.method == method:
            settings.setdefault(curve.key.setting, []).append(curve)

    def merit(members: list[RdCurve]) -> float:
        return sum(c.validation or 0.0 for c in members) / len(members)

    return max(settings.values(), key=merit, default=[])


def _draw_curve(axes: Axes, method: str, curves: Sequence[RdCurve], *, first: bool) -> None:
    whole = max((len(c.points) for c in curves), default=0)
    full = [c for c in curves if len(c.points) == whole and whole]
    if not full:
        return
    before, after = (
        np.mean([[getattr(p, when) for p in c.points] for c in full], axis=0)
        for when in ("before", "after")
    )
    if first:
        axes.plot(*before.T, color="#000000", marker=".", linestyle="--", label="source codec")
    look = method_style(method)
    axes.plot(*after.T, color=look.colour, marker=look.marker, markersize=4.5, label=method)
