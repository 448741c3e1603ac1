"""YUV 4:2:0 frames, raw (.yuv) and in YUV4MPEG2 (.y4m), as RGB; no library is needed.

The matrix is BT.709 from 720 lines on and BT.601 below, as players take it where a file does not say
(neither format can). Levels are limited (16 to 235) unless a Y4M header says XCOLORRANGE=FULL. Chroma is
repeated.
"""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, taken
from interfero.errors import DomainError

HD_LINES = 720
_SIZE = re.compile(r"(?<!\d)(\d{2,5})[xX](\d{2,5})(?!\d)")
_DEPTH = re.compile(r"(?<!\d)(10|12|16)[-_]?(?:bit|le|b)|p(10|12|16)(?!\d)", re.IGNORECASE)
_OTHER = re.compile(r"(?<!\d)(4(?:00|11|22|40|44))(?!\d)|(nv12|nv21|nv16|p010)", re.IGNORECASE)
"""In names: other chroma, or other orders of samples, whose frames would be garbage of the same size."""
_Y4M_SPACES = {
    "420": 8, "420jpeg": 8, "420mpeg2": 8, "420paldv": 8, "420p10": 10, "420p12": 12, "420p16": 16,
}  # fmt: skip


@dataclass(frozen=True)
class _Format:
    """How a file's frames lie in it."""

    width: int
    height: int
    bits: int
    is_full: bool
    first: int
    """Offset of the first frame in bytes."""
    mark: int = 0
    """Bytes before each frame."""

    @property
    def num_samples(self) -> int:
        """Luma and both chroma planes, whose odd sides are rounded up."""
        return self.width * self.height + 2 * ((self.width + 1) // 2) * ((self.height + 1) // 2)

    @property
    def num_bytes(self) -> int:
        """Of a frame with its mark."""
        return self.mark + self.num_samples * (1 if self.bits == 8 else 2)


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Frames, spread evenly: uint8 for 8 bits, else uint16 from 0 to 2^bits - 1."""
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        is_y4m = file.read(10) == b"YUV4MPEG2 "
        shape = _y4m(file, label) if is_y4m else _raw(label, mapping)
        total = file.seek(0, io.SEEK_END) - shape.first
        if total < shape.num_bytes or total % shape.num_bytes:
            raise DomainError(
                f"{label}: {total} bytes are no whole number of {shape.width}x{shape.height} frames of "
                f"{shape.bits} bits in 4:2:0 ({shape.num_bytes} bytes each); declare the size, such as "
                "size=352x288"
            )
        matrix = "BT.709" if shape.height >= HD_LINES else "BT.601"
        levels = "full" if shape.is_full else "limited"
        counts[f"YUV file taken as {shape.bits}-bit 4:2:0, {matrix}, {levels} range"] += 1
        for index in taken(total // shape.num_bytes, mapping, counts):
            file.seek(shape.first + index * shape.num_bytes + shape.mark)
            yield RawImage(_rgb(_planes(file, shape), shape), str(index))


def _y4m(file: BinaryIO, label: str) -> _Format:
    file.seek(0)
    header = file.readline(1024)
    words = {w[:1]: w[1:] for w in header.decode("ascii", "replace").split()[1:] if w[:1] != "X"}
    space = words.get("C", "420jpeg")
    if space not in _Y4M_SPACES:
        raise DomainError(f"{label} is Y4M of C{space}: write 4:2:0 (pix_fmt yuv420p)")
    if words.get("I", "p") not in "p?":
        raise DomainError(f"{label} is interlaced (I{words['I']}): deinterlace it first")
    bits = _Y4M_SPACES[space]
    mark = len(file.readline(256))
    is_full = b"XCOLORRANGE=FULL" in header
    return _Format(int(words["W"]), int(words["H"]), bits, is_full, len(header), mark)


def _raw(label: str, mapping: PixelMapping) -> _Format:
    name = label.rsplit("/", 1)[-1]
    if other := _OTHER.search(name):
        raise DomainError(
            f"{label}: its name says {other[0]}, which is not read: write planar 4:2:0 (pix_fmt yuv420p), or "
            "rename it if it is that"
        )
    found = mapping.size or next((tuple(map(int, m)) for m in _SIZE.findall(name)), None)
    if found is None:
        raise DomainError(
            f"{label} is raw YUV, which does not say its size: put it in the name (foreman_352x288.yuv), or "
            "declare size=352x288"
        )
    deep = _DEPTH.search(name)
    bits = int(next(filter(None, deep.groups()))) if deep else 8
    return _Format(found[0], found[1], bits, is_full=False, first=0)


def _planes(file: BinaryIO, shape: _Format) -> list[np.ndarray[Any, Any]]:
    """Luma and chroma of one frame, chroma repeated to the size of luma, floating point."""
    kind = np.dtype("u1" if shape.bits == 8 else "<u2")
    samples = np.frombuffer(file.read(shape.num_samples * kind.itemsize), kind)
    luma = shape.width * shape.height
    half = ((shape.height + 1) // 2, (shape.width + 1) // 2)
    chroma = samples[luma:].reshape(2, *half).repeat(2, axis=1).repeat(2, axis=2)
    chroma = chroma[:, : shape.height, : shape.width]
    planes = [samples[:luma].reshape(shape.height, shape.width), *chroma]
    return [plane.astype(np.float64) for plane in planes]


def _rgb(planes: list[np.ndarray[Any, Any]], shape: _Format) -> np.ndarray[Any, Any]:
    """ITU-R BT.709 and BT.601, section 3 of each: Y'CbCr to R'G'B'."""
    unit = 2 ** (shape.bits - 8)
    red, blue = (0.2126, 0.0722) if shape.height >= HD_LINES else (0.299, 0.114)
    top = 2**shape.bits - 1
    y, cb, cr = planes
    if shape.is_full:
        y, cb, cr = y / top, (cb - 128 * unit) / top, (cr - 128 * unit) / top
    else:
        y, cb, cr = (
            (y - 16 * unit) / (219 * unit),
            *((c - 128 * unit) / (224 * unit) for c in (cb, cr)),
        )
    r = y + 2 * (1 - red) * cr
    b = y + 2 * (1 - blue) * cb
    g = (y - red * r - blue * b) / (1 - red - blue)
    values = np.stack([r, g, b], axis=2).clip(0, 1) * top
    kind: Any = np.uint8 if shape.bits == 8 else np.uint16
    return np.asarray(np.rint(values), dtype=kind)
