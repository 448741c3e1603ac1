"""Residual adapters: a small convolution parallel to every layer.

Rebuffi et al., "Efficient parametrization of multi-domain deep neural networks", arXiv:1803.10082
(1x1, parallel); for codecs Tsubota et al., arXiv:2211.00918 (1x1, decoder). The adapter size is the side
of the kernel, 1 or 3; a layer whose own kernel is smaller gets its own side.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, Convolution, convolutions, like
from interfero.adaptation.method import Method
from interfero.adaptation.table import LARGER_STEPS
from interfero.codecs.codec import Codec

KERNELS = (1, 3)


class Parallel(nn.Module):
    """`output + convolution(x)`; it starts at zero.

    A 1x1 kernel with a stride is a 1x1 convolution on the points that the stride meets. It is computed
    so: oneDNN's strided one (3 to 64 channels, bfloat16, channels last) writes outside its memory.
    """

    exact: ClassVar[bool] = True

    def __init__(self, layer: Convolution, kernel: int) -> None:
        """Build the convolution for one layer."""
        super().__init__()
        self._side, self._stride = int(layer.kernel_size[0]), int(layer.stride[0])
        self._transposed = isinstance(layer, nn.ConvTranspose2d)
        side = min(kernel, self._side)
        self.convolution: Convolution = (
            nn.Conv2d(layer.in_channels, layer.out_channels, 1, bias=False)
            if side == 1
            else like(layer, layer.in_channels, layer.out_channels, kernel=side)
        )
        nn.init.zeros_(self.convolution.weight)

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output and the adapter's."""
        step = self._stride
        if self.convolution.kernel_size[0] > 1 or step == 1:
            return output + self.convolution(x)  # type: ignore[no-any-return]
        if not self._transposed:
            return output + self.convolution(x[:, :, ::step, ::step])  # type: ignore[no-any-return]
        sparse = torch.zeros_like(output)
        sparse[:, :, ::step, ::step] = self.convolution(x).to(output.dtype)
        return output + sparse

    def update(self) -> Tensor:
        """The same as an update of the layer's kernel."""
        kernel = self.convolution.weight
        if self._transposed and not isinstance(self.convolution, nn.ConvTranspose2d):
            kernel = kernel.transpose(0, 1)
        border = (self._side - self.convolution.kernel_size[0]) // 2
        return nn.functional.pad(kernel, 4 * (border,))


class ResidualAdapter(Method):
    """Parallel 1x1 or 3x3 convolutions."""

    name: ClassVar[str] = "residual_adapter"
    paper: ClassVar[str] = "arXiv:1803.10082, arXiv:2211.00918"
    size_unit: ClassVar[str | None] = "kernel side"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = LARGER_STEPS
    fuses: ClassVar[bool] = True
    random_init: ClassVar[bool] = False

    @classmethod
    def accepts(cls, adapter_size: int) -> bool:
        """1 or 3."""
        return adapter_size in KERNELS

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> BranchedCodec:
        """A parallel convolution at every layer."""
        layers = convolutions(source, self.name)
        return BranchedCodec(source, {n: Parallel(m, adapter_size) for n, m in layers.items()})
