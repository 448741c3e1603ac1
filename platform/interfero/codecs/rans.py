"""The native rANS coder of CompressAI, given only what it can bear.

It trusts its input: it loops for ever on symbols near 2^31, and reads past the end of a string that
its tables did not make. Symbols, tables and the start of a string are checked here, and a string is
followed by as many zeros as any string could make it read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
from compressai.ans import RansDecoder, RansEncoder

from interfero.codecs.entropy_tables import MAX_SYMBOL, Int32Array, Tables
from interfero.errors import BitstreamError

Decode = Callable[[Int32Array], Int32Array]
"""Row of each of the next symbols to those symbols; continues where the last call ended."""
OpenDecoder = Callable[[bytes, int, Tables], AbstractContextManager[Decode]]
"""A string, how many symbols will be asked for, and tables, to what decodes it."""

MIN_SYMBOLS = 4
"""The native encoder's buffer has a 32-bit word a symbol, and it writes two words behind half a word a
symbol: with fewer symbols it writes in front of its buffer. Seen: one latent of a 64x64 picture ended the
process with "double free or corruption"."""
STATE_BYTES = 8
MIN_STATE = 1 << 31
"""Between symbols the coder's state is in [2^31, 2^63), from the first word to the last."""


def encode(symbols: Int32Array, indexes: Int32Array, tables: Tables) -> bytes:
    """The rANS string of `symbols`, each coded by the row of `tables` that its index names.

    Raises:
        BitstreamError: a symbol is so large that the native coder would never return.
        CodecError: an index names no row.
    """
    if symbols.size:
        largest = max(int(symbols.max()), -int(symbols.min()))
        if largest >= MAX_SYMBOL:
            raise BitstreamError(
                f"a latent of {largest} cannot be coded (below {MAX_SYMBOL} it can): the codec has "
                "diverged, lower the learning rate"
            )
    missing = MIN_SYMBOLS - symbols.size
    if missing > 0:
        symbols, indexes = _filled_up(symbols, indexes, tables, missing)
    chosen = tables.select(indexes)
    string: bytes = RansEncoder().encode_with_indexes(
        symbols.tolist(), chosen.indexes.tolist(), chosen.rows, chosen.sizes, chosen.offsets
    )
    return string


def _filled_up(
    symbols: Int32Array, indexes: Int32Array, tables: Tables, missing: int
) -> tuple[Int32Array, Int32Array]:
    """Add symbols up to the number that the native coder needs; the last `missing` ones are not decoded."""
    number = int(indexes[-1]) if indexes.size else 0
    likeliest = int(np.argmax(np.diff(tables.row(number))[:-1])) + int(tables.offsets[number])
    more = np.full(missing, likeliest, np.int32), np.full(missing, number, np.int32)
    return np.concatenate([symbols, more[0]]), np.concatenate([indexes, more[1]])


@contextmanager
def open_decoder(string: bytes, count: int, tables: Tables) -> Iterator[Decode]:
    """The native decoder on one string, in this process.

    Raises:
        BitstreamError: no rANS coder made the string.
    """
    check_string(string)
    decoder = RansDecoder()
    decoder.set_stream(string + bytes(padding(len(string), count)))

    def decode(indexes: Int32Array) -> Int32Array:
        chosen = tables.select(indexes)
        symbols = decoder.decode_stream(
            chosen.indexes.tolist(), chosen.rows, chosen.sizes, chosen.offsets
        )
        return np.fromiter(symbols, np.int32, len(symbols))

    yield decode


def check_string(string: bytes) -> None:
    """Refuse what cannot start a decoder.

    Raises:
        BitstreamError: it is no sequence of 32-bit words, or its first state is none of an encoder.
    """
    state = int.from_bytes(string[:STATE_BYTES], "little")
    words = len(string) >= STATE_BYTES and len(string) % 4 == 0
    if not words or not MIN_STATE <= state < MIN_STATE << 32:
        raise BitstreamError(
            f"a string of {len(string)} bytes that starts with {string[:STATE_BYTES].hex() or '-'} "
            "is not from this coder: the bitstream is damaged, fetch it again"
        )


def padding(length: int, count: int) -> int:
    """Zero bytes that a decoder of `count` symbols from `length` bytes cannot read past.

    A word is read for every 32 bits taken off the state. A symbol takes at most 16. A symbol outside
    its table is escaped: groups of 4 bits, as many as counted by groups of ones before, 15 a group.
    Those ones come from the string (2 groups a byte) or, in the zeros behind it, from the symbols
    decoded there: each puts at most 16 bits into the state that are not zeros, 4 groups. A group of
    ones stands for 15 more, and each count ends in one that adds up to 14 more: no more than
    4 * (16 * 2 * length + (4 * 16 + 15) * count) bits for escapes, and 16 * count for symbols.
    """
    return 16 * (length + 64) + 44 * count
