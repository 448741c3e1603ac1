"""Handwritten digits of scikit-learn, enlarged: the smallest domain whose images have one class each."""

from __future__ import annotations

import numpy as np
from PIL import Image

from interfero.domains.labelled import PORTIONS, LabelledDomain, LabelledSample, Portion
from interfero.randomness import Role, numpy_generator

NAME = "digits"
SIDE = 32
"""Width and height in pixels; the originals have 8, and 17 levels of grey."""
NUM_IMAGES: dict[Portion, int] = {"train": 600, "restoration": 200, "test": 400}
NOTE = (
    "1,797 digits of the UCI optical recognition data (CC BY 4.0), which come with scikit-learn, enlarged "
    "from 8x8 pixels"
)


def digits() -> LabelledDomain:
    """Some of the digits, parted by a seed; no picture is in two portions."""
    from sklearn.datasets import load_digits

    found = load_digits()
    levels = np.rint(found.images * 255 / 16).astype(np.uint8)
    _, first = np.unique(levels.reshape(len(levels), -1), axis=0, return_index=True)
    order = numpy_generator(0, 0, Role.SPLIT, label=NAME).permutation(np.sort(first))
    parts: dict[Portion, tuple[LabelledSample, ...]] = {}
    start = 0
    for portion in PORTIONS:
        chosen = order[start : start + NUM_IMAGES[portion]]
        start += len(chosen)
        parts[portion] = tuple(_sample(int(i), levels[i], int(found.target[i])) for i in chosen)
    return LabelledDomain(
        NAME, tuple(map(str, range(10))), parts["train"], parts["restoration"], parts["test"],
        notes=(NOTE,), label_kind="images",
    )  # fmt: skip


def _sample(
    index: int, levels: np.ndarray[tuple[int, int], np.dtype[np.uint8]], label: int
) -> LabelledSample:
    image = Image.fromarray(levels).resize((SIDE, SIDE), Image.Resampling.BICUBIC).convert("RGB")
    name = f"digit{index:04d}"
    labels = np.full((SIDE, SIDE), label, dtype=np.uint8)
    return LabelledSample(name, name, np.asarray(image), labels)
