"""One adapter for all rates: LoRA whose ranks weigh more or less with lambda.

The source codecs of a family, one a lambda, get the same low-rank updates (Hu et al., "LoRA",
arXiv:2106.09685); what differs between lambdas is one gain for each rank of each layer. It follows lambda by
a power law that is learned: between two lambdas this is the exponential interpolation of gains by which
Cui et al., "G-VAE", arXiv:2003.02050, reach all rates with one codec. At lambda 0.01 every gain is one.

A training takes the lambdas in turns, one a step, each with the source codec of its own: `--num-steps` counts
the steps of all of them together. Kernels of different lambdas must mean the same for this to help: those of
the bundled codecs were trained from each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.branched import BranchedCodec, Convolution
from interfero.adaptation.lora import Lora, LowRank, ScaledLowRank
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss
from interfero.codecs.codec import Codec
from interfero.errors import CodecError

REFERENCE_LAMBDA = 0.01
"""Where all gains are one: the middle of the lambdas that codecs are published at for MSE."""


class RateConditioned(ScaledLowRank):
    """`output + up(gain * down(x))` with `gain = (lambda / REFERENCE_LAMBDA) ** power` for each rank."""

    def __init__(self, layer: Convolution, rank: int) -> None:
        """Build both factors and the powers, which start at zero, for one layer."""
        super().__init__(layer, rank)
        self.power = nn.Parameter(torch.zeros(rank))
        self.log_lambda = 0.0
        """Natural logarithm of lambda over `REFERENCE_LAMBDA`."""

    def gains(self) -> Tensor:
        """(rank,) at the present lambda."""
        return (self.log_lambda * self.power).exp()

    def forward(self, x: Tensor, output: Tensor) -> Tensor:
        """The layer's output with the update."""
        low = self.down(x)
        joined: Tensor = output + self.up(self.gains().to(low.dtype)[:, None, None] * low)
        return joined

    def update(self) -> Tensor:
        """The update of the layer's kernel at the present lambda, in its own layout."""
        up, down = self.up.weight[:, :, 0, 0] * self.gains(), self.down.weight
        if isinstance(self.down, nn.ConvTranspose2d):
            return torch.einsum("or,irhw->iohw", up, down)
        return torch.einsum("or,rihw->oihw", up, down)


class AllRatesCodec(BranchedCodec):
    """One source codec with the branches; while it trains, those of the other lambdas as well."""

    def __init__(self, source: Codec, branches: Mapping[str, RateConditioned]) -> None:
        """At the lambda of `source`."""
        super().__init__(source, branches)
        self._sources: dict[float, CompressionModel] = {source.rd_lambda: source.model}
        self._condition(source.rd_lambda)

    def train_with(self, sources: Mapping[float, CompressionModel]) -> None:
        """Let training steps ask for other lambdas as well.

        Args:
            sources: Frozen source codecs by lambda, of one architecture and size.
        """
        self._sources.update(sources)

    @contextmanager
    def at(self, rd_lambda: float) -> Iterator[None]:
        """Join the source codec of another lambda until the context ends.

        Raises:
            CodecError: it has none of that lambda.
        """
        if rd_lambda not in self._sources:
            known = ", ".join(f"{value:g}" for value in sorted(self._sources))
            raise CodecError(
                f"no source codec of lambda {rd_lambda:g} to train with: there are {known}"
            )
        own = self._source
        self._source = (self._sources[rd_lambda],)
        self._condition(rd_lambda)
        try:
            yield
        finally:
            self._source = own
            self._condition(self.rd_lambda)

    def _condition(self, rd_lambda: float) -> None:
        for branch in self.branches.values():
            assert isinstance(branch, RateConditioned)
            branch.log_lambda = math.log(rd_lambda / REFERENCE_LAMBDA)


class LoraAllRates(Lora):
    """Low-rank updates that all lambdas share, with gains that follow lambda."""

    name: ClassVar[str] = "lora_all_rates"
    paper: ClassVar[str] = "arXiv:2106.09685, arXiv:2003.02050"
    all_rates: ClassVar[bool] = True
    fuses: ClassVar[bool] = False
    branch: ClassVar[type[LowRank]] = RateConditioned
    codec: ClassVar[type[BranchedCodec]] = AllRatesCodec

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """Rate and distortion at the lambda whose turn it is."""
        assert isinstance(adapted, AllRatesCodec)
        with adapted.at(batch.rd_lambda):
            return super().loss(adapted, batch)
