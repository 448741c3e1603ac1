"""Whether pixels were a JPEG file once: JPEG codes such pixels again almost for nothing near its old quality.

A decoded JPEG's 8x8 DCT coefficients lie near multiples of the steps they were quantised with, wherever the
blocks begin. That is what is looked for (the histograms of block DCT coefficients, as in Fan and de Queiroz,
"Identification of bitmap compression history", IEEE Transactions on Image Processing 12(2), 2003). Steps of
less than three levels are hidden by rounding: JPEG files of quality 90 and above are not recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from interfero.domains.decoding import in_threads
from interfero.domains.domain import spread
from interfero.domains.images import Sample, UInt8Array

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Kind = TypeVar("Kind", bound=np.generic)

LOOKED_AT = 8
"""Images of a domain that are examined, so that a large one takes no longer."""
_SIDE = 256
"""Of the part in an image's middle that is examined, in pixels."""
_BASE = {
    (0, 1): 11, (1, 0): 12, (1, 1): 12, (0, 2): 10, (2, 0): 14, (1, 2): 14, (2, 1): 13, (0, 3): 16,
    (3, 0): 14,
}  # fmt: skip
"""Low frequencies (row, column), and their steps at quality 50 (ISO 10918-1, table K.1)."""
_MIN_SIDE = 32
"""Fewer pixels a side do not show where blocks begin."""
_STEPS = range(3, 61)
_NEAR = 0.75
"""Levels that rounding to 8-bit colours moves a coefficient by, at most for 97 %."""
_MIN_COEFFICIENTS = 12
_MAX_COEFFICIENTS = 256
_MIN_SHARE = 0.9
_MIN_FREQUENCIES = 3


@dataclass(frozen=True)
class JpegPast:
    """What one image's coefficients say."""

    quality: int
    """Nearest on libjpeg's scale."""


def jpeg_past(pixels_HWC: UInt8Array) -> JpegPast | None:
    """The JPEG file that an image was, if its coefficients show one.

    Args:
        pixels_HWC: (height, width, 3), 0-255, at the file's resolution: a resized picture shows nothing.
    """
    if min(pixels_HWC.shape[:2]) < _MIN_SIDE:
        return None
    luma, clipped = _luma(pixels_HWC)
    top, left = (_grid_start(np.abs(np.diff(luma, 2, axis=axis)), axis) for axis in (0, 1))
    blocks = _blocks(luma[top:, left:])
    # Clipped pixels are no longer what the coefficients were; flat blocks have none.
    blocks = blocks[
        ~_blocks(clipped[top:, left:]).any(axis=(1, 2)) & (np.ptp(blocks, axis=(1, 2)) > 0)
    ]
    if not len(blocks):
        return None
    from scipy.fft import dctn

    coefficients: FloatArray = dctn(blocks, axes=(1, 2), norm="ortho")
    found: dict[tuple[int, int], int] = {}
    for left_over, place in enumerate(_BASE):
        if len(found) + len(_BASE) - left_over < _MIN_FREQUENCIES:
            break
        if step := _step(coefficients[:, place[0], place[1]]):
            found[place] = step
    return JpegPast(_quality(found)) if len(found) >= _MIN_FREQUENCIES else None


def jpeg_note(samples: Sequence[Sample]) -> str:
    """A line about images that were JPEG files, with their share and what to do; empty where none was."""
    looked_at = spread(samples, LOOKED_AT)
    pasts = in_threads(partial(jpeg_past, sample.pixels_HWC) for sample in looked_at)
    found = [past for past in pasts if past is not None]
    if not found:
        return ""
    quality = round(median(past.quality for past in found))
    return (
        f"{len(found)} of {len(looked_at)} images looked at were JPEG files of quality about {quality}, at "
        "this size: JPEG looks better on them than it is, most of all near that quality; halve their "
        "sides, or leave such qualities out"
    )


def _luma(pixels_HWC: UInt8Array) -> tuple[FloatArray, BoolArray]:
    """(height, width) of the middle, less 128, and where a colour may have been clipped."""
    height, width = pixels_HWC.shape[:2]
    top, left = max(0, (height - _SIDE) // 2), max(0, (width - _SIDE) // 2)
    part = pixels_HWC[top : top + _SIDE, left : left + _SIDE]
    luma: FloatArray = part @ np.array([0.299, 0.587, 0.114]) - 128
    return luma, ((part == 0) | (part == 255)).any(axis=2)


def _grid_start(bends: FloatArray, axis: int) -> int:
    """Where blocks begin: edges of blocks bend most, on both sides of the edge."""
    line = bends.mean(axis=1 - axis)
    # Second difference i lies on pixels i to i + 2: an edge before pixel e bends at e - 2 and e - 1.
    total = [
        line[(start - 2) % 8 :: 8].mean() + line[(start - 1) % 8 :: 8].mean() for start in range(8)
    ]
    return int(np.argmax(total))


def _blocks(values: npt.NDArray[Kind]) -> npt.NDArray[Kind]:
    """(blocks, 8, 8) of (height, width), from its first corner on."""
    rows, columns = values.shape[0] // 8, values.shape[1] // 8
    cut = values[: 8 * rows, : 8 * columns].reshape(rows, 8, columns, 8)
    return cut.transpose(0, 2, 1, 3).reshape(-1, 8, 8)


def _step(values: FloatArray) -> int:
    """The largest step whose multiples, 0 left out, nearly all coefficients lie near; 0 for none."""
    sizes = np.abs(values)
    sizes = sizes[sizes > _STEPS[0] / 2][:_MAX_COEFFICIENTS]
    steps = np.array(_STEPS, dtype=np.float64)[:, None]
    counted = sizes > steps / 2
    is_near = np.abs(sizes - steps * np.rint(sizes / steps)) < _NEAR
    total = counted.sum(axis=1)
    fits = (total >= _MIN_COEFFICIENTS) & ((is_near & counted).sum(axis=1) >= _MIN_SHARE * total)
    return int(steps[fits].max(initial=0))


def _quality(steps: dict[tuple[int, int], int]) -> int:
    """Quality of libjpeg's tables that is nearest to steps found."""

    def error(quality: int) -> float:
        scale = 5000 / quality if quality < 50 else 200 - 2 * quality
        return sum(
            abs(step - max(1.0, (_BASE[p] * scale + 50) // 100)) for p, step in steps.items()
        )

    return min(range(1, 101), key=error)
