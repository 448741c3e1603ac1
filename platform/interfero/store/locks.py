"""Locks between processes, as files, on one machine and on storage that several machines share.

A lock is an `flock` on an open file (through the filelock package), so the system releases it when its
process ends, however it ends; the empty file stays. On NFS the Linux client turns it into a lock at the
server, which holds between machines unless the share is mounted with `nolock` or `local_lock`; of a
machine that dies the server releases it when the client's lease runs out, after a minute or two.

Where `flock` is missing (NFS without its lock service, Lustre without the option) a lock is a lease: a file
that is made exclusively, names host and process, and is touched three times in `LEASE_S`. A process of this
machine that died gives it up at once, one of another machine once it was not touched for so long. What must
not be held twice even where `flock` succeeds without effect takes a lease besides (`leased`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile

from filelock import BaseFileLock, FileLock, SoftFileLease, Timeout

from interfero.errors import StorageError
from interfero.store.files import first_remedy, settle_names

LOCK_NAME = ".lock"
"""Name of the lock of a folder, in the folder."""
LEASE_S = 60.0
"""A lease that another machine has not touched for so long is over."""
FOR_EVER = -1.0
_NO_FLOCK = frozenset({errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP})


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
        held = acquired(path, FOR_EVER)
    except OSError as error:
        raise StorageError(
            f"the lock {path} cannot be made ({error.strerror}): {first_remedy(error)} or {remedy}"
        ) from error
    assert held is not None
    try:
        yield
    finally:
        held.release()


def acquired(path: Path, wait_s: float = 0.0) -> BaseFileLock | None:
    """A file's lock, to be given back by `release()`; None if another holds it for so many seconds.

    Raises:
        OSError: the file cannot be made or locked.
    """
    try:
        return _within(FileLock(path, fallback_to_soft=False), wait_s)
    except NotImplementedError:  # What filelock makes of ENOSYS.
        return leased(path.with_name(f"{path.name}.lease"), wait_s)
    except OSError as error:
        if error.errno not in _NO_FLOCK:
            raise
        return leased(path.with_name(f"{path.name}.lease"), wait_s)


def leased(path: Path, wait_s: float = 0.0) -> BaseFileLock | None:
    """A lease on a file that any machine respects; as `acquired`, and gone when it is released.

    Raises:
        OSError: the file cannot be made.
    """
    _remove_emptied(path)
    held = _within(SoftFileLease(path, lease_duration=LEASE_S), wait_s)
    if held is not None:
        try:
            # A machine that loses power is to leave a lease behind that says whose it was.
            with path.open("rb") as file:
                os.fsync(file.fileno())
            settle_names(path.parent)
        except OSError:
            held.release()
            raise
    return held


def untouched_s(path: Path) -> float:
    """Seconds since a file was written or touched, by the clock of the storage that it lies on.

    Raises:
        OSError: it is not there, or its folder cannot be written.
    """
    with NamedTemporaryFile(dir=path.parent, prefix=f"{path.name}.") as probe:
        now = os.fstat(probe.fileno()).st_mtime
    return now - path.stat().st_mtime


def _remove_emptied(path: Path) -> None:
    """Remove a lease that says nothing any more and that nobody touches.

    A fault of the disk or of the power can leave a file without content, which filelock respects for ever.
    """
    try:
        if path.stat().st_size == 0 and untouched_s(path) > LEASE_S:
            path.unlink()
    except FileNotFoundError:
        return


def _within(lock: BaseFileLock, wait_s: float) -> BaseFileLock | None:
    try:
        lock.acquire(timeout=wait_s)
    except Timeout:
        return None
    return lock
