"""What stands between a codec and the native coder: it keeps the symbols that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from interfero.codecs import rans
from interfero.codecs.entropy_tables import Int32Array, Tables, tables_from_lists


class RecordingCoder:
    """Codes through the guarded native coder, and keeps the symbols.

    It has the interface of CompressAI's entropy coders, for entropy models of other kinds than the
    two that are coded directly.
    """

    name = "ans"

    def __init__(
        self, symbols: list[list[int]], open_decoder: rans.OpenDecoder = rans.open_decoder
    ) -> None:
        """Append every coded or decoded list of symbols to `symbols`."""
        self._symbols = symbols
        self._open_decoder = open_decoder

    def encode(self, symbols: Int32Array, indexes: Int32Array, tables: Tables) -> bytes:
        """As `rans.encode`."""
        string = rans.encode(symbols, indexes, tables)
        self._symbols.append(symbols.tolist())
        return string

    @contextmanager
    def open(self, string: bytes, count: int, tables: Tables) -> Iterator[rans.Decode]:
        """Decode one string of `count` symbols, in as many calls as wanted."""
        symbols: list[int] = []
        with self._open_decoder(string, count, tables) as decode:

            def recorded(indexes: Int32Array) -> Int32Array:
                decoded = decode(indexes)
                symbols.extend(decoded.tolist())
                return decoded

            yield recorded
        self._symbols.append(symbols)

    def decode(self, string: bytes, indexes: Int32Array, tables: Tables) -> Int32Array:
        """Decode one string at once."""
        with self.open(string, len(indexes), tables) as decode:
            return decode(indexes)

    def encode_with_indexes(
        self, symbols: list[int], indexes: list[int], *tables: Sequence[Any]
    ) -> bytes:
        """As CompressAI's, for symbols it can code."""
        # Wider at first: a symbol that no 32 bits hold is refused by its size.
        wide = np.array(symbols, np.int64).clip(-(1 << 31), (1 << 31) - 1).astype(np.int32)
        return self.encode(wide, np.array(indexes, np.int32), tables_from_lists(*tables))

    def decode_with_indexes(
        self, string: bytes, indexes: list[int], *tables: Sequence[Any]
    ) -> list[int]:
        """As CompressAI's, never reading past the end."""
        rows = np.array(indexes, np.int32)
        symbols: list[int] = self.decode(string, rows, tables_from_lists(*tables)).tolist()
        return symbols
