"""Rank-stabilised LoRA: the update is scaled by one over the root of its rank.

Kalajdzievski, "A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA", arXiv:2312.03732. `lora`
leaves LoRA's own scale, alpha / rank, to the learning rate; one rate does not serve all ranks then, because
a sum of more terms moves further in a step. Here alpha is 2: at rank 4 the two methods are one, and the grid
of learning rates that was found there serves both.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from interfero.adaptation.branched import Convolution
from interfero.adaptation.lora import Lora, LowRank, ScaledLowRank

ALPHA = 2.0


class RankStabilised(ScaledLowRank):
    """`output + alpha / sqrt(rank) * up(down(x))`; `up` starts at zero."""

    def __init__(self, layer: Convolution, rank: int) -> None:
        """Build both factors for one layer."""
        super().__init__(layer, rank)
        self.scale = ALPHA / rank**0.5

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output with the scaled update."""
        joined: Tensor = output + self.scale * self.up(self.down(x))
        return joined

    def update(self) -> Tensor:
        """The update of the layer's kernel, in its own layout."""
        scaled: Tensor = self.scale * super().update()
        return scaled


class RsLora(Lora):
    """Low-rank updates of every convolution, scaled by the root of their rank."""

    name: ClassVar[str] = "rslora"
    paper: ClassVar[str] = "arXiv:2312.03732"
    branch: ClassVar[type[LowRank]] = RankStabilised
