"""The last lines of a sweep."""

import logging
import shlex
from pathlib import Path

import pytest
from mlflow.tracking.client import MlflowClient
from rich.console import Console

from interfero.engine.console import SweepProgress
from interfero.engine.ending import _ui_command, _where_lines, cost_line
from interfero.engine.opening import begun
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep_run import SweepRun
from interfero.redaction import masked
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


def last_lines(run):
    return "\n".join(_where_lines(run, Path("report.html")))


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


def test_the_end_says_what_the_sweep_spent_steps_behind_cells_included(
    cell, record, tmp_path, tracking_uri
):
    store = SweepStore(tmp_path, "one")
    tracker = Tracker.open(
        tracking_uri, "kind", "one", tags={}, params={}, outbox=store.folder / "outbox.jsonl"
    )
    run = SweepRun(store, tracker, SweepProgress(Console(quiet=True)))
    run.on_record(record(cell(), seconds=3600.0))
    run.on_record(record(cell(learning_rate=2e-3), seconds=900.0, reused_from="earlier"))
    step = record(cell(), key="train-0a", params={"step": "train"}, seconds=1800.0)
    for _ in range(2):  # Its worker died before it was told that its record is kept.
        run.on_record(step)
    tracker.close("FINISHED")
    options = AdaptationOptions(cpus_per_trial=2.0, gpus_per_trial=0.5, price_per_pack_hour=0.4)
    assert cost_line(options, run) == (
        "cost: 3 CPU hours, 0.75 GPU hours, price 0.6 (at 0.4 per pack hour)"
    )


@pytest.mark.parametrize("price", [None, {"low": 0.8, "high": 0.8, "head": 0.0}])
def test_a_resumption_at_another_price_keeps_it_for_status(tmp_path, monkeypatch, price):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    store = SweepStore(tmp_path / "storage", "one")
    first = {"low": 0.4, "high": 0.4, "head": 0.0}
    settings = {"kind": "bitrate", "command": "python sweeps/bitrate.py", "loop_hash": "0", "options": {},
                "content": {}, "num_cells": 1}  # fmt: skip
    for resume, now in ((False, first), (True, price)):
        with begun(
            store, settings | {"price": now}, AdaptationOptions(resume=resume), 1
        ) as tracker:
            tracker.close("KILLED")
    assert store.settings() == settings | {"price": price or first}


@pytest.mark.parametrize("with_curves", [True, False])
def test_of_very_many_cells_mlflow_has_no_curves_and_the_store_has(
    cell, record, tmp_path, with_curves
):
    store, uri = SweepStore(tmp_path, "one"), f"sqlite:///{tmp_path}/mlflow.db"
    tracker = Tracker.open(
        uri, "kind", "one", tags={}, params={}, outbox=store.folder / "outbox.jsonl"
    )
    run = SweepRun(store, tracker, SweepProgress(Console(quiet=True)), with_curves=with_curves)
    curve = ((1, {"train/loss": 2.0}), (2, {"train/loss": 1.0}))
    kept = record(cell(), curve=curve)
    run.on_record(kept)
    tracker.close("FINISHED")
    history = MlflowClient(uri).get_metric_history(tracker.run_ids[kept.key], "train/loss")
    assert len(history) == (2 if with_curves else 0)
    final = MlflowClient(uri).get_run(tracker.run_ids[kept.key]).data.metrics
    assert final["target/rd_gain_percent"] == -50.0
    assert store.ended(kept.key).curve == curve


def test_the_line_for_mlflow_can_be_pasted_and_has_no_password():
    plain = _ui_command("sqlite:///my runs.db")
    assert shlex.split(plain)[-4:] == [
        "mlflow",
        "ui",
        "--backend-store-uri",
        "sqlite:///my runs.db",
    ]
    uri = "postgresql://ann:hunter2@host/db"
    line = _ui_command(masked(uri, uri))
    assert line.endswith('-m mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"')
    assert _ui_command("https://host:5000") == "https://host:5000"


@pytest.mark.parametrize("num_cells", [4, 1001])
def test_a_cells_run_says_where_its_data_sets_are_and_the_parents_what_started_it(
    cell, tmp_path, monkeypatch, num_cells
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    command = "python sweeps/bitrate.py --name one --domains a=scans/a"
    store = SweepStore(tmp_path / "storage", "one")
    settings = {"kind": "bitrate", "command": command, "loop_hash": "0", "options": {}, "content": {},
                "num_cells": num_cells}  # fmt: skip
    one = cell()
    with begun(store, settings, AdaptationOptions(), num_cells) as tracker:
        tracker.cell_started(one.key, one.params, {})
        tracker.close("FINISHED")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    run = client.get_run(tracker.run_ids[one.key]).data.tags
    expected = "on the parent run: more than 1000 cells" if num_cells > 1000 else None
    assert run.get("interfero.datasets") == expected
    parent = client.get_run(run["mlflow.parentRunId"]).data.tags
    assert parent["interfero.command"] == command
    assert run.get("interfero.git_commit") == parent.get("interfero.git_commit")
