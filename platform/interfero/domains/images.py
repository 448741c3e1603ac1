"""Image files to 8-bit RGB: every conversion is counted, every refusal names its file."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from interfero.domains.pixel_mapping import NOTHING_DECLARED, PixelMapping
from interfero.domains.pixel_meaning import (
    JPEG_FORMATS,
    UNREADABLE,
    refuse_unclear,
    refuse_unopened,
    upright_rgb,
)

UInt8Array = npt.NDArray[np.uint8]

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".avif"}
)
MIN_SIDE = 64
"""Shortest side in pixels: one 64-pixel stride of a hyperprior."""
MAX_SIDE = 1024
"""Longer sides are cropped to their centre, so that one photograph cannot fill the memory."""


class SkippedImageError(Exception):
    """One image that cannot be used; a domain tolerates a few of them."""


@dataclass(frozen=True)
class ImageRules:
    """How files become training images."""

    halve_jpeg: bool = True
    """Halve JPEGs whose shorter side allows it: their artefacts are not part of the picture."""
    min_side: int = MIN_SIDE
    max_side: int = MAX_SIDE
    mapping: PixelMapping = NOTHING_DECLARED
    """How values become pixels where files are not 8-bit colour."""
    channels: int = 3
    """Of the codec; a single band is repeated to as many."""

    @property
    def is_plain(self) -> bool:
        """Whether pictures are decoded as `pixel_meaning` decides: nothing is declared."""
        return self.channels == 3 and not self.mapping.is_declared


@dataclass(frozen=True)
class Sample:
    """One decoded image of a domain."""

    name: str
    """File name without folder, or the crop's name."""
    group: str
    """What splits and validation keep whole: the picture it was cut from, or a block of that picture."""
    pixels_HWC: UInt8Array = field(repr=False)
    """(height, width, channels), 0-255; 3 channels but for codecs of another number."""
    source_image: str = field(default="", kw_only=True)
    """The picture, or the set of pictures, that it was cut from; its group unless given.

    A bootstrap and a standard error draw these. Blocks of one picture that share no pixel may lie in
    train and in test, as groups of their own: they are no independent images for that.
    """
    fine_HWC: UInt8Array | None = field(default=None, kw_only=True, repr=False)
    """What rounding values to 8 bits left over, as `mapped_values` codes it; None for 8-bit files."""

    def __post_init__(self) -> None:
        """Where nothing else is said, a group is a picture."""
        if not self.source_image:
            object.__setattr__(self, "source_image", self.group)

    @cached_property
    def digest(self) -> str:
        """Content hash of the pixels and their shape."""
        return digest_of(self.pixels_HWC, self.fine_HWC)


def viewable(pixels_HWC: UInt8Array) -> UInt8Array:
    """Three channels to look at: the first three of more, one of fewer."""
    channels = pixels_HWC.shape[2]
    return pixels_HWC[:, :, :3] if channels >= 3 else pixels_HWC[:, :, [0, 0, 0]]


def digest_of(pixels_HWC: UInt8Array, fine_HWC: UInt8Array | None = None) -> str:
    """Content hash of pixels and their shape, and of what rounding to them left over."""
    digest = hashlib.blake2b(str(pixels_HWC.shape).encode(), digest_size=16)
    for values in (pixels_HWC, fine_HWC):
        if values is not None:
            digest.update(np.ascontiguousarray(values).reshape(-1).data)
    return digest.hexdigest()


def decode_image(
    data: bytes | Path, label: str, rules: ImageRules, counts: Counter[str]
) -> UInt8Array:
    """Decode one image to 8-bit RGB.

    Args:
        data: An encoded image, or the path of one.
        label: The file's name, for errors.
        rules: Halving and size limits.
        counts: Conversions, counted in place.

    Returns:
        (height, width, 3) uint8.

    Raises:
        DomainError: the image is not 8-bit colour, grey or palette; see `pixel_meaning`.
        SkippedImageError: the image is corrupt, or its shorter side is under `rules.min_side`.
    """
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with Image.open(source) as image:
            refuse_unclear(image, data, label)
            is_jpeg = image.format in JPEG_FORMATS
            rgb = _halve(upright_rgb(image, label, counts), is_jpeg, rules, counts)
    except UNREADABLE as error:
        refuse_unopened(data, label)
        raise SkippedImageError(f"{label}: cannot be read ({error})") from error
    if min(rgb.size) < rules.min_side:
        raise SkippedImageError(
            f"{label}: {rgb.width}x{rgb.height} is under {rules.min_side} pixels a side"
        )
    return np.asarray(_limit(rgb, rules, counts), dtype=np.uint8)


def decoded_bytes(data: bytes | Path, rules: ImageRules) -> int:
    """Bytes that `decode_image` would give, from the image's header; 0 where it cannot be read."""
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        with Image.open(source) as image:
            is_halved = _is_halved(image.format in JPEG_FORMATS, image.size, rules)
            sides = [side // 2 if is_halved else side for side in image.size]
    except UNREADABLE:
        return 0
    return 3 * min(sides[0], rules.max_side) * min(sides[1], rules.max_side)


def _is_halved(is_jpeg: bool, size: tuple[int, int], rules: ImageRules) -> bool:
    return is_jpeg and rules.halve_jpeg and min(size) // 2 >= rules.min_side


def _halve(rgb: Image.Image, is_jpeg: bool, rules: ImageRules, counts: Counter[str]) -> Image.Image:
    if not _is_halved(is_jpeg, rgb.size, rules):
        return rgb
    counts["JPEG halved"] += 1
    return rgb.resize((rgb.width // 2, rgb.height // 2), Image.Resampling.BOX)


def _limit(rgb: Image.Image, rules: ImageRules, counts: Counter[str]) -> Image.Image:
    width, height = min(rgb.width, rules.max_side), min(rgb.height, rules.max_side)
    if (width, height) == rgb.size:
        return rgb
    counts[f"cropped to {rules.max_side} pixels a side"] += 1
    left, top = (rgb.width - width) // 2, (rgb.height - height) // 2
    return rgb.crop((left, top, left + width, top + height))
