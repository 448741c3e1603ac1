"""DICOM through pydicom: modality values (Hounsfield units), frames, and the patient as the group."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import apply_color_lut, apply_modality_lut

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, taken
from interfero.errors import DomainError

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_PERSON = ("PatientID", "StudyInstanceUID", "SeriesInstanceUID")
"""What tells patients apart, the best first: slices of one are nearly alike."""


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Frames with rescale slope and intercept applied; colour as RGB."""
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    dataset = pydicom.dcmread(source)
    if "PixelData" not in dataset and "FloatPixelData" not in dataset:
        raise DomainError(
            f"{label} is a DICOM file without pixels ({dataset.get('Modality', 'no modality')}): move it "
            "out of the folder"
        )
    if dataset.get("SOPClassUID") == _SEGMENTATION:
        raise DomainError(
            f"{label} is a DICOM segmentation, whose numbers are labels: move it out of the folder"
        )
    frames = _frames(dataset, label)
    group = _person(dataset)
    low_is_white = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
    for index in taken(len(frames), mapping, counts):
        values = _values(frames[index], dataset, index)
        yield RawImage(
            values if values.ndim == 3 else values[:, :, None],
            str(index) if len(frames) > 1 else "",
            _padding(frames[index], dataset),
            low_is_white,
            group,
        )


def _frames(dataset: Any, label: str) -> Any:
    try:
        pixels = dataset.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        raise DomainError(
            f"{label}: pydicom cannot decode {dataset.file_meta.TransferSyntaxUID.name} "
            f"({str(error).splitlines()[0]}); pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or "
            "write the file uncompressed"
        ) from error
    return pixels if int(dataset.get("NumberOfFrames") or 1) > 1 else pixels[None]


def _values(frame: Any, dataset: Any, index: int) -> np.ndarray[Any, Any]:
    """What the numbers mean: colours of a palette, or the modality's unit."""
    kind = dataset.get("PhotometricInterpretation", "")
    values = apply_color_lut(frame, dataset) if kind == "PALETTE COLOR" else frame
    if kind.startswith("MONOCHROME"):
        values = apply_modality_lut(values, _rescaling(dataset, index))
    return np.asarray(values)


def _rescaling(dataset: Any, index: int) -> Any:
    """What states slope and intercept of a frame: enhanced multi-frame files do so in functional groups."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or []
    frames = dataset.get("PerFrameFunctionalGroupsSequence") or []
    for group in (*frames[index : index + 1], *shared):
        if transformation := group.get("PixelValueTransformationSequence"):
            return transformation[0]
    return dataset


def _padding(frame: Any, dataset: Any) -> np.ndarray[Any, np.dtype[np.bool_]] | None:
    """Pixels that fill the picture outside the scan."""
    if "PixelPaddingValue" not in dataset or frame.ndim != 2:
        return None
    first = int(dataset.PixelPaddingValue)
    last = int(dataset.get("PixelPaddingRangeLimit", first))
    inside: np.ndarray[Any, np.dtype[np.bool_]] = (frame >= min(first, last)) & (
        frame <= max(first, last)
    )
    return inside if inside.any() else None


def _person(dataset: Any) -> str | None:
    """A name for the patient that does not tell who it is."""
    told = next((str(dataset.get(tag)) for tag in _PERSON if dataset.get(tag)), None)
    if told is None:
        return None
    return f"patient-{hashlib.blake2b(told.encode(), digest_size=6).hexdigest()}"
