"""Random numbers as a function of (seed, step, role, sample index).

Nothing in the project draws from a global generator while it trains. A number depends only on what it
is for, so packs, resumed runs and any order of cells see the same crops and the same noise.
"""

from __future__ import annotations

import hashlib
import struct
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    # Domains draw too, and need no torch.
    import torch
    from torch import Tensor


class Role(StrEnum):
    """What a random number is for; two roles never share a stream."""

    SUBSET = "subset"
    VALIDATION = "validation"
    CROP = "crop"
    BASE_NOISE = "base-noise"
    CUSTOM_NOISE = "custom-noise"
    REPLAY_NOISE = "replay-noise"
    IMPORTANCE = "importance"
    GRADIENT = "gradient"
    INIT = "init"
    RENDER = "render"
    SPLIT = "split"
    MEMORY = "memory"
    REFINEMENT = "refinement"
    CORRUPTION = "corruption"


def seed_for(seed: int, step: int, role: Role, index: int = 0, label: str = "") -> int:
    """A 63-bit seed for one purpose.

    Args:
        seed: The user's seed.
        step: Training step, or 0 where there is none.
        role: What the numbers are for.
        index: Sample index inside the step.
        label: Tells apart several draws of one role, such as the latent's name.
    """
    text = label.encode()
    payload = struct.pack("<qqq", seed, step, index) + role.value.encode() + b"\0" + text
    return int.from_bytes(hashlib.blake2b(payload, digest_size=8).digest(), "little") >> 1


def numpy_generator(
    seed: int, step: int, role: Role, index: int = 0, label: str = ""
) -> np.random.Generator:
    """A NumPy generator for one purpose (see `seed_for`)."""
    return np.random.Generator(np.random.Philox(seed_for(seed, step, role, index, label)))


def torch_generator(
    seed: int, step: int, role: Role, index: int = 0, label: str = ""
) -> torch.Generator:
    """A CPU torch generator for one purpose (see `seed_for`)."""
    import torch

    return torch.Generator().manual_seed(seed_for(seed, step, role, index, label))


def uniform_noise(
    shape_BCHW: tuple[int, ...],
    *,
    seed: int,
    step: int,
    role: Role,
    label: str,
    first_index: int = 0,
) -> Tensor:
    """Additive quantisation noise in [-0.5, 0.5), one stream a sample.

    Args:
        shape_BCHW: (batch, channels, height, width) of the latent.
        seed: The data seed.
        step: Training step.
        role: `BASE_NOISE` or `CUSTOM_NOISE`.
        label: The latent's name.
        first_index: Index of the first sample in the global batch (a second worker starts later).

    Returns:
        (batch, channels, height, width) float32 on the CPU.
    """
    import torch

    samples = []
    for i in range(shape_BCHW[0]):
        generator = torch_generator(seed, step, role, first_index + i, label)
        samples.append(torch.rand(shape_BCHW[1:], generator=generator))
    return torch.stack(samples) - 0.5
