"""Classical codecs behind one interface, each at settings chosen by measurement."""

from interfero.codecs.classical.codec import ClassicalCodec, ClassicalPoint
from interfero.codecs.classical.formats import Avif, Heif, Jpeg, Jpeg2000, JpegXl, WebP
from interfero.codecs.classical.rate_matching import RateMatch, quality_for_rate
from interfero.errors import CodecError, nearest

CLASSICAL: dict[str, ClassicalCodec] = {
    codec.name: codec for codec in (Jpeg(), Jpeg2000(), WebP(), Avif(), Heif(), JpegXl())
}
"""Name to codec at the settings that docs/codecs.md gives reasons for."""


def find_classical(name: str) -> ClassicalCodec:
    """A classical codec by name.

    Raises:
        CodecError: there is none of that name.
    """
    if name not in CLASSICAL:
        raise CodecError(f"unknown classical codec {name!r}: {nearest(name, CLASSICAL)}")
    return CLASSICAL[name]


__all__ = [
    "CLASSICAL",
    "Avif",
    "ClassicalCodec",
    "ClassicalPoint",
    "Heif",
    "Jpeg",
    "Jpeg2000",
    "JpegXl",
    "RateMatch",
    "WebP",
    "find_classical",
    "quality_for_rate",
]
