"""The few draws that renderers make, on one explicit generator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


class Dice:
    """Choices from a NumPy generator, returned as plain Python values."""

    def __init__(self, random: np.random.Generator) -> None:
        """Draw everything from `random`."""
        self.random = random

    def pick(self, items: Sequence[Item]) -> Item:
        """One item, all equally likely."""
        return items[int(self.random.integers(len(items)))]

    def several(self, items: Sequence[Item], count: int) -> list[Item]:
        """Up to `count` different items in random order."""
        order = self.random.permutation(len(items))[:count]
        return [items[int(i)] for i in order]

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def real(self, low: float, high: float) -> float:
        """A real number from low up to high."""
        return float(self.random.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """True with this probability."""
        return bool(self.random.random() < probability)
