"""The line that shows how a sweep goes."""

import io

from rich.console import Console

from interfero.engine.console import SweepProgress


def test_a_stopped_cell_is_counted_apart_and_is_never_the_best(cell, record):
    progress = SweepProgress(Console(file=io.StringIO()))
    progress.expect(3)
    progress.add(record(cell()))
    early = {"val/rd_gain_percent": 99.0}
    progress.add(record(cell(learning_rate=2e-3), status="stopped", stopped_at=3, metrics=early))
    line = progress.line()
    assert line.startswith("2/3 cells, 0 running, 1 stopped early")
    assert "best val gain +1.0 %" in line
