"""The learning rate of every training: warm-up, then cosine or power to zero, or constant and a cool-down."""

from __future__ import annotations

import math

POLY_POWER = 0.9
"""As segmentation models are usually trained (DeepLab, arXiv:1606.00915)."""


def schedule(
    step: int, num_steps: int, warmup_steps: int, peak: float = 1.0, power: float | None = None
) -> float:
    """Learning rate of a step: warm-up, then a cosine to zero, or a power of the steps that are left.

    Args:
        step: Its index, from 0.
        num_steps: Of the whole training.
        warmup_steps: Steps in which the rate rises, the last of them to the peak; 0 is none.
        peak: The highest rate. It is multiplied before the division, so that a rate is not the product
            of a share and a peak in its last bit.
        power: Of the share of steps that are left; None is the cosine.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if power is not None:
        return float(peak * (1 - progress) ** power)
    return peak * 0.5 * (1 + math.cos(math.pi * progress))


def stable_schedule(
    step: int, num_steps: int, warmup_steps: int, trunk_steps: int, peak: float = 1.0
) -> float:
    """Learning rate of a step: warm-up, constant, cool-down (warmup-stable-decay, arXiv:2405.18392).

    Until the cool-down it does not depend on `num_steps`, so that one training serves several lengths. The
    cool-down falls as one minus a square root, the form that paper found best.

    Args:
        step: Its index, from 0.
        num_steps: Of the whole training.
        warmup_steps: Steps in which the rate rises, the last of them to the peak; 0 is none.
        trunk_steps: Steps before the cool-down.
        peak: The highest rate.
    """
    rate = peak * (step + 1) / warmup_steps if step < warmup_steps else peak
    if step < trunk_steps:
        return rate
    return rate * (1 - math.sqrt((step - trunk_steps) / (num_steps - trunk_steps)))


def warmup_of(share: float, num_steps: int) -> int:
    """Steps of a warm-up that takes a share of all; one at least."""
    return max(1, round(share * num_steps))
