"""Files that are either whole or absent, whatever dies in between."""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, TypeVar

from interfero.errors import StorageError

T = TypeVar("T")

PATIENCE_S = 60.0
"""How long results wait for a disk that is full or away: somebody may be mending it."""
_RETRY_S = (0.5, 5.0)
"""Pause after a first failure, and the longest; each is twice the one before."""
_NO_FOLDER_SYNC = frozenset({errno.EINVAL, errno.ENOTSUP, errno.ENOSYS})
"""What file systems say that write names in order, or cannot be asked to."""
_patience: ContextVar[float] = ContextVar("patience", default=0.0)

logger = logging.getLogger(__name__)


@contextmanager
def patience(seconds: float = PATIENCE_S) -> Iterator[None]:
    """Inside, what cannot be written is tried again for so many seconds before it is an error.

    For results, which cost hours: checkpoints do without, because training goes on without them.
    """
    before = _patience.set(seconds)
    try:
        yield
    finally:
        _patience.reset(before)


def patiently(attempt: Callable[[], T], place: Path) -> T:
    """What an attempt to write comes to, tried again inside `patience`.

    Raises:
        OSError: the last attempt's.
    """
    give_up, (pause, longest) = time.monotonic() + _patience.get(), _RETRY_S
    while True:
        try:
            return attempt()
        except OSError as error:
            if time.monotonic() + pause > give_up:
                raise
            logger.warning("%s cannot be written (%s): tried again", place, error.strerror)
        time.sleep(pause)
        pause = min(longest, 2 * pause)


def first_remedy(error: OSError) -> str:
    """What makes a place writable again that a disk's fault, or its being full, has made unwritable."""
    if error.errno == errno.EROFS:
        return "mount it for writing again (a disk with faults becomes read-only)"
    return "free the disk"


def write_atomic(
    path: Path, data: bytes | Callable[[IO[bytes]], None], remedy: str = "name another place"
) -> None:
    """Write a file that a reader sees whole or not at all, whatever dies in between.

    Args:
        path: Its folder is made.
        data: All of it; or what writes it, if it is too much to hold. That may be called again.
        remedy: What a user can do besides making the place writable again.

    Raises:
        StorageError: the disk is full or the place is not writable, and stays so as long as `patience`.
    """
    try:
        patiently(lambda: _write_once(path, data), path)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be written ({error.strerror}): {first_remedy(error)} or {remedy}"
        ) from error


def _write_once(path: Path, data: bytes | Callable[[IO[bytes]], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary_file(path.parent, path.name) as file:
        if callable(data):
            data(file)
        else:
            file.write(data)
        settle(file, path)


@contextmanager
def temporary_file(folder: Path, name: str) -> Iterator[IO[bytes]]:
    """A new file of a folder that is gone in the end, unless `settle` has given it a name.

    Args:
        folder: An existing folder.
        name: What it is to become; it is called `.NAME.` and eight random characters until then.

    Raises:
        OSError: the folder cannot be written.
    """
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{name}.", delete=False) as file:
        try:
            yield file
        finally:
            Path(file.name).unlink(missing_ok=True)


def settle(file: IO[bytes], path: Path, mode: int | None = None) -> None:
    """Give a temporary file its name once its bytes are on the disk; one that was there is replaced.

    The name is on the disk as well when this returns: a machine that loses power then keeps it.

    Args:
        file: A `temporary_file`.
        path: Its name from now on, in the same folder.
        mode: Permissions; those of any new file by default: temporary files are private.

    Raises:
        OSError: the disk is full, say.
    """
    file.flush()
    os.fsync(file.fileno())
    os.fchmod(file.fileno(), 0o666 & ~_umask() if mode is None else mode)
    Path(file.name).replace(path)
    settle_names(path.parent)


def settle_names(folder: Path) -> None:
    """Have a folder's names on the disk, where its file system can be asked for that.

    Raises:
        OSError: the disk has a fault.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # One may write into it, and not read it.
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_SYNC:
            raise
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def inside(folder: Path, name: str) -> Path:
    """The file that a record names below a folder; a record may come from anywhere.

    Raises:
        StorageError: the name is absolute, or leads out of the folder (links are followed).
    """
    path, parts = folder / name, Path(name).parts
    whole = parts and ".." not in parts and not Path(name).is_absolute()
    if not whole or not path.resolve().is_relative_to(folder.resolve()):
        raise StorageError(
            f"{name!r} must be the path of a file below {folder}: the record that names it was "
            "damaged or is not this project's; delete the record and continue with --resume"
        )
    return path


def write_json(path: Path, value: object, *remedy: str) -> None:
    """Write JSON as `write_atomic` does; NaN is refused, because readers differ on it."""
    text = json.dumps(value, indent=1, sort_keys=True, allow_nan=False)
    write_atomic(path, text.encode(), *remedy)


def read_json(path: Path) -> Any:
    """Read JSON.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be read as JSON ({error})") from error


LEFTOVER_AGE_S = 24 * 3600.0
"""A temporary file that nobody has written to for so long was left by a process that died."""
_LEFTOVER = re.compile(r"\..+\.([a-z0-9_]{8}|taken)")


def leftovers(folder: Path, older_than_s: float = LEFTOVER_AGE_S) -> list[Path]:
    """Temporary files in a folder, not below it, whose writers have died.

    Writers write without a pause and then rename, so a file that is unchanged for a day has none. Who holds
    the lock of all writers of a folder may say 0: then none of them lives.
    """
    now, found = time.time(), []
    for path in folder.iterdir() if folder.is_dir() else ():
        if not _LEFTOVER.fullmatch(path.name):
            continue
        with suppress(FileNotFoundError):
            status = path.lstat()
            if S_ISREG(status.st_mode) and now - status.st_mtime >= older_than_s:
                found.append(path)
    return found


def remove_leftovers(folder: Path, older_than_s: float = LEFTOVER_AGE_S) -> int:
    """Remove `leftovers`; returns how many.

    Raises:
        OSError: they cannot be removed.
    """
    found = leftovers(folder, older_than_s)
    for path in found:
        path.unlink(missing_ok=True)
    return len(found)
