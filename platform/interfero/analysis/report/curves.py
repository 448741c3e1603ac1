"""Rate-distortion curves against the source codecs', and what they save."""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from interfero.analysis.capacity_table import signed, value_range
from interfero.analysis.figure_style import method_style
from interfero.analysis.rd_curves import (
    SIDE_TITLES,
    SIDES,
    Delta,
    NoDelta,
    RdCurve,
    SettingKey,
    Side,
    chosen_curves,
    rd_curves,
)
from interfero.analysis.report.capacity import colour_of, method_label
from interfero.analysis.report.figure_data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
)
from interfero.metrics.bd_rate import BjontegaardDelta
from interfero.records import CellRecord

NO_CURVES = "Every cell has the same lambda: a curve needs several, and a BD-rate four."


@dataclass(frozen=True)
class CurveRow:
    """One setting of the table of BD-rates: a text a side, and why one is missing."""

    setting: SettingKey
    num_seeds: int
    rates: tuple[str, ...]
    """By side."""
    psnrs: tuple[str, ...]
    reasons: tuple[str, ...]
    """Each once."""
    known: tuple[float | None, ...]
    """Mean BD-rate in percent by side; None where every seed's is missing."""


def curve_rows(records: Sequence[CellRecord]) -> list[CurveRow]:
    """The chosen curves of every setting; empty without two lambdas."""
    if len({r.params["rd_lambda"] for r in records if r.status == "finished"}) < 2:
        return []
    groups: dict[SettingKey, dict[str, list[RdCurve]]] = defaultdict(lambda: defaultdict(list))
    for curve in chosen_curves(rd_curves(records)):
        groups[curve.key.setting][curve.side].append(curve)
    return [_row(setting, sides) for setting, sides in sorted(groups.items())]


def _row(setting: SettingKey, sides: dict[str, list[RdCurve]]) -> CurveRow:
    deltas = [d for side in SIDES for c in sides[side] for d in (c.bd_rate, c.bd_psnr)]
    reasons = dict.fromkeys(d.reason for d in deltas if isinstance(d, NoDelta))
    return CurveRow(
        setting=setting,
        num_seeds=len({(c.key.data_seed, c.key.init_seed) for c in sides["target"]}),
        rates=tuple(delta_text([c.bd_rate for c in sides[side]], "%", 2) for side in SIDES),
        psnrs=tuple(delta_text([c.bd_psnr for c in sides[side]], "dB", 3) for side in SIDES),
        reasons=tuple(reasons),
        known=tuple(_mean([c.bd_rate for c in sides[side]]) for side in SIDES),
    )


def _mean(deltas: Sequence[Delta]) -> float | None:
    known = [d.value for d in deltas if isinstance(d, BjontegaardDelta)]
    return math.fsum(known) / len(known) if known else None


def delta_text(deltas: Sequence[Delta], unit: str, digits: int) -> str:
    """`-3.21 ± 0.40 % [87 %]`: mean, deviation over seeds, least overlap; or that it is missing."""
    known = [d for d in deltas if isinstance(d, BjontegaardDelta)]
    if not known:
        return "missing"
    values = [d.value for d in known]
    text = f"{math.fsum(values) / len(values):+.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    text += f" {unit} [{100 * min(d.overlap for d in known):.0f} %]"
    return text if len(known) == len(deltas) else f"{text}; {len(deltas) - len(known)} missing"


def curve_figure(records: Sequence[CellRecord], runs: RunLinks) -> Figure | None:
    """None without two lambdas."""
    curves = [c for c in chosen_curves(rd_curves(records)) if len(c.points) > 1]
    if not curves:
        return None
    by_key = {_cell_key(r): r for r in records if r.status == "finished"}
    places = sorted({_place(c) for c in curves}, key=lambda p: (p[0], -p[1], -p[2], p[3]))
    most = {d: max((p[1], p[2]) for p in places if p[0] == d) for d in {p[0] for p in places}}
    variants = []
    for place in places:
        here = [c for c in curves if _place(c) == place]
        panels = tuple(_panel(here, side, by_key, runs) for side in SIDES)
        seeds = len({(c.key.data_seed, c.key.init_seed) for c in here})
        drawn = most[place[0]] == place[1:3]
        variants.append(
            Variant(
                choice=(place[0], f"{place[1]} images, {place[2]} steps, {place[3]}"),
                panels=panels,
                caption=f"{place[0]}: adapted against source codecs on the same test images; "
                f"{place[1]} images, {place[2]} steps, {place[3]}; mean over {seeds} seeds.",
                files=(f"rd_{place[0]}.png", f"rd_{place[0]}.svg") if drawn else (),
            )
        )
    return Figure(
        name="curves",
        title="Rate and distortion",
        selectors=("domain", "at"),
        variants=tuple(variants),
        note="A curve is cells that differ in lambda alone, its learning rate chosen on validation for the "
        "whole curve. Of each method, the adapter size with the best mean validation gain.",
    )


def _place(curve: RdCurve) -> tuple[str, int, int, str]:
    return curve.key.domain, curve.key.num_images, curve.key.num_steps, curve.key.codec


