"""What is too large to be one of several results: a codec that diverged is all that their mean would tell."""

from __future__ import annotations

from collections.abc import Iterable

DIVERGED_PERCENT = 300.0
"""A loss four times as high: a result that large is diverged if the others are ten times smaller."""
DIVERGED_FACTOR = 10.0


def largest_usual(values: Iterable[float]) -> float:
    """Beyond it a result has diverged, in percent of the loss; the lower median says what is usual."""
    sizes = sorted(abs(v) for v in values if v)
    usual = sizes[(len(sizes) - 1) // 2] if sizes else 0.0
    return max(DIVERGED_PERCENT, DIVERGED_FACTOR * usual)
