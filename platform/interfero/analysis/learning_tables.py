"""Tables of a learning sweep: for the terminal, and as Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from interfero.analysis.learning import Summary
from interfero.engine.cells import CellRecord
from interfero.storage import write_atomic


def learning_table(summary: Summary) -> Table:
    """Mean IoU of every line over its seeds."""
    table = Table(title="mean IoU on test images, lowest and highest seed")
    for name in ("domain", "codec", "bpp", "reached", "trained, tested", "mIoU", "seeds"):
        table.add_column(name, justify="right" if name in ("bpp", "reached", "seeds") else "left")
    for s in summary.scores:
        low, high = s.span
        table.add_row(
            s.line.domain,
            s.line.codec,
            "" if s.line.codec == "original" else f"{s.line.rate_bpp:g}",
            "" if s.bpp is None else f"{s.bpp:.3f}",
            s.line.label,
            f"{s.mean:.3f} ({low:.3f} to {high:.3f})",
            str(len(s.values)),
        )
    return table


def write_learning_tables(
    records: Sequence[CellRecord], summary: Summary, folder: Path
) -> list[Path]:
    """Write `cells.parquet`, `images.parquet`, `curves.parquet` and `decomposition.parquet`.

    Raises:
        StorageError: the folder is not writable.
    """
    cells = [
        {"key": r.key, "status": r.status, "seconds": r.seconds, "error": r.error, **_texts(r),
         **r.metrics}
        for r in records
    ]  # fmt: skip
    images = [{"key": r.key, **image.model_dump()} for r in records for image in r.segmented]
    curves = [{"key": r.key, "step": step, **values} for r in records for step, values in r.curve]
    differences = [
        {**asdict(d.line), "name": d.name, "value": d.value, "low": d.low, "high": d.high,
         "seeds": d.seeds, "images": d.images, "refusal": d.refusal}
        for d in summary.differences
    ]  # fmt: skip
    rows = {
        "cells.parquet": cells, "images.parquet": images, "curves.parquet": curves,
        "decomposition.parquet": differences,
    }  # fmt: skip
    for name, found in rows.items():
        sink = pa.BufferOutputStream()
        pq.write_table(_table(found), sink)
        write_atomic(folder / name, sink.getvalue().to_pybytes())
    return [folder / name for name in rows]


def _texts(record: CellRecord) -> dict[str, Any]:
    """Params with one type a column: the rate of originals is a word."""
    return {**record.params, "rate_bpp": str(record.params["rate_bpp"])}


def _table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    names = list(dict.fromkeys(name for row in rows for name in row))
    return pa.table({name: [row.get(name) for row in rows] for name in names})
