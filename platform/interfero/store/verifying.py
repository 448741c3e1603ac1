"""Reading again what is kept, and hashing it: damage is found before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from interfero.errors import InterferoError, StorageError
from interfero.records import CellRecord
from interfero.store.content import address_of
from interfero.store.files import inside, read_json
from interfero.store.inventory import Kept

Check = Callable[[Path], object]
"""Reads an entry; raises where it is damaged."""


def damaged(kept: Sequence[Kept], more: Mapping[str, Check]) -> Iterator[tuple[Path, str]]:
    """The entries that are damaged, each with what is wrong.

    Args:
        kept: What to read.
        more: Checks of kinds whose files other floors know, by kind.
    """
    checks: dict[str, Check] = {**CHECKS, **more}
    for entry in kept:
        try:
            if entry.kind in checks:
                checks[entry.kind](entry.path)
        except (InterferoError, ValidationError, OSError, ValueError, KeyError, TypeError) as error:
            yield entry.path, " ".join(str(error).split())


def check_sweep(folder: Path) -> None:
    """Read a sweep's settings, records, and the files that they name."""
    settings = read_json(folder / "sweep.json")
    if not isinstance(settings, dict) or "kind" not in settings:
        raise StorageError(f"{folder / 'sweep.json'} holds no settings of a sweep")
    for path in sorted((folder / "cells").glob("*.json")):
        record = CellRecord.model_validate(read_json(path))
        if record.key != path.stem:
            raise StorageError(f"{path} is the record of {record.key}")
        if record.adapter_file is not None:
            check_adapter(inside(folder, record.adapter_file))
        if record.sample_file is not None and not inside(folder, record.sample_file).is_file():
            raise StorageError(f"{record.sample_file}, which {path} names, is gone")


def check_adapter(path: Path) -> None:
    """Read an adapter, and hash it."""
    from interfero.store.tensors import load_tensors, state_hash  # torch takes seconds to import

    tensors, metadata = load_tensors(path)
    if metadata.get("adapter_hash") != state_hash(tensors.items()):
        raise StorageError(f"{path} does not match its own hash")


def check_product(folder: Path) -> None:
    """Read a product's records, model and shards."""
    from interfero.store.tensors import load_hashed

    for path in sorted(folder.glob("record*.json")):
        CellRecord.model_validate(read_json(path))
    for path in sorted(folder.glob("*.safetensors")):
        load_hashed(path)
    if any(folder.glob("*.parquet")):
        import pyarrow
        import pyarrow.parquet

        for path in sorted(folder.glob("*.parquet")):
            try:
                pyarrow.parquet.read_table(path)
            except pyarrow.ArrowException as error:
                raise StorageError(f"{path} is not a whole shard ({error})") from error


def check_content(path: Path) -> None:
    """Hash a file that is named by its hash."""
    if address_of(path) != path.name:
        raise StorageError(f"{path} hashes to {address_of(path)}")


def check_copy(folder: Path) -> None:
    """Hash this node's copies of a file."""
    for path in folder.iterdir():
        if not path.name.startswith(".") and address_of(path) != folder.name:
            raise StorageError(f"{path} hashes to {address_of(path)}")


CHECKS: dict[str, Check] = {
    "sweep": check_sweep,
    "training": check_adapter,
    "product": check_product,
    "setting": read_json,
    "content": check_content,
    "copy": check_copy,
}
