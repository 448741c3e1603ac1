"""Zarr, versions 2 and 3, and OME-Zarr's axes, through zarr; a chunk is read where a frame needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import zarr

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import (
    SCALED,
    RawImage,
    equal_to,
    guessed_axes,
    images_of,
    named_array,
)
from interfero.errors import DomainError


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Images of the only array, of the declared one, or of the finest of an OME-Zarr picture."""
    if isinstance(data, bytes):
        raise DomainError(f"{label}: a Zarr array is read from a folder, not from inside a file")
    opened: Any = zarr.open(data, mode="r")
    axes = ""
    if isinstance(opened, zarr.Group):
        path, axes = _of_picture(opened, label, mapping)
        if not path:
            path = named_array(sorted(name for name, _ in opened.arrays()), label, mapping)
        if path not in opened:
            raise DomainError(f"{label} holds no array {path!r}")
        opened = opened[path]
    axes = mapping.axes or axes or guessed_axes(opened.shape, label, mapping, counts)
    # What xarray writes next to values, by the conventions for climate and forecast data.
    stated = dict(opened.attrs)
    if stated.keys() & {"scale_factor", "add_offset"}:
        counts[SCALED] += 1
    fill = stated.get("_FillValue", stated.get("missing_value"))
    nodata = fill if isinstance(fill, int | float) else None
    for image in images_of(opened, axes, label, mapping, counts):
        yield replace(image, missing_HW=equal_to(image.values_HWB, nodata, mapping.bands))


def _of_picture(group: Any, label: str, mapping: PixelMapping) -> tuple[str, str]:
    """Path and axes of the declared array or level in the metadata of OME-Zarr; empty without such."""
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        return mapping.array, ""
    paths = [str(entry["path"]) for entry in scales[0]["datasets"]]
    names = [a["name"] if isinstance(a, dict) else a for a in scales[0].get("axes", ())]
    axes = "".join(name[0].upper() for name in names)
    level = mapping.level or 0
    if level >= len(paths):
        raise DomainError(
            f"{label} has the levels 0 to {len(paths) - 1}, level={level} is declared"
        )
    return mapping.array or paths[level], axes
