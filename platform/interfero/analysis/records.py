"""Records as tables, in memory and as Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interfero.analysis.about import About, with_about
from interfero.analysis.cells import GROUP, NAME, ROLE, image_arrays
from interfero.errors import StorageError
from interfero.records import NUMBERS, CellRecord, ImageRow, Timing
from interfero.store.files import write_atomic

CELLS_FILE = "cells.parquet"
IMAGES_FILE = "images.parquet"
CURVES_FILE = "curves.parquet"

PARAMS: dict[str, pa.DataType] = {
    "codec": pa.string(),
    "domain": pa.string(),
    "rd_lambda": pa.float64(),
    "num_images": pa.int64(),
    "method": pa.string(),
    "adapter_size": pa.int64(),
    "learning_rate": pa.float64(),
    "data_seed": pa.int64(),
    "init_seed": pa.int64(),
    "num_steps": pa.int64(),
}
"""Columns every table starts with, after the key; further params follow by name."""

METRICS: tuple[str, ...] = (
    "val/rd_gain_percent",
    "val/forgetting_percent",
    "val/forgetting_unrouted_percent",
    "target/bpp",
    "target/psnr_db",
    "target/rd_loss",
    "target/bpp_before",
    "target/psnr_db_before",
    "target/rd_loss_before",
    "target/rd_gain",
    "target/rd_gain_percent",
    "target/rd_gain_switched_percent",
    "source/rd_loss_before",
    "source/forgetting",
    "source/forgetting_percent",
    "source/forgetting_unrouted",
    "source/forgetting_unrouted_percent",
    "bitstream/old_symbols_exact",
    "bitstream/old_pixels_exact",
    "bitstream/old_psnr_drop_db",
    "bitstream/rate_error_percent",
    "source_mode/bytes_exact",
    "source_mode/pixels_exact",
    "adapter/num_params",
    "adapter_fraction",
    "train/steps_per_second",
)
"""MLflow's names in the order of the columns; further metrics follow by name."""

CURVE_METRICS: tuple[str, ...] = ("train/bpp", "train/mse_255", "train/rd_loss", "train/loss")

_OUTCOME: dict[str, pa.DataType] = {
    "adapter_file": pa.string(),
    "sample_file": pa.string(),
    "seconds": pa.float64(),
    "started_at": pa.float64(),
    "error": pa.string(),
    "reused_from": pa.string(),
    "stopped_at": pa.int64(),
    "resumed_step": pa.int64(),
    "fused_members": pa.int64(),
}
_TIMING = "timing"
"""Column of JSON: `CellRecord.timing` as it is."""
PROVENANCE: tuple[str, ...] = (
    "codec_hash",
    "table_hash",
    "domain_hash",
    "source_domain",
    "source_domain_hash",
    "loop_hash",
    "versions",
    "loop",
)
"""Names of `Cell.provenance`; `loop` is JSON."""

_IMAGE: dict[str, pa.DataType] = {
    name: pa.string() if name in ("role", "name", "group") else pa.float64()
    for name in ImageRow.model_fields
}
_IMAGES = pa.list_(pa.struct(list(_IMAGE.items())))

CELLS_AT_ONCE = 250
"""Cells that are rows, or objects, at once while a table is written or read: a row group of a file."""

Types = Mapping[str, pa.DataType]
"""Of a table's columns, in their order."""
_TypesOf = Callable[[Sequence[CellRecord]], Types]
_Part = Callable[[Sequence[CellRecord], Types], pa.Table]


def cells_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a cell: key, status, params, metrics by MLflow name, outcome, provenance, images.

    What a cell does not have is null. The columns of `PARAMS` and `METRICS` are always there, in
    that order and of those types. The last column, `images`, holds the rows of `images_table` as a
    list, so that this one file is all that a later analysis needs.
    """
    return _cells_part(records, _cells_types(records))


def images_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a test image of a cell, in each role: key, params, scores before and after."""
    return _images_part(records, _images_types(records))


