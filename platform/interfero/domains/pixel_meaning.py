"""What the pixels of an image file mean: the one place that decides, converts by a stated rule, or refuses.

The table in docs/domains.md says the same in words, and a test holds it true. Whatever is not three
8-bit colour channels is either converted, with a line that counts it, or refused with the file's name
and the remedy; nothing is narrowed, blended or left out without a word.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interfero.errors import DomainError, UndeclaredError

JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls a JPEG; with a preview behind it, as cameras write it, it is an MPO."""
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and its plugins raise of a file that they cannot read."""

CONVERSIONS = {
    "L": "grey",
    "1": "grey",
    "LA": "grey",
    "P": "palette",
    "PA": "palette",
    "RGBA": "RGBA",
}
"""Pillow's mode to the word that its conversion is counted under."""
DECLARE_RANGE = "which values become black and white (NAME=PATH:range=LOW,HIGH)"
DECLARE_BANDS = "the bands you mean (NAME=PATH:bands=3,2,1)"
"""How a domain takes such files, for errors: docs/domains.md."""
_AS_RGB_FILE = "write them as an RGB file (gdal_translate -b 1 -b 2 -b 3)"
ON_WHITE = "transparency laid on white"
PAGES = "further page or frame left out"
MASKED = "mask page that is not applied: values under it are as stored"
ODD_EXIF = "EXIF data that cannot be read, so the picture is taken as upright"
_SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")
_WITH_OPACITY = ("RGBA", "LA", "PA", "RGBa", "La")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By EXIF orientation."""

# Tags of TIFF 6.0.
_SUBFILE, _BITS, _PHOTOMETRIC, _SAMPLES, _EXTRA, _FORMAT = 254, 258, 262, 277, 338, 339
_REDUCED, _MASK = 1, 4
_TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_UNSPECIFIED = 0
_SIGNED = 2
MAX_TRANSLUCENT_SHARE = 0.25
"""Of the pixels of a TIFF, those that may be neither opaque nor invisible.

