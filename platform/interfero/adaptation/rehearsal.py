"""Old latents through a new decoder: what replay and distillation rehearse."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.method import Output
from interfero.adaptation.patching import answering
from interfero.codecs.codec import part_owners
from interfero.codecs.noise import NoiseKey, explicit_noise

ENCODER = ("g_a", "h_a")


def old_latents(model: CompressionModel, image_BCHW: Tensor) -> dict[str, Tensor]:
    """Latents and hyper-latents before quantisation, by the transform that makes them; no gradient."""
    kept: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        return lambda layer, inputs, output: kept.__setitem__(name, output)

    handles = [
        getattr(owner, name).register_forward_hook(keep(name))
        for name in ENCODER
        for owner in part_owners(model, name)
    ]
    try:
        with torch.no_grad(), answering(model.g_s, lambda y_hat: y_hat):
            model(image_BCHW)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def decode_old(
    adapted: CopiedCodec, image_BCHW: Tensor, latents: dict[str, Tensor], noise: NoiseKey
) -> Output:
    """The adapted codec's training pass on latents that the source codec made."""
    with ExitStack() as stack:
        for name, value in latents.items():
            for owner in part_owners(adapted.codec, name):
                transform = getattr(owner, name)
                stack.enter_context(answering(transform, lambda _, value=value: value))
        return adapted.forward_noisy(image_BCHW, noise)


def teacher_pass(model: CompressionModel, image_BCHW: Tensor, noise: NoiseKey) -> Tensor:
    """What the source codec shows of noisy latents: (batch, 3, height, width), no gradient."""
    model.train()
    try:
        with torch.no_grad(), explicit_noise(model, noise):
            shown: Tensor = model(image_BCHW)["x_hat"]
    finally:
        model.eval()
    return shown
