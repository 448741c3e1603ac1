"""Lines that the MLflow UI draws by itself: metrics of the sweep whose step is the axis."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from interfero.analysis.choices import CONTROL, CellSetting
from interfero.analysis.rd_curves import RdCurve, chosen_curves, rd_curves
from interfero.analysis.trends import Point, trends
from interfero.records import CellRecord

Line = list[tuple[int, float]]
"""(step, value), by rising step."""
STEP_AXES = ("adapter_size", "num_images", "num_steps")
"""Whole numbers, as MLflow's steps are; lambda is not."""
MAX_LINES = 60
"""Of one kind; the UI draws a chart for each metric, and the report shows more together."""
_VALUES: Mapping[str, Callable[[Point], float]] = {
    "gain_percent": lambda p: p.gain,
    "forgetting_unrouted_percent": lambda p: p.forgetting,
}
_TOLD_APART_BY: Mapping[str, Callable[[CellSetting], str]] = {
    "lambda": lambda s: f"{s.rd_lambda:g}",
    "n": lambda s: str(s.num_images),
    "steps": lambda s: str(s.num_steps),
    "strength": lambda s: f"{s.strength:g}",
}


def metric_lines(records: Sequence[CellRecord]) -> dict[str, Line]:
    """Gain and forgetting along each axis, and PSNR over rate; a line has two points at least.

        gain_percent_by_adapter_size/histology cawf               step: adapter size
        forgetting_unrouted_percent_by_num_images/text finetune   step: training images
        psnr_db_by_millibits/text finetune                        step: 1/1000 bit per pixel
        psnr_db_by_millibits/text source codec

    Test images, means over seeds at the learning rate and the size that validation chose; of a curve over
    rate, the seed in the middle. A kind of more than `MAX_LINES` lines is left out.
    """
    kinds = [_rates(rd_curves(records))]
    for axis in STEP_AXES:
        found = [t for t in trends(records, axis) if t.method != CONTROL]
        names = {_who(t.setting, [other.setting for other in found]): t.points for t in found}
        for title, value in _VALUES.items():
            kinds.append(
                {
                    f"{title}_by_{axis}/{name}": [(int(p.x), value(p)) for p in points]
                    for name, points in names.items()
                }
            )
    return {name: line for kind in kinds if len(kind) <= MAX_LINES for name, line in kind.items()}


def _who(setting: CellSetting, settings: Iterable[CellSetting]) -> str:
    """Domain and method, and whatever else tells their lines apart."""
    own = setting.domain, setting.method
    every = [other for other in settings if (other.domain, other.method) == own]
    parts = [
        f"{name}{value(setting)}"
        for name, value in _TOLD_APART_BY.items()
        if len({value(other) for other in every}) > 1
    ]
    return " ".join([setting.domain, setting.method, *parts])


def _rates(curves: Iterable[RdCurve]) -> dict[str, Line]:
    """Of each domain and method one curve: most points, most images and steps, best by validation."""
    groups: dict[tuple[str, str], list[RdCurve]] = defaultdict(list)
    for curve in chosen_curves(list(curves)):
        if curve.side == "target" and curve.problem is None and len(curve.points) > 1:
            groups[curve.key.setting.domain, curve.key.setting.method].append(curve)
    lines: dict[str, Line] = {}
    for (domain, method), members in sorted(groups.items()):
        if method == CONTROL:
            continue
        curve = _middle(members)
        lines[f"psnr_db_by_millibits/{domain} {method}"] = _line(p.after for p in curve.points)
        before = _line(p.before for p in curve.points)
        lines.setdefault(f"psnr_db_by_millibits/{domain} source codec", before)
    return lines


def _middle(curves: Sequence[RdCurve]) -> RdCurve:
    """Of the best setting's seeds the one in the middle by validation, of two the lower."""
    settings: dict[object, list[RdCurve]] = defaultdict(list)
    for curve in curves:
        settings[curve.key.setting].append(curve)
    best = max(settings.values(), key=_merit)
    ordered = sorted(best, key=lambda c: (c.validation or 0.0, c.key.order))
    return ordered[(len(ordered) - 1) // 2]


def _merit(members: Sequence[RdCurve]) -> tuple[int, int, int, float]:
    setting = members[0].key.setting
    mean = sum(c.validation or 0.0 for c in members) / len(members)
    return max(len(c.points) for c in members), setting.num_images, setting.num_steps, mean


def _line(points: Iterable[tuple[float, float]]) -> Line:
    return sorted((round(1000 * bpp), psnr) for bpp, psnr in points)
