"""BD-rate and BD-PSNR of adapted against source codecs: same test images, learning rate and seed.

A curve is cells that differ in lambda alone. Its points are the mean rate and PSNR over the same test
images before (source codecs) and after (adapted codecs), on the target domain, and on the source domain
through the mode a deployment would use (routed) and through target mode (unrouted).
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfero.analysis.cells import once_for_cells
from interfero.analysis.choices import CONTROL
from interfero.metrics.bd_rate import BjontegaardDelta, bd_psnr_db, bd_rate_percent
from interfero.metrics.names import VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord
from interfero.store.files import write_atomic

Side = Literal["target", "source", "source_unrouted"]
SIDES: tuple[Side, ...] = ("target", "source", "source_unrouted")
SIDE_TITLES: dict[Side, str] = {
    "target": "target",
    "source": "source, routed",
    "source_unrouted": "source, unrouted",
}

NO_VALUE = "missing"

SettingKey = tuple[str, int, int, str, str, int, float]
"""Domain, images, steps, codec, method, adapter size, strength."""


@dataclass(frozen=True)
class NoDelta:
    """Why a curve has no Bjontegaard delta; it is missing, not zero."""

    reason: str


Delta = BjontegaardDelta | NoDelta


@dataclass(frozen=True, order=True)
class CurveKey:
    """What the cells of a curve share: everything but lambda."""

    domain: str
    num_images: int
    num_steps: int
    codec: str
    method: str
    adapter_size: int
    strength: float
    learning_rate: float
    data_seed: int
    init_seed: int

    @property
    def setting(self) -> SettingKey:
        """Without learning rate and seeds."""
        return (
            self.domain, self.num_images, self.num_steps, self.codec, self.method,
            self.adapter_size, self.strength,
        )  # fmt: skip


@dataclass(frozen=True)
class CurvePoint:
    """One lambda."""

    rd_lambda: float
    before: tuple[float, float]
    """(bpp, PSNR in dB) of the source codec."""
    after: tuple[float, float]
    """(bpp, PSNR in dB) of the adapted codec."""


@dataclass(frozen=True)
class RdCurve:
    """One curve on one side."""

    key: CurveKey
    side: Side
    points: tuple[CurvePoint, ...]
    """By lambda."""
    validation: float | None
    """Mean over the lambdas of what a learning rate is chosen by, higher is better: validation gain in
    percent; for the control, which never sees the target, the forgetting that it avoids."""
    bd_rate: Delta
    """Percent of rate at equal PSNR; negative is better."""
    bd_psnr: Delta
    """dB at equal rate; positive is better."""


@once_for_cells
def rd_curves(records: Iterable[CellRecord]) -> list[RdCurve]:
    """Every curve of finished cells, on each side that they were measured on."""
    groups: dict[CurveKey, dict[float, CellRecord]] = defaultdict(dict)
    for record in records:
        if record.status == "finished":
            groups[_key(record)][float(record.params["rd_lambda"])] = record
    return [
        _curve(key, side, [cells[value] for value in sorted(cells)])
        for key, cells in sorted(groups.items())
        for side in SIDES
    ]


def chosen_curves(curves: Sequence[RdCurve]) -> list[RdCurve]:
    """Of each setting, side and seed, the learning rate with the best mean validation gain.

    One learning rate a curve: choosing it for each lambda would join points of different codecs. A
    rate that lacks some of the lambdas comes after those that have more.
    """
    best: dict[tuple[object, ...], RdCurve] = {}
    for curve in curves:
        if curve.validation is None:
            continue
        group = (curve.key.setting, curve.side, curve.key.data_seed, curve.key.init_seed)
        if group not in best or _merit(curve) > _merit(best[group]):
            best[group] = curve
    return list(best.values())


def write_curves(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`rd_curves.md`: the table of `curves_text`; nothing without two lambdas.

    Raises:
        StorageError: the folder is not writable.
    """
    if len({r.params["rd_lambda"] for r in records if r.status == "finished"}) < 2:
        return []
    path = folder / "rd_curves.md"
    write_atomic(path, curves_text(records).encode())
    return [path]


