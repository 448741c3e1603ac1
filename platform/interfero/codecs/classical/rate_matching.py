"""The quality at which a classical codec makes the most of an asked rate on given images."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from interfero.codecs.classical.codec import ClassicalCodec
from interfero.codecs.coding import pixel_mse
from interfero.domains.decoding import in_threads
from interfero.domains.images import Sample
from interfero.errors import CodecError
from interfero.metrics.rate_distortion import psnr_db

NEIGHBOURS = 3
"""Qualities to either side of the one that the search ends at which are coded too.

WebP's rate falls by up to 0.75 % from one quality to the next, and PSNR by a hundredth of a dB in several
formats, so the best quality at or under a rate may be one of these."""


@dataclass(frozen=True)
class CodecPoint:
    """What a quality gives, mean over images."""

    quality: int
    bpp: float
    """Whole files."""
    psnr_db: float


@dataclass(frozen=True)
class RateMatch:
    """A quality and what it gives on the images it was searched on."""

    quality: int
    bpp: float
    """Mean over images, whole files."""
    asked_bpp: float
    psnr_db: float
    """Mean over images."""
    regime: str = ""
    """The way the format works in at this quality, where it has several."""

    @property
    def error_percent(self) -> float:
        """How far the rate is under the asked one; never positive."""
        return 100 * (self.bpp / self.asked_bpp - 1)


def quality_for_rate(
    codec: ClassicalCodec,
    images: Sequence[Sample],
    rate_bpp: float,
    known: MutableMapping[int, CodecPoint] | None = None,
) -> RateMatch:
    """The quality of highest PSNR whose mean rate over `images` is at or under `rate_bpp`.

    In every regime of the codec the search halves the qualities and then codes the neighbours of where it
    ends; the best of all points at or under the rate is taken, whichever regime it is of. A codec with one
    regime codes about fourteen qualities.

    Args:
        codec: Within a regime its rate rises with quality, but for the neighbours that are coded too.
        images: The rate is the mean of their rates, each counted once whatever its size.
        rate_bpp: Bits per pixel of the whole file.
        known: Points of these images by quality, as earlier searches left them; this one adds its own.

    Raises:
        CodecError: there are no images, or the rate lies outside what the codec spends on them.
    """
    if not images or not rate_bpp > 0:
        raise CodecError(
            f"a rate is matched on images and above 0 bpp, got {len(images)} and {rate_bpp}"
        )

    points = {} if known is None else known

    def point(quality: int) -> CodecPoint:
        if quality not in points:
            points[quality] = measure(codec, images, quality)
        return points[quality]

    regimes = codec.regimes or {"": codec.qualities}
    lowest = min((point(r[0]) for r in regimes.values()), key=lambda p: p.bpp)
    highest = max((point(r[-1]) for r in regimes.values()), key=lambda p: p.bpp)
    if not lowest.bpp <= rate_bpp <= highest.bpp:
        raise CodecError(
            f"{codec.name} spends {lowest.bpp:.3f} to {highest.bpp:.3f} bpp on these images "
            f"(qualities {lowest.quality} to {highest.quality}): ask for a rate in between, not "
            f"{rate_bpp:g} bpp"
        )
    found = [
        (best, name)
        for name, qualities in regimes.items()
        if (best := _best(point, qualities, rate_bpp)) is not None
    ]
    best, regime = max(found, key=lambda f: f[0].psnr_db)
    return RateMatch(best.quality, best.bpp, rate_bpp, best.psnr_db, regime)


def measure(codec: ClassicalCodec, images: Sequence[Sample], quality: int) -> CodecPoint:
    """Mean rate and PSNR over images at one quality; as many are coded at once as torch has threads."""
    codec.warm_up()
    tasks = (partial(_rate_and_psnr, codec, sample, quality) for sample in images)
    rates, psnrs = zip(*in_threads(tasks, torch.get_num_threads()), strict=True)
    return CodecPoint(quality, sum(rates) / len(rates), sum(psnrs) / len(psnrs))


def _rate_and_psnr(codec: ClassicalCodec, sample: Sample, quality: int) -> tuple[float, float]:
    height, width = sample.pixels_HWC.shape[:2]
    data = codec.encode(sample.pixels_HWC, quality)
    error = pixel_mse(codec.decode(data), sample.pixels_HWC)
    return 8 * len(data) / (height * width), psnr_db(error)


def _best(
    point: Callable[[int], CodecPoint], qualities: range, rate_bpp: float
) -> CodecPoint | None:
    """The point of highest PSNR at or under the rate in one regime; None if it spends more throughout."""
    low, high = qualities[0], qualities[-1]
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if point(middle).bpp <= rate_bpp else (low, middle)
    around = range(
        max(qualities[0], low - NEIGHBOURS), min(qualities[-1], high + NEIGHBOURS - 1) + 1
    )
    under = [p for p in map(point, around) if p.bpp <= rate_bpp]
    return max(under, key=lambda p: (p.psnr_db, -p.bpp), default=None)
