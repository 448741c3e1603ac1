"""The process in which strings are decoded that may crash, hang or exhaust the native decoder.

It is run as a script, by its file: `python -I -S rans_child.py PATH_OF_COMPRESSAI_ANS`. It has no
torch and no numpy, starts in tens of milliseconds, and dies of a signal rather than harm anyone.

It reads requests on standard input and answers each on standard output, all numbers int32 as
the machine has them:

    open    1, rows, entries, bytes | sizes[rows], offsets[rows], entries[entries], zeros[1],
                                      the string; it is followed by that many zeros
    decode  2, rows, symbols, 0     | numbers[rows] of the rows in use, index[symbols] into them
    answer  status, bytes           | symbols, or a message where the status is not 0
"""

from __future__ import annotations

import resource
import signal
import struct
import sys
from array import array
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_loader
from typing import Any, BinaryIO

HEAD = struct.Struct("=4i")
ANSWER = struct.Struct("=2i")
OPEN, DECODE = 1, 2
MEMORY_BYTES = 8 << 30
SECONDS = 120
"""Time limit of one request, which has a million symbols at most; the parent gives up earlier, if alive."""


class Child:
    """One decoder at a time."""

    def __init__(self, ans: Any) -> None:
        self._ans = ans
        self._decoder: Any = None
        self._known = b""
        self._sizes: list[int] = []
        self._offsets: list[int] = []
        self._rows: list[list[int]] = []

    def open(self, rows: int, payload: bytes, zeros: int, string: bytes) -> None:
        """Take tables and a string; tables that were sent before are not read again."""
        if payload != self._known:
            numbers = ints(payload)
            self._sizes, self._offsets = numbers[:rows], numbers[rows : 2 * rows]
            self._rows, position = [], 2 * rows
            for size in self._sizes:
                self._rows.append(numbers[position : position + size])
                position += size
            self._known = payload
        self._decoder = self._ans.RansDecoder()
        self._decoder.set_stream(string + bytes(zeros))

    def decode(self, rows: int, payload: bytes) -> bytes:
        """The next symbols of the open string."""
        used, indexes = ints(payload[: 4 * rows]), ints(payload[4 * rows :])
        symbols = self._decoder.decode_stream(
            indexes,
            [self._rows[u] for u in used],
            [self._sizes[u] for u in used],
            [self._offsets[u] for u in used],
        )
        return array("i", symbols).tobytes()

    def answer(self, head: tuple[int, ...], source: BinaryIO) -> bytes:
        """Read what belongs to a request's head, and do it."""
        kind, rows, count, size = head
        if kind == OPEN:
            payload = exactly(source, 4 * (2 * rows + count))
            [zeros] = ints(exactly(source, 4))
            self.open(rows, payload, zeros, exactly(source, size))
            return b""
        return self.decode(rows, exactly(source, 4 * (rows + count)))


def ints(payload: bytes) -> list[int]:
    """The int32 numbers of a payload."""
    return memoryview(payload).cast("i").tolist()


def exactly(source: BinaryIO, size: int) -> bytes:
    """`size` bytes; the end of the parent is the end of this process."""
    data = source.read(size)
    if len(data) < size:
        sys.exit(0)
    return data


def load_ans(path: str) -> Any:
    """The native module by its file: importing its package would import torch."""
    loader = ExtensionFileLoader("compressai.ans", path)
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def limit() -> None:
    """No more than 8 GiB of memory, no core file, no interrupt from the terminal, no endless request."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, soft))


def main() -> None:
    """Answer requests until the parent closes the pipe."""
    child = Child(load_ans(sys.argv[1]))
    limit()
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = HEAD.unpack(exactly(source, HEAD.size))
        signal.alarm(SECONDS)
        status, answer = 0, b""
        try:
            answer = child.answer(head, source)
        except Exception as error:
            status, answer = 1, str(error).encode() or type(error).__name__.encode()
        signal.alarm(0)
        sink.write(ANSWER.pack(status, len(answer)) + answer)
        sink.flush()


if __name__ == "__main__":
    main()
