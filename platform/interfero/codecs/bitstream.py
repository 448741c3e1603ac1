"""The bitstream container: which codec, which mode, which adapter, how large, and a checksum.

    magic 2 | version, strings, mode 1 | codec id 6 | adapter id 4 (target mode) | width 2 | height 2 |
    lengths of all strings but the first, LEB128 | the strings |
    CRC-16 of the symbols 2 | CRC-16 of all before 2

docs/bitstream.md has the table of bytes and the reasons. The version says how symbols are decided: in
integers, alike on every machine (3); or in float32 on one thread of a CPU (2), where hyper-decoders differ
in their last bits between instruction sets, which decodes other symbols. Version 2 ends in one CRC-32.
"""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from interfero.errors import BitstreamError

MAGIC = b"if"
VERSION = 3
FLOAT_VERSION = 2
"""Streams whose symbols were decided in floats."""
MAX_PIXELS = 1 << 24
"""16.8 megapixels: a decoder allocates in proportion to this, whatever a header claims."""
MAX_SIDE = (1 << 16) - 1
MAX_STRINGS = 15
ID_BYTES = 4
"""Bytes of an adapter's fingerprint, and of the fingerprint of a codec's weights and tables."""
TABLE_ID_BYTES = 2
CODEC_ID_BYTES = ID_BYTES + TABLE_ID_BYTES
_MIN_BYTES = len(MAGIC) + 1 + CODEC_ID_BYTES + 4 + 4


@dataclass(frozen=True)
class Stream:
    """A parsed container."""

    codec_id: bytes
    """Fingerprint of the source codec's weights and tables, then one of only its tables."""
    adapter_id: bytes | None
    """None in source mode."""
    width: int
    height: int
    strings: tuple[bytes, ...]
    symbol_checksum: int = 0
    """`symbol_checksum` of what the strings decode to; version 2 has none, and 0 here."""
    version: int = VERSION

    @property
    def table_id(self) -> bytes:
        """Fingerprint of the source codec's entropy tables."""
        return self.codec_id[ID_BYTES:]

    def pack(self) -> bytes:
        """The container's bytes.

        Raises:
            BitstreamError: `parse_stream` would not read it back: too large, or ids of another length.
        """
        check_size(self.width, self.height)
        _check_count(len(self.strings))
        _check_ids(self.codec_id, self.adapter_id)
        kind = self.version << 5 | len(self.strings) << 1 | (self.adapter_id is not None)
        head = MAGIC + bytes([kind]) + self.codec_id + (self.adapter_id or b"")
        head += struct.pack("<HH", self.width, self.height)
        body = b"".join(_leb128(len(s)) for s in self.strings[1:]) + b"".join(self.strings)
        if self.version != FLOAT_VERSION:
            body += struct.pack("<H", self.symbol_checksum)
        return sealed(head + body)


def sealed(data: bytes) -> bytes:
    """A stream's bytes and the checksum of all of them, as its version has it."""
    if data[2] >> 5 == FLOAT_VERSION:
        return data + struct.pack("<I", zlib.crc32(data))
    return data + struct.pack("<H", binascii.crc_hqx(data, 0))


def symbol_checksum(symbols: Iterable[Sequence[int] | np.ndarray[Any, Any]]) -> int:
    """CRC-16 of a stream's symbols: every latent in coding order, each symbol an int32.

    The polynomial is CCITT's, 0x1021, from 0, highest bit first (`binascii.crc_hqx`).
    """
    value = 0
    for latent in symbols:
        value = binascii.crc_hqx(np.asarray(latent, "<i4").tobytes(), value)
    return value


def parse_stream(data: bytes) -> Stream:
    """Parse and check a container.

    Raises:
        BitstreamError: it is damaged, truncated, of another version, or larger than allowed.
    """
    if data[:2] != MAGIC:
        raise BitstreamError("not an interfero bitstream: it does not start with 'if'")
    if len(data) < _MIN_BYTES:
        raise BitstreamError(f"bitstream is cut off: {len(data)} bytes, at least {_MIN_BYTES}")
    version = data[2] >> 5
    if version not in (FLOAT_VERSION, VERSION):
        raise BitstreamError(
            f"bitstream version {version}, this release reads versions {FLOAT_VERSION} and "
            f"{VERSION}: decode it with the release that wrote it"
        )
    seal_bytes = 4 if version == FLOAT_VERSION else 2
    if data != sealed(data[:-seal_bytes]):
        raise BitstreamError("bitstream is damaged: its checksum does not match; fetch it again")
    try:
        return _parse_checked(data[:-4], int.from_bytes(data[-4:-2], "little"))
    except (IndexError, struct.error) as error:
        raise BitstreamError("bitstream is damaged: it ends inside its header") from error


def _parse_checked(data: bytes, checksum: int) -> Stream:
    """Parse everything but the last 4 bytes, in either version, and the checksum of the symbols."""
    target, count = data[2] & 1, data[2] >> 1 & MAX_STRINGS
    position = 3 + CODEC_ID_BYTES
    codec_id, adapter_id = data[3:position], None
    if target:
        adapter_id = data[position : position + ID_BYTES]
        position += ID_BYTES
    width, height = struct.unpack_from("<HH", data, position)
    position += 4
    check_size(width, height)
    _check_count(count)
    lengths = []
    for _ in range(count - 1):
        length, position = _read_leb128(data, position)
        lengths.append(length)
    first = len(data) - position - sum(lengths)
    if first < 0:
        raise BitstreamError("bitstream is damaged: its strings are longer than it")
    strings = []
    for length in (first, *lengths):
        strings.append(data[position : position + length])
        position += length
    version = data[2] >> 5
    checksum = 0 if version == FLOAT_VERSION else checksum
    return Stream(codec_id, adapter_id, width, height, tuple(strings), checksum, version)


def check_size(width: int, height: int) -> None:
    """Refuse an image that a container cannot hold.

    Raises:
        BitstreamError: a side is 0 or does not fit 16 bits, or there are more than `MAX_PIXELS`.
    """
    sides_fit = 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE
    if not sides_fit or width * height > MAX_PIXELS:
        raise BitstreamError(
            f"an image of {width}x{height} pixels cannot be coded: 1 to {MAX_SIDE} a side and at "
            f"most {MAX_PIXELS} in all; cut it into tiles"
        )


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_STRINGS:
        raise BitstreamError(f"a bitstream of {count} strings: 1 to {MAX_STRINGS} can be stored")


def _check_ids(codec_id: bytes, adapter_id: bytes | None) -> None:
    adapter_fits = adapter_id is None or len(adapter_id) == ID_BYTES
    if len(codec_id) != CODEC_ID_BYTES or not adapter_fits:
        raise BitstreamError(
            f"ids {codec_id!r} and {adapter_id!r} do not fit a header: a codec's has "
            f"{CODEC_ID_BYTES} bytes, an adapter's {ID_BYTES}"
        )


def _leb128(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _read_leb128(data: bytes, position: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80 or shift > 35:
            return value, position
