"""Intervals by paired bootstrap: the same seeds, and the same source images, in every cell at once.

Seeds and images are drawn apart. With few of them a bootstrap is too narrow twice over: its variance is
short of `n / (n - 1)`, and its quantiles are those of many (Hesterberg, 2015, "What teachers should know
about the bootstrap"). So each variance is scaled up and its half-width is that of Student's t; the squares
of the half-widths are added. Pooled degrees of freedom (Satterthwaite, 1946) would be short of the truth
whenever three seeds happen to lie close together: the images' many degrees would then count for them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy.optimize import brentq
from scipy.special import stdtrit

from interfero.analysis.laws.forms import Design
from interfero.analysis.laws.observations import Observations, seed_mean
from interfero.analysis.laws.robust_fit import Fit, Space, quick_refit, to_space

FloatArray = npt.NDArray[np.float64]

LEVEL = 0.95
MAX_SEEDS_ENUMERATED = 5
"""Up to here every way to draw the seeds is taken, with its probability: 126 of them for five."""
SEED_DRAWS = 150
IMAGE_DRAWS = 80
"""Of refits; a law's variance needs no more."""
SCORE_DRAWS = 400
"""Of plain means, which cost little."""


@dataclass(frozen=True)
class Part:
    """One source of variation: refitted parameters, how probable each is, and its correction."""

    params: FloatArray
    """(draws, parameters)"""
    weights: FloatArray
    """(draws,), sum 1."""
    degrees: int
    """Of freedom: how many were drawn, less 1."""

    def variance(self, value: Callable[[FloatArray], float]) -> float:
        """Of a function of the parameters, corrected for how few were drawn."""
        return self.variance_of(np.array([value(params) for params in self.params]))

    def variance_of(self, values: FloatArray) -> float:
        """The same of a function's values, (draws,)."""
        mean = float(self.weights @ values)
        spread = float(self.weights @ (values - mean) ** 2)
        return spread * (self.degrees + 1) / self.degrees


@dataclass(frozen=True)
class Bootstrap:
    """Refits of one law."""

    seeds: Part
    images: Part | None
    """None where cells have no per-image rows, or a domain's test images are of one picture."""

    def variances(self, value: Callable[[FloatArray], float]) -> list[tuple[float, int]]:
        """(variance, degrees of freedom) of each part."""
        parts = [p for p in (self.seeds, self.images) if p is not None]
        return [(part.variance(value), part.degrees) for part in parts]


def bootstrap(
    data: Observations, fit: Fit, design: Design, space: Space, seed: int = 0
) -> Bootstrap:
    """Refit a law to resampled seeds, and to resampled source images.

    Args:
        data: What was fitted.
        fit: The law as it was fitted.
        design: Of the fit.
        space: Of the fit.
        seed: Of the draws; the same data give the same intervals.
    """
    rng = np.random.default_rng(seed)
    values = to_space(data.values, space)
    counts, weights = seed_draws(values.shape[1], rng)
    refits = [quick_refit(fit, seed_mean(values, c), design, space) for c in counts]
    seeds = Part(np.array(refits), weights, values.shape[1] - 1)
    images = None
    if data.images is not None and data.images.smallest_stratum > 1:
        equal = np.ones(values.shape[1])
        drawn = [
            quick_refit(
                fit, seed_mean(to_space(data.resampled_values(w), space), equal), design, space
            )
            for w in image_draws(data.images.strata, rng, IMAGE_DRAWS)
        ]
        even = np.full(len(drawn), 1 / len(drawn))
        images = Part(np.array(drawn), even, data.images.smallest_stratum - 1)
    return Bootstrap(seeds, images)


def half_width(variances: list[tuple[float, int]], level: float = LEVEL) -> float:
    """Of an interval, from independent variances with their degrees of freedom."""
    quantile = (1 + level) / 2
    return math.sqrt(math.fsum(v * float(stdtrit(d, quantile)) ** 2 for v, d in variances))


def seed_draws(count: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
    """How often each seed is drawn, in each draw, and the probability of the draw."""
    if count > MAX_SEEDS_ENUMERATED:
        drawn = rng.multinomial(count, np.full(count, 1 / count), size=SEED_DRAWS)
        return drawn.astype(float), np.full(SEED_DRAWS, 1 / SEED_DRAWS)
    every = list(itertools.combinations_with_replacement(range(count), count))
    counts = np.array([np.bincount(draw, minlength=count) for draw in every], dtype=float)
    ways = [math.factorial(count) / math.prod(map(math.factorial, map(int, c))) for c in counts]
    return counts, np.array(ways) / count**count


def image_draws(strata: npt.NDArray[np.int64], rng: np.random.Generator, count: int) -> FloatArray:
    """(count, groups) how often each source image is drawn, within its domain."""
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    even = [np.full(len(own), 1 / len(own)) for own in members]
    weights = np.zeros((count, len(strata)))
    for row in weights:
        for own, chances in zip(members, even, strict=True):
            row[own] = rng.multinomial(len(own), chances)
    return weights


def seed_part(scores: FloatArray, rng: np.random.Generator) -> Part:
    """(lines, seeds) scores whose seeds are drawn again, the same ones for all lines."""
    count = scores.shape[1]
    draws, chances = seed_draws(count, rng)
    return Part(draws @ scores.T / count, chances, count - 1)


def score_parts(
    scores: Callable[[FloatArray], FloatArray],
    strata: npt.NDArray[np.int64],
) -> list[Part]:
    """Seeds, and source images, drawn again for scores of several lines: the same for all, at each call.

    Args:
        scores: From (draws, groups), how often each source image counts, to (draws, lines, seeds).
        strata: (groups,): the domain of a source image. The only one of a domain says nothing of others:
            images are then not drawn.
    """
    parts = [seed_part(scores(np.ones((1, len(strata))))[0], np.random.default_rng(0))]
    smallest = int(np.unique(strata, return_counts=True)[1].min()) if len(strata) else 0
    if smallest > 1:
        means = scores(_score_draws(tuple(strata.tolist()))).mean(axis=2)
        parts.append(Part(means, np.full(SCORE_DRAWS, 1 / SCORE_DRAWS), smallest - 1))
    return parts


@lru_cache(maxsize=64)
def _score_draws(strata: tuple[int, ...]) -> FloatArray:
    """Comparisons by the hundred draw the same images again."""
    draws = image_draws(np.array(strata), np.random.default_rng(0), SCORE_DRAWS)
    draws.flags.writeable = False
    return draws


def probability(value: float, variances: list[tuple[float, int]]) -> float:
    """How often chance alone gives so large a value: that of the interval that just reaches 0."""
    if value == 0 or half_width(variances, 1 - 1e-9) < abs(value):
        return 0.0 if value else 1.0
    reach = brentq(lambda level: half_width(variances, level) - abs(value), 0.0, 1 - 1e-9)
    return 1 - float(reach)


def holm(probabilities: Sequence[float]) -> list[float]:
    """Probabilities corrected for how many there are, in their order.

    However many are true, the chance that any of those below a level is wrong is no more than the level
    (Holm, 1979, "A simple sequentially rejective multiple test procedure").
    """
    count, highest = len(probabilities), 0.0
    found = [0.0] * count
    for rank, index in enumerate(sorted(range(count), key=lambda i: probabilities[i])):
        highest = max(highest, min(1.0, (count - rank) * probabilities[index]))
        found[index] = highest
    return found


def holm_of_known(probabilities: Sequence[float | None]) -> list[float | None]:
    """The same where some are not known: these count for nothing."""
    known = iter(holm([p for p in probabilities if p is not None]))
    return [None if p is None else next(known) for p in probabilities]
