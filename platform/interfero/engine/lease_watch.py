"""Notice that another process has taken a sweep over, and end this driver of it.

A lease says who should drive and stops nobody (`interfero.store.locks`). Where `flock` has no effect between
machines, a driver that stood still for a minute (its machine was suspended, say) wakes beside its successor.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from interfero.engine.interrupts import ask_to_end
from interfero.store.sweep import SHARED_LEASE, SweepStore

LOOK_EVERY_S = 5.0
SURE_S = 1.0
"""Who breaks a stale lease puts its file aside for an instant: another process has it that is met twice."""

logger = logging.getLogger(__name__)


@contextmanager
def watched(store: SweepStore, taken: Callable[[str], None]) -> Iterator[None]:
    """Inside, interrupt this process, which must hold the sweep's lease, once another one has that.

    Args:
        store: Of the sweep.
        taken: Told who has it, in a thread of its own and before the interruption.

    Raises:
        KeyboardInterrupt: another process has the lease.
    """
    path, over = store.folder / SHARED_LEASE, threading.Event()
    ours = path.read_bytes()

    def watch() -> None:
        while not over.wait(LOOK_EVERY_S):
            if (
                not _is_of_another(path, ours)
                or over.wait(SURE_S)
                or not _is_of_another(path, ours)
            ):
                continue
            taken(holder := _holder(store))
            logger.warning(
                "%s has taken the lease of sweep %r, which this process did not renew in time: it ends",
                holder,
                store.name,
            )
            ask_to_end()
            return

    threading.Thread(target=watch, name="lease-watch", daemon=True).start()
    try:
        yield
    finally:
        over.set()


def _is_of_another(path: Path, ours: bytes) -> bool:
    """Whether a lease's file names another process; one that is away, with its storage, names nobody."""
    try:
        return path.read_bytes() != ours
    except OSError:
        return False


def _holder(store: SweepStore) -> str:
    """Who has it, as far as it says so: `interfero store prune` does not."""
    holder = store.holder()
    ours = f"process {os.getpid()} on {socket.gethostname()}"
    return "another process" if holder == ours else holder
