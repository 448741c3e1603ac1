"""When a codec has diverged: one rule for tables, sentences and figures."""

from __future__ import annotations

from collections.abc import Mapping

from interfero.metrics.names import GAIN, ROUTED, UNROUTED

DIVERGED_PERCENT = 300.0
"""A loss four times as high."""
DIVERGED = "its loss on test images, target or source, is more than four times the source codec's"
"""The rule in words: a cell has diverged if ..."""


def has_diverged(percent: float) -> bool:
    """Whether a change of the loss, in percent of the source codec's, is no result to be averaged.

    A gain is at most 100 % and forgetting at least -100 %: beyond this the loss has risen.
    """
    return abs(percent) > DIVERGED_PERCENT


def cell_diverged(metrics: Mapping[str, float]) -> bool:
    """Whether a cell has, by its metrics on test images."""
    return any(has_diverged(metrics.get(name, 0.0)) for name in (GAIN, ROUTED, UNROUTED))
