"""NumPy's .npy and .npz: one array of images; pickled objects are never loaded."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage, guessed_axes, images_of, named_array


def read(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """Images of the array, mapped from disk where it is a file of its own."""
    if isinstance(data, Path) and data.suffix.lower() == ".npy":
        array: Any = np.load(data, mmap_mode="r", allow_pickle=False)
        yield from _images(array, label, mapping, counts)
        return
    source: Any = io.BytesIO(data) if isinstance(data, bytes) else data
    loaded: Any = np.load(source, allow_pickle=False)
    if isinstance(loaded, np.ndarray):
        yield from _images(loaded, label, mapping, counts)
        return
    with loaded:
        array = loaded[named_array(list(loaded.files), label, mapping)]
    yield from _images(array, label, mapping, counts)


def _images(
    array: Any, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    axes = guessed_axes(array.shape, label, mapping, counts)
    yield from images_of(array, axes, label, mapping, counts)
