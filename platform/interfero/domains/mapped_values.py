"""From the numbers in a file to the 8-bit channels that a codec sees, as declared; nothing is guessed.

With the 8-bit pixels goes what rounding to them left over, in 256ths of a level, so that PSNR can also be
measured against the values themselves.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from interfero.domains.images import ImageRules, SkippedImageError, UInt8Array
from interfero.domains.pixel_mapping import Ends, PixelMapping
from interfero.domains.readers.raw import RawImage
from interfero.errors import DomainError

FINE_STEPS = 256
"""Steps that a level of 8 bits is parted into for what rounding left over."""
FINE_ZERO = 128
"""Stands for no difference."""
CLIPPED = "image with values outside the declared range, clipped"
MISSING = "image with pixels without a value (nodata, NaN), taken as the lowest"
GREY = "one band taken as grey"


def map_values(
    raw: RawImage, label: str, rules: ImageRules, counts: Counter[str]
) -> tuple[UInt8Array, UInt8Array | None]:
    """8-bit pixels of an image, and what rounding left over.

    Args:
        raw: The image as its file holds it.
        label: Its name, for errors.
        rules: What is declared, how many channels the codec has, and the limits of size.
        counts: Told of what was done.

    Returns:
        (height, width, channels) uint8, and of the same shape `FINE_ZERO` + the rest in steps of 1 /
        `FINE_STEPS` level; None where the values are such levels themselves.

    Raises:
        DomainError: the declaration does not fit the file, or lacks what the file needs.
        SkippedImageError: the image is too small.
    """
    raw = _limited(raw, label, rules, counts)
    values = chosen_bands(raw, label, rules.mapping, rules.channels)
    ends = _ends_for(values, label, rules.mapping)
    if raw.low_is_white:
        ends = tuple((high, low) for low, high in ends)
    if values.dtype == np.uint8 and set(ends) == {(0.0, 255.0)} and raw.missing_HW is None:
        return _channels(values, rules.channels, counts), None
    levels = _levels(values, ends, raw.missing_HW, counts)
    levels = _channels(levels, rules.channels, counts)
    pixels = (levels + FINE_ZERO) // FINE_STEPS
    fine = levels - FINE_STEPS * pixels + FINE_ZERO
    return pixels.astype(np.uint8), fine.astype(np.uint8)


def squared_error(
    decoded_HWC: UInt8Array, pixels_HWC: UInt8Array, fine_HWC: UInt8Array | None
) -> float:
    """Mean squared error of a decoded image against the values that its pixels were rounded from.

    In units of levels: 255 are the declared range. Values that are 8-bit levels themselves have no rest.
    """
    rest = 0.0 if fine_HWC is None else (fine_HWC.astype(np.float64) - FINE_ZERO) / FINE_STEPS
    return float(np.mean((decoded_HWC - (pixels_HWC + rest)) ** 2))


def chosen_bands(
    raw: RawImage, label: str, mapping: PixelMapping, channels: int
) -> npt.NDArray[Any]:
    """(height, width, bands) of the declared bands, or of all if they are as many as the codec's channels.

    Raises:
        DomainError: there is no such band, or it is not said which are meant.
    """
    values = raw.values_HWB
    if values.dtype.kind not in "buif":
        raise DomainError(
            f"{label} holds {values.dtype} values: write real numbers, such as magnitudes, instead"
        )
    there = values.shape[2]
    if not mapping.bands:
        if there not in (1, channels):
            raise DomainError(
                f"{label} has {there} bands and the codec {channels} channels: say which bands are meant, "
                f"in order (bands={','.join(str(b + 1) for b in range(min(channels, there)))} behind the "
                "domain's path)"
            )
        return values
    if len(mapping.bands) not in (1, channels):
        raise DomainError(
            f"{label}: {len(mapping.bands)} bands are declared, the codec has {channels} channels: declare "
            f"{channels}, or one"
        )
    if max(mapping.bands) > there:
        raise DomainError(
            f"{label} has {there} bands, band {max(mapping.bands)} is declared: bands count from 1"
        )
    return values[:, :, [band - 1 for band in mapping.bands]]


def _ends_for(values: npt.NDArray[Any], label: str, mapping: PixelMapping) -> tuple[Ends, ...]:
    """By band, the values that become 0 and 255."""
    num_bands = values.shape[2]
    ends = mapping.ends(num_bands)
    if ends is None:
        if values.dtype == np.uint8:
            return ((0.0, 255.0),) * num_bands
        if values.dtype == np.bool_:
            return ((0.0, 1.0),) * num_bands
        finite = values[np.isfinite(values)]
        low, high = (finite.min(), finite.max()) if finite.size else (0, 0)
        raise DomainError(
            f"{label} holds {values.dtype} values ({low:g} to {high:g} here), codecs see 8 bits: say which "
            "values become black and white (range=LOW,HIGH, window=CENTRE,WIDTH or percentiles=LOW,HIGH "
            "behind the domain's path)"
        )
    largest = np.iinfo(values.dtype).max if values.dtype.kind in "iu" else np.inf
    outside = min(high for pair in ends for high in [max(pair)])
    if outside > largest:
        raise DomainError(
            f"{label} holds {values.dtype} values, up to {largest:g}; the declared range ends at "
            f"{outside:g}: declare a range of its own for this domain, such as range=0,{largest:g}"
        )
    if len(ends) != num_bands:
        raise DomainError(
            f"{label} has {num_bands} bands, the percentiles were found for {len(ends)}: give all files "
            "of a domain the same bands"
        )
    return ends


def _levels(
    values: npt.NDArray[Any],
    ends: tuple[Ends, ...],
    missing: npt.NDArray[np.bool_] | None,
    counts: Counter[str],
) -> npt.NDArray[np.int32]:
    """256ths of a level, 0 to 65280, by band."""
    low, high = (np.array(side, dtype=np.float64) for side in zip(*ends, strict=True))
    share = (values.astype(np.float64) - low) / (high - low)
    without = ~np.isfinite(share)
    if missing is not None:
        without |= missing[:, :, None]
    if without.any():
        counts[MISSING] += 1
        share[without] = 0.0
    if ((share < 0) | (share > 1)).any():
        counts[CLIPPED] += 1
    levels = np.floor(share.clip(0, 1) * (255 * FINE_STEPS) + 0.5)
    return np.asarray(levels, dtype=np.int32)


def _channels(
    values_HWB: npt.NDArray[Any], channels: int, counts: Counter[str]
) -> npt.NDArray[Any]:
    """As many equal channels as the codec has, of a single band."""
    if values_HWB.shape[2] == channels:
        return np.ascontiguousarray(values_HWB)
    counts[GREY] += 1
    return np.repeat(values_HWB, channels, axis=2)


def _limited(raw: RawImage, label: str, rules: ImageRules, counts: Counter[str]) -> RawImage:
    """The centre of an image that is larger than allowed."""
    height, width = raw.values_HWB.shape[:2]
    if min(height, width) < rules.min_side:
        raise SkippedImageError(
            f"{label}: {width}x{height} is under {rules.min_side} pixels a side"
        )
    rows, columns = min(height, rules.max_side), min(width, rules.max_side)
    if (rows, columns) == (height, width):
        return raw
    counts[f"cropped to {rules.max_side} pixels a side"] += 1
    top, left = (height - rows) // 2, (width - columns) // 2
    inside = np.s_[top : top + rows, left : left + columns]
    return replace(
        raw,
        values_HWB=raw.values_HWB[inside],
        missing_HW=None if raw.missing_HW is None else raw.missing_HW[inside],
    )
