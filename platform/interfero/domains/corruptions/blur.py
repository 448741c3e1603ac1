"""Blur: out of focus, through frosted glass, by a moving camera, by a zooming one."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def defocus_blur(
    x_HWC: FloatArray, setting: tuple[int, float], random: np.random.Generator
) -> FloatArray:
    """The mean over a disc, `setting` being its radius in pixels and the sigma that smooths its edge."""
    from scipy.ndimage import gaussian_filter
    from scipy.signal import oaconvolve

    radius, alias = setting
    reach = max(8, radius)
    down, across = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (down**2 + across**2 <= radius**2).astype(float)
    disc = gaussian_filter(disc / disc.sum(), alias, radius=1 if radius <= 8 else 2)
    padded = np.pad(x_HWC, ((reach, reach), (reach, reach), (0, 0)), mode="reflect")
    return np.asarray(oaconvolve(padded, disc[..., None], mode="valid", axes=(0, 1)))


def glass_blur(
    x_HWC: FloatArray, setting: tuple[float, int, int], random: np.random.Generator
) -> FloatArray:
    """Pixels taken from nearby, between two Gaussian blurs.

    `setting` is the sigma of both, how far a pixel is taken from, and how often that is repeated. The
    published code means to swap two pixels, but both become the one from nearby; so they do here.
    """
    sigma, reach, repeats = setting
    smooth = np.floor(_gaussian(x_HWC, sigma) * 255) / 255
    height, width = smooth.shape[:2]
    taken = list(range(height * width))
    rows = range(height - reach, reach, -1)
    columns = range(width - reach, reach, -1)
    for _ in range(repeats):
        offsets = random.integers(-reach, reach, size=(2, len(rows), len(columns)))
        steps = (offsets[1] * width + offsets[0]).tolist()
        # One after the other: a pixel may be taken that was itself taken from elsewhere.
        for row, own in zip(rows, steps, strict=True):
            start = row * width
            for column, step in zip(columns, own, strict=True):
                taken[start + column] = taken[start + column + step]
    return _gaussian(smooth.reshape(height * width, -1)[taken].reshape(smooth.shape), sigma)


def motion_blur(
    x_HWC: FloatArray, setting: tuple[int, float], random: np.random.Generator
) -> FloatArray:
    """A streak (see `streaked`) in a direction at most 45 degrees from the horizontal."""
    return streaked(x_HWC, *setting, random.uniform(-45, 45))


def zoom_blur(
    x_HWC: FloatArray, setting: tuple[float, float], random: np.random.Generator
) -> FloatArray:
    """The mean of an image and its enlargements, `setting` being the end and the step of their factors."""
    factors = np.arange(1, *setting)
    total = x_HWC + sum(zoomed(x_HWC, factor) for factor in factors)
    return np.asarray(total / (len(factors) + 1))


def streaked(x_HWC: FloatArray, radius: int, sigma: float, degrees: float) -> FloatArray:
    """Half a Gaussian along a line, as ImageMagick's motion blur; edges are repeated.

    Args:
        x_HWC: (height, width, channels).
        radius: The line has twice as many pixels, and one.
        sigma: Of the Gaussian, in pixels.
        degrees: Direction of the line.
    """
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights /= weights.sum()
    angle, reach = math.radians(degrees), 2 * radius + 1
    down = np.ceil(steps * math.sin(angle) - 0.5).astype(int) + reach
    across = np.ceil(steps * math.cos(angle) - 0.5).astype(int) + reach
    padded = np.pad(x_HWC, ((reach, reach), (reach, reach), (0, 0)), mode="edge")
    height, width = x_HWC.shape[:2]
    found = np.zeros_like(x_HWC)
    for weight, top, left in zip(weights, down, across, strict=True):
        found += weight * padded[top : top + height, left : left + width]
    return found


def zoomed(x_HWC: FloatArray, factor: float) -> FloatArray:
    """The centre of an image, enlarged to its size by linear interpolation."""
    from scipy.ndimage import zoom

    shape = x_HWC.shape[:2]
    inner = [math.ceil(side / factor) for side in shape]
    top, left = ((side - part) // 2 for side, part in zip(shape, inner, strict=True))
    large = zoom(
        x_HWC[top : top + inner[0], left : left + inner[1]],
        (factor, factor, 1),
        order=1,
        mode="nearest",
    )
    top, left = ((there - side) // 2 for there, side in zip(large.shape, shape, strict=False))
    return np.asarray(large[top : top + shape[0], left : left + shape[1]])


def _gaussian(x_HWC: FloatArray, sigma: float) -> FloatArray:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(x_HWC, (sigma, sigma, 0), mode="nearest"))
