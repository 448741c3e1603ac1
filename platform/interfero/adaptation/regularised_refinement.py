"""Refinement of each picture's latents that keeps hyper-latents likely given the latents.

Chen et al., "Test-time Adaptation for Image Compression with Distribution Regularization", ICLR 2025,
arXiv:2410.12191. Latents y and hyper-latents z are searched as in `latent_refinement` (the paper's "hybrid
latent refinement"), and each step also minimises the bits of z under a Gaussian given y:

    rate + rd_lambda * mse + strength * -log2 N(z; m(y), v(y)) / pixels

m and v are mean and variance of the hyper-analysis transform of y under dropout before its last layer. The
paper's reason: across domains the refined p(y|z) and p(z) no longer fit each other, which costs rate.

The term is taken from the authors' published code (bmshj2018-hyperprior and cheng2020-anchor). Of the paper
we could read the abstract and the reviews, not the derivation or the figures. The code estimates m and v
from 20 random masks; the last layer is linear, so we take what these estimate, in closed form. Where the
codec's hyper-analysis transform reads |y|, so does ours; the code's term reads y there.

The bundled codec shows no gain over the plain search (docs/methods.md), so no sweep runs it by default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.latent_refinement import LatentRefinement, RefinedCodec
from interfero.adaptation.method import AdaptedCodec
from interfero.codecs.codec import Codec, part_owners
from interfero.errors import AdapterError, CodecError

DROPPED = 0.5
"""Share of the last layer's inputs that dropout leaves out, as in the authors' code."""
LEAST_SD = 1e-4
"""Lower bound of the Gaussian's standard deviation, as in the authors' code."""


class RegularisedCodec(RefinedCodec):
    """The source codec with an encoder that searches, and a term that the search minimises as well."""

    def __init__(self, source: Codec) -> None:
        """Nothing is refined until `settle` or a file says how.

        Raises:
            CodecError: the codec has no hyper-latents, or another kind of hyper-analysis transform.
        """
        super().__init__(source)
        _hyper_analysis(source.model, source.shape.architecture)
        self.strength: Tensor
        self.register_buffer("strength", torch.zeros((), dtype=torch.float64))

    def settle(self, learning_rate: float, num_steps: int, strength: float = 1.0) -> None:
        """Set the step size, the steps per picture, and the weight of a bit of the term against a coded bit.

        Raises:
            AdapterError: the weight is not a positive number.
        """
        if not 0 < strength < math.inf:
            raise AdapterError(
                f"regularised_refinement: the strength is {strength:g}, and it must be above 0; "
                "latent_refinement searches without the term"
            )
        super().settle(learning_rate, num_steps)
        self.strength.fill_(strength)

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over the settings."""
        super().load_adapter_state(state)
        self.settle(float(self.learning_rate), int(self.num_steps), float(state["strength"]))

    def _objective(
        self, model: CompressionModel, image_1CHW: Tensor, size: tuple[int, int]
    ) -> Tensor:
        """Rate, distortion and the term."""
        h_a = _hyper_analysis(model)
        seen: list[tuple[Tensor, Tensor]] = []
        handle = h_a.register_forward_hook(lambda _, inputs, z: seen.append((inputs[0], z)))
        try:
            loss = super()._objective(model, image_1CHW, size)
        finally:
            handle.remove()
        ((y, z),) = seen
        num_pixels = size[0] * size[1]
        return loss + float(self.strength) * hyper_latent_bits(h_a, y, z) / num_pixels


def hyper_latent_bits(h_a: nn.Sequential, y_BCHW: Tensor, z_BCHW: Tensor) -> Tensor:
    """-log2 of the density of hyper-latents given latents, summed; it may be negative.

    Args:
        h_a: Hyper-analysis transform, its last layer a convolution.
        y_BCHW: (batch, latents, height, width), what the transform reads.
        z_BCHW: (batch, hyper-latents, height / 4, width / 4), not rounded.
    """
    mean, variance = dropout_moments(h_a, y_BCHW)
    variance = variance.clamp_min(LEAST_SD**2)
    nats = ((z_BCHW - mean).square() / variance + variance.log() + math.log(2 * math.pi)) / 2
    return nats.sum() / math.log(2)


def dropout_moments(h_a: nn.Sequential, y_BCHW: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the transform's output over dropout masks before its last layer.

    A mask keeps each input with probability 1 - p and divides it by that: its mean is 1, its variance
    p / (1 - p).
    """
    hidden = h_a[:-1](y_BCHW)
    last = h_a[-1]
    assert isinstance(last, nn.Conv2d)
    assert not isinstance(last.padding, str)
    # In a sum of independent terms variances add up.
    spread = nn.functional.conv2d(
        hidden.square(), last.weight.square(), None, last.stride, last.padding, last.dilation,
        last.groups,
    )  # fmt: skip
    return last(hidden), spread * (DROPPED / (1 - DROPPED))


def _hyper_analysis(model: CompressionModel, architecture: str = "") -> nn.Sequential:
    owners = part_owners(model, "h_a")
    if not owners:
        raise CodecError(
            f"regularised_refinement does not adapt {architecture!r}: it knows codecs that have a "
            "hyperprior; latent_refinement refines latents of all others"
        )
    h_a = owners[0].h_a
    if not (isinstance(h_a, nn.Sequential) and isinstance(h_a[-1], nn.Conv2d)):
        raise CodecError(
            f"regularised_refinement: h_a of {architecture!r} does not end in a convolution"
        )
    return h_a


class RegularisedRefinement(LatentRefinement):
    """Per-picture search for latents with the term of arXiv:2410.12191; nothing is trained."""

    name: ClassVar[str] = "regularised_refinement"
    paper: ClassVar[str] = "arXiv:2410.12191"
    strength_unit: ClassVar[str | None] = "a bit of the term against a coded bit, as in the paper"

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> RegularisedCodec:
        """The source codec with an encoder that searches.

        Raises:
            CodecError: the codec has no hyperprior.
        """
        return RegularisedCodec(source)

    def settle(
        self, adapted: AdaptedCodec, learning_rate: float, num_steps: int, strength: float = 1.0
    ) -> None:
        """Search with this step size and strength, for so many steps per picture."""
        assert isinstance(adapted, RegularisedCodec)
        adapted.settle(learning_rate, num_steps, strength)
