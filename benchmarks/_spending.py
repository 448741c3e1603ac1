"""What commands take, with everything that they start: seconds on the clock and of the processors."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

PR_SET_CHILD_SUBREAPER = 36
INTERVAL_S = 1.0
PATIENCE_S = 30.0


@dataclass
class Spent:
    """Set when the block ends."""

    wall_s: float = 0.0
    cpu_s: float = 0.0
    """User and system time of all processes."""


class _Watch(threading.Thread):
    """Looks once a second at what all descendants of this process have used so far."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._over = threading.Event()
        self._seen: dict[tuple[int, float], float] = {}

    def run(self) -> None:
        while not self._over.wait(INTERVAL_S):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    used = process.cpu_times()
                    self._seen[process.pid, process.create_time()] = used.user + used.system

    def end(self) -> float:
        """Seconds of all that were seen."""
        self._over.set()
        self.join()
        return sum(self._seen.values())


@contextmanager
def spending() -> Iterator[Spent]:
    """Measures a block that runs commands.

    The kernel counts processes that were waited for, to their end, but not children of a process that
    ignores their ends, as Ray's daemon does. Looking once a second counts these, but not the last second of
    each. Both are too little, so the larger one counts.
    """
    if sys.platform == "linux":
        # Processes that outlive their parents become this one's children.
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    spent, before, started, watch = Spent(), _of_children(), time.perf_counter(), _Watch()
    watch.start()
    try:
        yield spent
    finally:
        spent.wall_s = time.perf_counter() - started
        seen = watch.end()
    _wait_for_orphans()
    spent.cpu_s = max(seen, _of_children() - before)


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
