"""BD-rate and BD-PSNR of adapted against source codecs: same test images, learning rate and seed.

A curve is cells that differ in lambda alone. Its points are the mean rate and PSNR over the same test
images before (source codecs) and after (adapted codecs), on the target domain, and on the source domain
through the mode a deployment would use (routed) and through target mode (unrouted).
"""

from __future__ import annotations

import math
import re
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from interfero.analysis.capacity_table import markdown, signed, value_range
from interfero.analysis.cells import (
    ROLE,
    Cells,
    cell_diverged,
    image_arrays,
    once_for_cells,
    rows_of,
)
from interfero.analysis.choices import CONTROL, CellSetting, Seed, seed_of, setting_of
from interfero.analysis.focus import budget_text, lambdas, longest
from interfero.analysis.parts import without_grey
from interfero.metrics.bd_rate import BjontegaardDelta, Curve, bd_psnr_db, bd_rate_percent
from interfero.metrics.names import VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import NUMBERS, CellRecord
from interfero.store.files import write_atomic

Side = Literal["target", "source", "source_unrouted"]
SIDES: tuple[Side, ...] = ("target", "source", "source_unrouted")
SIDE_TITLES: dict[Side, str] = {
    "target": "target",
    "source": "source, routed",
    "source_unrouted": "source, unrouted",
}

NO_VALUE = "missing"
NO_CURVES = "Every cell has the same lambda: a curve needs several, and a BD-rate four."
CURVES_NOTE = (
    "BD-rate: percent of rate at equal PSNR, negative is better. Adapted codecs against source codecs on the "
    "same test images; one learning rate per curve, chosen on validation for each seed; mean over seeds ± "
    "standard deviation; in brackets the smallest share of an adapted curve that the source codecs' curve "
    f"covers. Numbers in parentheses say why a value is {NO_VALUE}."
)


@dataclass(frozen=True)
class NoDelta:
    """Why a curve has no Bjontegaard delta; it is missing, not zero."""

    reason: str


Delta = BjontegaardDelta | NoDelta


@dataclass(frozen=True)
class CurveKey:
    """What the cells of a curve share: everything but lambda."""

    setting: CellSetting
    """Its lambda is 0."""
    learning_rate: float
    seed: Seed

    @property
    def order(self) -> tuple[Any, ...]:
        """Sorts as tables of settings do, then by learning rate and seeds."""
        return (*self.setting.order, self.learning_rate, self.seed)


@dataclass(frozen=True)
class CurvePoint:
    """One lambda."""

    rd_lambda: float
    before: tuple[float, float]
    """(bpp, PSNR in dB) of the source codec."""
    after: tuple[float, float]
    """(bpp, PSNR in dB) of the adapted codec."""
    cell: CellRecord = field(compare=False, repr=False)
    """Where they were measured."""


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
    problem: str | None = None
    """Why its points cannot be one curve."""
    astray: str | None = None
    """Which of its cells diverged: then it has no difference."""

    @cached_property
    def bd_rate(self) -> Delta:
        """Percent of rate at equal PSNR; negative is better."""
        return self._delta(bd_rate_percent)

    @cached_property
    def bd_psnr(self) -> Delta:
        """DB at equal rate; positive is better."""
        return self._delta(bd_psnr_db)

    def _delta(self, measure: Callable[[Curve, Curve], BjontegaardDelta]) -> Delta:
        why = self.problem or self.astray
        if why is not None:
            return NoDelta(why)
        try:
            return measure([p.before for p in self.points], [p.after for p in self.points])
        except ValueError as error:
            return NoDelta(str(error))


