"""A reader of what is printed that has gone, as `| head -1` does: no traceback, and a shell's exit code."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

SIGPIPE_EXIT = 141
"""What shells report of a program that SIGPIPE ended: 128 and its number."""


@contextmanager
def gone_reader_ends() -> Iterator[None]:
    """Inside, a reader that has gone ends the program; another pipe that breaks is an error."""
    try:
        try:
            yield
        finally:
            # Here, and not when the interpreter ends, which would name the error on stderr.
            sys.stdout.flush()
    except BrokenPipeError:
        gone = [stream for stream in (sys.stdout, sys.stderr) if _has_no_reader(stream)]
        if not gone:
            raise
        for stream in gone:
            _discard(stream)
        sys.exit(SIGPIPE_EXIT)


def _has_no_reader(stream: TextIO) -> bool:
    with suppress(OSError, ValueError):  # A stream of a test or a notebook has no descriptor.
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    return False


def _discard(stream: TextIO) -> None:
    """Let what is still to be written go nowhere."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
