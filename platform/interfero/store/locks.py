"""Locks between processes, as files.

A lock is an `flock` on an open file (through the filelock package), so the system releases it when its
process ends, however it ends; the empty file stays. On NFS the Linux client turns it into a lock at the
server, which holds between machines unless the share is mounted with `nolock` or `local_lock`; of a
machine that dies the server releases it when the client's lease runs out, after a minute or two. On a
file system without `flock` a lock is refused: a lock made of a file's existence would outlive its process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from interfero.errors import StorageError

LOCK_NAME = ".lock"
"""Of the lock of a folder, in the folder."""


@contextmanager
def locked(
    path: Path, remedy: str = "choose a --storage below a folder that you may write to"
) -> Iterator[None]:
    """Hold a file's lock, waiting for it.

    Args:
        path: The file; it and its folder are made.
        remedy: What a user can do where they cannot be.

    Raises:
        StorageError: the file cannot be made or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = _lock(path).acquire()
    except OSError as error:
        raise StorageError(
            f"the lock {path} cannot be made ({error.strerror}): free the disk or {remedy}; file systems "
            "without flock cannot be used"
        ) from error
    with held:
        yield


def acquired(path: Path, wait_s: float = 0.0) -> BaseFileLock | None:
    """A file's lock, to be given back by `release()`; None if another holds it for so many seconds.

    Raises:
        OSError: the file cannot be made or locked.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        return None
    return lock


def is_held(path: Path) -> bool:
    """Whether a process holds a file's lock; a lock that may not be tried counts as held."""
    if not path.exists():
        return False
    try:
        lock = acquired(path)
    except OSError:
        return True
    if lock is not None:
        lock.release()
    return lock is None


def _lock(path: Path) -> BaseFileLock:
    return FileLock(path, fallback_to_soft=False)
