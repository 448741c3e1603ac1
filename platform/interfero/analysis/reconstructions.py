"""The pictures a cell keeps: original, source codec and adapted codec of its worst and median test images.

One PNG a cell. A row is one image, its three pictures side by side; a text chunk of the file says which
images they are. Images are ranked by their loss after adapting over that before, so that nobody chooses
what looks good.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from pydantic import Field, ValidationError

from interfero.config import Config
from interfero.domains.images import viewable
from interfero.errors import StorageError
from interfero.records import ImageRow
from interfero.store.files import write_atomic

UInt8Array = npt.NDArray[np.uint8]
Rank = Literal["worst", "median"]
Role = Literal["target", "source_unrouted"]

MAX_SIDE = 256
"""Pixels of a picture's side: of larger images the centre is kept. Their numbers are the whole image's."""
_CHUNK = "interfero"
_BLANK = 128
"""Grey that fills up a row of smaller pictures."""


@dataclass(frozen=True)
class Reconstruction:
    """One test image, coded by the source codec and by the adapted one."""

    role: Role
    """Target images, or source images through the adapted codec: what unrouted forgetting looks like."""
    rank: Rank
    name: str
    """Of the test image, as in `ImageRow`."""
    pictures_HWC: tuple[UInt8Array, UInt8Array, UInt8Array]
    """Original, source codec, adapted codec; 8-bit RGB of one size."""


class _Row(Config):
    role: Role
    rank: Rank
    name: str
    height: int = Field(gt=0, le=MAX_SIDE)
    width: int = Field(gt=0, le=MAX_SIDE)


class _Layout(Config):
    rows: tuple[_Row, ...]


def ranked(rows: Sequence[ImageRow]) -> list[tuple[Rank, int]]:
    """Which images are shown: the one whose loss grew most (or fell least), and the median one.

    Returns:
        Rank and index; the median is left out where it is the worst as well.
    """
    order = sorted(range(len(rows)), key=lambda i: rows[i].rd_loss / rows[i].rd_loss_before)
    if not order:
        return []
    # Of an even number the worse of the two in the middle: never the better.
    worst, median = order[-1], order[len(order) // 2]
    found: list[tuple[Rank, int]] = [("worst", worst)]
    return found if median == worst else [*found, ("median", median)]


def save_reconstructions(path: Path, shown: Sequence[Reconstruction]) -> None:
    """Write the PNG, whole or not at all.

    Raises:
        StorageError: the place is not writable.
    """
    cut = [(one, [_centre(picture) for picture in one.pictures_HWC]) for one in shown]
    sizes = [pictures[0].shape[:2] for _, pictures in cut]
    height, width = (max(sides) for sides in zip(*sizes, strict=True))
    sheet = np.full((height * len(cut), 3 * width, 3), _BLANK, dtype=np.uint8)
    rows = []
    for index, (one, pictures) in enumerate(cut):
        tall, wide = pictures[0].shape[:2]
        for column, picture in enumerate(pictures):
            top, left = index * height, column * width
            sheet[top : top + tall, left : left + wide] = viewable(picture)
        rows.append(_Row(role=one.role, rank=one.rank, name=one.name, height=tall, width=wide))
    text = PngInfo()
    text.add_text(_CHUNK, json.dumps(_Layout(rows=tuple(rows)).model_dump(mode="json")))
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, format="PNG", pnginfo=text)
    write_atomic(path, buffer.getvalue())


def read_reconstructions(path: Path) -> list[Reconstruction]:
    """The pictures of a file; none of one that an earlier version wrote, which names no images.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        with Image.open(path) as image:
            layout = image.info.get(_CHUNK)
            sheet = np.asarray(image.convert("RGB"))
        rows = () if layout is None else _Layout.model_validate_json(layout).rows
    except (OSError, ValueError, ValidationError, Image.DecompressionBombError) as error:
        raise StorageError(f"{path} holds no reconstructions of a cell ({error})") from error
    if not rows:
        return []
    height, width = sheet.shape[0] // len(rows), sheet.shape[1] // 3
    found = []
    for index, row in enumerate(rows):
        if row.height > height or row.width > width:
            raise StorageError(f"{path} is smaller than the pictures it names: copy it again")
        top = index * height
        original, before, after = (
            sheet[top : top + row.height, left : left + row.width] for left in (0, width, 2 * width)
        )
        found.append(Reconstruction(row.role, row.rank, row.name, (original, before, after)))
    return found


def _centre(picture_HWC: UInt8Array) -> UInt8Array:
    height, width = picture_HWC.shape[:2]
    top, left = max(0, height - MAX_SIDE) // 2, max(0, width - MAX_SIDE) // 2
    return picture_HWC[top : top + MAX_SIDE, left : left + MAX_SIDE]
