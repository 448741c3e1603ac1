"""DoRA: kernels in magnitude and direction, the direction learned by LoRA.

Liu et al., "DoRA: Weight-Decomposed Low-Rank Adaptation", arXiv:2402.09353. An output channel's kernel
becomes m * (W + BA) / |W + BA|: a low-rank update turns it, a number m sets its length. As in the paper
(section 4.3), gradients take |W + BA| for a constant. We learn the logarithm of m / |W|, which starts at
zero: adapter files hold half precision, and a length would be rounded by as much as training moves it.

No kernel is built while training: the layer's own output is turned and scaled, so a step costs what LoRA's
does and one pass over the kernels.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.branched import Convolution
from interfero.adaptation.lora import Lora, LowRank, ScaledLowRank


class WeightDecomposed(ScaledLowRank):
    """`length * (kernel + update) / |kernel + update|` of one layer; it starts as the layer."""

    def __init__(self, layer: Convolution, rank: int) -> None:
        """Build both factors and the lengths for one layer."""
        super().__init__(layer, rank)
        self.log_gain = nn.Parameter(torch.zeros(layer.out_channels))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output as its turned and scaled kernels give it."""
        scale = self._scale().to(output.dtype)[:, None, None]
        bias = self.layer.bias
        convolved = output if bias is None else output - bias[:, None, None].to(output.dtype)
        joined: Tensor = output + ((scale - 1) * convolved + scale * self.up(self.down(x)))
        return joined

    def update(self) -> Tensor:
        """The change of the layer's kernel, in its own layout."""
        kernel = self.layer.weight.detach()
        per_output = [1] * kernel.dim()
        per_output[self._output_axis] = -1
        return self._scale().view(per_output) * (kernel + super().update()) - kernel

    @property
    def _output_axis(self) -> int:
        return 1 if isinstance(self.layer, nn.ConvTranspose2d) else 0

    def _scale(self) -> Tensor:
        """(out,) what an output channel's kernel, once updated, is multiplied with."""
        with torch.no_grad():
            kernel = self.layer.weight
            before, after = (self._lengths(k) for k in (kernel, kernel + super().update()))
            # A kernel of zeros has no direction; it keeps what the update adds.
            turned = torch.where(before > 0, before / after.clamp_min(TINY), 1.0)
        return self.log_gain.exp() * turned

    def _lengths(self, kernel: Tensor) -> Tensor:
        others = tuple(axis for axis in range(kernel.dim()) if axis != self._output_axis)
        return kernel.square().sum(dim=others).sqrt()


TINY = 1e-12
"""Keeps a kernel that an update cancels from a division by zero."""


class Dora(Lora):
    """Low-rank turns and free lengths of every kernel."""

    name: ClassVar[str] = "dora"
    paper: ClassVar[str] = "arXiv:2402.09353"
    branch: ClassVar[type[LowRank]] = WeightDecomposed
