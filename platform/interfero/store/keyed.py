"""Things that are named by what they were made from, in one folder: made once, whole or absent.

FOLDER/KEY.suffix       an entry that is a file, with its lock FOLDER/.KEY.lock
FOLDER/KEY/             an entry that is a folder, with its lock FOLDER/KEY/.lock; its owner writes last the
                        file that makes it whole
FOLDER/KE/KEY.suffix    where many thousands are expected

Whoever writes an entry writes it under another name, syncs it to the disk and renames it. An entry that
is damaged counts as absent. What is under its key never changes its meaning, so two processes that write
it at once do no harm; where making it costs more than waiting, `fetch` lets one of them make it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from interfero.errors import InterferoError, StorageError
from interfero.store.locks import LOCK_NAME, locked

T = TypeVar("T")

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_DAMAGE = (InterferoError, KeyError, TypeError, ValueError, OSError)
"""What reading a file of another form, or one that was cut short, comes to."""


@dataclass(frozen=True)
class KeyedStore:
    """The entries of one kind, in one folder; many processes may use it at once."""

    folder: Path
    """Made with the first entry."""
    suffix: str = ""
    """Suffix of an entry's file; empty where entries are folders."""
    spread: bool = False
    """Whether entries are in folders named by the first two characters of their keys."""
    remedy: str = "choose another --storage"
    """What a user can do if the folder cannot be written."""
    lock_name: str = LOCK_NAME
    """Name of the lock in the folder of an entry."""

    def path(self, key: str) -> Path:
        """Path of an entry, whether it exists or not.

        Raises:
            StorageError: the key could name something elsewhere.
        """
        if not _KEY.fullmatch(key):
            raise StorageError(
                f"{key!r} is no key of an entry in {self.folder}: keys are letters, digits, '.', '_' and "
                "'-'; whatever names it was damaged"
            )
        return self._parent(key) / f"{key}{self.suffix}"

    def list_keys(self) -> Iterator[str]:
        """Keys of the entries that are there."""
        parents = sorted(self.folder.glob("??")) if self.spread else [self.folder]
        for parent in parents:
            for path in sorted(parent.iterdir()) if parent.is_dir() else ():
                if path.name.endswith(self.suffix) and not path.name.startswith("."):
                    yield path.name.removesuffix(self.suffix)

    def read(self, key: str, parse: Callable[[Path], T]) -> T | None:
        """What an entry holds; None where there is none, or a damaged one.

        Args:
            key: The entry's.
            parse: Reads the entry at a path, and raises `InterferoError`, `OSError`, `KeyError`, `TypeError`
                or `ValueError` where it is damaged.
        """
        path = self.path(key)
        if not path.exists():
            return None
        try:
            return parse(path)
        except _DAMAGE:
            return None

    def fetch(self, key: str, parse: Callable[[Path], T], make: Callable[[Path], object]) -> T:
        """What an entry holds; one process makes it if it is not there or damaged, others wait.

        Args:
            key: The entry's.
            parse: See `read`.
            make: Writes the entry to a path, whole or not at all, as `write_atomic` does.

        Raises:
            StorageError: the folder cannot be written.
        """
        found = self.read(key, parse)
        if found is not None:
            return found
        with self.lock(key):
            found = self.read(key, parse)
            if found is not None:
                return found
            path = self.path(key)
            make(path)
            return parse(path)

    def lock(self, key: str) -> AbstractContextManager[None]:
        """Hold an entry for writing, waiting for whoever does; released by the system if this process dies.

        Raises:
            StorageError: the folder cannot be written.
        """
        return locked(self.lock_path(key), self.remedy)

    def lock_path(self, key: str) -> Path:
        """The file whose lock it is."""
        path = self.path(key)
        return path.with_name(f".{key}{LOCK_NAME}") if self.suffix else path / self.lock_name

    def _parent(self, key: str) -> Path:
        return self.folder / key[:2] if self.spread else self.folder
