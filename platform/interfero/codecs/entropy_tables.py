"""Entropy tables as the native coder takes them: checked once, cut to length, only the rows in use.

CompressAI hands the native coder its whole padded table (64 rows of about 3,000 entries) as Python
lists on every call; most of it is padding, and few rows are in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
from compressai.entropy_models import EntropyModel

from interfero.errors import CodecError

Int32Array = npt.NDArray[np.int32]

MAX_SYMBOL = 1 << 20
"""CompressAI's coder loops for ever on the integers that NaN and infinity round to."""
CDF_END = 1 << 16
"""Every row ends here: CompressAI codes with 16 bits of precision."""


MAX_ROW = 1 << 13
"""Symbols of a row of an entropy table: hundreds in codecs that were trained; more is damage."""
MAX_TABLE = 1 << 24
"""Entries of a table whose rows are padded to the longest; Gaussian ones of CompressAI have 64 x 3,133."""


@dataclass(frozen=True, eq=False)
class Selection:
    """What one call of the native coder needs: the rows in use, and indexes into them."""

    used: Int32Array
    """Numbers of the rows in use, ascending."""
    indexes: Int32Array
    """Position in `used` of each symbol's row."""
    rows: list[list[int]]
    sizes: list[int]
    offsets: list[int]


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one entropy model."""

    cdf: Int32Array
    """(rows, longest row) cumulative frequencies, padded."""
    sizes: Int32Array
    """(rows,) entries of each row."""
    offsets: Int32Array
    """(rows,) the symbol that each row starts at."""
    _lists: dict[int, list[int]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check what the native coder does not.

        Raises:
            CodecError: a row is no cumulative distribution.
        """
        rows, width = self.cdf.shape
        if self.sizes.shape != (rows,) or self.offsets.shape != (rows,):
            raise CodecError(
                f"entropy table of {rows} rows with {self.sizes.size} lengths and "
                f"{self.offsets.size} offsets: one a row is needed; get the codec file again"
            )
        inside = np.arange(width - 1) < self.sizes[:, None] - 1
        rising = (np.diff(self.cdf, axis=1) > 0) | ~inside
        sound = (self.sizes >= 2) & (self.sizes <= width) & (self.cdf[:, 0] == 0)
        last = self.cdf[np.arange(rows), self.sizes.clip(1, width) - 1]
        # In 64 bits: the absolute value of the smallest 32-bit integer is none.
        sound &= rising.all(axis=1) & (last == CDF_END)
        sound &= np.abs(self.offsets.astype(np.int64)) < MAX_SYMBOL
        if not sound.all():
            raise CodecError(
                f"row {int(np.argmin(sound))} of an entropy table is no distribution: it must rise "
                f"from 0 to {CDF_END}, with an offset below {MAX_SYMBOL}; get the codec file again"
            )

    def same(self, cdf: Int32Array, sizes: Int32Array, offsets: Int32Array) -> bool:
        """Whether these are the numbers it was made from."""
        return (
            np.array_equal(self.cdf, cdf)
            and np.array_equal(self.sizes, sizes)
            and np.array_equal(self.offsets, offsets)
        )

    def row(self, number: int) -> list[int]:
        """One row, cut to its length."""
        if number not in self._lists:
            self._lists[number] = self.cdf[number, : self.sizes[number]].tolist()
        return self._lists[number]

    def select(self, indexes: Int32Array) -> Selection:
        """The rows that `indexes`, one a symbol, name.

        Raises:
            CodecError: there is no such row.
        """
        if indexes.size and not 0 <= indexes.min() <= indexes.max() < len(self.sizes):
            raise CodecError(
                f"rows {indexes.min()} to {indexes.max()} of an entropy table of {len(self.sizes)} "
                "rows were asked for: the codec's hyperprior and tables do not belong together"
            )
        used = np.flatnonzero(np.bincount(indexes, minlength=len(self.sizes))).astype(np.int32)
        position = np.empty(len(self.sizes), np.int32)
        position[used] = np.arange(len(used), dtype=np.int32)
        return Selection(
            used,
            position[indexes],
            [self.row(number) for number in used.tolist()],
            self.sizes[used].tolist(),
            self.offsets[used].tolist(),
        )


_CACHE: WeakKeyDictionary[EntropyModel, Tables] = WeakKeyDictionary()


def tables_of(module: EntropyModel) -> Tables:
    """The tables of an entropy model as they are now.

    They are compared, number for number, with those of the last call (0.1 ms for the largest): a
    table can be replaced or written into, and nothing tells.

    Raises:
        CodecError: they are no cumulative distributions.
        ValueError: there are none yet, as in CompressAI.
    """
    module._check_cdf_size()
    module._check_cdf_length()
    module._check_offsets_size()
    arrays = [_int32(t) for t in (module._quantized_cdf, module._cdf_length, module._offset)]
    known = _CACHE.get(module)
    if known is None or not known.same(*arrays):
        # Copies: the module may write into its own.
        cdf, sizes, offsets = (a.copy() for a in arrays)
        known = Tables(cdf, sizes, offsets)
        _CACHE[module] = known
    return known


def tables_from_lists(
    cdf: Sequence[Sequence[int]], sizes: Sequence[int], offsets: Sequence[int]
) -> Tables:
    """Tables in the form in which CompressAI hands them to the native coder.

    Raises:
        CodecError: they are no cumulative distributions.
    """
    width = max(map(len, cdf), default=0)
    padded = np.zeros((len(cdf), width), np.int32)
    for row, values in zip(padded, cdf, strict=True):
        row[: len(values)] = values
    return Tables(padded, np.array(sizes, np.int32), np.array(offsets, np.int32))


def _int32(tensor: Any) -> Int32Array:
    array: Int32Array = tensor.detach().cpu().int().numpy()
    return array
