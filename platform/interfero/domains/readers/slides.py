"""Whole-slide images through openslide: regions of one level that show tissue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openslide
from PIL import Image

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, taken
from interfero.errors import DomainError

REGION = 512
"""Side of a region in pixels of its level."""
TISSUE_SHARE = 0.5
"""Of a region in the overview that must be tissue."""
TISSUE_SPREAD = 15
"""Levels between the largest and the smallest channel from which on a pixel is stained tissue, not glass."""
EMPTY = "region of glass without tissue left out"


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Regions of a grid over the level, those of tissue, spread evenly; RGB on the slide's background."""
    if isinstance(data, bytes):
        raise DomainError(f"{label}: a slide is read from a file of its own")
    level = mapping.level or 0
    with openslide.OpenSlide(data) as slide:
        if level >= slide.level_count:
            raise DomainError(
                f"{label} has the levels 0 to {slide.level_count - 1}, level={level} is declared"
            )
        tissue = _tissue(slide, level, label)
        if empty := int((~tissue).sum()):
            counts[EMPTY] += empty
        places = np.argwhere(tissue)
        for index in taken(len(places), mapping, counts):
            row, column = map(int, places[index])
            yield RawImage(_region(slide, level, row, column), f"{column}x{row}")


def _grid(slide: Any, level: int, label: str) -> tuple[int, int]:
    width, height = slide.level_dimensions[level]
    if min(width, height) < REGION:
        raise DomainError(
            f"{label}: level {level} is {width}x{height} pixels, regions are {REGION} a side; declare a "
            "finer level"
        )
    return height // REGION, width // REGION


def _tissue(slide: Any, level: int, label: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which regions of the level's grid show tissue, by an overview of 16 pixels a region."""
    rows, columns = _grid(slide, level, label)
    width, height = slide.level_dimensions[level]
    overview = slide.get_thumbnail((16 * width / REGION, 16 * height / REGION))
    # Not of the size asked for: its sides keep the slide's ratio.
    inside = overview.crop(
        (0, 0, overview.width * columns * REGION / width, overview.height * rows * REGION / height)
    )
    pixels = np.asarray(inside.resize((16 * columns, 16 * rows)), dtype=np.int16)
    stained = np.ptp(pixels, axis=2) >= TISSUE_SPREAD
    share = stained.reshape(rows, 16, columns, 16).mean(axis=(1, 3))
    tissue: np.ndarray[Any, np.dtype[np.bool_]] = share >= TISSUE_SHARE
    return tissue


def _region(slide: Any, level: int, row: int, column: int) -> np.ndarray[Any, Any]:
    """One region; what was not scanned has no opacity and shows the background."""
    scale = slide.level_downsamples[level]
    at = (round(column * REGION * scale), round(row * REGION * scale))
    region = slide.read_region(at, level, (REGION, REGION))
    colour = slide.properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR, "FFFFFF")
    ground = Image.new("RGBA", region.size, f"#{colour}")
    return np.asarray(Image.alpha_composite(ground, region).convert("RGB"))
