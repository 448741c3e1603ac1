"""What is done to pictures by computers: less contrast, stretching, coarse pixels, JPEG."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.float64]


def contrast(x_HWC: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """This share of the contrast is left, about the mean of each channel."""
    means = x_HWC.mean(axis=(0, 1), keepdims=True)
    return np.asarray((x_HWC - means) * share + means)


def elastic_transform(x_HWC: FloatArray, amount: float, random: np.random.Generator) -> FloatArray:
    """Pixels are displaced by smooth noise; linear interpolation.

    In the form of the package `imagecorruptions` (arXiv:1907.07484), whose lengths are relative to the
    image's sides: those of the first publication are for 224 pixels, and its first two severities move the
    picture by more than its last three.
    """
    from scipy.ndimage import gaussian_filter, map_coordinates

    height, width, channels = x_HWC.shape
    reach = 0.005 * height

    def displacement() -> FloatArray:
        noise = random.uniform(-reach, reach, (height, width))
        sigma = 0.01 * height, 0.01 * width
        return np.asarray(amount * gaussian_filter(noise, sigma, mode="reflect", truncate=3))

    across, down = displacement(), displacement()
    rows, columns = np.indices((height, width))
    places = np.stack([rows + down, columns + across])
    planes = [
        map_coordinates(x_HWC[..., c], places, order=1, mode="reflect") for c in range(channels)
    ]
    return np.stack(planes, axis=2)


def pixelate(x_HWC: FloatArray, share: float, random: np.random.Generator) -> FloatArray:
    """Sides shrunk to this share of their pixels, and enlarged again without interpolation."""
    image = _picture(x_HWC)
    few = image.resize(
        (max(1, int(image.width * share)), max(1, int(image.height * share))), Image.Resampling.BOX
    )
    return np.asarray(few.resize(image.size, Image.Resampling.NEAREST)) / 255


def jpeg_compression(x_HWC: FloatArray, quality: int, random: np.random.Generator) -> FloatArray:
    """Coded as JPEG at this quality, and decoded."""
    file = io.BytesIO()
    _picture(x_HWC).save(file, "JPEG", quality=quality)
    with Image.open(file) as coded:
        return np.asarray(coded) / 255


def _picture(x_HWC: FloatArray) -> Image.Image:
    return Image.fromarray(np.rint(x_HWC * 255).astype(np.uint8))
