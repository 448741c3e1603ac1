"""TIFF and GeoTIFF through tifffile: every band, every depth, pages as frames."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.pixel_meaning import PAGES
from interfero.domains.readers.raw import SCALED, RawImage, equal_to, images_of, turned
from interfero.errors import DomainError

_REFUSED = ("PALETTE", "SEPARATED", "CIELAB", "ICCLAB", "ITULAB", "YCBCR")
"""Photometric interpretations whose numbers are no bands."""


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Images of the first series; further series and previews are counted."""
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    with tifffile.TiffFile(source) as file:
        series = [s for s in file.series if not s.keyframe.is_reduced and not s.keyframe.is_mask]
        chosen: Any = (series or list(file.series))[0]
        page: Any = chosen.keyframe
        photometric = page.photometric.name if page.photometric is not None else ""
        if photometric in _REFUSED and page.compression.name != "JPEG":
            raise DomainError(
                f"{label} is a TIFF of {photometric.lower()} values, which are no bands: convert it to "
                "RGB or to single bands"
            )
        if len(series) > 1:
            counts[PAGES] += len(series) - 1
        if "SCALE" in (text := _gdal_metadata(page)) or "OFFSET" in text:
            counts[SCALED] += 1
        array = _decoded(chosen, label)
        axes = mapping.axes or _merged(chosen.axes)
        nodata, orientation = _nodata(page), int(page.tags.valueof("Orientation", 1))
        # Of series of one kind of page tifffile keeps frames, which have no marks.
        marked = [m for m in file.pages if getattr(m, "is_mask", False)]
        masks = [m.asarray() == 0 for m in marked if m.shape == page.shape[:2]]
    for image in images_of(array, axes, label, mapping, counts):
        missing = equal_to(image.values_HWB, nodata, mapping.bands)
        for mask in masks[:1]:
            missing = mask if missing is None else missing | mask
        yield replace(
            image,
            values_HWB=turned(image.values_HWB, orientation),
            missing_HW=None
            if missing is None
            else turned(missing[:, :, None], orientation)[:, :, 0],
            low_is_white=photometric == "MINISWHITE",
            orientation=orientation,
        )


def _decoded(series: Any, label: str) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = series.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise ImportError(f"{label}: {error}", name="imagecodecs") from error
    return array


def _merged(axes: str) -> str:
    """The axes in our letters: samples are bands, and so are pages called channels where there are none."""
    return axes.replace("C", "N").replace("S", "C") if "S" in axes else axes


def _gdal_metadata(page: Any) -> str:
    tag = page.tags.get("GDAL_METADATA")
    return str(tag.value).upper() if tag else ""


def _nodata(page: Any) -> float | None:
    tag = page.tags.get("GDAL_NODATA")
    try:
        return float(tag.value) if tag else None
    except ValueError:
        return None
