"""`interfero report`."""

from __future__ import annotations

import sys
from pathlib import Path

from interfero.cli.report.wanted import Wanted
from interfero.option_help import Said


def report(
    experiment: Said[str | None] = None,
    sweep: Said[tuple[str, ...]] = (),
    cells: Said[tuple[Path, ...]] = (),
    where: Said[tuple[str, ...]] = (),
    out: Said[Path | None] = None,
) -> None:
    """Write the report of a sweep: report.html, which needs nothing else, and its figures.

    Args:
        experiment: A sweep's kind, such as adapter-capacity, on the tracking server
            (MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder). No default: give this or --cells.
        sweep: Sweeps of that experiment, by name; the default is the newest. Of several, a cell that they
            share counts once.
        cells: Instead: the `cells.parquet` of a sweep, or the folder that holds it; may be several. No
            default: give this or --experiment.
        where: Only cells with these values of parameters, as NAME=VALUE or NAME=VALUE,VALUE, such as
            method=finetune,lora; a cell has to meet each. The default is all cells.
        out: Folder to write into; the default is report-NAME in this folder.
    """
    # Libraries take seconds to import: what does not exist is refused before.
    wanted = Wanted(experiment, sweep, cells, out, where)
    wanted.check()
    from interfero.cli.report.make import make_report

    sys.stdout.write(make_report(wanted))
