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
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    with fits.open(source, memmap=False) as file:
        units = {
            str(hdu.name or index): hdu
            for index, hdu in enumerate(file)
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2
        }
        if not units:
            raise DomainError(f"{label} is a FITS file without a picture, tables are none")
        hdu = units[named_array(list(units), label, mapping, "picture")]
        array = np.asarray(hdu.data)
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    axes = guessed_axes(native.shape, label, mapping, counts)
    for image in images_of(native, axes, label, mapping, counts):
        # Row 1 of FITS is the lowest of the picture.
        yield replace(image, values_HWB=image.values_HWB[::-1])
