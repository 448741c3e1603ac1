"""The quality at which a classical codec spends an asked rate on given images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from interfero.codecs.classical.codec import ClassicalCodec
from interfero.domains.images import Sample
from interfero.errors import CodecError


@dataclass(frozen=True)
class RateMatch:
    """A quality and the rate it gives."""

    quality: int
    bpp: float
    """Mean over the images it was searched on, whole files."""
    asked_bpp: float

    @property
    def error_percent(self) -> float:
        """How far the rate is from the asked one; positive is more."""
        return 100 * (self.bpp / self.asked_bpp - 1)


def quality_for_rate(codec: ClassicalCodec, images: Sequence[Sample], rate_bpp: float) -> RateMatch:
    """The quality whose mean rate over `images` is nearest to `rate_bpp`, by ratio.

    Nearest, not at most: codecs compared at a rate then err to both sides by half a step of their
    scale, instead of all being cheaper than asked by up to a whole one. The search halves
    `codec.qualities`, so about eight qualities are coded.

    Args:
        codec: Its rate rises with quality.
        images: The rate is the mean of their rates, each counted once whatever its size.
        rate_bpp: Bits per pixel of the whole file.

    Raises:
        CodecError: there are no images, or the rate lies outside what the codec spends on them.
    """
    if not images or not rate_bpp > 0:
        raise CodecError(
            f"a rate is matched on images and above 0 bpp, got {len(images)} and {rate_bpp}"
        )
    rates: dict[int, float] = {}

    def rate(quality: int) -> float:
        if quality not in rates:
            rates[quality] = mean_rate(codec, images, quality)
        return rates[quality]

    low, high = codec.qualities[0], codec.qualities[-1]
    if not rate(low) <= rate_bpp <= rate(high):
        raise CodecError(
            f"{codec.name} spends {rate(low):.3f} to {rate(high):.3f} bpp on these images "
            f"(qualities {low} to {high}): ask for a rate in between, not {rate_bpp:g} bpp"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rate(middle) <= rate_bpp else (low, middle)
    nearest = min((low, high), key=lambda q: abs(math.log(rate(q) / rate_bpp)))
    return RateMatch(nearest, rate(nearest), rate_bpp)


def mean_rate(codec: ClassicalCodec, images: Sequence[Sample], quality: int) -> float:
    """Mean bits per pixel over images at one quality."""
    total = 0.0
    for sample in images:
        height, width = sample.pixels_HWC.shape[:2]
        total += 8 * len(codec.encode(sample.pixels_HWC, quality)) / (height * width)
    return total / len(images)
