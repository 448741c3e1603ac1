"""Decodes strings in a child process, so that no stream can harm this one.

The child (`rans_child`) is started at first use, one a process, and again after it died. Whatever
happens to it is a `BitstreamError` here.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from compressai import ans

from interfero.codecs import rans, rans_child
from interfero.codecs.entropy_tables import Int32Array, Tables
from interfero.errors import BitstreamError, DecoderLostError

SECONDS = 20.0
"""What one request may take. Decoding its symbols takes less than one; a machine may be busy."""
SYMBOLS_PER_REQUEST = 1 << 20


class GuardedChild:
    """The child process of this process, and the pipes to it."""

    def __init__(self) -> None:
        script = rans_child.__file__
        # Without site-packages (-S) and without the environment's paths (-I): it needs neither.
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", script, str(ans.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            # Not in the terminal's foreground group: an interrupt is for the parent.
            start_new_session=True,
        )
        self.owner = os.getpid()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._answers = self.process.stdin, self.process.stdout
        os.set_blocking(self._requests.fileno(), False)
        os.set_blocking(self._answers.fileno(), False)

    def ask(self, *request: bytes) -> bytes:
        """Send the parts of one request, and wait for its answer.

        Raises:
            DecoderLostError: the child took too long, or was killed: the machine may be at fault.
            BitstreamError: the child died of the request, or refused it.
        """
        deadline = time.monotonic() + SECONDS
        try:
            self._write(b"".join(request), deadline)
            status, size = rans_child.ANSWER.unpack(self._read(rans_child.ANSWER.size, deadline))
            answer = self._read(size, deadline)
        except (OSError, EOFError) as error:
            self.end()
            lost = isinstance(error, TimeoutError) or self.process.returncode == -signal.SIGKILL
            kind = DecoderLostError if lost else BitstreamError
            raise kind(
                f"the bitstream brought its decoder down ({str(error) or self._fate()}): it is damaged, "
                "or was made with other tables"
            ) from error
        except BaseException:
            # Interrupted between request and answer: the next answer would be this one's.
            self.end()
            raise
        if status:
            raise BitstreamError(f"the bitstream does not decode ({answer.decode()})")
        return answer

    def end(self) -> None:
        """Close the pipes, and leave neither a process nor a zombie."""
        for pipe in (self._requests, self._answers):
            with contextlib.suppress(OSError):
                pipe.close()
        if self.owner == os.getpid():
            self.process.kill()
            self.process.wait()
        else:
            # A copy of the handle in a forked process: the child is its parent's.
            self.process.returncode = 0

    def _fate(self) -> str:
        code = self.process.returncode
        if code is not None and code < 0:
            return f"ended by {signal.Signals(-code).name}"
        return f"ended with code {code}"

    def _write(self, data: bytes, deadline: float) -> None:
        view = memoryview(data)
        while view:
            self._wait(self._requests.fileno(), select.POLLOUT, deadline)
            with contextlib.suppress(BlockingIOError):
                view = view[os.write(self._requests.fileno(), view) :]

    def _read(self, size: int, deadline: float) -> bytes:
        parts = []
        while size:
            self._wait(self._answers.fileno(), select.POLLIN, deadline)
            part = os.read(self._answers.fileno(), size)
            if not part:
                raise EOFError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    @staticmethod
    def _wait(descriptor: int, event: int, deadline: float) -> None:
        poll = select.poll()
        poll.register(descriptor, event)
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("no answer in time")


_child: GuardedChild | None = None
_lock = threading.Lock()


def child_pid() -> int | None:
    """The child's process id, if there is one."""
    return None if _child is None else _child.process.pid


@contextmanager
def open_decoder(string: bytes, count: int, tables: Tables) -> Iterator[rans.Decode]:
    """Open a decoder as `rans.open_decoder` does, in the child.

    Raises:
        BitstreamError: no rANS coder made the string, or the child did not survive it.
    """
    rans.check_string(string)
    inside = np.arange(tables.cdf.shape[1]) < tables.sizes[:, None]
    rows = [a.tobytes() for a in (tables.sizes, tables.offsets, tables.cdf[inside])]
    num_entries = int(tables.sizes.sum())
    head = rans_child.HEAD.pack(rans_child.OPEN, len(tables.sizes), num_entries, len(string))
    zeros = np.int32(rans.padding(len(string), count)).tobytes()
    # The child has one decoder: until this string is done, it is taken.
    with _lock:
        child = _present_child()
        child.ask(head, *rows, zeros, string)

        def decode(indexes: Int32Array) -> Int32Array:
            starts = range(0, max(1, len(indexes)), SYMBOLS_PER_REQUEST)
            parts = [_decode(child, tables, indexes[s : s + SYMBOLS_PER_REQUEST]) for s in starts]
            return np.concatenate(parts)

        yield decode


def _decode(child: GuardedChild, tables: Tables, indexes: Int32Array) -> Int32Array:
    chosen = tables.select(indexes)
    head = rans_child.HEAD.pack(rans_child.DECODE, len(chosen.used), len(indexes), 0)
    answer = child.ask(head, chosen.used.tobytes(), chosen.indexes.tobytes())
    return np.frombuffer(answer, np.int32)


def _present_child() -> GuardedChild:
    global _child
    if _child is not None and (_child.owner != os.getpid() or _child.process.poll() is not None):
        _child.end()
        _child = None
    if _child is None:
        _child = GuardedChild()
    return _child


def end_child() -> None:
    """End the child process, if there is one; the next string starts another."""
    global _child
    if _child is not None:
        _child.end()
        _child = None


def _after_fork() -> None:
    # Held by a thread that this process does not have, the lock would never be free.
    global _lock
    _lock = threading.Lock()
    # An open end of the pipe here would keep the child alive after its parent.
    end_child()


atexit.register(end_child)
os.register_at_fork(after_in_child=_after_fork)