def _cell_key(record: CellRecord) -> tuple[object, ...]:
    p = record.params
    return (
        p["domain"], p["num_images"], p["num_steps"], p["codec"], p["method"], p["adapter_size"],
        float(p.get("strength", 0)), float(p["learning_rate"]), p["data_seed"], p["init_seed"],
        float(p["rd_lambda"]),
    )  # fmt: skip


def _panel(
    curves: Sequence[RdCurve],
    side: Side,
    by_key: dict[tuple[object, ...], CellRecord],
    runs: RunLinks,
) -> Panel:
    here = [c for c in curves if c.side == side]
    series: list[Series] = []
    for method in dict.fromkeys(c.key.method for c in here):
        best = _best_setting([c for c in here if c.key.method == method])
        whole = max(len(c.points) for c in best)
        full = [c for c in best if len(c.points) == whole]
        if not series:
            series.append(_source_series(full))
        style = method_style(method)
        points = tuple(_point(full, i, by_key, runs) for i in range(whole))
        series.append(
            Series(method_label(method), colour_of(method), style.marker, points, line=True)
        )
    return Panel(
        title=f"Test images: {SIDE_TITLES[side]}",
        x=PlotAxis("rate (bpp)"),
        y=PlotAxis("PSNR (dB)"),
        series=tuple(series),
    )


def _best_setting(curves: Sequence[RdCurve]) -> list[RdCurve]:
    """The curves, one a seed, of the setting with the best mean validation gain."""
    settings: dict[SettingKey, list[RdCurve]] = defaultdict(list)
    for curve in curves:
        settings[curve.key.setting].append(curve)
    return max(
        settings.values(), key=lambda cs: math.fsum(c.validation or 0.0 for c in cs) / len(cs)
    )


def _source_series(curves: Sequence[RdCurve]) -> Series:
    """Of the source codecs: the mean over seeds, which see the same test images."""
    points = []
    for index, first in enumerate(curves[0].points):
        at = [c.points[index].before for c in curves]
        x, y = (math.fsum(values) / len(values) for values in zip(*at, strict=True))
        lines = ("source codec", f"lambda {first.rd_lambda:g}", f"{x:.4f} bpp, {y:.2f} dB")
        points.append(PlotPoint(x, y, lines))
    return Series("source codec", INK, ".", tuple(points), line=True, dashed=True)


def _point(
    curves: Sequence[RdCurve],
    index: int,
    by_key: dict[tuple[object, ...], CellRecord],
    runs: RunLinks,
) -> PlotPoint:
    at = [c.points[index] for c in curves]
    x, y = (math.fsum(v) / len(v) for v in zip(*(p.after for p in at), strict=True))
    first = curves[0].key
    size = f" {first.adapter_size}" if first.adapter_size else ""
    lines = [
        f"{first.method}{size} on {first.domain}",
        f"lambda {at[0].rd_lambda:g}: {x:.4f} bpp, {y:.2f} dB",
    ]
    for curve, point in zip(curves, at, strict=True):
        key = curve.key
        record = by_key.get((*_head(key), point.rd_lambda))
        where = f"; {runs.text(record)}" if record else ""
        lines.append(
            f"seed {key.data_seed}/{key.init_seed}: {point.after[0]:.4f} bpp, {point.after[1]:.2f} dB; "
            f"lr {key.learning_rate:g}{where}"
        )
    several = len(at) > 1
    xs, ys = ([p.after[i] for p in at] for i in (0, 1))
    return PlotPoint(
        x, y, tuple(lines),
        x_range=(min(xs), max(xs)) if several else None,
        y_range=(min(ys), max(ys)) if several else None,
    )  # fmt: skip


def _head(key: object) -> tuple[object, ...]:
    names = (
        "domain", "num_images", "num_steps", "codec", "method", "adapter_size", "strength",
        "learning_rate", "data_seed", "init_seed",
    )  # fmt: skip
    return tuple(getattr(key, name) for name in names)


def reason_kinds(reasons: Sequence[str]) -> list[str]:
    """Each kind of reason once, with the first one's numbers; curves differ in these alone."""
    kinds: dict[str, str] = {}
    for reason in reasons:
        short = reason.partition(": anchor")[0]
        kinds.setdefault(re.sub(r"[-\d.]+ ?%?", "#", short), short)
    return list(kinds.values())


def curve_lines(records: Sequence[CellRecord]) -> list[str]:
    """BD-rates in sentences: a method's reach over its settings, and why some are missing."""
    rows = curve_rows(records)
    if not rows:
        return []
    lines = []
    for method in dict.fromkeys(row.setting[4] for row in rows):
        own = [row for row in rows if row.setting[4] == method]
        parts = []
        for index, side in enumerate(SIDES):
            values = [row.known[index] for row in own if row.known[index] is not None]
            if values:
                reach = value_range([v for v in values if v is not None], signed)
                parts.append(f"{reach} % on the {SIDE_TITLES[side]} ({len(values)} curves)")
        if parts:
            lines.append(f"BD-rate of {method} against the source codecs: {'; '.join(parts)}.")
    reasons = reason_kinds([reason for row in rows for reason in row.reasons])
    if reasons:
        missing = sum(bool(row.reasons) for row in rows)
        lines.append(
            f"{missing} of {len(rows)} settings lack a BD-rate or BD-PSNR on some side: "
            f"{'; '.join(reasons)}."
        )
    return lines
