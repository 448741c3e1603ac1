"""JPEG through Pillow (libjpeg-turbo) as the classical codec that learned ones are compared with.

It has to be the good one. Each image is written with optimised Huffman tables, as a progressive and
as a sequential file, and the smaller one counts: their pixels are the same. The whole file counts,
headers included. Both 4:2:0 and 4:4:4 are tried, and the curve is the upper envelope of the two.

A point of the curve is the mean over images at one quality, as a learned codec's is the mean at one
lambda.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from PIL import Image

from interfero.codecs.coding import ImageScore, mean_score, pixel_mse
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import CodecError
from interfero.metrics.bd_rate import MIN_POINTS, psnr_at_rate

Subsampling = Literal["4:2:0", "4:4:4"]
"""Chroma at half resolution, or whole."""

SUBSAMPLINGS: tuple[Subsampling, ...] = get_args(Subsampling)
QUALITIES = (
    2,
    3,
    4,
    5,
    6,
    8,
    10,
    13,
    16,
    20,
    25,
    30,
    36,
    43,
    50,
    57,
    64,
    70,
    75,
    80,
    84,
    88,
    91,
    95,
)
"""libjpeg's scale; steps of about 10 % in rate, 0.12 to 4 bpp on small photographs."""


@dataclass(frozen=True)
class JpegPoint:
    """One setting, averaged over images."""

    bpp: float
    psnr_db: float
    quality: int
    subsampling: Subsampling


JpegScores = Mapping[tuple[int, Subsampling], Sequence[ImageScore]]
"""Scores of the images by (quality, subsampling)."""


def encode_jpeg(pixels_HWC: UInt8Array, quality: int, subsampling: Subsampling) -> bytes:
    """The smaller of the progressive and the sequential file of one image.

    Args:
        pixels_HWC: (height, width, 3), 0-255.
        quality: 1 to 100, libjpeg's scale.
        subsampling: Chroma subsampling.

    Raises:
        CodecError: the quality or subsampling does not exist.
    """
    if not 1 <= quality <= 100 or subsampling not in SUBSAMPLINGS:
        raise CodecError(
            f"JPEG quality must lie in 1 to 100 and subsampling be one of {SUBSAMPLINGS}, got "
            f"{quality} and {subsampling!r}"
        )
    image = Image.fromarray(pixels_HWC)
    files = []
    # On 133 photographs of 240x160 and 256x256 pixels a progressive file is 0.05 bpp larger than a
    # sequential one below 0.7 bpp, as each scan brings tables; above 2 bpp it is smaller.
    # Progressive alone would make JPEG 10 % worse in BD-rate between 24 and 33 dB.
    for progressive in (True, False):
        buffer = io.BytesIO()
        image.save(
            buffer,
            "JPEG",
            quality=quality,
            subsampling=subsampling,
            optimize=True,
            progressive=progressive,
        )
        files.append(buffer.getvalue())
    return min(files, key=len)


def decode_jpeg(data: bytes) -> UInt8Array:
    """(height, width, 3) uint8, with libjpeg's smooth chroma upsampling."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)


def score_jpeg(sample: Sample, quality: int, subsampling: Subsampling) -> ImageScore:
    """Rate of the whole file and distortion on RGB pixels of one image at one setting."""
    data = encode_jpeg(sample.pixels_HWC, quality, subsampling)
    num_pixels = sample.pixels_HWC.shape[0] * sample.pixels_HWC.shape[1]
    mse = pixel_mse(decode_jpeg(data), sample.pixels_HWC)
    return ImageScore(sample.name, sample.source_image, 8 * len(data) / num_pixels, mse)


def jpeg_curve(
    samples: Sequence[Sample], qualities: Sequence[int] = QUALITIES
) -> tuple[JpegPoint, ...]:
    """JPEG's best curve on a set of images: the upper envelope over both subsamplings.

    Returns:
        Points by rising rate and PSNR, each the mean over `samples` at one quality.

    Raises:
        CodecError: no images, or no qualities.
    """
    return curve_of_scores(score_jpeg_grid(samples, qualities))


def score_jpeg_grid(samples: Sequence[Sample], qualities: Sequence[int] = QUALITIES) -> JpegScores:
    """Every image at every setting.

    Raises:
        CodecError: no images, or no qualities.
    """
    if not samples or not qualities:
        raise CodecError(
            f"a JPEG curve needs images and qualities, got {len(samples)} and {len(qualities)}"
        )
    return {
        (quality, subsampling): [score_jpeg(s, quality, subsampling) for s in samples]
        for subsampling in SUBSAMPLINGS
        for quality in qualities
    }


def curve_of_scores(scores: JpegScores) -> tuple[JpegPoint, ...]:
    """The upper envelope of means over images, from what `score_jpeg_grid` measured."""
    curves: dict[Subsampling, list[JpegPoint]] = {}
    for (quality, subsampling), images in scores.items():
        mean = mean_score(images, rd_lambda=0)
        point = JpegPoint(mean["bpp"], mean["psnr_db"], quality, subsampling)
        curves.setdefault(subsampling, []).append(point)
    return upper_envelope(curves)


def jpeg_psnr_at(curve: Sequence[JpegPoint], rate_bpp: float) -> float | None:
    """PSNR in dB of a curve of JPEG at a rate; None where it has no such rate.

    A picture of one colour has hardly any point.
    """
    if len(curve) < MIN_POINTS:
        return None
    return psnr_at_rate([(point.bpp, point.psnr_db) for point in curve], rate_bpp)


def least_of_jpeg(curve: Sequence[JpegPoint]) -> str:
    """What JPEG's smallest files reach, where it cannot spend as little as another codec."""
    smallest = min(curve, key=lambda point: point.bpp)
    return f"{smallest.psnr_db:.3f} at {smallest.bpp:.4f}"


def upper_envelope(
    curves: Mapping[Subsampling, Sequence[JpegPoint]],
) -> tuple[JpegPoint, ...]:
    """Points of any curve that no curve beats at their rate, by rising rate and PSNR."""
    points = sorted((p for curve in curves.values() for p in curve), key=_by_rate)
    best: list[JpegPoint] = []
    for point in points:
        beaten = any(_lies_below(point, curve) for curve in curves.values())
        # Rate may fall while quality rises (a picture of one colour): only what rises is kept.
        if not beaten and (not best or point.psnr_db > best[-1].psnr_db):
            best.append(point)
    return tuple(best)


def _lies_below(point: JpegPoint, curve: Sequence[JpegPoint]) -> bool:
    """Whether a curve, linear over log rate between its points, is above `point` at its rate."""
    ordered = sorted(curve, key=_by_rate)
    log_rates = np.log([p.bpp for p in ordered])
    if not log_rates[0] <= np.log(point.bpp) <= log_rates[-1]:
        return False
    there = np.interp(np.log(point.bpp), log_rates, [p.psnr_db for p in ordered])
    return bool(there > point.psnr_db + 1e-9)


def _by_rate(point: JpegPoint) -> tuple[float, float]:
    """Sort key by rate; of equal rates the better one comes first."""
    return point.bpp, -point.psnr_db
