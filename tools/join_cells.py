"""Join the cells of several sweeps into one `cells.parquet`, each cell once.

    python tools/join_cells.py OUT STORAGE/SWEEP ... [--without-files] [--without-methods METHOD ...]

A study whose design is no grid (all lambdas at one image count, all image counts at one lambda) is run as
several sweeps in one storage; `interfero predict` reads their cells from one file. A sweep that was
interrupted gives what it has finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import pyarrow.parquet as pq

from interfero.analysis.records import cells_table, read_records
from interfero.errors import InterferoError
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore


def joined(
    tables: Iterable[Sequence[CellRecord]], *, without_files: bool, without: Collection[str] = ()
) -> list[CellRecord]:
    """Every finished cell once, by domain, lambda, image count, method and seed.

    Args:
        tables: Records of several sweeps; a cell that one took over from another is in both.
        without_files: Leave out the paths of adapters and pictures, which stay in the storage, and
            the timings.
        without: Methods to leave out: a later build made their cells anew, say.
    """
    finished = (r for records in tables for r in records if r.status == "finished")
    cells = {r.key: r for r in finished if r.params["method"] not in without}
    if without_files:
        nothing = {"adapter_file": None, "sample_file": None, "timing": None, "reused_from": None}
        known = {k: v for k, v in nothing.items() if k in CellRecord.model_fields}
        cells = {key: r.model_copy(update=known) for key, r in cells.items()}
    names = ["domain", "rd_lambda", "num_images", "method", "adapter_size", "learning_rate"]
    names += ["data_seed", "init_seed"]
    return sorted(cells.values(), key=lambda r: [r.params[n] for n in names])


def cells_of(path: Path) -> list[CellRecord]:
    """Records of a sweep's folder, finished or not, or of a `cells.parquet`.

    Raises:
        StorageError: there is neither.
    """
    if (path / "cells").is_dir():
        return list(SweepStore(path.parent, path.name).records().values())
    return read_records(path)


def main() -> None:
    """Read, join, write, and say how much there is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the file to write")
    parser.add_argument("sweeps", type=Path, nargs="+", help="folders of sweeps, or cells.parquet")
    parser.add_argument("--without-files", action="store_true", help="for shipping elsewhere")
    parser.add_argument("--without-methods", nargs="+", default=(), help="methods to leave out")
    asked = parser.parse_args()
    try:
        tables = [cells_of(path) for path in asked.sweeps]
    except InterferoError as error:
        sys.exit(str(error))
    records = joined(tables, without_files=asked.without_files, without=asked.without_methods)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(cells_table(records), asked.out, compression="zstd")
    size = asked.out.stat().st_size / 1024
    sys.stdout.write(f"{len(records)} cells of {len(tables)} sweeps, {size:.0f} KiB: {asked.out}\n")


if __name__ == "__main__":
    main()
