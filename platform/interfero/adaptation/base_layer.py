"""The source codec's own pass with every activation kept: what custom channels may read.

x --g_a--> y --Q--> y_hat --g_s--> x_hat
           |          |
           h_a, z, h_s (none in a factorized prior)
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from compressai.layers import GDN
from compressai.models import (
    CompressionModel,
    FactorizedPrior,
    FactorizedPriorReLU,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from torch import Tensor, nn
from torch.nn import functional

from interfero.adaptation import one_way
from interfero.adaptation.method import Strings
from interfero.adaptation.one_way import Activations
from interfero.adaptation.subpixel import transposed
from interfero.codecs.noise import NoiseKey, explicit_noise

KNOWN = (FactorizedPrior, FactorizedPriorReLU, ScaleHyperprior, MeanScaleHyperprior)
"""Classes whose pass is spelled out here; subclasses differ in it."""


@dataclass(frozen=True)
class SourcePass:
    """All that custom channels may read, of one batch."""

    chains: Mapping[str, Activations]
    """What is read of every layer of `g_a`, `h_a`, `h_s`, `g_s`, as far as there are."""
    y_hat: Tensor
    x_hat: Tensor
    likelihoods: Mapping[str, Tensor]


def source_pass(model: CompressionModel, image_BCHW: Tensor, noise: NoiseKey | None) -> SourcePass:
    """The source codec's pass without gradient; rounded latents if `noise` is None.

    With noise it is for training, and its last bits are not those of `model(image)`: see `_swift`.
    """
    quantised = nullcontext() if noise is None else explicit_noise(model, noise)
    chains: dict[str, Activations] = {}
    training = noise is not None
    with torch.no_grad(), quantised:
        walk = walk_swiftly if training else one_way.walk
        chains["g_a"], y = walk(model.g_a, image_BCHW)
        if isinstance(model, FactorizedPrior):
            y_hat, y_likelihoods = model.entropy_bottleneck(y, training=training)
            likelihoods = {"y": y_likelihoods}
        else:
            chains["h_a"], z = walk(model.h_a, hyper_input(model, y))
            z_hat, z_likelihoods = model.entropy_bottleneck(z, training=training)
            chains["h_s"], parameters = walk(model.h_s, z_hat)
            scales, means = _scales_and_means(model, parameters)
            y_hat, y_likelihoods = model.gaussian_conditional(
                y, scales, means=means, training=training
            )
            likelihoods = {"y": y_likelihoods, "z": z_likelihoods}
        chains["g_s"], x_hat = walk(model.g_s, y_hat)
    return SourcePass(chains, y_hat, x_hat, likelihoods)


def walk_swiftly(chain: nn.Sequential, x_BCHW: Tensor) -> tuple[Activations, Tensor]:
    """`walk` up to the order of float sums, by faster kernels; without gradient."""
    inputs = []
    for layer in chain:
        read = one_way.readable(layer, x_BCHW)
        inputs.append(read)
        x_BCHW = _swift(layer, x_BCHW, read)
    return tuple(inputs), x_BCHW


def _swift(layer: nn.Module, x_BCHW: Tensor, read_BCHW: Tensor) -> Tensor:
    if type(layer) is nn.ConvTranspose2d:
        return transposed(layer, x_BCHW, layer.weight, layer.bias)
    if not isinstance(layer, GDN) or type(layer) is not GDN:
        other: Tensor = layer(x_BCHW)
        return other
    gamma: Tensor = layer.gamma_reparam(layer.gamma)[:, :, None, None]
    # A 1x1 kernel has nothing to dilate, but torch hands dilated ones to oneDNN: twice as fast.
    norm = functional.conv2d(read_BCHW, gamma, layer.beta_reparam(layer.beta), dilation=2)
    return (norm.sqrt_() if layer.inverse else norm.rsqrt_()).mul_(x_BCHW)


def decode_latents(
    model: CompressionModel, strings: Strings, shape: torch.Size
) -> tuple[Activations, Tensor]:
    """Activations of `h_s` (none without it) and the latents, exactly as the decoder has them."""
    if isinstance(model, FactorizedPrior):
        return (), model.entropy_bottleneck.decompress(strings[0], shape)
    z_hat = model.entropy_bottleneck.decompress(strings[1], shape)
    h_s, parameters = one_way.walk(model.h_s, z_hat)
    scales, means = _scales_and_means(model, parameters)
    indexes = model.gaussian_conditional.build_indexes(scales)
    return h_s, model.gaussian_conditional.decompress(strings[0], indexes, means=means)


@dataclass(frozen=True)
class Encoded:
    """One batch as it was coded, and all that custom channels may read of it."""

    coded: Mapping[str, Any]
    """`strings` and `shape`, as in CompressAI."""
    g_a: Activations
    h_a: Activations
    h_s: Activations
    y_hat: Tensor


def encode_source(model: CompressionModel, image_BCHW: Tensor) -> Encoded:
    """Code images with the source codec; latents and `h_s` are what the decoder has."""
    coded = model.compress(image_BCHW)
    g_a, y = one_way.walk(model.g_a, image_BCHW)
    h_a = one_way.walk(model.h_a, hyper_input(model, y))[0] if hasattr(model, "h_a") else ()
    h_s, y_hat = decode_latents(model, coded["strings"], coded["shape"])
    return Encoded(coded, g_a, h_a, h_s, y_hat)


def hyper_input(model: CompressionModel, y: Tensor) -> Tensor:
    """What `h_a` reads: the scale hyperprior looks at magnitudes."""
    return y if isinstance(model, MeanScaleHyperprior) else torch.abs(y)


def _scales_and_means(model: CompressionModel, parameters: Tensor) -> tuple[Tensor, Tensor | None]:
    if isinstance(model, MeanScaleHyperprior):
        scales, means = parameters.chunk(2, 1)
        return scales, means
    return parameters, None
