"""What nodes have made, by content: STORAGE/products/KEY, shared by all sweeps of a storage.

PRODUCT/record.json       written last: with it, and only with it, the node is done
PRODUCT/*.parquet         copies of images (see `interfero.domains.copies`)
PRODUCT/model.safetensors a trained restorer or segmentation model
PRODUCT/adapter.safetensors a training that all target domains share

A compressed copy of several parts has a record a part: record.0.json, record.1.json, ...
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from interfero.engine.node import Node, product_key
from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.storage import read_json, write_json

FOLDER = "products"


class Products:
    """The products of a storage."""

    def __init__(self, storage: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.folder = storage.resolve() / FOLDER

    def place(self, product: str) -> Path:
        """Folder of a node's product."""
        return self.folder / product

    def record(self, key: str) -> CellRecord | None:
        """The record of a node that ended, whatever it came to; a damaged one counts as none."""
        try:
            record = CellRecord.model_validate(read_json(self._file(key)))
        except (StorageError, ValidationError):
            return None
        return record if record.key == key else None

    def is_done(self, node: Node) -> bool:
        """Whether a node has finished, and what it made is still there: a deleted file is made anew."""
        record = self.record(node.key)
        if record is None or record.status != "finished":
            return False
        return all((self.place(node.product) / name).exists() for name in node.files)

    def write(self, record: CellRecord) -> None:
        """Keep a node's record."""
        write_json(self._file(record.key), record.model_dump(mode="json"))

    def _file(self, key: str) -> Path:
        found = product_key(key)
        if found is None:
            raise StorageError(f"{key!r} is no key of a product")
        folder, part = found
        return self.folder / folder / f"record{part}.json"