def curves_text(records: Iterable[CellRecord]) -> str:
    """A Markdown table of the chosen curves, means over seeds; what is missing says why."""
    groups: dict[SettingKey, dict[Side, list[RdCurve]]] = defaultdict(lambda: defaultdict(list))
    for curve in chosen_curves(rd_curves(records)):
        groups[curve.key.setting][curve.side].append(curve)
    header = ["domain", "images", "steps", "codec", "method", "size", "strength", "seeds"]
    for side in SIDES:
        header += [f"{SIDE_TITLES[side]}: BD-rate (%)", "BD-PSNR (dB)"]
    rows = [header, ["---"] * len(header)]
    reasons: dict[str, int] = {}
    for setting, sides in sorted(groups.items()):
        seeds = len({(c.key.data_seed, c.key.init_seed) for c in sides["target"]})
        row = [*map(str, setting[:-1]), f"{setting[-1]:g}", str(seeds)]
        for side in SIDES:
            row += [
                _mean_text([c.bd_rate for c in sides[side]], "+.2f", reasons),
                _mean_text([c.bd_psnr for c in sides[side]], "+.3f", reasons),
            ]
        rows.append(row)
    lines = [f"| {' | '.join(row)} |" for row in rows]
    notes = [
        f"{number}. {reason}" for reason, number in sorted(reasons.items(), key=lambda r: r[1])
    ]
    what = (
        "Adapted codecs against source codecs on the same test images; one learning rate a curve, chosen "
        "on validation for each seed; means over seeds ± standard deviation; in brackets the least share "
        "of an adapted curve that the source codecs' curve covers. Numbers in parentheses say why a value "
        f"is {NO_VALUE}."
    )
    return "\n".join([what, "", *lines, *([""] if notes else []), *notes]) + "\n"


def _mean_text(deltas: Sequence[Delta], form: str, reasons: dict[str, int]) -> str:
    known = [d for d in deltas if isinstance(d, BjontegaardDelta)]
    unknown = [d.reason for d in deltas if isinstance(d, NoDelta)]
    numbers = sorted({reasons.setdefault(reason, len(reasons) + 1) for reason in unknown})
    why = ", ".join(f"({number})" for number in numbers)
    if not known:
        return f"{NO_VALUE} {why}".strip()
    values = [d.value for d in known]
    text = format(math.fsum(values) / len(values), form)
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.2f}"
    text += f" [{min(d.overlap for d in known):.0%}]"
    return f"{text}, {len(unknown)} {NO_VALUE} {why}" if unknown else text


def _key(record: CellRecord) -> CurveKey:
    p = record.params
    return CurveKey(
        domain=str(p["domain"]),
        num_images=int(p["num_images"]),
        num_steps=int(p["num_steps"]),
        codec=str(p["codec"]),
        method=str(p["method"]),
        adapter_size=int(p["adapter_size"]),
        strength=float(p.get("strength", 0)),
        learning_rate=float(p["learning_rate"]),
        data_seed=int(p["data_seed"]),
        init_seed=int(p["init_seed"]),
    )


def _curve(key: CurveKey, side: Side, cells: Sequence[CellRecord]) -> RdCurve:
    points = [_point(cell, side) for cell in cells]
    there = tuple(p for p in points if p is not None)
    name, sign = (VALIDATION_ROUTED, -1) if key.method == CONTROL else (VALIDATION_GAIN, 1)
    known = [sign * cell.metrics[name] for cell in cells if name in cell.metrics]
    validation = math.fsum(known) / len(known) if len(known) == len(cells) else None
    problem = _problem(cells, side, len(there))
    if problem is not None:
        return RdCurve(key, side, there, validation, NoDelta(problem), NoDelta(problem))
    before, after = [p.before for p in there], [p.after for p in there]
    deltas: list[Delta] = []
    for measure in (bd_rate_percent, bd_psnr_db):
        try:
            deltas.append(measure(before, after))
        except ValueError as error:
            deltas.append(NoDelta(str(error)))
    return RdCurve(key, side, there, validation, *deltas)


def _problem(cells: Sequence[CellRecord], side: Side, num_points: int) -> str | None:
    """Why the points cannot be one curve; their number and overlap are judged by the measure."""
    if num_points < len(cells):
        return f"{len(cells) - num_points} of {len(cells)} cells have no images of the {side}"
    images = [{(i.group, i.name) for i in c.images if i.role == side} for c in cells]
    if any(names != images[0] for names in images):
        return "its points were measured on different test images"
    return None


def _point(cell: CellRecord, side: Side) -> CurvePoint | None:
    """Means over the images; of an old record without images, the target's own metrics."""
    rows = [image for image in cell.images if image.role == side]
    value = float(cell.params["rd_lambda"])
    if rows:
        count = len(rows)
        before = (
            sum(r.bpp_before for r in rows) / count,
            sum(r.psnr_db_before for r in rows) / count,
        )
        after = sum(r.bpp for r in rows) / count, sum(r.psnr_db for r in rows) / count
        return CurvePoint(value, before, after)
    names = ("target/bpp_before", "target/psnr_db_before", "target/bpp", "target/psnr_db")
    found = [cell.metrics.get(name) for name in names]
    if side != "target" or any(v is None for v in found):
        return None
    known = [float(v) for v in found if v is not None]
    return CurvePoint(value, (known[0], known[1]), (known[2], known[3]))


def _merit(curve: RdCurve) -> tuple[int, float, float]:
    """More lambdas first, then validation, then the smaller learning rate."""
    return len(curve.points), curve.validation or 0.0, -curve.key.learning_rate
