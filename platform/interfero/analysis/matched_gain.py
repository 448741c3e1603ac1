"""Methods at matched gain: what each forgets where it gains as much on the target as another.

Methods lie along a learning-forgetting curve (arXiv:2405.09673), so forgetting is compared at one gain. A
method's cells of one domain, lambda, image count and seed, over learning rates, sizes and strengths, have
a front: for a gain, the least forgetting. Front and gain are those on validation; between two cells of
the front, logarithms of test losses are interpolated with the weights that validation gave. A front bends
upwards, so that the line between two cells lies above it, by less than they differ: cells that differ in
forgetting by more than `MAX_STEP` are not joined. Outside of its front, or in a gap, a method has no value:
nothing says that it would go there. Means that are compared are over one set of cases, which all reach. Each
initial seed has a front of its own, and a case is their mean: the best of several seeds would be more tries
than fine-tuning has, which draws nothing.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from interfero.analysis.capacity_table import places_text, signed
from interfero.analysis.cells import Cells, once_for_cells
from interfero.analysis.choices import CONTROL, NAIVE, Case, by_case, by_init_seed, method_rank
from interfero.analysis.comparable import comparable
from interfero.analysis.focus import focus_text, in_focus
from interfero.analysis.parts import grey_text, without_grey
from interfero.metrics.forgetting import from_log_points, log_points
from interfero.metrics.names import (
    GAIN,
    ROUTED,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord

SHARES = (0.25, 0.5, 0.75)
"""Of fine-tuning's best validation gain in the same case: where methods are compared."""

_SHARE_WORDS = {0.25: "a quarter", 0.5: "half", 0.75: "three quarters", 1.0: "all"}

MAX_STEP = 4.0
"""Log points of forgetting, unrouted on validation, between two cells of a front that are joined: a value in
their middle is off by less than half of it wherever the front is convex."""

Fronts = tuple[tuple["FrontCell", ...], ...]
"""A method's in one case, one for each initial seed."""


@dataclass(frozen=True)
class FrontCell:
    """A cell of a front."""

    gain: float
    """On validation, percent."""
    forgetting: float
    """On validation, unrouted, percent."""
    record: CellRecord


@dataclass(frozen=True)
class Matched:
    """A method at one gain in one case; test results in percent."""

    target_gain: float
    forgetting: float
    """Routed."""
    forgetting_unrouted: float
    parts: tuple[tuple[CellRecord, float], ...] = field(default=(), compare=False, repr=False)
    """The cells that it lies between, with their weights, which add up to 1."""


MATCHED_NUMBERS = ("target_gain", "forgetting", "forgetting_unrouted")
"""The fields of `Matched` that are results."""


@dataclass(frozen=True)
class NotReached:
    """Why a method has no value at a gain."""

    reason: str
    short: str = ""
    """The same in a few words, without its numbers."""


@dataclass(frozen=True)
class MatchedRow:
    """A method at one share of fine-tuning's gain, over all cases."""

    method: str
    share: float
    found: tuple[tuple[Case, Matched], ...]
    refused: tuple[tuple[Case, NotReached], ...]

    @property
    def reached(self) -> str:
        """`2 of 6`: where the method reaches the gain."""
        return f"{len(self.found)} of {len(self.found) + len(self.refused)}"

    @property
    def why(self) -> str:
        """`gains too little in 3, cells too far apart in 1`: where there is no value; else empty."""
        counts = Counter(refusal.short for _, refusal in self.refused)
        if len(counts) == 1 and not self.found:
            return next(iter(counts))
        return ", ".join(f"{why} in {count}" for why, count in counts.most_common())

    @property
    def cases(self) -> frozenset[Case]:
        """Where the method reaches the gain."""
        return frozenset(case for case, _ in self.found)

    def mean(self, name: str, cases: Set[Case] | None = None) -> float | None:
        """Of a field of `Matched` over the cases where it was reached; None if there is none.

        Args:
            name: A field of `Matched`.
            cases: These of them alone: what is set beside another method's mean has to be of its cases.
        """
        values = [getattr(m, name) for case, m in self.found if cases is None or case in cases]
        return _log_mean(name, values) if values else None


