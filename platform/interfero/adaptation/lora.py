"""LoRA on convolutions: a low-rank update beside every kernel.

Hu et al., "LoRA", arXiv:2106.09685; for codecs Zhang et al., arXiv:2409.11111, and Lv et al.,
arXiv:2308.07733. A convolution to `rank` channels with the layer's own kernel, then a 1x1 convolution:
together a rank-`rank` update of the kernel seen as a matrix (out, in x height x width).

Our own 20 lines, not PEFT: PEFT 0.17 has no transposed convolutions and replaces the layers it adapts,
while source mode here is the source codec itself.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, Convolution, convolutions, like
from interfero.adaptation.method import Method
from interfero.adaptation.table import BRANCHES
from interfero.codecs.codec import Codec
from interfero.randomness import Role, seed_for


class LowRank(nn.Module):
    """`output + up(down(x))`; `up` starts at zero."""

    exact: ClassVar[bool] = True

    def __init__(self, layer: Convolution, rank: int) -> None:
        """Build both factors for one layer."""
        super().__init__()
        self.down = like(layer, layer.in_channels, rank)
        self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output with the update."""
        joined: Tensor = output + self.up(self.down(x))
        return joined

    def update(self) -> Tensor:
        """The update of the layer's kernel, in its own layout."""
        up, down = self.up.weight[:, :, 0, 0], self.down.weight
        if isinstance(self.down, nn.ConvTranspose2d):
            return torch.einsum("or,irhw->iohw", up, down)
        return torch.einsum("or,rihw->oihw", up, down)


class Lora(Method):
    """Low-rank updates of every convolution and transposed convolution."""

    name: ClassVar[str] = "lora"
    paper: ClassVar[str] = "arXiv:2106.09685, arXiv:2409.11111"
    size_unit: ClassVar[str | None] = "rank"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = BRANCHES
    fuses: ClassVar[bool] = True

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> BranchedCodec:
        """A low-rank branch at every convolution."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(init_seed, adapter_size, Role.INIT, label=self.name))
            layers = convolutions(source, self.name)
            return BranchedCodec(source, {n: LowRank(m, adapter_size) for n, m in layers.items()})
