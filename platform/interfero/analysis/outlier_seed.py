"""A seed that stands apart from the others of its domain, by a rule that ordinary seeds rarely meet."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from scipy.special import stdtr

ALPHA = 0.05
"""How often a page of ordinary seeds may name one, over all its comparisons together."""
MIN_SEEDS = 3
"""Of two nobody can say which one stands apart."""


def outlier(values: Sequence[float], num_tests: int) -> int | None:
    """The place of the value that stands apart; None where none does.

    It does if Grubbs' test rejects it (Technometrics 11, 1969: the largest distance from the mean against
    Student's t with two degrees less than there are values, corrected for their number) at 5 % over all
    tests, and if the mean without it differs by more than half of the mean: of seeds that agree to a
    hundredth of a percent, one that does not is no news.

    Args:
        values: One a seed, percent.
        num_tests: Comparisons of one page; each has an equal part of the 5 % (Bonferroni).
    """
    if len(values) < MIN_SEEDS:
        return None
    mean = statistics.fmean(values)
    place = max(range(len(values)), key=lambda i: abs(values[i] - mean))
    rest = [value for i, value in enumerate(values) if i != place]
    without, spread = statistics.fmean(rest), statistics.stdev(rest)
    if abs(mean - without) <= abs(mean) / 2:
        return None
    far = abs(values[place] - without) / math.sqrt(1 + 1 / len(rest))
    chance = 2 * float(stdtr(len(rest) - 1, -far / spread)) if spread else 0.0
    return place if len(values) * chance * num_tests < ALPHA else None
