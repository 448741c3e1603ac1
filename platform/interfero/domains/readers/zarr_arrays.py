"""Zarr, versions 2 and 3, and OME-Zarr's axes, through zarr; a chunk is read where a frame needs it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zarr

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, guessed_axes, images_of, named_array
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
        path, axes = _of_picture(opened, mapping)
        if not path:
            path = named_array(sorted(name for name, _ in opened.arrays()), label, mapping)
        if path not in opened:
            raise DomainError(f"{label} holds no array {path!r}")
        opened = opened[path]
    axes = mapping.axes or axes or guessed_axes(opened.shape, label, mapping, counts)
    yield from images_of(opened, axes, label, mapping, counts)


def _of_picture(group: Any, mapping: PixelMapping) -> tuple[str, str]:
    """Path and axes of the declared array or level in the metadata of OME-Zarr; empty without such."""
    attributes = dict(group.attrs)
    scales = attributes.get("ome", attributes).get("multiscales")
    if not scales:
        return mapping.array, ""
    paths = [str(entry["path"]) for entry in scales[0]["datasets"]]
    names = [a["name"] if isinstance(a, dict) else a for a in scales[0].get("axes", ())]
    axes = "".join(name[0].upper() for name in names)
    return mapping.array or paths[min(mapping.level or 0, len(paths) - 1)], axes