def front(cells: Iterable[CellRecord]) -> tuple[FrontCell, ...]:
    """Cells that no other beats in gain and forgetting on validation, by rising gain."""
    points = [
        FrontCell(r.metrics[VALIDATION_GAIN], r.metrics[VALIDATION_UNROUTED], r)
        for r in cells
        if r.status == "finished" and {VALIDATION_GAIN, VALIDATION_UNROUTED} <= r.metrics.keys()
    ]
    kept: list[FrontCell] = []
    # From the highest gain down: what forgets no less than a cell that gains more is beaten.
    for point in sorted(points, key=lambda p: (-p.gain, p.forgetting)):
        if not kept or point.forgetting < kept[-1].forgetting:
            kept.append(point)
    return tuple(reversed(kept))


def at_gain(
    cells: Sequence[FrontCell], gain: float, highest_step: float = math.inf
) -> Matched | NotReached:
    """Test results of a front at a validation gain; refused outside of it, and in its gaps.

    Args:
        cells: A front, by rising gain.
        gain: Percent, on validation.
        highest_step: In forgetting between two cells of the front that are joined, log points on validation.
    """
    if not cells:
        return NotReached("no finished cell", "no finished cell")
    low, high = cells[0].gain, cells[-1].gain
    if not low <= gain <= high:
        return NotReached(
            f"gains {low:.2f} to {high:.2f} % on validation, asked for {gain:.2f} %",
            "gains too little" if gain > high else "never gains so little",
        )
    for left, right in pairwise(cells):
        if left.gain <= gain <= right.gain:
            step = float(np.diff(log_points([left.forgetting, right.forgetting]))[0])
            if step > highest_step and gain not in (left.gain, right.gain):
                return NotReached(
                    f"its front steps from {left.forgetting:+.2f} to {right.forgetting:+.2f} % forgotten "
                    f"there, {step:.1f} log points, and {highest_step:g} are bridged: add learning rates, "
                    "sizes or strengths",
                    "cells too far apart",
                )
            return _between(left, right, (gain - left.gain) / (right.gain - left.gain))
    return _between(cells[0], cells[0], 0.0)


@once_for_cells
def matched_rows(
    records: Iterable[CellRecord], shares: Sequence[float] = SHARES
) -> list[MatchedRow]:
    """Every method at shares of fine-tuning's best validation gain in the same case.

    Cases without a fine-tuned cell that gains are left out: there is nothing to match.
    """
    fronts: dict[Case, dict[str, Fronts]] = {
        case: {
            method: tuple(line for own in by_init_seed(cells) if (line := front(own)))
            for method, cells in methods.items()
            if method != CONTROL
        }
        for case, methods in by_case(records).items()
    }
    wanted = {
        case: best
        for case, methods in fronts.items()
        if (best := max((f[-1].gain for f in methods.get(NAIVE, ())), default=0.0)) > 0
    }
    methods = sorted({m for found in fronts.values() for m in found}, key=method_rank)
    rows = []
    for share in shares:
        for method in methods:
            results = {
                case: _at_gain(fronts[case].get(method, ()), share * best)
                for case, best in sorted(wanted.items())
            }
            found = tuple((c, r) for c, r in results.items() if isinstance(r, Matched))
            refused = tuple((c, r) for c, r in results.items() if isinstance(r, NotReached))
            rows.append(MatchedRow(method, share, found, refused))
    return rows


def shared_cases(rows: Sequence[MatchedRow]) -> tuple[frozenset[Case], frozenset[str]]:
    """The cases whose means compare methods at one share, and the methods that reach all of them.

    A mean over the cases that a method happens to reach is no comparison with another's.
    """
    coverage: dict[Case, set[str]] = defaultdict(set)
    for row in rows:
        for case in row.cases:
            coverage[case].add(row.method)
    return comparable(coverage)


