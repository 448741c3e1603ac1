"""`interfero report`."""

from __future__ import annotations

import sys
from pathlib import Path

from interfero.cli.options import table_of


def report(
    experiment: str | None = None,
    sweep: tuple[str, ...] = (),
    cells: tuple[Path, ...] = (),
    out: Path | None = None,
) -> None:
    """Write the report of a sweep: report.html, which needs nothing else, and its figures.

    Args:
        experiment: A sweep's kind, such as adapter-capacity, on the tracking server
            (MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder).
        sweep: Sweeps of that experiment, by name; the newest if left out. Of several, a cell that
            they share counts once.
        cells: Instead: the `cells.parquet` of a sweep, or the folder that holds it; may be several.
        out: Folder to write into; report-NAME in this folder if left out.
    """
    # Libraries take seconds to import: what does not exist is refused before.
    for path in cells:
        table_of(path)
    from interfero.cli.report.make import Wanted, make_report

    sys.stdout.write(make_report(Wanted(experiment, sweep, cells, out)))