def curves_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a point of a training curve: key, params, step, training metrics."""
    return _curves_part(records, _curves_types(records))


def _cells_types(records: Sequence[CellRecord]) -> Types:
    return {
        "key": pa.string(),
        "status": pa.string(),
        **_param_types(records),
        **dict.fromkeys(_names(METRICS, (r.metrics for r in records)), pa.float64()),
        **_OUTCOME,
        _TIMING: pa.string(),
        **dict.fromkeys(PROVENANCE, pa.string()),
        "images": _IMAGES,
    }


def _cells_part(records: Sequence[CellRecord], types: Types) -> pa.Table:
    rows = [
        {
            "key": r.key,
            "status": r.status,
            **r.params,
            **r.metrics,
            **{name: getattr(r, name) for name in _OUTCOME},
            _TIMING: r.timing.model_dump_json() if r.timing else None,
            **{name: r.provenance.get(name) for name in PROVENANCE},
        }
        for r in records
    ]
    table = _table({name: kind for name, kind in types.items() if name != "images"}, rows)
    each = pa.StructArray.from_arrays(list(_image_columns(records).values()), list(_IMAGE))
    ends = np.cumsum([0, *(len(r.images) for r in records)], dtype=np.int32)
    return table.append_column("images", pa.ListArray.from_arrays(ends, each).cast(_IMAGES))


def _images_types(records: Sequence[CellRecord]) -> Types:
    return {"key": pa.string(), **_param_types(records), **_IMAGE}


def _images_part(records: Sequence[CellRecord], types: Types) -> pa.Table:
    counts = [len(r.images) for r in records]
    return _with_params(records, types, pa.table(_image_columns(records)), counts)


def _image_columns(records: Sequence[CellRecord]) -> dict[str, pa.Array]:
    """The test images of all cells in a row, by the names of `ImageRow`."""
    found = [image_arrays(record) for record in records]
    words = [word for own, _ in found for word in own]
    numbers = np.concatenate([np.empty((0, len(NUMBERS))), *(own for _, own in found)])
    texts = (("role", ROLE), ("name", NAME), ("group", GROUP))
    columns: dict[str, Any] = {name: [word[i] for word in words] for name, i in texts}
    columns |= {name: np.ascontiguousarray(numbers[:, i]) for i, name in enumerate(NUMBERS)}
    # A number that a record lacks is NaN here and null there.
    return {name: pa.array(columns[name], kind, from_pandas=True) for name, kind in _IMAGE.items()}


def _curves_types(records: Sequence[CellRecord]) -> Types:
    metrics = _names(CURVE_METRICS, (point for r in records for _, point in r.curve))
    return {
        "key": pa.string(),
        **_param_types(records),
        "step": pa.int64(),
        **dict.fromkeys(metrics, pa.float64()),
    }


def _curves_part(records: Sequence[CellRecord], types: Types) -> pa.Table:
    points = [{"step": step, **point} for r in records for step, point in r.curve]
    names = list(types)
    rows = _table({name: types[name] for name in names[names.index("step") :]}, points)
    return _with_params(records, types, rows, [len(r.curve) for r in records])


def _with_params(
    records: Sequence[CellRecord], types: Types, rows: pa.Table, counts: Sequence[int]
) -> pa.Table:
    """Rows, so many of each cell, behind its key and params."""
    own = {name: kind for name, kind in types.items() if name not in rows.column_names}
    cells = _table(own, [{"key": r.key, **r.params} for r in records])
    whole = cells.take(np.repeat(np.arange(len(records)), counts))
    columns = [(whole if name in own else rows)[name] for name in types]
    return pa.table(columns, schema=pa.schema(list(types.items())))


_TABLES: dict[str, tuple[_TypesOf, _Part]] = {
    CELLS_FILE: (_cells_types, _cells_part),
    IMAGES_FILE: (_images_types, _images_part),
    CURVES_FILE: (_curves_types, _curves_part),
}


def write_tables(
    records: Sequence[CellRecord], folder: Path, about: About | None = None
) -> list[Path]:
    """Write the three tables, each whole or not at all.

    Args:
        records: All cells.
        folder: Made if it is not there.
        about: Where they come from; `cells.parquet` then says so.

    Returns:
        The paths of `cells.parquet`, `images.parquet` and `curves.parquet`.

    Raises:
        StorageError: the folder is not writable.
    """
    for name, (types_of, part) in _TABLES.items():
        types = types_of(records)
        schema = pa.schema(list(types.items()))
        if name == CELLS_FILE:
            schema = with_about(schema.empty_table(), about).schema

        def write(
            file: IO[bytes], types: Types = types, schema: pa.Schema = schema, part: _Part = part
        ) -> None:
            with pq.ParquetWriter(file, schema) as writer:
                for start in range(0, len(records), CELLS_AT_ONCE):
                    rows = part(records[start : start + CELLS_AT_ONCE], types)
                    writer.write_table(rows.replace_schema_metadata(schema.metadata))

        write_atomic(folder / name, write)
    return [folder / name for name in _TABLES]


def read_cells(path: Path) -> pa.Table:
    """Read a `cells.parquet`.

    Raises:
        StorageError: the file is missing or damaged, or holds no cells.
    """
    try:
        table = pq.read_table(path, partitioning=None)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"{path} is not a whole Parquet file ({error}): export it again from the sweep"
        ) from error
    missing = [name for name in ("key", "status", *PARAMS) if name not in table.column_names]
    if missing:
        raise StorageError(
            f"{path} holds no cells: it has no column {missing[0]!r}; give the {CELLS_FILE} that a "
            "sweep wrote"
        )
    return table


def read_records(path: Path) -> list[CellRecord]:
    """The records of a `cells.parquet`, whole but for their training curves.

    Args:
        path: The file, or the folder that holds it. A file of an earlier version has no per-image
            rows: they are taken from the `images.parquet` beside it, if there is one.

    Raises:
        StorageError: the file is missing, damaged, no table of cells, or holds impossible values.
    """
    path = path / CELLS_FILE if path.is_dir() else path
    table = read_cells(path)
    try:
        for name, kind in {"key": pa.string(), "status": pa.string(), **PARAMS}.items():
            index = table.column_names.index(name)
            table = table.set_column(index, name, table[name].cast(kind))
    except pa.ArrowException as error:
        raise StorageError(f"{path}: column {name!r} is no {kind} ({error})") from error
    images = None if "images" in table.column_names else _images_beside(path)
    records = [
        _record(row, images, path)
        for batch in table.to_batches(max_chunksize=CELLS_AT_ONCE)
        for row in batch.to_pylist()
    ]
    keys = {r.key for r in records}
    if len(keys) < len(records):
        raise StorageError(
            f"{path} holds {len(records) - len(keys)} cells twice: tables of several sweeps must "
            "be joined without repeating a key"
        )
    return records


def _record(
    row: Mapping[str, Any], images: Mapping[str, list[dict[str, Any]]] | None, path: Path
) -> CellRecord:
    """A row without what is null in it."""
    known = {name: value for name, value in row.items() if value is not None}
    others = {"key", "status", "images", _TIMING, *_OUTCOME, *PROVENANCE}
    metrics = {name for name in known if name in METRICS or "/" in name}
    rows: Any = known.get("images", ()) if images is None else images.get(row["key"], ())
    try:
        return CellRecord(
            key=known["key"],
            status=known["status"],
            params={name: known[name] for name in known.keys() - others - metrics},
            metrics={name: known[name] for name in known if name in metrics},
            provenance={name: known[name] for name in PROVENANCE if name in known},
            images=rows,
            timing=Timing.model_validate_json(known[_TIMING]) if _TIMING in known else None,
            **{name: known[name] for name in _OUTCOME if name in known},
        )
    except (KeyError, ValueError) as error:
        raise StorageError(
            f"{path}: cell {row['key']!r} holds what no sweep writes: {error}"
        ) from error


def _images_beside(path: Path) -> dict[str, list[dict[str, Any]]] | None:
    """Rows by cell of the `images.parquet` of the same export; None if there is no such file."""
    beside = path.with_name(IMAGES_FILE)
    if not beside.is_file():
        return None
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        for row in pq.read_table(beside, partitioning=None).to_pylist():
            own = {name: row[name] for name in _IMAGE if name in row}
            rows.setdefault(row["key"], []).append(own)
    except (OSError, KeyError, pa.ArrowException) as error:
        raise StorageError(
            f"{beside} is no whole table of images ({error}): export it again, or move it away"
        ) from error
    return rows


def _names(known: Sequence[str], found: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """Known names in their order, then the others by name."""
    others = {name for mapping in found for name in mapping} - set(known)
    return (*known, *sorted(others))


def _param_types(records: Sequence[CellRecord]) -> dict[str, pa.DataType]:
    names = _names(tuple(PARAMS), (r.params for r in records))
    return {name: PARAMS.get(name) or _type_of(records, name) for name in names}


def _type_of(records: Sequence[CellRecord], name: str) -> pa.DataType:
    """The narrowest type that holds every value of a param this module does not know."""
    kinds = {type(r.params[name]) for r in records if name in r.params}
    if kinds == {int}:
        return pa.int64()
    return pa.float64() if kinds <= {int, float} else pa.string()


def _table(types: Types, rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = []
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        if pa.types.is_string(kind):
            values = [None if value is None else str(value) for value in values]
        columns.append(pa.array(values, type=kind))
    return pa.table(columns, schema=pa.schema(list(types.items())))
