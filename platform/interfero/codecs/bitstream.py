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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from compressai.entropy_models import EntropyModel
from torch import Tensor, nn

from interfero.errors import BitstreamError

MAGIC = b"if"
VERSION = 1
MAX_PIXELS = 1 << 26
MAX_SIDE = (1 << 16) - 1
MAX_STRINGS = 8
MAX_SYMBOL = 1 << 20
"""CompressAI's coder loops for ever on the integers that NaN and infinity round to."""
ID_BYTES = 4
# A rANS decoder that runs past the end reads at most one 32-bit word a symbol; zeros end its escapes.
_GUARD_BYTES_PER_SYMBOL = 16


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


@contextmanager
def coding_setting() -> Iterator[None]:
    """The one setting in which symbols are decided: one thread, float32, no autocast, no gradient."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_num_threads(threads)


class RecordingCoder:
    """Stands in for a CompressAI entropy coder: pads what it decodes, and keeps the symbols.

    The native decoder trusts its input. Behind the string it is given zeros, so that a stream met by
    the wrong tables yields wrong symbols instead of a read past the end.
    """

    def __init__(self, coder: Any, symbols: list[list[int]]) -> None:
        """Wrap `coder`; every coded or decoded list of symbols is appended to `symbols`."""
        self.name = coder.name
        self._coder = coder
        self._symbols = symbols

    def encode_with_indexes(self, symbols: list[int], *tables: Any) -> bytes:
        """As CompressAI's, for symbols it can code.

        Raises:
            BitstreamError: a symbol is so large that the native coder would never return.
        """
        largest = max(map(abs, symbols), default=0)
        if largest >= MAX_SYMBOL:
            raise BitstreamError(
                f"a latent of {largest} cannot be coded (below {MAX_SYMBOL} it can): the codec has "
                "diverged, lower the learning rate"
            )
        self._symbols.append(symbols)
        data: bytes = self._coder.encode_with_indexes(symbols, *tables)
        return data

    def decode_with_indexes(self, data: bytes, indexes: list[int], *tables: Any) -> list[int]:
        """As CompressAI's, never reading past the end."""
        guarded = data + bytes(_GUARD_BYTES_PER_SYMBOL * (len(indexes) + 16))
        symbols: list[int] = self._coder.decode_with_indexes(guarded, indexes, *tables)
        self._symbols.append(symbols)
        return symbols


@contextmanager
def recorded_symbols(roots: Iterable[nn.Module]) -> Iterator[list[list[int]]]:
    """Guard every entropy coder below `roots`, and collect symbols in the order they are coded."""
    symbols: list[list[int]] = []
    patched = [m for root in roots for m in root.modules() if isinstance(m, EntropyModel)]
    originals = [m.entropy_coder for m in patched]
    for module, coder in zip(patched, originals, strict=True):
        module.entropy_coder = RecordingCoder(coder, symbols)
    try:
        yield symbols
    finally:
        for module, coder in zip(patched, originals, strict=True):
            module.entropy_coder = coder


def pad_to_stride(image_CHW: Tensor, stride: int) -> Tensor:
    """(3, H, W) to (1, 3, H', W') with sides that are multiples of `stride`, edges repeated."""
    height, width = image_CHW.shape[-2:]
    padding = (0, -width % stride, 0, -height % stride)
    padded: Tensor = nn.functional.pad(image_CHW[None], padding, mode="replicate")
    return padded
