"""NIfTI through nibabel: axial slices, upright as radiology software shows them, in scaled values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, taken
from interfero.errors import DomainError

FIRST_VOLUME = "further volume of a series left out"


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Slices across the body's long axis, from feet to head; of a series of volumes the first.

    The scanner's axes are turned to right, anterior, superior; a slice then has anterior at the top and
    the patient's right on the right.
    """
    image: Any = _opened(data, label)
    if image.ndim < 3 or image.dataobj.dtype.fields is not None:
        raise DomainError(
            f"{label} has the shape {image.shape} of {image.dataobj.dtype}: write scalar volumes with 3 axes"
        )
    canonical: Any = nibabel.as_closest_canonical(image)
    if further := int(np.prod(image.shape[3:], dtype=int)) - 1:
        counts[FIRST_VOLUME] += further
    first = (0,) * (image.ndim - 3)
    scaled = canonical.dataobj
    for index in taken(canonical.shape[2], mapping, counts):
        slice_XY = np.asarray(scaled[(slice(None), slice(None), index, *first)])
        yield RawImage(slice_XY.T[::-1, :, None], str(index))


def _opened(data: bytes | Path, label: str) -> Any:
    if isinstance(data, bytes):
        return nibabel.Nifti1Image.from_bytes(data)  # type: ignore[no-untyped-call]
    image: Any = nibabel.load(data)  # type: ignore[attr-defined]
    if not hasattr(image, "dataobj"):
        raise DomainError(f"{label} holds no volume")
    return image
