"""A percentile stretch in numbers: from the training images alone, band by band."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from interfero.domains.decoding import in_threads, named_group
from interfero.domains.images import ImageRules, SkippedImageError
from interfero.domains.listing import Portion
from interfero.domains.mapped_values import chosen_bands
from interfero.domains.portions import held_out
from interfero.domains.readers.raw import RawImage
from interfero.domains.readers.table import read_raw
from interfero.domains.sources import Row
from interfero.errors import DomainError

MAX_PIXELS = 2**24
"""Pixels that percentiles are computed from, of all images together."""
PIXELS_PER_IMAGE = 2**14
DIGITS = ".10g"
"""What is recorded is what is used."""


class _Drawn(NamedTuple):
    """Some pixels of an image."""

    portion: Portion
    group: str
    values_PB: npt.NDArray[np.float64]
    """(pixels, bands)."""


def with_stretch(
    name: str, chunks: Iterable[Callable[[], Sequence[Row]]], num_files: int, rules: ImageRules
) -> ImageRules:
    """The rules with declared percentiles in numbers; as they are where none are declared.

    Every image gives equally many pixels, evenly spaced; test images give none.

    Args:
        name: The domain's, for errors.
        chunks: Its files, some at a time; they are read twice.
        num_files: How many there are.
        rules: What is declared.

    Raises:
        DomainError: no training image can be read, images differ in bands, or a band is constant.
    """
    if rules.mapping.percentiles is None:
        return rules
    limit = max(1, min(PIXELS_PER_IMAGE, MAX_PIXELS // max(1, num_files)))
    found: list[_Drawn] = []
    for part in in_threads(partial(_draw, read(), rules, limit) for read in chunks):
        found += part
    unsplit = {d.group for d in found if d.portion == "any"}
    test_groups = held_out(name, unsplit) if unsplit else set()
    values = [d.values_PB for d in found if d.group not in test_groups and len(d.values_PB)]
    if not values or len({v.shape[1] for v in values}) > 1:
        raise DomainError(
            f"domain {name!r}: percentiles need training images with values and with the same bands; "
            "declare bands, or a range instead"
        )
    sides = np.percentile(np.concatenate(values), rules.mapping.percentiles, axis=0)
    ends = tuple((_recorded(low), _recorded(high)) for low, high in zip(*sides, strict=True))
    if any(low == high for low, high in ends):
        raise DomainError(
            f"domain {name!r}: both percentiles are {ends[0][0]:g} in a band; declare a range instead"
        )
    return replace(rules, mapping=replace(rules.mapping, stretch=ends))


def _recorded(value: float) -> float:
    return float(format(value, DIGITS))


def _draw(rows: Sequence[Row], rules: ImageRules, limit: int) -> list[_Drawn]:
    drawn = []
    for row in rows:
        if row.portion == "test":
            continue
        try:
            for raw in read_raw(row.data, row.label, rules.mapping, Counter()):
                values = _some(raw, row.label, rules, limit)
                drawn.append(_Drawn(row.portion, raw.group or named_group(row), values))
        except SkippedImageError:
            # Decoding meets it again, and counts it.
            continue
    return drawn


def _some(raw: RawImage, label: str, rules: ImageRules, limit: int) -> npt.NDArray[np.float64]:
    """Evenly spaced pixels that have a value."""
    values: npt.NDArray[Any] = chosen_bands(raw, label, rules.mapping, rules.channels)
    pixels = values.reshape(-1, values.shape[2])
    chosen = np.arange(min(limit, len(pixels))) * len(pixels) // min(limit, len(pixels))
    picked = pixels[chosen].astype(np.float64)
    keep = np.isfinite(picked).all(axis=1)
    if raw.missing_HW is not None:
        keep &= ~raw.missing_HW.reshape(-1)[chosen]
    return np.asarray(picked[keep])
