"""The cells of a sweep, with what was computed from them: a report asks for the same things many times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from functools import lru_cache, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt

from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import NUMBERS, CellRecord, ImageRow, ImageRows

_More = ParamSpec("_More")
_Found = TypeVar("_Found")

DIVERGED_PERCENT = 300.0
"""A loss four times as high."""
DIVERGED = "its loss on test images, target or source, is more than four times the source codec's"
"""The rule in words: a cell has diverged if ..."""
ROLE, NAME, GROUP = range(3)
FloatArray = npt.NDArray[np.float64]
Words = tuple[tuple[str, str, str], ...]
"""(role, name, group) of each test image of a cell; one object for all cells that have the same images."""


def image_arrays(record: CellRecord) -> tuple[Words, FloatArray]:
    """(role, name, group) of each test image of a cell, and its numbers in the order of `NUMBERS`; else NaN.

    The numbers are not to be written to. An `ImageRow` is checked each time it is made: a report would make
    every row a dozen times.
    """
    return arrays_of(record.images)


def arrays_of(images: Sequence[ImageRow]) -> tuple[Words, FloatArray]:
    """The same of a record's `images`."""
    if isinstance(images, ImageRows):
        known = np.frombuffer(images.numbers).reshape(len(images), -1)
        if known.shape[1] == len(NUMBERS):
            return images.words, known
        numbers = np.full((len(images), len(NUMBERS)), np.nan)
        numbers[:, : known.shape[1]] = known
        return images.words, numbers
    words = tuple((row.role, row.name, row.group) for row in images)
    each = [[getattr(row, name) for name in NUMBERS] for row in images]
    return words, np.array(each, dtype=float).reshape(len(words), len(NUMBERS))


@lru_cache(maxsize=1024)
def rows_of(words: Words, role: str) -> npt.NDArray[np.intp]:
    """Which test images have the role."""
    return np.flatnonzero([word[ROLE] == role for word in words])


class Cells(tuple[CellRecord, ...]):
    """Records that do not change any more; they take along what `once_for_cells` computed from them."""

    def __init__(self, records: Iterable[CellRecord] = ()) -> None:
        """Nothing is computed yet, unless it was of the same cells."""
        self.known: dict[tuple[Any, ...], Any] = records.known if isinstance(records, Cells) else {}


def once_for_cells(
    compute: Callable[Concatenate[Iterable[CellRecord], _More], _Found],
) -> Callable[Concatenate[Iterable[CellRecord], _More], _Found]:
    """A function of records that computes once for the same `Cells`, and each time for other sequences.

    Its further arguments must be hashable. A list or dictionary is copied at each call, so that no caller
    changes another's; what is in it is shared.
    """

    @wraps(compute)
    def found(records: Iterable[CellRecord], /, *args: _More.args, **named: _More.kwargs) -> _Found:
        if not isinstance(records, Cells):
            return compute(records, *args, **named)
        place = (compute, args, tuple(sorted(named.items())))
        if place not in records.known:
            records.known[place] = compute(records, *args, **named)
        value: _Found = records.known[place]
        return copy(value)

    return found


def has_diverged(percent: float) -> bool:
    """Whether a change of the loss, in percent of the source codec's, is no result to be averaged.

    A gain is at most 100 % and forgetting at least -100 %: beyond this the loss has risen.
    """
    return abs(percent) > DIVERGED_PERCENT


def cell_diverged(metrics: Mapping[str, float]) -> bool:
    """Whether a cell has, by its metrics on test images."""
    return any(has_diverged(metrics.get(name, 0.0)) for name in (GAIN, ROUTED, UNROUTED))
