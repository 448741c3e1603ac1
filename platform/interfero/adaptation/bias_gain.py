"""Biases and GDN gains: a number for every channel, and no kernel.

Bias tuning as in Ben Zaken et al., "BitFit", arXiv:2106.10199, with a gain behind every generalised
divisive normalisation (Balle et al., arXiv:1511.06281), which scales its beta and gamma together.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from compressai.layers import GDN
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, convolutions
from interfero.adaptation.method import Method
from interfero.adaptation.table import BRANCHES
from interfero.codecs.codec import Codec
from interfero.codecs.integers import snapped


class Bias(nn.Module):
    """`output + bias`; it starts at zero."""

    exact: ClassVar[bool] = True

    def __init__(self, num_channels: int) -> None:
        """One number a channel."""
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output, shifted."""
        return output + self.bias[:, None, None]

    def exactly(self, x: Tensor, output: Tensor) -> Tensor:
        """Compute `forward` where symbols are decided: in multiples of 2^-12."""
        return output + snapped(self.bias)[:, None, None]


class Gain(nn.Module):
    """`output * exp(log_gain)`; it starts at one."""

    def __init__(self, num_channels: int) -> None:
        """One number a channel."""
        super().__init__()
        self.log_gain = nn.Parameter(torch.zeros(num_channels))

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output, scaled."""
        return output * self.log_gain.exp()[:, None, None]


class BiasGain(Method):
    """Biases of convolutions and gains of GDN layers."""

    name: ClassVar[str] = "bias_gain"
    paper: ClassVar[str] = "after arXiv:2106.10199"
    detaches: ClassVar[bool] = True
    learning_rates: ClassVar[tuple[float, ...]] = BRANCHES
    fuses: ClassVar[bool] = True
    random_init: ClassVar[bool] = False

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> BranchedCodec:
        """A bias at every convolution and a gain at every GDN."""
        branches: dict[str, nn.Module] = {
            name: Bias(layer.out_channels)
            for name, layer in convolutions(source, self.name).items()
        }
        for name, layer in source.model.named_modules():
            if isinstance(layer, GDN):
                branches[name] = Gain(layer.beta.numel())
        return BranchedCodec(source, branches)
