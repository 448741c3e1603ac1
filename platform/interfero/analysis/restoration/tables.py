"""Tables of a restoration sweep as Parquet."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from interfero.analysis.about import About, with_about
from interfero.analysis.restoration.losses import Summary
from interfero.errors import StorageError
from interfero.records import CellRecord, SegmentedImage
from interfero.store.files import write_atomic

CELLS_FILE, IMAGES_FILE = "cells.parquet", "images.parquet"
PROVENANCE = "provenance"
_OWN = ("key", "status", "seconds", "error", "sample_file")


def write_restoration_tables(
    records: Sequence[CellRecord], summary: Summary, folder: Path, about: About | None = None
) -> list[Path]:
    """Write `cells.parquet`, `images.parquet`, `curves.parquet` and `decomposition.parquet`.

    The first two say all that a report needs (see `read_restoration_records`), and where they come from.

    Raises:
        StorageError: the folder is not writable.
    """
    cells = [
        {**{name: getattr(r, name) for name in _OWN}, **r.params, **r.metrics,
         # One type a column: the rate of originals is a word.
         "rate_bpp": str(r.params["rate_bpp"]),
         PROVENANCE: json.dumps(r.provenance, sort_keys=True)}
        for r in records
    ]  # fmt: skip
    images = [{"key": r.key, **image.model_dump()} for r in records for image in r.segmented]
    curves = [{"key": r.key, "step": step, **values} for r in records for step, values in r.curve]
    differences = [
        {**asdict(d.line), "name": d.name, "value": d.value, "low": d.low, "high": d.high,
         "seeds": d.drawn.seeds, "seeds_drawn": d.drawn.by, "models": d.drawn.models,
         "images": d.drawn.images, "pictures": d.drawn.pictures, "refusal": d.refusal}
        for d in summary.differences
    ]  # fmt: skip
    rows = {
        CELLS_FILE: cells, IMAGES_FILE: images, "curves.parquet": curves,
        "decomposition.parquet": differences,
    }  # fmt: skip
    for name, found in rows.items():
        sink = pa.BufferOutputStream()
        pq.write_table(with_about(_table(found), about), sink)
        write_atomic(folder / name, sink.getvalue().to_pybytes())
    return [folder / name for name in rows]


def is_restoration_table(path: Path) -> bool:
    """Whether a file is a table of cells of a restoration sweep; what cannot be read is none."""
    try:
        return "configuration" in pq.read_schema(path).names
    except (OSError, pa.ArrowException):
        return False


def read_restoration_records(cells: Path) -> list[CellRecord]:
    """Cells of a restoration sweep, from `cells.parquet` and `images.parquet` beside it.

    Raises:
        StorageError: a table is missing, damaged, or of another kind.
    """
    path = cells.with_name(IMAGES_FILE)
    try:
        images: dict[str, list[SegmentedImage]] = defaultdict(list)
        for row in pq.read_table(path).to_pylist():
            images[row.pop("key")].append(SegmentedImage.model_validate(row))
        path = cells
        return [_record(row, tuple(images[row["key"]])) for row in pq.read_table(cells).to_pylist()]
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise StorageError(
            f"{path} cannot be read as a table of a restoration sweep ({error}): {CELLS_FILE} needs "
            f"{IMAGES_FILE} beside it, both as the sweep wrote them"
        ) from error


def _record(row: dict[str, Any], images: tuple[SegmentedImage, ...]) -> CellRecord:
    rest = {n: v for n, v in row.items() if n not in (*_OWN, PROVENANCE) and v is not None}
    params = {n: v for n, v in rest.items() if "/" not in n}
    with suppress(ValueError):  # a word: original, several
        params["rate_bpp"] = float(params["rate_bpp"])
    return CellRecord(
        **{name: row[name] for name in _OWN},
        params=params,
        metrics={n: v for n, v in rest.items() if "/" in n},
        segmented=images,
        provenance=json.loads(row.get(PROVENANCE) or "{}"),
    )


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})
