"""What commands take, with everything that they start: seconds on the clock and of the processors."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36
PATIENCE_S = 30.0


@dataclass
class Spent:
    """Set when the block ends."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """User and system time of all processes, those that outlived their parents included."""


@contextmanager
def spending() -> Iterator[Spent]:
    """Measures a block that runs commands.

    A process is counted once it has been waited for. Some of Ray's outlive the command that started them: on
    Linux they become this process's children, and are waited for after the clock has stopped.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    spent, before, started = Spent(), _of_children(), time.perf_counter()
    yield spent
    spent.wall_s = time.perf_counter() - started
    _wait_for_orphans()
    spent.cpu_s = _of_children() - before


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _wait_for_orphans() -> None:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.1)
        except ChildProcessError:
            return