def matched_lines(records: Iterable[CellRecord]) -> list[str]:
    """Forgetting at half of fine-tuning's gain, over the same cases; and why some methods have none."""
    every = Cells(records)
    coloured = without_grey(every)
    where, grey = focus_text(coloured), grey_text(every)
    rows = matched_rows(in_focus(coloured), (0.5,))
    cases, compared = shared_cases(rows)
    at_half = f"{at_share(0.5)}{f', {where}' if where else ''}"
    parts, others = [], []
    for row in rows:
        if row.method in compared:
            names = ("forgetting", "forgetting_unrouted")
            routed, unrouted = (signed(row.mean(name, cases) or 0.0) for name in names)
            parts.append(f"{row.method} forgets {routed} % routed and {unrouted} % unrouted")
        else:
            why = f" (has that gain in {row.reached}: {row.why})" if row.why else ""
            others.append(f"{row.method}{why}")
    lines = []
    if not any(row.found for row in rows):
        reasons = [f"{row.method}: {row.why}" for row in rows if row.refused]
        lines += [f"{at_half} no method has a value ({'; '.join(reasons)})."] if reasons else []
        parts, others = [], []
    if parts:
        lines.append(
            f"{at_half}, over {compared_text(cases, rows)} in which all of these reach it: "
            f"{'; '.join(parts)}."
        )
    if others:
        lines.append(f"Not in that comparison: {'; '.join(others)}.")
    return [*lines, grey] if lines and grey else lines


def at_share(share: float) -> str:
    """`At half of finetune's gain`: what sentences and figures call a gain at which methods are compared."""
    return f"At {share_word(share)} of {NAIVE}'s gain"


def share_word(share: float) -> str:
    """`a quarter`."""
    return _SHARE_WORDS.get(share, f"{100 * share:.0f} %")


def compared_text(cases: Set[Case], rows: Iterable[MatchedRow]) -> str:
    """`the 1 of 9 combinations of domain and data seed`: those that compared methods reach, of all."""
    total = {case for row in rows for case, _ in (*row.found, *row.refused)}
    return f"the {len(cases)} of {places_text(total)}"


def _at_gain(fronts: Fronts, gain: float) -> Matched | NotReached:
    """Mean over initial seeds; refused where one of them is."""
    values: list[Matched] = []
    for cells in fronts:
        found = at_gain(cells, gain, MAX_STEP)
        if isinstance(found, NotReached):
            seed = cells[0].record.params["init_seed"]
            several = f"init seed {seed}: " if len(fronts) > 1 else ""
            return NotReached(several + found.reason, found.short)
        values.append(found)
    if not values:
        return at_gain((), gain)
    gain, routed, unrouted = (
        _log_mean(n, [getattr(v, n) for v in values]) for n in MATCHED_NUMBERS
    )
    parts = ((cell, weight / len(values)) for v in values for cell, weight in v.parts)
    return Matched(gain, routed, unrouted, tuple(parts))


def _between(left: FrontCell, right: FrontCell, weight: float) -> Matched | NotReached:
    values = []
    for metric, name in zip((GAIN, ROUTED, UNROUTED), MATCHED_NUMBERS, strict=True):
        ends = [cell.record.metrics.get(metric) for cell in (left, right)]
        if ends[0] is None or ends[1] is None:
            return NotReached(f"a cell of the front has no {metric}", "no test result")
        values.append(_log_mean(name, [ends[0], ends[1]], (1 - weight, weight)))
    gain, routed, unrouted = values
    return Matched(gain, routed, unrouted, ((left.record, 1 - weight), (right.record, weight)))


def _log_mean(
    name: str, percents: Sequence[float], weights: Sequence[float] | None = None
) -> float:
    """Of a field of `Matched`: the mean of the logarithms of the losses' ratios, in percent."""
    sign = -1 if name == "target_gain" else 1
    points = log_points(sign * np.asarray(percents))
    return sign * float(from_log_points(np.average(points, weights=weights)))
