"""What a configuration scores at a rate between two that it was coded at.

A codec that was adapted for a model reaches a rate of its own at the same lambda. Its score is therefore
compared with what others score at that rate: on the straight line between the two points beside it, over the
logarithm of the rate, as Bjontegaard's measures have it. Nothing is said outside the rates that were coded.
A line over few rates runs below a curve that bends down, and flatters what is compared with it: rates should
stand close.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]

_STEP = 1.25
"""Of the rate that is asked for beyond the last one."""


@dataclass(frozen=True)
class OutOfRange:
    """A rate that no two points enclose."""

    rate_bpp: float
    lowest_bpp: float
    highest_bpp: float

    @property
    def wanted_bpp(self) -> float:
        """A rate to add, of two digits."""
        beyond = self.rate_bpp * _STEP if self.above else self.rate_bpp / _STEP
        return float(f"{beyond:.2g}")

    @property
    def above(self) -> bool:
        """Whether the missing point is one of a higher rate."""
        return self.rate_bpp > self.highest_bpp

    def text(self, what: str) -> str:
        """Why nothing is compared, and what to do."""
        coded = " and ".join(dict.fromkeys(f"{b:.3f}" for b in (self.lowest_bpp, self.highest_bpp)))
        between = "between " * (self.lowest_bpp < self.highest_bpp)
        return (
            f"it reached {self.rate_bpp:.3f} bpp, and {what} was coded {between}at {coded} bpp: add "
            f"{self.wanted_bpp:g} to --rates"
        )


@dataclass(frozen=True)
class Level:
    """Cells whose scores, weighted, are those of a configuration at one rate."""

    groups: tuple[Sequence[CellRecord], ...]
    weights: tuple[float, ...]
    """Sum to 1, one a group."""

    def score(self, scores: FloatArray) -> float:
        """From the score of each group, (groups,)."""
        return float(np.dot(self.weights, scores))


def level_of(cells: Sequence[CellRecord]) -> Level:
    """Cells as they are."""
    return Level((cells,), (1.0,))


def level_at(curve: Sequence[Sequence[CellRecord]], rate_bpp: float) -> Level | OutOfRange:
    """A configuration at a rate between those of its points.

    Args:
        curve: Cells of each of its points, at least one, with `rate/test_bpp`.
        rate_bpp: In bits per pixel.
    """
    points = sorted(((_rate(cells), cells) for cells in curve), key=lambda point: point[0])
    rates = [rate for rate, _ in points]
    if not rates[0] <= rate_bpp <= rates[-1]:
        return OutOfRange(rate_bpp, rates[0], rates[-1])
    upper = int(np.searchsorted(rates, rate_bpp))
    if rates[upper] == rate_bpp:
        return level_of(points[upper][1])
    low, high = rates[upper - 1], rates[upper]
    share = float(np.log(rate_bpp / low) / np.log(high / low))
    return Level((points[upper - 1][1], points[upper][1]), (1 - share, share))


def rate_of_test_images(cells: Sequence[CellRecord]) -> float | None:
    """Mean rate of the test images in bits per pixel; None where they were not coded."""
    return _rate(cells) if all("rate/test_bpp" in c.metrics for c in cells) else None


def _rate(cells: Sequence[CellRecord]) -> float:
    return float(np.mean([c.metrics["rate/test_bpp"] for c in cells]))
