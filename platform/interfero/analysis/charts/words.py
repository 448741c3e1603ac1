"""Sentences that captions of several figures share."""

from __future__ import annotations

from collections.abc import Iterable

from interfero.analysis.capacity_table import value_range

BARS = "bars reach from the lowest to the highest seed"


def seeds_sentence(counts: Iterable[int]) -> str:
    """` Marks are means over 3 seeds; bars reach ...`, or that one seed is an illustration.

    Args:
        counts: Seeds of each mark; none where there is no mark.
    """
    known = [float(count) for count in counts]
    if not known:
        return ""
    if max(known) == 1:
        return " There is one seed: an illustration."
    return f" Marks are means over {value_range(known, '{:.0f}'.format)} seeds; {BARS}."
