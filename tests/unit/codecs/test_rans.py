"""The native coder's fence: what it is given can neither run past the end nor for ever."""

import os
import subprocess
import sys

import numpy as np
import pytest

from interfero.codecs import rans
from interfero.codecs.entropy_tables import MAX_SYMBOL, tables_from_lists
from interfero.errors import BitstreamError

# Symbols -1, 0 and 1; what is outside is escaped, which half of all states are in the second row.
TABLES = tables_from_lists([[0, 20000, 40000, 65000, 65536], [0, 1, 2, 3, 65536]], [5, 5], [-1, -1])


def int32(values):
    return np.array(values, np.int32)


@pytest.mark.parametrize("largest", [1, 5, 1000, MAX_SYMBOL - 1])
def test_round_trip_in_pieces(largest):
    random = np.random.default_rng(0)
    symbols = int32(random.integers(-largest, largest + 1, 500))
    indexes = int32(random.integers(0, 2, 500))
    string = rans.encode(symbols, indexes, TABLES)
    with rans.open_decoder(string, 500, TABLES) as decode:
        pieces = [decode(indexes[:1]), decode(indexes[1:300]), decode(indexes[300:])]
    assert np.concatenate(pieces).tolist() == symbols.tolist()


@pytest.mark.parametrize("symbol", [MAX_SYMBOL, -MAX_SYMBOL, 2**31 - 1, -(2**31)])
def test_what_the_native_coder_loops_on_is_refused(symbol):
    with pytest.raises(BitstreamError, match=f"a latent of {abs(symbol)} cannot be coded"):
        rans.encode(int32([0, symbol]), int32([0, 0]), TABLES)


@pytest.mark.parametrize(
    "string",
    [b"", b"\x01", b"\0" * 7, b"\0" * 8, b"\xff" * 8, b"\xff" * 3 + b"\x7f" + b"\0" * 4]
    + [b"\0" * 3 + b"\x80" + b"\0" * 4 + b"\x01" * n for n in (1, 2, 3)],
)
def test_what_no_coder_made_is_refused(string):
    with (
        pytest.raises(BitstreamError, match="not from this coder"),
        rans.open_decoder(string, 1, TABLES),
    ):
        pass


def test_the_shortest_string_is_decoded():
    # The state an encoder starts with, and nothing coded.
    with rans.open_decoder(b"\0\0\0\x80\0\0\0\0", 3, TABLES) as decode:
        assert len(decode(int32([0, 0, 0]))) == 3


def read_in_python(string, indexes, tables):
    """CompressAI's decoder: how many bytes it takes, and its symbols, None where one is escaped."""
    words = [int.from_bytes(string[i : i + 4], "little") for i in range(0, len(string), 4)]
    position, state, symbols = 2, words[0] | words[1] << 32, []

    def refill(value):
        nonlocal position
        if value < 1 << 31:
            value = value << 32 | (words[position] if position < len(words) else 0)
            position += 1
        return value

    def take():
        nonlocal state
        bits, state = state & 15, refill(state >> 4)
        return bits

    for index in indexes:
        row, low = tables.row(index), state & 0xFFFF
        symbol = next(i for i, v in enumerate(row) if v > low) - 1
        state = refill((row[symbol + 1] - row[symbol]) * (state >> 16) + low - row[symbol])
        escaped = symbol == len(row) - 2
        symbols.append(None if escaped else symbol + int(tables.offsets[index]))
        if escaped:
            count = bits = take()
            while bits == 15:
                bits = take()
                count += bits
            for _ in range(count):
                take()
    return 4 * position, symbols


def strings(filler, seed=0):
    random = np.random.default_rng(seed)
    for _ in range(40):
        length = 4 * int(random.integers(0, 60))
        body = random.bytes(length) if filler is None else filler * length
        start = random.integers(1 << 31, (1 << 63) - 1, dtype=np.int64)
        yield int(start).to_bytes(8, "little") + body


FILLERS = pytest.mark.parametrize("filler", [b"\xff", b"\x00", b"\x7f", None])


@FILLERS
@pytest.mark.parametrize("row", [0, 1])
def test_no_string_is_read_past_its_padding(filler, row):
    overrun = []
    for string in strings(filler):
        taken, _ = read_in_python(string, [row] * 200, TABLES)
        overrun.append(taken - len(string))
        assert overrun[-1] <= rans.padding(len(string), 200)
    # The padding is not for nothing.
    assert max(overrun) > 0


@FILLERS
def test_the_reader_in_python_reads_as_the_native_one(filler):
    # Symbols behind an escape are right only where the escape ended at the same word.
    rows = [1, 0, 0] * 20
    compared = 0
    for string in strings(filler):
        _, symbols = read_in_python(string, rows, TABLES)
        with rans.open_decoder(string, 60, TABLES) as decode:
            native = decode(int32(rows)).tolist()
        pairs = [(n, s) for n, s in zip(native, symbols, strict=True) if s is not None]
        assert all(n == s for n, s in pairs)
        compared += len(pairs)
    assert compared > 100


def test_an_escape_can_read_ten_times_the_string():
    # Ones all through: each group of 4 bits announces 15 more.
    string = b"\xff" * 7 + b"\x7f" + b"\xff" * 400
    taken, _ = read_in_python(string, [1], TABLES)
    assert 10 * len(string) < taken <= len(string) + rans.padding(len(string), 1)


FEW = """
import os
import subprocess
import sys

import numpy as np
from interfero.codecs import rans
from interfero.codecs.entropy_tables import tables_from_lists
tables = tables_from_lists([[0, 1, 2, 65535, 65536]], [5], [-1])
for count in range(5):
    for symbol in (-1, 0, 1, 900):
        for _ in range(200):
            symbols = np.full(count, symbol, np.int32)
            string = rans.encode(symbols, np.zeros(count, np.int32), tables)
            with rans.open_decoder(string, count, tables) as decode:
                assert decode(np.zeros(count, np.int32)).tolist() == symbols.tolist()
        print(count, symbol, len(string))
"""


def test_few_symbols_do_not_write_past_the_native_buffer():
    """In a process of its own, whose allocator aborts on a heap that was written to."""
    environment = os.environ | {"MALLOC_CHECK_": "3", "MALLOC_PERTURB_": "165"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FEW], capture_output=True, text=True,
        env=environment, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 20
