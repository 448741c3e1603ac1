"""`interfero map`: the cells of a map for others to use."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from interfero.cli.options import run_group
from interfero.option_help import Said


def map_group() -> None:
    """Export a map of cells as a tabular benchmark (see `interfero map --help`)."""
    # Here only for the list of commands; `main` passes its arguments to `run_map`.


def export_command(
    out: Path,
    cells: Said[Path | None] = None,
    budget: Said[Literal["num_steps", "num_images"] | None] = None,
) -> None:
    """Write the cells as a tabular benchmark: configuration space, evaluations by budget and seed, metadata.

    Args:
        out: Folder for the files, in the layout that Syne Tune's BlackboxOffline reads.
        cells: The map: `cells.parquet` of a sweep, or the folder that contains it; the default is the map
            that comes with the project.
        budget: What an evaluation costs; the default is steps if they vary, else training images.
    """
    from interfero.analysis.benchmark_table import write_benchmark
    from interfero.analysis.records import read_records
    from interfero.cli.predict.answer import map_path

    paths = write_benchmark(read_records(map_path(cells)), out, budget)
    sys.stdout.write(f"{len(paths) - 3} tasks in {out}\n")


def run_map(arguments: Sequence[str]) -> None:
    """Run `interfero map ...`; exits with 2 on a user's error."""
    run_group("map", {"export": export_command}, arguments, "Use the cells of a map elsewhere.")
