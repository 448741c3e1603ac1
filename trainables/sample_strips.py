"""A picture of what a cell saw and what it answered, in two rows."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.store.files import write_atomic

GAP = 4
"""Pixels between pictures."""
GOLDEN = 0.618034
"""Of the colour circle between one class and the next: neighbours in number differ most."""


def save_strip(
    path: Path, learned_from: Sequence[UInt8Array], original_HWC: UInt8Array, tested_HWC: UInt8Array,
    labels_HW: UInt8Array, predicted_HW: UInt8Array,
) -> None:  # fmt: skip
    """Write a PNG.

    The first row is a training image: original, compressed, restored, as far as the model's was. The
    second is a test image: original, as the model got it, its labels, the prediction; void is black.

    Args:
        path: The file.
        learned_from: Versions of the training image, the original first.
        original_HWC: The test image.
        tested_HWC: The same as the model was given it.
        labels_HW: Its labels.
        predicted_HW: Predicted classes.

    Raises:
        StorageError: the file cannot be written.
    """
    wrong = np.where(labels_HW == VOID, VOID, predicted_HW).astype(np.uint8)
    second = [original_HWC, tested_HWC, colours(labels_HW), colours(wrong)]
    rows = [_row(list(learned_from)), _row(second)]
    width = max(row.shape[1] for row in rows)
    padded = [
        np.pad(row, ((0, GAP), (0, width - row.shape[1]), (0, 0)), constant_values=255)
        for row in rows
    ]
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate(padded)).save(buffer, format="PNG")
    write_atomic(path, buffer.getvalue())


def colours(labels_HW: UInt8Array) -> UInt8Array:
    """(height, width, 3) a colour a class, black for void."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for label in range(VOID):
        bright = colorsys.hsv_to_rgb(label * GOLDEN % 1, 0.65, 0.95)
        table[label] = [round(255 * c) for c in bright]
    found: UInt8Array = table[labels_HW]
    return found


def _row(pictures: Sequence[UInt8Array]) -> UInt8Array:
    height = max(picture.shape[0] for picture in pictures)
    padded = [
        np.pad(p, ((0, height - p.shape[0]), (0, GAP), (0, 0)), constant_values=255)
        for p in pictures
    ]
    return np.concatenate(padded, axis=1)
