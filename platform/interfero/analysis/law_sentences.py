"""Laws, rate-distortion curves and methods at matched gain in sentences computed from the records."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

from interfero.analysis.choices import CONTROL, NAIVE
from interfero.analysis.law_view import law_text
from interfero.analysis.matched_gain import MatchedRow
from interfero.analysis.rd_curves import NO_VALUE, SIDE_TITLES, RdCurve, Side
from interfero.analysis.report_table import signed, value_range
from interfero.analysis.scaling import Refusal, Scaling
from interfero.metrics.bd_rate import BjontegaardDelta

MATCHED_SHARE = 0.5
"""Of fine-tuning's best gain: the share that a sentence speaks of."""


def law_lines(found: Sequence[Scaling | Refusal]) -> list[str]:
    """A line a law, then a line for all that were refused for one reason."""
    lines = [f"{_who(r)}: {law_text(r)}." for r in found if isinstance(r, Scaling)]
    refused: dict[str, list[str]] = defaultdict(list)
    for result in found:
        if isinstance(result, Refusal):
            refused[result.reason].append(_who(result))
    return [*lines, *(f"No law for {'; '.join(who)}: {why}." for why, who in refused.items())]


def curve_lines(curves: Sequence[RdCurve]) -> list[str]:
    """BD-rate of each method on the target and, unrouted, on the source."""
    lines = []
    for method in dict.fromkeys(c.key.method for c in curves if c.key.method != CONTROL):
        parts = []
        sides: tuple[Side, ...] = ("target", "source_unrouted")
        for side in sides:
            members = [c for c in curves if c.key.method == method and c.side == side]
            parts.append(f"{SIDE_TITLES[side]} {_deltas(members)}")
        lines.append(
            f"BD-rate of {method} against the source codecs, negative is better: {'; '.join(parts)}."
        )
    return lines


def matched_lines(rows: Sequence[MatchedRow], share: float = MATCHED_SHARE) -> list[str]:
    """What each method forgets where it gains as much as a share of fine-tuning's best."""
    parts = []
    naive = next((r for r in rows if (r.method, r.share) == (NAIVE, share)), None)
    for row in rows:
        lost = row.mean("forgetting_unrouted")
        if row.share == share and lost is not None:
            total = len(row.found) + len(row.refused)
            there = naive.mean("forgetting_unrouted", row.cases) if naive and row != naive else None
            beside = "" if there is None else f", {NAIVE} there {signed(there)} %"
            parts.append(
                f"{row.method} {signed(lost)} % ({len(row.found)} of {total} cases{beside})"
            )
    if not parts:
        return []
    return [
        f"Forgetting, unrouted, at {share:.0%} of {NAIVE}'s best gain, means over the cases in which "
        f"a method reaches it: {', '.join(parts)}."
    ]


def _who(result: Scaling | Refusal) -> str:
    return f"{result.subject.text}, {result.response.title}"


def _deltas(curves: Sequence[RdCurve]) -> str:
    known = [c.bd_rate.value for c in curves if isinstance(c.bd_rate, BjontegaardDelta)]
    reasons = Counter(
        c.bd_rate.reason for c in curves if not isinstance(c.bd_rate, BjontegaardDelta)
    )
    missing = "; ".join(f"{number} {NO_VALUE}: {reason}" for reason, number in reasons.items())
    if not known:
        return missing or NO_VALUE
    mean = math.fsum(known) / len(known)
    text = f"{signed(mean)} % (of {len(known)} curves, {value_range(known, signed)})"
    return f"{text}, {missing}" if missing else text
