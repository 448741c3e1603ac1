"""Files that any viewer shows, with all their bits: Pillow's formats, and 16-bit colour PNG.

For domains of which something is declared; without, `pixel_meaning` decides.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.pixel_meaning import PAGES, bit_depth, num_pages, orientation_of
from interfero.domains.readers.raw import RawImage, turned
from interfero.errors import DomainError

_BANDS = ("L", "LA", "RGB", "RGBA", "I;16", "I;16B", "I;16L", "I;16N", "I", "F")
"""Modes whose numbers are bands as they are."""


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """The picture as numbers, turned as its EXIF data say."""
    del mapping
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    with Image.open(source) as image:
        if image.mode in ("CMYK", "YCCK", "LAB"):
            raise DomainError(
                f"{label} is {image.mode}: convert it to RGB with its colour profile first"
            )
        bits = bit_depth(image, data)
        is_narrowed = bits > 8 and image.mode in ("L", "LA", "RGB", "RGBA")
        if is_narrowed and image.format != "PNG":
            raise DomainError(
                f"{label} is {image.format} of {bits} bits, of which 8 would be read: write it as a PNG or "
                "TIFF of 16 bits"
            )
        if further := num_pages(image) - 1:
            counts[PAGES] += further
            image.seek(0)
        orientation = orientation_of(image)
        if is_narrowed:
            values = _deep_png(data)
        else:
            arguments = [tile[3] for tile in getattr(image, "tile", ())]
            shown = image if image.mode in _BANDS else image.convert(_colours(image))
            values = _unstretched(np.asarray(shown), image, bits, arguments)
    values = values if values.ndim == 3 else values[:, :, None]
    yield RawImage(turned(values, orientation), orientation=orientation)


def _unstretched(
    values: np.ndarray[Any, Any], image: Image.Image, bits: int, arguments: Sequence[Any]
) -> np.ndarray[Any, Any]:
    """The numbers as the file has them, of formats whose numbers Pillow stretches to 8 or 16 bits.

    Args:
        values: As Pillow gives them.
        image: Their file, decoded.
        bits: Bits a channel in the file.
        arguments: Of Pillow's decoder, from before it decoded.
    """
    if image.format == "JPEG2000" and image.mode.startswith("I;16"):
        return values >> (16 - bits)
    largest = [int(a[1]) for a in arguments if image.format == "PPM" and isinstance(a, tuple)]
    if not largest:
        return values
    top, kind = (65535, np.uint16) if image.mode == "I" else (255, np.uint8)
    return np.asarray(np.rint(values * (largest[0] / top)).astype(kind))


def _colours(image: Image.Image) -> str:
    """What palettes and single bits stand for."""
    if image.mode == "1":
        return "L"
    return "RGBA" if "A" in image.mode or "transparency" in image.info else "RGB"


def _deep_png(data: bytes | Path) -> np.ndarray[Any, Any]:
    """A 16-bit colour PNG, (height, width, channels) uint16; Pillow reads its upper bytes only."""
    import imagecodecs

    encoded = data if isinstance(data, bytes) else data.read_bytes()
    values: np.ndarray[Any, Any] = imagecodecs.png_decode(encoded)
    return values
