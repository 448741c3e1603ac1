"""Quantisation noise that is a function of (seed, step, latent, sample), for any CompressAI codec.

CompressAI draws its noise from the global generator, one draw a batch: adding two channels to a batch
changes the first channels' noise. Here each entropy model's `quantize` is replaced for the time of a
training step, so that packs, resumed runs and any number of workers see the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel
from torch import Tensor, nn

from interfero.randomness import Role, uniform_noise


@dataclass(frozen=True)
class NoiseKey:
    """Names the noise of one training batch."""

    seed: int
    step: int
    batch_size: int
    role: Role = Role.BASE_NOISE
    first_index: int = 0
    """Index of the first sample in the global batch."""
    skip: int = 0
    """Samples of the global batch between the first half of this batch and the second: those of other
    workers, where a method trains its halves on two domains."""

    def with_role(self, role: Role) -> NoiseKey:
        """Other noise for the same samples."""
        return replace(self, role=role)

    def second_half(self) -> NoiseKey:
        """The key of this batch's second half, the larger one of an odd batch."""
        middle = self.batch_size // 2
        first = self.first_index + middle + self.skip
        return replace(self, batch_size=self.batch_size - middle, first_index=first, skip=0)

    def draw(self, shape_BCHW: tuple[int, ...], label: str) -> Tensor:
        """(batch, channels, height, width) noise in [-0.5, 0.5)."""
        if self.skip:
            middle = self.batch_size // 2
            first = replace(self, batch_size=middle, skip=0)
            rest = (shape_BCHW[0] - middle, *shape_BCHW[1:])
            drawn = first.draw((middle, *shape_BCHW[1:]), label)
            return torch.cat([drawn, self.second_half().draw(rest, label)])
        return uniform_noise(
            shape_BCHW,
            seed=self.seed,
            step=self.step,
            role=self.role,
            label=label,
            first_index=self.first_index,
        )


@contextmanager
def explicit_noise(model: nn.Module, key: NoiseKey, prefix: str = "") -> Iterator[None]:
    """Make every entropy model below `model` take its training noise from `key`.

    Args:
        model: Its entropy models are told apart by their names.
        key: Names the noise.
        prefix: Of those names, where several such modules take noise from one key.
    """
    patched = [(prefix + n, m) for n, m in model.named_modules() if isinstance(m, EntropyModel)]
    for name, module in patched:
        module.quantize = _quantizer(module, name, key)
    try:
        yield
    finally:
        for _, module in patched:
            del module.quantize


def _quantizer(module: EntropyModel, name: str, key: NoiseKey) -> Any:
    original = type(module).quantize

    def quantize(inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        if mode != "noise":
            result: Tensor = original(module, inputs, mode, means)
            return result
        if isinstance(module, EntropyBottleneck):
            # EntropyBottleneck.forward hands over (channels, 1, batch * height * width).
            channels, _, flat = inputs.shape
            noise = key.draw((key.batch_size, channels, flat // key.batch_size), name)
            noise = noise.permute(1, 0, 2).reshape(inputs.shape)
        else:
            noise = key.draw(tuple(inputs.shape), name)
        return inputs + noise.to(device=inputs.device, dtype=inputs.dtype)

    return quantize
