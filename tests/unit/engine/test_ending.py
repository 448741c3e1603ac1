"""The last lines of a sweep."""

import io
import logging

from rich.console import Console

from interfero.engine.console import SweepProgress
from interfero.engine.ending import _print_last_lines
from interfero.engine.sweep_run import SweepRun
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


def last_lines(run):
    text = io.StringIO()
    _print_last_lines(Console(file=text, width=100), run, "the report: report.html")
    return text.getvalue()


def test_what_the_tracking_server_refused_is_said_at_the_end(
    cell, record, tmp_path, tracking_uri, caplog
):
    caplog.set_level(logging.CRITICAL)
    store = SweepStore(tmp_path, "one")

    def driver():
        tracker = Tracker.open(
            tracking_uri, "kind", "one", tags={}, params={},
            outbox=store.folder / "outbox.jsonl",
        )  # fmt: skip
        return SweepRun(store, tracker, SweepProgress(Console(quiet=True)))

    run = driver()
    run.on_record(record(cell()))
    assert "refused" not in last_lines(run)
    run.on_record(record(cell(learning_rate=2e-3), metrics={"bad|name": 1.0}))
    text = last_lines(run)
    assert "the tracking server refused 1 writes" in text
    assert f"{store.folder}/outbox.jsonl.refused says why" in text
    assert "start another --name" in text
    run.tracker.close("KILLED")
    # A sweep that goes on has not got them into MLflow either.
    assert "refused 1 writes" in last_lines(driver())
