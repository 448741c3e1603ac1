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
    if len(image.shape) < 3 or image.dataobj.dtype.fields is not None:
        raise DomainError(
            f"{label} has the shape {image.shape} of {image.dataobj.dtype}: write scalar volumes with 3 axes"
        )
    if further := int(np.prod(image.shape[3:], dtype=int)) - 1:
        counts[FIRST_VOLUME] += further
    # By voxel axis: the axis of the body it runs along (0 right, 1 anterior, 2 superior), and its sense.
    along, sense = nibabel.io_orientation(image.affine).astype(int).T
    axes = {int(body): voxel for voxel, body in enumerate(along)}
    up = axes[2]
    depth = image.shape[up]
    for index in taken(depth, mapping, counts):
        at: list[Any] = [slice(None), slice(None), slice(None), *(0,) * (len(image.shape) - 3)]
        at[up] = index if sense[up] > 0 else depth - 1 - index
        # Sliced before it is scaled: a volume in float64 is four times its file.
        values = np.asarray(image.dataobj[tuple(at)])
        rows_RA = values if axes[0] < axes[1] else values.T
        upright = rows_RA[:: sense[axes[0]], :: sense[axes[1]]].T[::-1]
        yield RawImage(upright[:, :, None], str(index))


def _opened(data: bytes | Path, label: str) -> Any:
    if isinstance(data, bytes):
        return nibabel.Nifti1Image.from_bytes(data)
    image: Any = nibabel.load(data)
    if not hasattr(image, "dataobj"):
        raise DomainError(f"{label} holds no volume")
    return image
