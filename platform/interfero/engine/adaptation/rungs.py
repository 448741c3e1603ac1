"""Where a search may stop a cell; apart from the searches, because workers need no Optuna."""

from __future__ import annotations

REDUCTION = 3
"""Of the cells that reached a rung, one in so many goes on (asynchronous successive halving)."""


def rung_steps(num_steps: int) -> tuple[int, ...]:
    """Steps after which a cell may be stopped: a ninth and a third of all, as successive halving has it.

    A rung is at the same share of every cell's learning-rate schedule: like is compared with like.
    """
    first = max(1, num_steps // REDUCTION**2)
    return tuple(step for step in (first, REDUCTION * first) if step < num_steps)
