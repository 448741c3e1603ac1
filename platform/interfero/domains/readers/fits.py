"""FITS through astropy: physical values (BSCALE and BZERO applied), the first row at the bottom."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, guessed_axes, images_of, named_array
from interfero.errors import DomainError


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Images of the only picture in the file, or of the extension that is declared by name or number."""
    with _opened(data) as file:
        index = _picture(file, label, mapping)
        array = np.asarray(file[index].data)
        has_blank = array.dtype.kind == "u" and "BLANK" in file[index].header
    if has_blank:
        # Of unsigned integers astropy drops BLANK; as floating point it makes NaN of it, exactly.
        with _opened(data, uint=False) as file:
            array = np.asarray(file[index].data)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    axes = guessed_axes(native.shape, label, mapping, counts)
    for image in images_of(native, axes, label, mapping, counts):
        # Row 1 of FITS is the lowest of the picture.
        yield replace(image, values_HWB=image.values_HWB[::-1])


def _opened(data: bytes | Path, **options: bool) -> Any:
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    return fits.open(source, memmap=False, **options)


def _picture(file: Any, label: str, mapping: PixelMapping) -> int:
    """Index of the picture that is meant: `SCI`, or `SCI,2` where several extensions have the name."""
    found = {
        index: unit
        for index, unit in enumerate(file)
        if getattr(unit, "is_image", False) and unit.header.get("NAXIS", 0) >= 2
    }
    if not found:
        raise DomainError(f"{label} is a FITS file without a picture, tables are none")
    called = Counter(unit.name for unit in found.values())
    names = {
        f"{unit.name},{unit.ver}" if called[unit.name] > 1 else unit.name or str(index): index
        for index, unit in found.items()
    }
    return names[named_array(list(names), label, mapping, "picture")]