@once_for_cells
def rd_curves(records: Iterable[CellRecord]) -> list[RdCurve]:
    """Every curve of finished cells, on each side that they were measured on."""
    groups: dict[CurveKey, dict[float, CellRecord]] = defaultdict(dict)
    for record in records:
        if record.status == "finished":
            setting = replace(setting_of(record), rd_lambda=0.0)
            key = CurveKey(setting, float(record.params["learning_rate"]), seed_of(record))
            groups[key][float(record.params["rd_lambda"])] = record
    return [
        _curve(key, side, [cells[value] for value in sorted(cells)])
        for key, cells in sorted(groups.items(), key=lambda item: item[0].order)
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
        group = (curve.key.setting, curve.side, curve.key.seed)
        if group not in best or _merit(curve) > _merit(best[group]):
            best[group] = curve
    return list(best.values())


def write_curves(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`rd_curves.md`: the table of `curves_text`; nothing without two lambdas.

    Raises:
        StorageError: the folder is not writable.
    """
    if len(lambdas(records)) < 2:
        return []
    path = folder / "rd_curves.md"
    write_atomic(path, curves_text(records).encode())
    return [path]


@dataclass(frozen=True)
class CurveRow:
    """One setting of the table of BD-rates: a text a side, and why one is missing."""

    setting: CellSetting
    num_seeds: int
    rates: tuple[str, ...]
    """By side."""
    psnrs: tuple[str, ...]
    reasons: tuple[str, ...]
    """Each once."""
    known: tuple[float | None, ...]
    """Mean BD-rate in percent by side; None where every seed's is missing."""

    @property
    def has_value(self) -> bool:
        """Whether any of its numbers is there."""
        return any(text != NO_VALUE for text in (*self.rates, *self.psnrs))


@once_for_cells
def curve_rows(records: Iterable[CellRecord]) -> list[CurveRow]:
    """The chosen curves of every setting; empty without two lambdas."""
    if len(lambdas(records)) < 2:
        return []
    groups: dict[CellSetting, dict[Side, list[RdCurve]]] = defaultdict(lambda: defaultdict(list))
    for curve in chosen_curves(rd_curves(records)):
        groups[curve.key.setting][curve.side].append(curve)
    ordered = sorted(groups.items(), key=lambda item: item[0].order)
    return [_row(setting, sides) for setting, sides in ordered]


def _row(setting: CellSetting, sides: dict[Side, list[RdCurve]]) -> CurveRow:
    deltas = [d for side in SIDES for c in sides[side] for d in (c.bd_rate, c.bd_psnr)]
    reasons = dict.fromkeys(d.reason for d in deltas if isinstance(d, NoDelta))
    rates = [[c.bd_rate for c in sides[side]] for side in SIDES]
    return CurveRow(
        setting=setting,
        num_seeds=len({c.key.seed for c in sides["target"]}),
        rates=tuple(_delta_text(each, "%", 2) for each in rates),
        psnrs=tuple(_delta_text([c.bd_psnr for c in sides[side]], "dB", 3) for side in SIDES),
        reasons=tuple(reasons),
        known=tuple(map(_mean, rates)),
    )


def _mean(deltas: Sequence[Delta]) -> float | None:
    known = [d.value for d in deltas if isinstance(d, BjontegaardDelta)]
    return statistics.fmean(known) if known else None


def _delta_text(deltas: Sequence[Delta], unit: str, digits: int) -> str:
    """`-3.21 ± 0.40 % [87 %]`: mean, deviation over seeds, least overlap; or that it is missing."""
    known = [d for d in deltas if isinstance(d, BjontegaardDelta)]
    if not known:
        return NO_VALUE
    values = [d.value for d in known]
    text = f"{statistics.fmean(values):+.{digits}f}"
    if len(values) > 1:
        text += f" ± {statistics.stdev(values):.{digits}f}"
    text += f" {unit} [{100 * min(d.overlap for d in known):.0f} %]"
    return text if len(known) == len(deltas) else f"{text}; {len(deltas) - len(known)} {NO_VALUE}"


def curve_table(
    rows: Sequence[CurveRow],
) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows as text, and the reasons that their numbers name."""
    header = ["domain", "images", "steps", "codec", "method", "size", "strength", "seeds"]
    for side in SIDES:
        header += [f"{SIDE_TITLES[side]}: BD-rate", "BD-PSNR"]
    reasons: dict[str, int] = {}
    body = []
    for row in rows:
        numbers = [str(reasons.setdefault(r, len(reasons) + 1)) for r in row.reasons]
        why = f" ({', '.join(numbers)})" if numbers else ""
        values = [v for pair in zip(row.rates, row.psnrs, strict=True) for v in pair]
        shown = [v + why if NO_VALUE in v else v for v in values]
        s = row.setting
        setting = (s.domain, s.num_images, s.num_steps, s.codec, s.method, s.adapter_size)
        body.append([*map(str, setting), f"{s.strength:g}", str(row.num_seeds), *shown])
    return header, body, list(reasons)


def curves_text(records: Sequence[CellRecord]) -> str:
    """The table of settings that have a number as Markdown; what is missing says why."""
    every = curve_rows(records)
    header, body, reasons = curve_table([row for row in every if row.has_value])
    notes = "\n".join(f"{number}. {reason}" for number, reason in enumerate(reasons, start=1))
    table = markdown(header, body) if body else ""
    blocks = [CURVES_NOTE, table, notes, without_curves(every)]
    return "\n\n".join(filter(None, blocks)) + "\n"


def without_curves(rows: Sequence[CurveRow]) -> str:
    """How many settings have no number, and why; empty where all have one."""
    gone = [row for row in rows if not row.has_value]
    if not gone:
        return ""
    why = "; ".join(_reason_kinds([reason for row in gone for reason in row.reasons]))
    verb = "has no number and is" if len(gone) == 1 else "have no number and are"
    return f"{len(gone)} of {len(rows)} settings {verb} not listed: {why}."


def _reason_kinds(reasons: Sequence[str]) -> list[str]:
    """Each kind of reason once, with the first one's numbers; curves differ in these alone."""
    kinds: dict[str, str] = {}
    for reason in reasons:
        short = reason.partition(": anchor")[0]
        kinds.setdefault(re.sub(r"[-\d.]+ ?%?", "#", short), short)
    return list(kinds.values())


def curve_lines(records: Sequence[CellRecord]) -> list[str]:
    """BD-rates in sentences: a method's reach over its settings of one budget, and why some are missing.

    Without grey domains (`parts.without_grey`).
    """
    every = without_grey(Cells(records))
    rows, after = curve_rows(longest(every)), budget_text(every)
    after = f" {after}" if after else ""
    lines = []
    for method in dict.fromkeys(row.setting.method for row in rows):
        own = [row for row in rows if row.setting.method == method]
        parts = []
        for index, side in enumerate(SIDES):
            values = [v for row in own if (v := row.known[index]) is not None]
            if values:
                reach = value_range(values, signed)
                parts.append(f"{reach} % on the {SIDE_TITLES[side]} ({len(values)} curves)")
        if parts:
            lines.append(
                f"BD-rate of {method} against the source codecs{after}: {'; '.join(parts)}."
            )
    reasons = _reason_kinds([reason for row in rows for reason in row.reasons])
    if reasons:
        missing = sum(bool(row.reasons) for row in rows)
        lines.append(
            f"{missing} of {len(rows)} settings lack a BD-rate or BD-PSNR on some side: "
            f"{'; '.join(reasons)}."
        )
    return lines


def _curve(key: CurveKey, side: Side, cells: Sequence[CellRecord]) -> RdCurve:
    points = [_point(cell, side) for cell in cells]
    there = tuple(p for p in points if p is not None)
    name, sign = (VALIDATION_ROUTED, -1) if key.setting.method == CONTROL else (VALIDATION_GAIN, 1)
    known = [sign * cell.metrics[name] for cell in cells if name in cell.metrics]
    validation = math.fsum(known) / len(known) if len(known) == len(cells) else None
    problem = _problem(cells, side, len(there))
    return RdCurve(key, side, there, validation, problem, _astray(cells))


def _problem(cells: Sequence[CellRecord], side: Side, num_points: int) -> str | None:
    """Why the points cannot be one curve; their number and overlap are judged by the measure."""
    if num_points < len(cells):
        return f"{len(cells) - num_points} of {len(cells)} cells have no images of the {side}"
    images = [frozenset(w for w in image_arrays(c)[0] if w[ROLE] == side) for c in cells]
    if any(names != images[0] for names in images):
        return "its points were measured on different test images"
    return None


def _astray(cells: Sequence[CellRecord]) -> str | None:
    """Why the curve is in no mean, though it has all its points."""
    lambdas = [f"{r.params['rd_lambda']:g}" for r in cells if cell_diverged(r.metrics)]
    return f"a cell diverged (lambda {', '.join(lambdas)})" if lambdas else None


def _point(cell: CellRecord, side: Side) -> CurvePoint | None:
    """Means over the images; of an old record without images, the target's own metrics."""
    words, numbers = image_arrays(cell)
    rows = numbers[rows_of(words, side)]
    value = float(cell.params["rd_lambda"])
    if len(rows):
        mean = dict(zip(NUMBERS, rows.mean(axis=0).tolist(), strict=True))
        before = mean["bpp_before"], mean["psnr_db_before"]
        return CurvePoint(value, before, (mean["bpp"], mean["psnr_db"]), cell)
    names = ("target/bpp_before", "target/psnr_db_before", "target/bpp", "target/psnr_db")
    found = [cell.metrics.get(name) for name in names]
    if side != "target" or any(v is None for v in found):
        return None
    known = [float(v) for v in found if v is not None]
    return CurvePoint(value, (known[0], known[1]), (known[2], known[3]), cell)


def _merit(curve: RdCurve) -> tuple[int, float, float]:
    """More lambdas first, then validation, then the smaller learning rate."""
    return len(curve.points), curve.validation or 0.0, -curve.key.learning_rate
