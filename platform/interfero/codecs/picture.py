"""A whole picture, as a codec takes it: neither cropped nor halved, as a domain's images are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from interfero.codecs.bitstream import MAX_SIDE
from interfero.domains.images import ImageRules, SkippedImageError, UInt8Array, decode_image
from interfero.errors import DomainError, UndeclaredError


def decode_picture(
    data: bytes | Path, label: str, counts: Counter[str] | None = None
) -> UInt8Array:
    """Decode a picture to (height, width, 3), 8-bit RGB, rotated as its EXIF data states.

    Args:
        data: An encoded picture, or the path of one.
        label: What errors call it.
        counts: Counts conversions, such as blended opacity, and pages that are left out.

    Raises:
        DomainError: it is not an image that can be decoded.
    """
    # One pixel more than a bitstream holds: the codec says so of a larger picture.
    rules = ImageRules(halve_jpeg=False, min_side=1, max_side=MAX_SIDE + 1)
    try:
        return decode_image(data, label, rules, Counter() if counts is None else counts)
    except SkippedImageError as error:
        raise DomainError(f"{error}: give a picture such as a PNG of 8-bit RGB") from error
    except UndeclaredError as error:
        raise DomainError(error.elsewhere) from error
