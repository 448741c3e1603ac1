"""Each corruption by name, with what its five severities set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from interfero.domains.corruptions import blur, digital, noise, weather
from interfero.domains.images import UInt8Array


class Corruption(NamedTuple):
    """One corruption."""

    apply: Callable[[npt.NDArray[np.float64], Any, np.random.Generator], npt.NDArray[np.float64]]
    """From (height, width, 3) in 0 to 1, a setting and random numbers to the same, before clipping."""
    settings: tuple[Any, Any, Any, Any, Any]
    """By severity, 1 first."""


# As published (github.com/hendrycks/robustness, make_imagenet_c.py), but for `elastic_transform`, which says
# where it is from. Lengths are pixels of images of 224 pixels, and are not scaled with the image.
TABLE: dict[str, Corruption] = {
    "gaussian_noise": Corruption(noise.gaussian_noise, (0.08, 0.12, 0.18, 0.26, 0.38)),
    "shot_noise": Corruption(noise.shot_noise, (60, 25, 12, 5, 3)),
    "impulse_noise": Corruption(noise.impulse_noise, (0.03, 0.06, 0.09, 0.17, 0.27)),
    "defocus_blur": Corruption(
        blur.defocus_blur, ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
    ),
    "glass_blur": Corruption(
        blur.glass_blur, ((0.7, 1, 2), (0.9, 2, 1), (1, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    ),
    "motion_blur": Corruption(
        blur.motion_blur, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
    ),
    "zoom_blur": Corruption(
        blur.zoom_blur, ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))
    ),
    "snow": Corruption(
        weather.snow,
        (
            (0.1, 0.3, 3, 0.5, 10, 4, 0.8), (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
            (0.55, 0.3, 4, 0.9, 12, 8, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
            (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
        ),
    ),
    "frost": Corruption(
        weather.frost, ((1, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
    ),
    "fog": Corruption(weather.fog, ((1.5, 2), (2, 2), (2.5, 1.7), (2.5, 1.5), (3, 1.4))),
    "brightness": Corruption(weather.brightness, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "contrast": Corruption(digital.contrast, (0.4, 0.3, 0.2, 0.1, 0.05)),
    "elastic_transform": Corruption(
        digital.elastic_transform, (12.5, 16.25, 21.25, 25.0, 30.0)
    ),
    "pixelate": Corruption(digital.pixelate, (0.6, 0.5, 0.4, 0.3, 0.25)),
    "jpeg_compression": Corruption(digital.jpeg_compression, (25, 18, 15, 10, 7)),
}  # fmt: skip
"""In the order of the publication: noise, blur, weather, digital."""


def corrupt(
    pixels_HWC: UInt8Array, name: str, severity: int, random: np.random.Generator
) -> UInt8Array:
    """A corrupted copy of an image.

    Args:
        pixels_HWC: (height, width, 3), 0-255.
        name: Of `TABLE`.
        severity: 1 to 5.
        random: Draws what the corruption draws.
    """
    found = TABLE[name]
    made = found.apply(pixels_HWC / 255, found.settings[severity - 1], random)
    corrupted_HWC: UInt8Array = np.rint(made.clip(0, 1) * 255).astype(np.uint8)
    return corrupted_HWC
