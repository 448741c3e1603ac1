"""Records as tables, in memory and as Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from interfero.engine.cells import CellRecord, ImageRow
from interfero.errors import StorageError
from interfero.storage import write_atomic

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
}
_IMAGE: dict[str, pa.DataType] = {
    name: pa.string() if name in ("role", "name", "group") else pa.float64()
    for name in ImageRow.model_fields
}


def cells_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a cell: key, status, params, metrics by MLflow name, files, times, error.

    What a cell does not have is null. The columns of `PARAMS` and `METRICS` are always there, in
    that order and of those types.
    """
    params = _param_types(records)
    metrics = _names(METRICS, (r.metrics for r in records))
    types = {
        "key": pa.string(),
        "status": pa.string(),
        **params,
        **dict.fromkeys(metrics, pa.float64()),
        **_OUTCOME,
    }
    rows = [
        {
            "key": r.key,
            "status": r.status,
            **r.params,
            **r.metrics,
            **{name: getattr(r, name) for name in _OUTCOME},
        }
        for r in records
    ]
    return _table(types, rows)


def images_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a test image of a cell, in each role: key, params, scores before and after."""
    types = {"key": pa.string(), **_param_types(records), **_IMAGE}
    rows = [{"key": r.key, **r.params, **image.model_dump()} for r in records for image in r.images]
    return _table(types, rows)


def curves_table(records: Sequence[CellRecord]) -> pa.Table:
    """One row a point of a training curve: key, params, step, training metrics."""
    metrics = _names(CURVE_METRICS, (point for r in records for _, point in r.curve))
    types = {
        "key": pa.string(),
        **_param_types(records),
        "step": pa.int64(),
        **dict.fromkeys(metrics, pa.float64()),
    }
    rows = [
        {"key": r.key, **r.params, "step": step, **point}
        for r in records
        for step, point in r.curve
    ]
    return _table(types, rows)


def write_tables(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """Write the three tables, each whole or not at all.

    Returns:
        The paths of `cells.parquet`, `images.parquet` and `curves.parquet`.

    Raises:
        StorageError: the folder is not writable.
    """
    tables = {
        CELLS_FILE: cells_table(records),
        IMAGES_FILE: images_table(records),
        CURVES_FILE: curves_table(records),
    }
    for name, table in tables.items():
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        write_atomic(folder / name, sink.getvalue().to_pybytes())
    return [folder / name for name in tables]


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


def _table(types: Mapping[str, pa.DataType], rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    columns = {}
    for name, kind in types.items():
        values = [row.get(name) for row in rows]
        if pa.types.is_string(kind):
            values = [None if value is None else str(value) for value in values]
        columns[name] = pa.array(values, type=kind)
    return pa.table(columns, schema=pa.schema(list(types.items())))