GDAL writes four 8-bit bands as RGB and opacity by default, whatever the fourth is. Opacity is a mask with
soft edges; near infrared lies in between almost everywhere."""
_HEAD_BYTES = 2**16
"""Enough for the boxes before the pixels of AVIF, HEIF and JPEG 2000, profiles included."""


def refuse_unclear(image: Image.Image, data: bytes | Path, label: str) -> None:
    """Refuse an opened, not yet decoded image whose pixels Pillow would narrow or cut.

    Raises:
        DomainError: more than 8 bits a channel, signed numbers, bands without a meaning, CMYK or LAB, or
            a first page that is the preview of another.
    """
    bits = bit_depth(image, data)
    if bits > 8:
        raise _undeclared(
            f"{label} has more than 8 bits a channel ({bits} bits, mode {image.mode})",
            DECLARE_RANGE,
            "convert it to 8-bit RGB with a tone curve of your choice; interfero would have to guess one",
        )
    if image.mode in ("CMYK", "YCCK", "LAB"):
        raise DomainError(
            f"{label} is {image.mode}: convert it to 8-bit RGB with its colour profile first"
        )
    if image.format == "TIFF":
        _refuse_bands(image, label)
        _refuse_preview(image, label)


def refuse_unopened(data: bytes | Path, label: str) -> None:
    """Refuse a TIFF of a kind that Pillow does not know, as GDAL writes bands of 16 bits; not a damaged one.

    Raises:
        DomainError: it is one.
    """
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    try:
        if _head(data)[:4] not in _TIFF_MARKS:
            return
        import tifffile

        with tifffile.TiffFile(source) as file:
            page: Any = file.pages[0]
            kind, bands = page.dtype, page.samplesperpixel
    except UNREADABLE:
        return
    if kind is not None and (kind != np.uint8 or bands > 4):
        raise _undeclared(
            f"{label} is a TIFF of {bands} bands of {kind}",
            f"{DECLARE_BANDS} and {DECLARE_RANGE}",
            "write it as 8-bit RGB",
        )


def upright_rgb(image: Image.Image, label: str, counts: Counter[str]) -> Image.Image:
    """8-bit RGB of an image, turned as its EXIF data say; what was done is counted.

    Raises:
        DomainError: what a TIFF calls opacity is a band of its own.
    """
    image.load()
    upright = _upright(image, counts)
    if kind := CONVERSIONS.get(upright.mode):
        counts[f"{kind} converted to RGB"] += 1
    if upright.mode in _WITH_OPACITY or "transparency" in upright.info:
        upright = _on_white(upright.convert("RGBA"), image.format, label, counts)
    # Not copied where nothing is read after it: the next frame would take its place, and other formats are
    # read for the number of frames.
    is_alone = image.format in ("JPEG", "PNG") and getattr(image, "n_frames", 1) == 1
    rgb = upright if is_alone and upright.mode == "RGB" else upright.convert("RGB")
    # Last: it seeks.
    if further := num_pages(image) - 1:
        counts[PAGES] += further
    if image.format == "TIFF" and _has_mask(image):
        counts[MASKED] += 1
    return rgb


def bit_depth(image: Image.Image, data: bytes | Path) -> int:
    """Bits a channel as the file has them, where Pillow decodes 8; 8 for fewer.

    Args:
        image: Opened, not decoded.
        data: The file it was opened from: Pillow does not tell of the depth of every format.
    """
    tiff_bits = getattr(image, "tag_v2", {}).get(_BITS, (8,))
    deepest = max(int(b) for b in np.atleast_1d(tiff_bits))
    if deepest > 8:
        return deepest
    if image.format in ("JPEG2000", "AVIF", "HEIF"):
        return max(8, _coded_depth(_head(data)))
    if image.mode in _SIXTEEN_BIT:
        return 32 if image.mode in ("I", "F") and image.format != "PNG" else 16
    if image.format in ("PNG", "PPM"):
        return 16 if _is_narrowed(image) else 8
    return 8


def orientation_of(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8, 1 where none is stated; 0 where the EXIF data cannot be read."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except UNREADABLE:
        return 0


def num_pages(image: Image.Image) -> int:
    """Pages, frames or pictures in a file, 1 where it cannot be told; previews and masks are not counted."""
    try:
        count = int(getattr(image, "n_frames", 1))
        if count > 1 and image.format == "TIFF":
            kinds = [_subfile(image, page) for page in range(1, count)]
            return 1 + sum(not kind & (_REDUCED | _MASK) for kind in kinds)
        return count
    except UNREADABLE:
        return 1


def _undeclared(what: str, declared: str, otherwise: str) -> UndeclaredError:
    return UndeclaredError(f"{what}: declare {declared}, or {otherwise}", f"{what}: {otherwise}")


def _upright(image: Image.Image, counts: Counter[str]) -> Image.Image:
    # Not ImageOps.exif_transpose: it also writes the EXIF data again, which fails where a tag of no
    # interest has the wrong type.
    orientation = orientation_of(image)
    if orientation == 0:
        counts[ODD_EXIF] += 1
    turn = _TURNS.get(orientation)
    return image if turn is None else image.transpose(turn)


def _on_white(
    rgba: Image.Image, file_format: str | None, label: str, counts: Counter[str]
) -> Image.Image:
    levels = np.asarray(rgba.getchannel("A").histogram())
    translucent = 1 - (levels[0] + levels[-1]) / levels.sum()
    if file_format == "TIFF" and translucent > MAX_TRANSLUCENT_SHARE:
        raise _undeclared(
            f"{label} calls its last band opacity (alpha), but {translucent:.0%} of its pixels are neither "
            "opaque nor invisible, as of a band of its own, such as near infrared, by which colours would be "
            "blended with white",
            DECLARE_BANDS,
            _AS_RGB_FILE,
        )
    if levels[:-1].any():
        counts[ON_WHITE] += 1
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba)


def _refuse_bands(image: Image.Image, label: str) -> None:
    tags: Any = getattr(image, "tag_v2", {})
    if _SIGNED in np.atleast_1d(tags.get(_FORMAT, 1)):
        raise _undeclared(
            f"{label} holds signed numbers",
            DECLARE_RANGE,
            "add an offset, and write it as 8-bit RGB",
        )
    extra = [int(e) for e in np.atleast_1d(tags.get(_EXTRA, ()))]
    samples = int(tags.get(_SAMPLES, 1))
    if _UNSPECIFIED in extra:
        known = samples - len(extra)
        raise _undeclared(
            f"{label} has {samples} bands, of which the file calls {known} "
            f"{'grey' if known == 1 else 'colour'} and says nothing of band {known + 1}",
            DECLARE_BANDS,
            _AS_RGB_FILE,
        )


def _refuse_preview(image: Image.Image, label: str) -> None:
    tags: Any = getattr(image, "tag_v2", {})
    kind = int(tags.get(_SUBFILE, 0) or 0)
    if kind & (_REDUCED | _MASK) and getattr(image, "n_frames", 1) > 1:
        what = "a mask" if kind & _MASK else "a preview"
        raise DomainError(
            f"{label} begins with {what} of another page (NewSubfileType {kind}): write the page you "
            "mean as a file of its own"
        )


def _has_mask(image: Image.Image) -> bool:
    try:
        return any(
            _subfile(image, page) & _MASK for page in range(1, getattr(image, "n_frames", 1))
        )
    except UNREADABLE:
        return False


def _subfile(image: Image.Image, page: int) -> int:
    image.seek(page)
    tags: Any = getattr(image, "tag_v2", {})
    return int(tags.get(_SUBFILE, 0) or 0)


def _is_narrowed(image: Image.Image) -> bool:
    """Whether Pillow would quietly drop the lower bits: colour PNG and PPM of 16 bits a channel."""
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    if image.format == "PPM":
        return any(isinstance(a, tuple) and int(a[1]) > 255 for a in arguments)
    return any(";16" in str(a) for a in arguments)


def _head(data: bytes | Path) -> bytes:
    if isinstance(data, bytes):
        return data[:_HEAD_BYTES]
    with data.open("rb") as file:
        return file.read(_HEAD_BYTES)


def _coded_depth(head: bytes) -> int:
    """The largest depth that a coded picture in the file states; 0 where none does."""
    depths = [0]
    for box, offset in ((b"av1C", 6), (b"hvcC", 21), (b"\xff\x4f\xff\x51", 42)):
        start = head.find(box)
        while start >= 0:
            if start + offset < len(head):
                depths.append(_depth_of(box, head[start + offset]))
            start = head.find(box, start + 1)
    return max(depths)


def _depth_of(box: bytes, value: int) -> int:
    """Bits a channel, by the byte that holds them.

    av1C: bit 6 is high_bitdepth, bit 5 twelve_bit (AV1-ISOBMFF 2.3.3). hvcC: bit_depth_luma_minus8 in the
    lowest three (ISO 14496-15, 8.3.3.1). SIZ of JPEG 2000: Ssiz, depth minus one in the lowest seven (ISO
    15444-1, A.5.1).
    """
    if box == b"av1C":
        return (12 if value & 0x20 else 10) if value & 0x40 else 8
    if box == b"hvcC":
        return 8 + (value & 7)
    return 1 + (value & 0x7F)
