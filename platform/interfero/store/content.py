"""Files named by the hash of their bytes: how images and codecs reach the nodes of a cluster.

The driver puts a file into the storage once. Each node copies it to a disk of its own once, checks that
it is what its name says, and all of the node's processes read that copy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interfero.errors import StorageError
from interfero.store.files import first_remedy, remove_leftovers, settle, temporary_file
from interfero.store.keyed import KeyedStore
from interfero.store.keys import new_digest

CACHE_VARIABLE = "INTERFERO_CACHE"
"""Environment variable: the folder for what can be made or fetched again, on a disk of this machine."""
FOLDER = "content"
"""Folder of a storage, and of a node's cache."""
_ADDRESS = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
_BLOCK_BYTES = 2**20
_SHARED = (
    ": --storage must be one folder that every node sees at the same path (`interfero doctor --address auto` "
    "checks it)"
)
_READ_ONLY = 0o444
"""All users of a node share a file, and nobody has a reason to change it."""


def cache_root() -> Path:
    """Where this node keeps what it can make or fetch again; it may be removed when nothing runs."""
    given = os.environ.get(CACHE_VARIABLE, "")
    if given:
        return Path(given).expanduser().resolve()
    base = os.environ.get("XDG_CACHE_HOME", "") or "~/.cache"
    return Path(base).expanduser().resolve() / "interfero"


def cached(folder: str, suffix: str = "") -> KeyedStore:
    """The entries of one kind in this node's cache."""
    return KeyedStore(
        cache_root() / folder, suffix, remedy=f"set {CACHE_VARIABLE} to a folder with room"
    )


@dataclass(frozen=True)
class ContentStore:
    """The files that a storage holds by content."""

    storage: Path

    def add(self, blocks: Iterable[bytes | memoryview]) -> str:
        """Keep a file, given block by block; returns its address, the hash of its bytes.

        A file that is there already is replaced by the same: one that was damaged is whole again.

        Raises:
            StorageError: the disk is full or the place is not writable.
        """
        folder, digest = self.storage / FOLDER, new_digest()
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            with temporary_file(folder, "new") as file:
                for block in blocks:
                    digest.update(block)
                    file.write(block)
                settle(file, folder / digest.hexdigest(), _READ_ONLY)
        return digest.hexdigest()

    def fetch(self, address: str, name: str) -> Path:
        """This node's copy of a file, under the name that its readers want; made if there is none.

        Raises:
            StorageError: the address or name is none, the file is not in the storage or damaged there,
                or this node's disk is full.
        """
        if not _ADDRESS.fullmatch(address) or not _NAME.fullmatch(name):
            raise StorageError(
                f"content is fetched by 32 hexadecimal digits and a plain file name, got {address!r} "
                f"and {name!r}: whatever names them was damaged; start the sweep again with --resume"
            )
        source, copies = self.storage / FOLDER / address, cached(FOLDER)
        copy = copies.path(address) / name
        size = _size(source)
        # One process of a node copies, the others wait and find it done.
        with copies.lock(address), _writing(copy.parent, copies.remedy):
            if not copy.exists() or copy.stat().st_size != size:
                remove_leftovers(copy.parent, older_than_s=0)
                _copy_verified(source, copy, address)
        return copy


def address_of(path: Path) -> str:
    """Hash of a file's bytes.

    Raises:
        StorageError: it cannot be read.
    """
    digest = new_digest()
    for block in _read(path, remedy=""):
        digest.update(block)
    return digest.hexdigest()


def _copy_verified(source: Path, copy: Path, address: str) -> None:
    digest = new_digest()
    with temporary_file(copy.parent, copy.name) as file:
        for block in _read(source):
            digest.update(block)
            file.write(block)
        if digest.hexdigest() != address:
            raise StorageError(
                f"{source} is damaged: its bytes hash to {digest.hexdigest()}; start the sweep again "
                "with --resume, which writes it anew"
            )
        settle(file, copy, _READ_ONLY)


def _read(path: Path, remedy: str = _SHARED) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}){remedy}") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror}){_SHARED}") from error


@contextmanager
def _writing(folder: Path, remedy: str = "choose another --storage") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{folder} cannot be written ({error.strerror}): {first_remedy(error)} or {remedy}, then "
            "continue with --resume"
        ) from error
