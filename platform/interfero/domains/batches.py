"""Training batches: seeded crops with flips, the same for every member of a pack."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from interfero.domains.images import Sample, UInt8Array
from interfero.randomness import Role, numpy_generator


def image_tensor(pixels_HWC: UInt8Array) -> Tensor:
    """(height, width, channels) uint8 to (channels, height, width) float32 in [0, 1]."""
    return torch.from_numpy(pixels_HWC.copy()).permute(2, 0, 1).float() / 255


def draw_batch(
    samples: Sequence[Sample],
    *,
    seed: int,
    step: int,
    batch_size: int,
    crop_size: int,
    label: str = "",
    first_index: int = 0,
) -> Tensor:
    """One batch of random crops, a function of (seed, step, sample index) alone.

    Every image is equally likely, whatever its size. Crops are flipped and transposed at random.
    Images smaller than the crop are extended by reflection.

    Returns:
        (batch_size, channels, crop_size, crop_size) float32 in [0, 1].
    """
    # NumPy and one pass: a tensor a crop took five times as long, and torch's threads, which have
    # nothing to share in a crop, wait for each other where the cores are busy.
    channels = samples[0].pixels_HWC.shape[2]
    batch_BCHW = np.empty((batch_size, channels, crop_size, crop_size), dtype=np.float32)
    for i in range(batch_size):
        random = numpy_generator(seed, step, Role.CROP, first_index + i, label)
        pixels = samples[int(random.integers(len(samples)))].pixels_HWC
        batch_BCHW[i] = _crop(pixels, crop_size, random).transpose(2, 0, 1)
    np.divide(batch_BCHW, np.float32(255), out=batch_BCHW)
    return torch.from_numpy(batch_BCHW)


def _crop(pixels: UInt8Array, size: int, random: np.random.Generator) -> UInt8Array:
    """A view of the image where it is large enough."""
    missing = [max(0, size - side) for side in pixels.shape[:2]]
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")
    top = int(random.integers(pixels.shape[0] - size + 1))
    left = int(random.integers(pixels.shape[1] - size + 1))
    crop = pixels[top : top + size, left : left + size]
    flip_v, flip_h, transpose = random.integers(2, size=3)
    crop = crop[:: 1 - 2 * flip_v, :: 1 - 2 * flip_h]
    return crop.transpose(1, 0, 2) if transpose else crop
