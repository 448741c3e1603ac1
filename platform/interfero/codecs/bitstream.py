"""The bitstream container: which codec, which mode, which adapter, how large, and a checksum.

    magic 2 | version and mode 1 | codec id 4 | adapter id 4 (target mode) | width 2 | height 2 |
    number of strings 1 | their lengths, LEB128 | the strings | CRC-32 of all before 4

A stream is coded on the CPU, in float32, contiguous, with one thread (`coding_setting`); the version
says so. Hyper-decoders differ in their last bits between devices and thread counts, which would
decode other symbols.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from interfero.errors import BitstreamError

MAGIC = b"if"
VERSION = 1
MAX_PIXELS = 1 << 26
MAX_SIDE = (1 << 16) - 1
MAX_STRINGS = 8
ID_BYTES = 4


@dataclass(frozen=True)
class Stream:
    """A parsed container."""

    codec_id: bytes
    adapter_id: bytes | None
    """None in source mode."""
    width: int
    height: int
    strings: tuple[bytes, ...]

    def pack(self) -> bytes:
        """The container's bytes.

        Raises:
            BitstreamError: it would be larger than what `parse_stream` allows.
        """
        _check_size(self.width, self.height, len(self.strings))
        target = self.adapter_id is not None
        head = MAGIC + bytes([VERSION << 1 | target]) + self.codec_id + (self.adapter_id or b"")
        head += struct.pack("<HHB", self.width, self.height, len(self.strings))
        body = b"".join(_leb128(len(s)) for s in self.strings) + b"".join(self.strings)
        return head + body + struct.pack("<I", zlib.crc32(head + body))


def parse_stream(data: bytes) -> Stream:
    """Parse and check a container.

    Raises:
        BitstreamError: it is damaged, truncated, of another version, or larger than allowed.
    """
    if len(data) < 15 or data[:2] != MAGIC:
        raise BitstreamError("not an interfero bitstream: it does not start with 'if'")
    if data[2] >> 1 != VERSION:
        raise BitstreamError(
            f"bitstream version {data[2] >> 1}, this release reads version {VERSION}"
        )
    if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        raise BitstreamError("bitstream is damaged: its checksum does not match; fetch it again")
    try:
        return _parse_checked(data[:-4])
    except (IndexError, struct.error) as error:
        raise BitstreamError("bitstream is damaged: it ends inside its header") from error


def _parse_checked(data: bytes) -> Stream:
    position = 3 + ID_BYTES
    codec_id = data[3:position]
    adapter_id = None
    if data[2] & 1:
        adapter_id = data[position : position + ID_BYTES]
        position += ID_BYTES
    width, height, count = struct.unpack_from("<HHB", data, position)
    position += 5
    _check_size(width, height, count)
    lengths = []
    for _ in range(count):
        length, position = _read_leb128(data, position)
        lengths.append(length)
    if position + sum(lengths) != len(data):
        raise BitstreamError("bitstream is damaged: its strings do not fill it")
    strings = []
    for length in lengths:
        strings.append(data[position : position + length])
        position += length
    return Stream(codec_id, adapter_id, width, height, tuple(strings))


def _check_size(width: int, height: int, count: int) -> None:
    sides_fit = 0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE
    if not sides_fit or width * height > MAX_PIXELS or count > MAX_STRINGS:
        raise BitstreamError(
            f"bitstream of {width}x{height} pixels in {count} strings: at most {MAX_PIXELS} "
            f"pixels, {MAX_SIDE} a side, in {MAX_STRINGS} strings are coded"
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
