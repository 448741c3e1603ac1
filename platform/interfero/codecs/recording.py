"""What stands between a codec and the native coder: it keeps the symbols that pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from compressai.entropy_models import GaussianConditional
from torch import Tensor, nn

from interfero.codecs import rans
from interfero.codecs.entropy_tables import Int32Array, Tables, tables_from_lists
from interfero.codecs.exact import DECIDING
from interfero.codecs.integers import is_on_grid
from interfero.errors import CodecError


class RecordingCoder:
    """Codes through the guarded native coder, and keeps the symbols.

    It has the interface of CompressAI's entropy coders, for entropy models of other kinds than the
    two that are coded directly.
    """

    name = "ans"

    def __init__(
        self,
        open_decoder: rans.OpenDecoder = rans.open_decoder,
        *,
        exact: bool = False,
        given: Sequence[Tensor] = (),
    ) -> None:
        """Start with nothing recorded.

        Args:
            open_decoder: Where strings are decoded.
            exact: Scales and means have to be multiples of 2^-12.
            given: Latents that are coded in place of those found, in coding order.
        """
        self.coded: list[Int32Array] = []
        """Symbols of every latent that was coded, in order."""
        self.decoded: list[Int32Array] = []
        """Symbols of every latent that was decoded, in order; an encoder decodes too."""
        self.latents: list[Tensor] = []
        """Latents as decoded, each a batch."""
        self._open_decoder = open_decoder
        self._exact = exact
        self._given = list(given)[::-1]

    def next_given(self) -> Tensor | None:
        """The latent to be coded next, if it was given."""
        return self._given.pop() if self._given else None

    def keep(self, latents: Tensor) -> None:
        """Take note of decoded latents, before a layer that works in place gets them."""
        self.latents.append(latents.clone())

    def check_decided(self, module: nn.Module, values: Tensor | None) -> None:
        """Refuse scales or means of a network that should be exact and is not.

        Raises:
            CodecError: they are no multiples of 2^-12.
        """
        if not self._exact or values is None or not isinstance(module, GaussianConditional):
            return
        if not is_on_grid(values):
            raise CodecError(
                "scales or means come from a network that is not evaluated in integers: streams would "
                f"not decode on other machines; give it one of the names {', '.join(sorted(DECIDING))}"
            )

    def check_pixel(self, module: nn.Module, scales: Tensor, means: Tensor, column: int) -> None:
        """`check_decided`, of a row's first pixel only: it would take as long as the networks."""
        if not column:
            self.check_decided(module, scales)
            self.check_decided(module, means)

    def encode(self, symbols: Int32Array, indexes: Int32Array, tables: Tables) -> bytes:
        """Encode as `rans.encode` does."""
        string = rans.encode(symbols, indexes, tables)
        self.coded.append(symbols.copy())
        return string

    @contextmanager
    def open(self, string: bytes, count: int, tables: Tables) -> Iterator[rans.Decode]:
        """Decode one string of `count` symbols, in as many calls as wanted."""
        parts: list[Int32Array] = []
        with self._open_decoder(string, count, tables) as decode:

            def recorded(indexes: Int32Array) -> Int32Array:
                decoded = decode(indexes)
                parts.append(decoded)
                return decoded

            yield recorded
        self.decoded.append(np.concatenate([np.empty(0, np.int32), *parts]))

    def decode(self, string: bytes, indexes: Int32Array, tables: Tables) -> Int32Array:
        """Decode one string at once."""
        with self.open(string, len(indexes), tables) as decode:
            return decode(indexes)

    def encode_with_indexes(
        self, symbols: list[int], indexes: list[int], *tables: Sequence[Any]
    ) -> bytes:
        """Encode as CompressAI does, for symbols that it can code."""
        # Wider at first: a symbol that no 32 bits hold is refused by its size.
        wide = np.array(symbols, np.int64).clip(-(1 << 31), (1 << 31) - 1).astype(np.int32)
        return self.encode(wide, np.array(indexes, np.int32), tables_from_lists(*tables))

    def decode_with_indexes(
        self, string: bytes, indexes: list[int], *tables: Sequence[Any]
    ) -> list[int]:
        """Decode as CompressAI does, without reading past the end."""
        rows = np.array(indexes, np.int32)
        symbols: list[int] = self.decode(string, rows, tables_from_lists(*tables)).tolist()
        return symbols
