"""Rate-distortion curves against the source codecs'."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from interfero.analysis.charts.data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
    seeds_sentence,
    span,
)
from interfero.analysis.charts.files import file_name
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.grouping import grouped
from interfero.analysis.rd_curves import (
    SIDE_TITLES,
    SIDES,
    RdCurve,
    Side,
    chosen_curves,
    rd_curves,
)
from interfero.records import CellRecord


def curve_figure(records: Sequence[CellRecord], runs: RunLinks) -> Figure | None:
    """None without two lambdas."""
    curves = [c for c in chosen_curves(rd_curves(records)) if len(c.points) > 1]
    if not curves:
        return None
    places = sorted({_place(c) for c in curves}, key=lambda p: (p[0], -p[1], -p[2], p[3]))
    most = {d: max((p[1], p[2]) for p in places if p[0] == d) for d in {p[0] for p in places}}
    variants = []
    for place in places:
        here = [c for c in curves if _place(c) == place]
        panels = tuple(_panel(here, side, runs) for side in SIDES)
        seeds = len({c.key.seed for c in here})
        drawn = most[place[0]] == place[1:3]
        variants.append(
            Variant(
                choice=(place[0], f"{place[1]} images, {place[2]} steps, {place[3]}"),
                panels=panels,
                caption=f"Here {place[3]} is adapted to {place[0]} with {place[1]} images and {place[2]} "
                f"steps.{seeds_sentence([seeds])} Both codecs code the same test images."
                f"{_astray_sentence(here)}",
                file=file_name("rd", place[0]) if drawn else "",
            )
        )
    return Figure(
        name="curves",
        title="Rate and distortion",
        selectors=("domain", "at"),
        variants=tuple(variants),
        note="The cells of a curve differ only in lambda, and each curve has one learning rate, chosen on "
        "validation. "
        "Each method is shown at the adapter size with the best mean validation gain.",
    )


def _place(curve: RdCurve) -> tuple[str, int, int, str]:
    s = curve.key.setting
    return s.domain, s.num_images, s.num_steps, s.codec


def _panel(curves: Sequence[RdCurve], side: Side, runs: RunLinks) -> Panel:
    here = [c for c in curves if c.side == side]
    series: list[Series] = []
    for method, every in grouped(here, lambda curve: curve.key.setting.method).items():
        best = _best_setting(every)
        whole = max(len(c.points) for c in best)
        full = [c for c in best if len(c.points) == whole]
        if not series:
            series.append(_source_series(full))
        astray = [c for c in full if c.astray]
        sound = [c for c in full if c not in astray]
        points = [_point(sound, i, runs) for i in range(whole)] if sound else []
        points += [replace(_point([c], i, runs), faint=True) for c in astray for i in range(whole)]
        series.append(method_style(method).series(method_label(method), points, line=True))
    return Panel(
        title=f"Test images: {SIDE_TITLES[side]}",
        x=PlotAxis("rate (bpp)"),
        y=PlotAxis("PSNR (dB)"),
        series=tuple(series),
    )


def _astray_sentence(curves: Sequence[RdCurve]) -> str:
    """` Curves with a cell that diverged are faint and in no mean: 1 of cawf.`; empty where none did."""
    counts = Counter(c.key.setting.method for c in curves if c.side == SIDES[0] and c.astray)
    text = ", ".join(f"{count} of {method}" for method, count in sorted(counts.items()))
    return f" Curves with a cell that diverged are faint and in no mean: {text}." if text else ""


def _best_setting(curves: Sequence[RdCurve]) -> list[RdCurve]:
    """The curves, one a seed, of the setting with the best mean validation gain."""
    settings = grouped(curves, lambda curve: curve.key.setting).values()
    return max(settings, key=lambda cs: math.fsum(c.validation or 0.0 for c in cs) / len(cs))


def _source_series(curves: Sequence[RdCurve]) -> Series:
    """Of the source codecs: the mean over seeds, which see the same test images."""
    points = []
    for index, first in enumerate(curves[0].points):
        at = [c.points[index].before for c in curves]
        x, y = (math.fsum(values) / len(values) for values in zip(*at, strict=True))
        lines = ("source codec", f"lambda {first.rd_lambda:g}", f"{x:.4f} bpp, {y:.2f} dB")
        points.append(PlotPoint(x, y, lines))
    return Series("source codec", INK, ".", tuple(points), line=True, dashed=True)


def _point(curves: Sequence[RdCurve], index: int, runs: RunLinks) -> PlotPoint:
    at = [c.points[index] for c in curves]
    x, y = (math.fsum(v) / len(v) for v in zip(*(p.after for p in at), strict=True))
    first = curves[0].key.setting
    size = f" {first.adapter_size}" if first.adapter_size else ""
    lines = [
        f"{first.method}{size} on {first.domain}",
        f"lambda {at[0].rd_lambda:g}: {x:.4f} bpp, {y:.2f} dB",
    ]
    for curve, point in zip(curves, at, strict=True):
        data_seed, init_seed = curve.key.seed
        lines.append(
            f"seed {data_seed}/{init_seed}: {point.after[0]:.4f} bpp, {point.after[1]:.2f} dB; "
            f"lr {curve.key.learning_rate:g}; {runs.text(point.cell)}"
        )
    xs, ys = ([p.after[i] for p in at] for i in (0, 1))
    return PlotPoint(x, y, tuple(lines), x_range=span(xs), y_range=span(ys))
