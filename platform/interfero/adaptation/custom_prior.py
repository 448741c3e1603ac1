"""Entropy models of custom latents: a hyperprior of their own, or a factorized prior."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.method import Strings, tables_of
from interfero.adaptation.one_way import Activations, OneWayChain

CUSTOM_INIT_SCALE = 2.0
"""Initial width of a custom bottleneck's prior; CompressAI's 10 costs bits that training must unlearn."""

CUSTOM_INIT_STD = 0.3
"""Initial scale of the custom latents: nearly all of them round to zero, which costs little."""


@dataclass(frozen=True)
class Beside:
    """What custom layers stand beside: a source codec, or one with custom channels already."""

    first: CompressionModel
    """The source codec's model."""
    chains: Mapping[str, nn.Sequential | OneWayChain]
    """`g_a`, `g_s` and, with a hyperprior, `h_a` and `h_s`."""
    num_latents: int


class Estimated(NamedTuple):
    """Of a pass of custom latents."""

    y_c_hat: Tensor
    z_c_hat: Tensor | None
    """None without a hyperprior."""
    likelihoods: dict[str, Tensor]


class CustomPrior(nn.Module, ABC):
    """Codes custom latents y_c, given what the decoder knows of the base layer."""

    entropy_bottleneck: EntropyBottleneck

    @abstractmethod
    def estimate(
        self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor, *, training: bool
    ) -> Estimated:
        """Noisy or rounded latents, and their likelihoods."""

    @abstractmethod
    def compress(self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor) -> Strings:
        """Strings, in the order `decompress` takes them."""

    @abstractmethod
    def decompress(
        self, strings: Strings, z_c_hat: Tensor | None, h_s: Activations, y_hat: Tensor
    ) -> Tensor:
        """The rounded latents, `hyper_latents` given."""

    def hyper_latents(self, strings: Strings, shape: torch.Size) -> Tensor | None:
        """Rounded hyper-latents, which lie on the grid `shape`; None where there are none."""
        return None

    def joint_h_a(self, h_a: Activations, y_c: Tensor) -> Activations:
        """What channels beside these read of the hyper-analysis."""
        return ()

    def joint_h_s(self, h_s: Activations, z_c_hat: Tensor | None) -> Activations:
        """What channels beside these read of the hyper-synthesis."""
        return ()


class CustomFactorizedPrior(CustomPrior):
    """Each custom channel by a distribution of its own, as in Balle et al., arXiv:1611.01704."""

    def __init__(self, num_custom: int) -> None:
        """One distribution a channel."""
        super().__init__()
        self.entropy_bottleneck = EntropyBottleneck(num_custom, init_scale=CUSTOM_INIT_SCALE)

    def estimate(
        self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor, *, training: bool
    ) -> Estimated:
        """Nothing of the base layer is read."""
        y_c_hat, likelihoods = self.entropy_bottleneck(y_c, training=training)
        return Estimated(y_c_hat, None, {"custom_y": likelihoods})

    def compress(self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor) -> Strings:
        """One string."""
        return [self.entropy_bottleneck.compress(y_c)]

    def decompress(
        self, strings: Strings, z_c_hat: Tensor | None, h_s: Activations, y_hat: Tensor
    ) -> Tensor:
        """Latents lie on the grid of the base latents."""
        decoded: Tensor = self.entropy_bottleneck.decompress(strings[0], y_hat.shape[-2:])
        return decoded


class CustomHyperprior(CustomPrior):
    """Custom hyper-transforms beside the source's; base latents help to predict custom ones."""

    def __init__(self, below: Beside, num_custom: int) -> None:
        """Mirror the hyper-transforms below; the caller seeds the generator."""
        super().__init__()
        k = num_custom
        self.h_a = OneWayChain(below.chains["h_a"], num_custom=k, custom_in=k, custom_out=k)
        self.h_s = OneWayChain(
            below.chains["h_s"], num_custom=k, custom_in=k, custom_out=2 * k, zero_head=True
        )
        self.context = nn.Conv2d(below.num_latents, 2 * k, 1, bias=False)
        self.entropy_bottleneck = EntropyBottleneck(k, init_scale=CUSTOM_INIT_SCALE)
        self.gaussian_conditional = GaussianConditional(None)
        # Random heads would start with scales of tens (base latents are that large), and every custom
        # symbol would cost bits: measured, 0.13 bpp for 8 channels after 150 steps.
        nn.init.zeros_(self.context.weight)
        bias = torch.cat([torch.full((k,), CUSTOM_INIT_STD), torch.zeros(k)])
        self.h_s.head.bias = nn.Parameter(bias)
        # Custom latents are coded by the source's frozen Gaussian tables.
        for name, table in tables_of(below.first.gaussian_conditional).items():
            setattr(self.gaussian_conditional, name.lstrip("."), table.clone())

    def estimate(
        self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor, *, training: bool
    ) -> Estimated:
        """Hyper-latents first, then latents by the means and scales they give."""
        z_c = self.h_a(h_a, y_c)
        z_c_hat, z_likelihoods = self.entropy_bottleneck(z_c, training=training)
        scales, means = self._scales_and_means(h_s, z_c_hat, y_hat)
        y_c_hat, y_likelihoods = self.gaussian_conditional(
            y_c, scales, means=means, training=training
        )
        return Estimated(y_c_hat, z_c_hat, {"custom_y": y_likelihoods, "custom_z": z_likelihoods})

    def _scales_and_means(
        self, h_s: Activations, z_c_hat: Tensor, y_hat: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The base latents are known by then."""
        scales, means = (self.h_s(h_s, z_c_hat) + self.context(y_hat)).chunk(2, 1)
        return scales, means

    def compress(self, y_c: Tensor, h_a: Activations, h_s: Activations, y_hat: Tensor) -> Strings:
        """Two strings: latents, hyper-latents."""
        z_c = self.h_a(h_a, y_c)
        z_strings = self.entropy_bottleneck.compress(z_c)
        z_c_hat = self.entropy_bottleneck.decompress(z_strings, z_c.size()[-2:])
        scales, means = self._scales_and_means(h_s, z_c_hat, y_hat)
        indexes = self.gaussian_conditional.build_indexes(scales)
        return [self.gaussian_conditional.compress(y_c, indexes, means=means), z_strings]

    def decompress(
        self, strings: Strings, z_c_hat: Tensor | None, h_s: Activations, y_hat: Tensor
    ) -> Tensor:
        """See `CustomPrior`."""
        assert z_c_hat is not None
        scales, means = self._scales_and_means(h_s, z_c_hat, y_hat)
        indexes = self.gaussian_conditional.build_indexes(scales)
        decoded: Tensor = self.gaussian_conditional.decompress(strings[0], indexes, means=means)
        return decoded

    def hyper_latents(self, strings: Strings, shape: torch.Size) -> Tensor:
        """See `CustomPrior`."""
        z_c_hat: Tensor = self.entropy_bottleneck.decompress(strings[1], shape)
        return z_c_hat

    def joint_h_a(self, h_a: Activations, y_c: Tensor) -> Activations:
        """See `CustomPrior`."""
        return self.h_a.walk(h_a, y_c)[0]

    def joint_h_s(self, h_s: Activations, z_c_hat: Tensor | None) -> Activations:
        """See `CustomPrior`."""
        return self.h_s.walk(h_s, z_c_hat)[0]
