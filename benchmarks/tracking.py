"""What a tracking server costs a sweep: `python benchmarks/tracking.py --server http://HOST:PORT`.

The same sweep of cells that train nothing (see `scale.py`) tracks in a SQLite file and at the server, in
turns. At the end of each the runs are counted: exactly one a cell, all of them finished. The figure is the
driver's CPU time at the server over that with SQLite.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from benchmarks._planning import CELLS_A_SEED
from benchmarks._report import Target, finish, run
from benchmarks.scale import ROOT, check_runs, watch
from interfero.config import Config
from interfero.errors import InterferoError

TARGET = Target("<=", 1.5)
Figures = dict[str, float]


class TrackingBenchmark(Config):
    """Which server, and how many cells."""

    server: str
    """Address of the server, or of its database."""
    cells: int = 200
    """A multiple of 40."""
    rounds: int = Field(default=1, ge=1)
    """Sweeps with each."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def measure(num_cells: int, folder: Path, uri: str) -> Figures:
    """Run one sweep, check its runs, and give its figures; an empty `uri` is a database in the folder."""
    seen = watch(num_cells, folder, True, ROOT, uri)
    check_runs(num_cells, folder, uri)
    return {
        "seconds": seen.seconds,
        "first_to_last_record_s": seen.last_record - seen.first_record,
        "driver_cpu_s": seen.cpu_s,
        "driver_peak_mib": seen.peak_mib,
    }


def main() -> None:
    """Command line."""
    command = tyro.cli(TrackingBenchmark, description=__doc__)
    if command.cells % CELLS_A_SEED or command.cells <= 0:
        raise InterferoError(f"--cells must be a multiple of {CELLS_A_SEED}, got {command.cells}")
    console, found = Console(), dict[str, list[Figures]](sqlite=[], server=[])
    with tempfile.TemporaryDirectory(prefix="interfero-tracking-") as folder:
        for number in range(command.rounds):
            for name, uri in (("sqlite", ""), ("server", command.server)):
                place = Path(folder) / f"{name}-{number}"
                found[name].append(measure(command.cells, place, uri))
                console.print(name, found[name][-1])
    table = Table(caption=f"{command.cells} cells; medians of {command.rounds}")
    for column in ("", *found):
        table.add_column(column, justify="right")
    medians = {
        name: {figure: statistics.median(row[figure] for row in rows) for figure in rows[0]}
        for name, rows in found.items()
    }
    for figure in medians["sqlite"]:
        table.add_row(figure, *(f"{of[figure]:.1f}" for of in medians.values()))
    console.print(table)
    value = medians["server"]["driver_cpu_s"] / medians["sqlite"]["driver_cpu_s"]
    finish("tracking", value, "x", TARGET, TARGET.met(value), {"sweeps": found}, command.json_path)


if __name__ == "__main__":
    run(main)
