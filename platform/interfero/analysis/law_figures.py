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

from interfero.analysis.axes import AXES, GROWTH_AXES
from interfero.analysis.figure_style import figure_style, method_style
from interfero.analysis.law_view import law_text
from interfero.analysis.laws import Design
from interfero.analysis.map_figures import MAP_INCHES, save_figures
from interfero.analysis.rd_curves import RdCurve, chosen_curves, rd_curves
from interfero.analysis.robust_fit import from_space, predicted
from interfero.analysis.scaling import (
    Candidate,
    Scaling,
    leave_one_domain_out,
    setting_means,
)
from interfero.engine.cells import CellRecord

FloatArray = npt.NDArray[np.float64]

MEAN_OF_OTHERS = "mean of the others"
BY_DISTANCE = "by distance"
_DOMAIN_LOOKS = (
    ("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D"), ("#E69F00", "v"),
    ("#56B4E9", "P"), ("#000000", "X"),
)  # fmt: skip
"""Okabe and Ito's colours again: where domains are told apart, methods are not."""


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
        figure.draw_without_rendering()
    return figure


def main_axis(scaling: Scaling) -> str:
    """The axis a law is drawn along: of those it has, the growth axis with most levels."""
    own = [a for a in scaling.chosen.law.axes if a in scaling.data.own_axes]
    axes = own or list(scaling.data.own_axes)
    return max(axes, key=lambda a: (a in GROWTH_AXES, len(scaling.data.levels(a))))


def _draw_law(axes: Axes, scaling: Scaling) -> None:
    data, law, design = scaling.data, scaling.chosen.law, scaling.design
    main = main_axis(scaling)
    x = data.column(main)
    fitted = predicted(law, scaling.fit.params, design, scaling.space)
    at_reference = Design(_only(design.u, law.axes, main), design.z)
    partial = predicted(law, scaling.fit.params, at_reference, scaling.space)
    y = setting_means(data, scaling.space)
    for index, name in enumerate(data.domain_names):
        colour, marker = _look(index)
        inside = np.array(data.domains) == name
        points = partial[inside] + y[inside] - fitted[inside]
        low, middle, high = (
            from_space(points + shift, scaling.space)
            for shift in (-scaling.seed_sd, 0.0, scaling.seed_sd)
        )
        axes.errorbar(
            x[inside], middle, yerr=[middle - low, high - middle], color=colour, marker=marker,
            linestyle="none", markersize=4.5, capsize=2, linewidth=1, label=name, zorder=3,
        )  # fmt: skip
        grid = np.geomspace(x.min(), x.max(), 60)
        z = np.tile(design.z[inside][0], (len(grid), 1))
        line = Design(_along(scaling, main, grid, design.u[inside].mean(axis=0)), z)
        axes.plot(grid, law.values(scaling.fit.params, line), color=colour, zorder=2)
    axes.set_xscale("log")
    levels = data.levels(main)
    axes.xaxis.set_major_locator(FixedLocator(levels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda v, _: AXES[main].text(v)))
    axes.set(xlabel=AXES[main].title, ylabel=scaling.response.title)
    if scaling.space == "log":
        _log_scale(axes, "y")
    others = [AXES[a].word for a in law.axes if a != main]
    axes.set_title(
        "\n".join(textwrap.wrap(f"at the mean of {', '.join(others)}", 42)) if others else "",
        loc="left",
    )


def _only(u: FloatArray, axes: tuple[str, ...], main: str) -> FloatArray:
    """Axes other than the main one at their references; distances stay, for they are the domain's."""
    kept = [axis == main or AXES[axis].by_domain for axis in axes]
    return np.asarray(u * np.array(kept, dtype=float))


def _along(scaling: Scaling, main: str, grid: FloatArray, mean_u: FloatArray) -> FloatArray:
    axes = scaling.chosen.law.axes
    centre = float(np.log(scaling.data.column(main)).mean())
    columns = []
    for index, axis in enumerate(axes):
        if axis == main:
            columns.append(np.log(grid) - centre)
        else:
            kept = mean_u[index] if AXES[axis].by_domain else 0.0
            columns.append(np.full(len(grid), kept))
    return np.column_stack(columns) if columns else np.zeros((len(grid), 0))


def _draw_left_out(axes: Axes, scaling: Scaling) -> None:
    data = scaling.data
    y = from_space(setting_means(data, scaling.space), scaling.space)
    drawn: list[FloatArray] = []
    ways = [(scaling.chosen, MEAN_OF_OTHERS), (scaling.nearest_distance, BY_DISTANCE)]
    for candidate, kind in ways:
        predictions = None if candidate is None else _left_out(candidate, scaling)
        if predictions is None:
            continue
        for index, name in enumerate(data.domain_names):
            colour, marker = _look(index)
            inside = np.array(data.domains) == name
            hollow = kind == MEAN_OF_OTHERS
            axes.plot(
                predictions[inside], y[inside], linestyle="none", marker=marker, color=colour,
                markersize=4.5, markerfacecolor="none" if hollow else colour,
                alpha=0.6 if hollow else 1.0, label=f"{name} {kind}", zorder=3,
            )  # fmt: skip
        drawn += [predictions, y]
    if not drawn:
        axes.set(xticks=[], yticks=[])
        axes.text(
            0.5, 0.5, f"{len(data.domain_names)} domains:\nnone can be left out",
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
    axes.set_title(_errors_text(scaling), loc="left")


def _errors_text(scaling: Scaling) -> str:
    """How far predictions of left-out domains are off."""

    def off(candidate: Candidate) -> str:
        error = candidate.left_out_domains or 0.0
        return f"{np.exp(error):.2f}-fold" if scaling.space == "log" else f"{error:.2f}"

    text = f"each domain left out: off by {off(scaling.chosen)}"
    best = scaling.nearest_distance
    if best is None:
        return text
    return f"{text},\n{off(best)} by {AXES[best.law.axes[-1]].word}"


def _left_out(candidate: Candidate, scaling: Scaling) -> FloatArray | None:
    if candidate.fit is None:
        return None
    found = leave_one_domain_out(scaling.data, candidate.fit, scaling.space)
    return None if found is None else from_space(found, scaling.space)


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


def _look(index: int) -> tuple[str, str]:
    return _DOMAIN_LOOKS[index % len(_DOMAIN_LOOKS)]


def _domain_legend(scaling: Scaling) -> list[Line2D]:
    handles = [
        Line2D([], [], color=_look(i)[0], marker=_look(i)[1], label=name)
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
        figure.draw_without_rendering()
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
