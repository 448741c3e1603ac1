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
from interfero.codecs.integers import integer_convolution
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


class ScaledLowRank(LowRank):
    """A low-rank update with a scale, which no integer form of the factors alone has.

    Where symbols are decided it is one convolution, with the whole update as its kernel.
    """

    def __init__(self, layer: Convolution, rank: int) -> None:
        """Build both factors for one layer."""
        super().__init__(layer, rank)
        # Not a submodule: the layer is the source's.
        self._layer = (layer,)
        self._known: tuple[list[Tensor], Convolution] | None = None

    @property
    def layer(self) -> Convolution:
        """The source's layer that it joins."""
        return self._layer[0]

    def deciding(self) -> Convolution:
        """The update as a convolution; made again only after its numbers have changed."""
        now = [parameter.detach() for parameter in self.parameters()]
        if self._known is None or not all(map(_same, now, self._known[0])):
            convolution = like(self.layer, self.layer.in_channels, self.layer.out_channels)
            kernel = self.update().detach()
            convolution.weight = nn.Parameter(kernel, requires_grad=False)
            self._known = [parameter.clone() for parameter in now], convolution
        return self._known[1]

    def exactly(self, x: Tensor, output: Tensor) -> Tensor:
        """Compute `forward` where symbols are decided."""
        convolution = self.deciding()
        form = integer_convolution(type(self).__name__, convolution)
        if isinstance(convolution, nn.ConvTranspose2d):
            return output + form.transpose_convolve(convolution, x)
        return output + form.convolve(convolution, x)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.device == other.device and torch.equal(one, other)


class Lora(Method):
    """Low-rank updates of every convolution and transposed convolution."""

    name: ClassVar[str] = "lora"
    paper: ClassVar[str] = "arXiv:2106.09685, arXiv:2409.11111"
    size_unit: ClassVar[str | None] = "rank"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = BRANCHES
    fuses: ClassVar[bool] = True
    branch: ClassVar[type[LowRank]] = LowRank
    """What joins a layer."""
    codec: ClassVar[type[BranchedCodec]] = BranchedCodec

    @staticmethod
    def joins(layer: str) -> bool:
        """Whether a branch joins the layer of that name."""
        return True

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> BranchedCodec:
        """A low-rank branch at every convolution that the method joins."""
        layers = {n: m for n, m in convolutions(source, self.name).items() if self.joins(n)}
        with torch.random.fork_rng(devices=[]):
            # Methods that differ in the branch alone draw the same factors.
            torch.manual_seed(seed_for(init_seed, adapter_size, Role.INIT, label=Lora.name))
            branches = {n: self.branch(m, adapter_size) for n, m in layers.items()}
        return self.codec(source, branches)
