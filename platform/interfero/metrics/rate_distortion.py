"""Rate, distortion, and the loss that trades them."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

PEAK = 255.0
"""Largest value of an 8-bit pixel; all MSE here is on that scale."""


def estimated_bpp(likelihoods: Iterable[Tensor], num_pixels: int) -> Tensor:
    """Rate estimate in bits per pixel: `-sum(log2 p) / num_pixels`.

    Args:
        likelihoods: Probabilities of the (noisy) latents, any shapes.
        num_pixels: Pixels of all images in the batch, before padding.
    """
    bits = torch.stack([-torch.log2(p.float()).sum() for p in likelihoods]).sum()
    return bits / num_pixels


def mse_255(reconstruction: Tensor, image: Tensor) -> Tensor:
    """Mean squared error on the 0-255 scale of two images in [0, 1], over the whole batch."""
    return (reconstruction.float() - image).square().mean() * PEAK**2


def rd_loss(bpp: Tensor, mse: Tensor, rd_lambda: float) -> Tensor:
    """`bpp + rd_lambda * mse_255` (CompressAI's `lambda * 255**2 * mse`)."""
    return bpp + rd_lambda * mse


def psnr_db(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of one 8-bit image; a perfect image counts as 100 dB.

    Args:
        mse: Mean squared error on the 0-255 scale, not negative.
    """
    if mse < 0:
        raise ValueError(f"mse must not be negative, got {mse}")
    return 100.0 if mse == 0 else min(100.0, 10 * float(torch.log10(torch.tensor(PEAK**2 / mse))))
