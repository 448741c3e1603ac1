"""Noise of a sensor: gaussian in poor light, of few photons, and bits that flipped."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def gaussian_noise(x_HWC: FloatArray, deviation: float, random: np.random.Generator) -> FloatArray:
    """Normal noise of a standard deviation, in every value."""
    return x_HWC + random.normal(0, deviation, x_HWC.shape)


def shot_noise(x_HWC: FloatArray, photons: float, random: np.random.Generator) -> FloatArray:
    """Poisson noise; white is so many photons."""
    return np.asarray(random.poisson(x_HWC * photons) / photons)


def impulse_noise(x_HWC: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """A share of all values becomes 0 or 1, each as often."""
    flipped = random.random(x_HWC.shape) < share
    return np.where(flipped, random.random(x_HWC.shape) < 0.5, x_HWC)
