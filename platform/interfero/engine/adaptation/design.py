"""Which points of its axes a sweep visits: all of them, or a star around a centre.

A star is full in domains, methods, strengths, learning rates and seeds. Of lambda, training images, numbers
of steps and adapter sizes, each at its first value is the centre, and a cell is at most one of them away.
"""

from __future__ import annotations

from collections.abc import Mapping

from interfero.adaptation import find_method
from interfero.domains.domain import Domain
from interfero.engine.adaptation.grid import sizes_of, training_images
from interfero.engine.adaptation.nodes import Block, Hyperparameters
from interfero.engine.options.adaptation import AdaptationOptions


class SweepDesign:
    """Tells which cells of a grid are wanted."""

    def __init__(self, options: AdaptationOptions, domains: Mapping[str, Domain]) -> None:
        """Find the centre.

        Args:
            options: Of the sweep; axes in the order in which they were typed.
            domains: Target domains, whose numbers of images may differ.

        Raises:
            ConfigError: a method has none of the adapter sizes.
        """
        self._star = options.design == "star"
        self._rd_lambda, self._num_steps = options.lambdas[0], options.first_budget
        asked = options.num_images[0]
        self._images = training_images(options, domains, asked)
        self._sizes = {name: sizes_of(find_method(name), options)[0] for name in options.methods}

    def has_block(self, block: Block) -> bool:
        """Whether a block has cells: it is at most one axis away from the centre."""
        return not self._star or self._off_block(block) <= 1

    def has(self, block: Block, point: Hyperparameters, num_steps: int) -> bool:
        """Whether a cell is wanted: it is at most one axis away from the centre."""
        if not self._star:
            return True
        off = (num_steps != self._num_steps) + (point.adapter_size != self._sizes[point.method])
        return self._off_block(block) + off <= 1

    def _off_block(self, block: Block) -> int:
        return (block.rd_lambda != self._rd_lambda) + (
            block.num_images != self._images[block.domain]
        )
