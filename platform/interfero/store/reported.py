"""Which records a sweep's report was written from.

Times of files do not tell it: a clock that goes back in the middle of a sweep leaves records that are newer
than the report of them. So the driver keeps the names and sizes of the records that it has reported, as one
hash in STORAGE/NAME/reported, when it gives the sweep back.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from interfero.errors import StorageError
from interfero.store.files import write_atomic

CELLS = "cells"
NOTE = "reported"
REPORT = "report"
_PAGE = "report.html"


@contextmanager
def noting_report(folder: Path) -> Iterator[None]:
    """Keep the hash of the records that are there at the end, if the report is written meanwhile.

    Args:
        folder: Of a sweep that this process holds.
    """
    before = _page_of(folder)
    try:
        yield
    finally:
        if _page_of(folder) not in (None, before):
            # At worst the sweep counts as interrupted, which a resumption mends.
            with suppress(OSError, StorageError):
                write_atomic(folder / NOTE, _records_of(folder).encode())


def is_reported(folder: Path) -> bool:
    """Whether a sweep's report is of the records that are there.

    Of sweeps of earlier builds no hash is kept: their report has to be at least as new as their records.
    """
    newest = _newest(folder / REPORT)
    if not newest:
        return False
    try:
        return (folder / NOTE).read_text() == _records_of(folder)
    except OSError:
        return newest >= _newest(folder / CELLS)


def _page_of(folder: Path) -> tuple[int, int] | None:
    """Tells one page from the next, which replaces it; None where none is."""
    try:
        status = (folder / REPORT / _PAGE).stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def _records_of(folder: Path) -> str:
    """Hash of the records' names and sizes. Their content would be read for minutes in a large sweep."""
    sizes = sorted((name, status.st_size) for name, status in _files(folder / CELLS))
    text = "".join(f"{name} {size}\n" for name, size in sizes if name.endswith(".json"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _newest(folder: Path) -> float:
    return max((status.st_mtime for _, status in _files(folder)), default=0.0)


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            # A temporary one may go while it is looked at.
            with suppress(FileNotFoundError):
                if entry.is_file():
                    yield entry.name, entry.stat()
