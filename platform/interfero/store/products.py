"""What steps have made, by content: STORAGE/products/KEY, shared by all sweeps of a storage.

PRODUCT/record.json       written last: with it, and only with it, the step is done
PRODUCT/*.parquet         copies of images (see `interfero.domains.copies`)
PRODUCT/model.safetensors a trained restorer or segmentation model

A compressed copy of several parts has a record a part: record.0.json, record.1.json, ...
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.store.files import read_json, write_json
from interfero.store.keyed import KeyedStore

FOLDER = "products"
MODEL_FILE = "model.safetensors"
SETTINGS = "settings"
"""Folder of the codec settings that copies were made with, by content."""
logger = logging.getLogger(__name__)
_STEP_KEY = re.compile(r"([a-z]+-[0-9a-f]+)(\.\d+)?")


class Products:
    """The products of a storage."""

    def __init__(self, storage: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.folder = storage.resolve() / FOLDER
        self._entries = KeyedStore(self.folder)

    def place(self, step_key: str) -> Path:
        """Folder of a step's product."""
        return self._entries.path(step_key)

    def list_keys(self) -> list[str]:
        """Keys of the steps that have a folder, whole or not."""
        return [key for key in self._entries.list_keys() if is_product_key(key)]

    def record(self, key: str) -> CellRecord | None:
        """The record of a step or part that ended, whatever it came to; a damaged one counts as none."""
        return read_record(self._file(key), key)

    def is_done(self, key: str, files: Iterable[str]) -> bool:
        """Whether a step has finished, and what it made is still there: who deletes a file gets it anew.

        Args:
            key: Of the step, or of a part of it.
            files: Names of what it leaves in its folder besides its record.
        """
        record = self.record(key)
        if record is None or record.status != "finished":
            return False
        place = self.place(product_of(key))
        return all((place / name).exists() for name in files)

    def write(self, record: CellRecord) -> None:
        """Keep a step's record."""
        write_json(self._file(record.key), record.model_dump(mode="json"))

    def settings(self) -> Path:
        """Where the settings of codecs are kept, for all copies."""
        return self.folder / SETTINGS

    def _file(self, key: str) -> Path:
        match = _STEP_KEY.fullmatch(key)
        if match is None:
            raise StorageError(f"{key!r} is no key of a step")
        return self.place(match.group(1)) / f"record{match.group(2) or ''}.json"


def read_record(path: Path, key: str) -> CellRecord | None:
    """The record in a file; None without the file, and of a damaged one, which is named once a process.

    Args:
        path: The file.
        key: That it must be of.
    """
    if not path.exists():
        return None
    try:
        record = CellRecord.model_validate(read_json(path))
    except (StorageError, ValidationError) as error:
        _say_damaged(path, str(error.__cause__ or error).splitlines()[0])
        return None
    if record.key != key:
        _say_damaged(path, f"it is of {record.key}")
        return None
    return record


@cache
def _say_damaged(path: Path, what: str) -> None:
    logger.warning(
        "the record %s cannot be used (%s): it counts as not there, and a sweep makes it again",
        path,
        what,
    )


def is_product_key(key: str) -> bool:
    """Whether a key is that of a step, and not of a cell."""
    return _STEP_KEY.fullmatch(key) is not None


def product_of(key: str) -> str:
    """The key of the step that a key is of, all or a part; a cell's key is its own."""
    match = _STEP_KEY.fullmatch(key)
    return match.group(1) if match else key
