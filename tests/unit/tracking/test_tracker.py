import importlib.util
import logging
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
from mlflow.tracking.client import MlflowClient

from interfero.errors import TrackingError
from interfero.tracking.delivery import FILE_TRIES
from interfero.tracking.first_file import FIRST_FILE, missing_package
from interfero.tracking.runs import Runs
from interfero.tracking.summary import Clock
from interfero.tracking.tracker import Tracker

from .conftest import PARAMS, START_S, make_record

TAGS = {"interfero.codec_hash": "c0dec"}
START_MS = round(START_S * 1000)


@pytest.fixture
def away(monkeypatch):
    """A switch: while set, the server answers nothing."""
    state = {"away": False, "calls": []}
    for name in ("create_run", "log_batch", "set_terminated", "update_run", "log_artifact"):
        original = getattr(MlflowClient, name)

        def call(self, *args, _name=name, _original=original, **kwargs):
            if state["away"]:
                raise MlflowException("connection refused by http://ann:hunter2@host")
            state["calls"].append(_name)
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(MlflowClient, name, call)
    return state


def test_a_sweep_has_one_parent(place):
    tracker = place.open()
    assert place.parent.info.status == "RUNNING"
    assert place.parent.info.run_name == "demo"
    assert place.parent.data.tags["interfero.sweep"] == "demo"
    assert place.parent.data.tags["interfero.git_commit"] == "abc"
    assert place.parent.data.params == {"sampler": "grid"}
    tracker.close("FINISHED")
    first = place.parent
    assert first.info.status == "FINISHED"
    place.open().close("FINISHED")
    assert place.parent.info.run_id == first.info.run_id


def test_the_command_is_its_first_file(place):
    place.open(tags={"interfero.command": "python sweeps/x.py"})
    run = place.parent.info.run_id
    assert [file.path for file in place.client.list_artifacts(run)] == [FIRST_FILE]
    assert mlflow.artifacts.load_text(f"{place.parent.info.artifact_uri}/{FIRST_FILE}") == (
        "python sweeps/x.py\n"
    )


def test_files_that_cannot_be_stored_are_found_before_anything_trains(place, tmp_path):
    """A folder that is none: each artifact would have been refused, after its cell had trained."""
    (tmp_path / "taken").write_text("a file")
    at = (tmp_path / "taken" / "below").as_uri()
    place.client.create_experiment(place.experiment, artifact_location=at)
    with pytest.raises(
        TrackingError, match="must be stored at file:// before training starts"
    ) as caught:
        place.open()
    assert "Not a directory" in str(caught.value)
    assert place.runs("sweep") == [], "a sweep that could not start has taken its name"
    assert not place.outbox.exists() or not place.outbox.read_text()


def test_an_object_store_that_clients_write_to_needs_its_library(place):
    """MLflow's `--default-artifact-root s3://...` with `--no-serve-artifacts`, tried with MLflow 3.17."""
    if importlib.util.find_spec("boto3") is not None:
        pytest.skip("boto3 is installed")
    place.client.create_experiment(place.experiment, artifact_location="s3://team-bucket/runs")
    with pytest.raises(TrackingError) as caught:
        place.open()
    said = str(caught.value)
    assert "must be stored at s3://team-bucket before training starts" in said
    assert "pip install boto3 here" in said
    assert "--artifacts-destination s3://..." in said


def test_what_a_server_leaves_to_its_clients_is_known_before_a_sweep(tmp_path):
    """Its first experiment lies where all others will, too."""
    for name, root, expected in (
        ("a", "s3://team-bucket/runs", ("s3://team-bucket", "boto3")),
        ("b", "mlflow-artifacts:/", None),
        ("c", (tmp_path / "files").as_uri(), None),
    ):
        uri = f"sqlite:///{tmp_path / name}.db"
        SqlAlchemyStore(uri, root)
        if expected is None or importlib.util.find_spec("boto3") is None:
            assert missing_package(uri) == expected


def test_a_resumed_sweep_whose_files_are_not_stored_keeps_its_run(place, tmp_path, monkeypatch):
    place.open().close("FINISHED")
    first = place.parent.info.run_id

    def refuse(*args, **kwargs):
        raise OSError("the bucket ann:hunter2 is gone")

    monkeypatch.setattr(MlflowClient, "log_text", refuse)
    with pytest.raises(TrackingError, match="is gone"):
        place.open()
    assert place.parent.info.run_id == first


def test_sweeps_of_one_experiment_do_not_mix(place):
    one, two = place.open("it's one"), place.open('a "second"')
    one.cell_started("a", PARAMS, {})
    two.cell_started("a", PARAMS, {})
    parents = {run.info.run_id for run in place.runs("sweep")}
    assert {run.data.tags["mlflow.parentRunId"] for run in place.runs("cell")} == parents
    assert len(parents) == 2


def test_tags_are_there_from_the_creation(place, monkeypatch):
    tracker = place.open()
    created = {}
    create = MlflowClient.create_run

    def keep(self, *args):
        run = create(self, *args)
        created.update(run.data.tags)
        return run

    monkeypatch.setattr(MlflowClient, "create_run", keep)
    tracker.cell_started("a", PARAMS, TAGS)
    assert created == {
        "interfero.kind": "cell",
        "interfero.cell": "a",
        "interfero.codec_hash": "c0dec",
        "mlflow.parentRunId": place.parent.info.run_id,
        "mlflow.runName": "histology cawf-04 lr1e-03",
    }


def test_a_finished_cell_shows_what_its_record_says(place, tmp_path):
    adapter = tmp_path / "a.safetensors"
    adapter.write_bytes(b"weights")
    tracker = place.open()
    tracker.cell_started("a", PARAMS, TAGS, started_at=START_S)
    tracker.cell_finished(make_record("a", reused_from="older"), [(adapter, "adapter")])
    run = place.cells["a"]
    assert run.data.params == {name: str(value) for name, value in PARAMS.items()}
    assert run.data.metrics["target/bpp"] == 0.5
    assert run.data.tags["interfero.reused_from"] == "older"
    assert run.info.status == "FINISHED"
    assert (run.info.start_time, run.info.end_time) == (START_MS, START_MS + 30_000)
    listed = place.client.list_artifacts(run.info.run_id, "adapter")
    assert [file.path for file in listed] == ["adapter/a.safetensors"]


def test_metrics_carry_the_time_they_were_computed(place):
    tracker = place.open()
    tracker.cell_finished(make_record("a"))
    run = place.cells["a"]
    assert place.history(run, "train/loss") == [
        (10, 2.0, START_MS + 10_000),
        (20, 1.0, START_MS + 20_000),
        (30, pytest.approx(2 / 3), START_MS + 30_000),
    ]
    assert place.history(run, "target/bpp") == [(100, 0.5, START_MS + 30_000)]


def test_a_long_curve_is_whole(place):
    tracker = place.open()
    tracker.cell_finished(make_record("a", points=2500))
    history = place.history(place.cells["a"], "train/loss")
    assert [step for step, _, _ in history] == [10 * i for i in range(1, 2501)]


def test_a_failed_cell_says_why(place):
    tracker = place.open()
    curve = ((10, {"loss": 3.0}), (20, {"loss": math.nan}))
    record = make_record("a", status="failed", error="NaN at step 20", metrics={}, curve=curve)
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(record)
    tracker.cell_finished(record)
    run = place.cells["a"]
    assert run.info.status == "FAILED"
    assert run.data.tags["interfero.error"] == "NaN at step 20"
    values = [value for _, value, _ in place.history(run, "train/loss")]
    assert values[0] == 3.0
    assert math.isnan(values[1])


def test_a_failed_cell_may_be_tried_again(place):
    tracker = place.open()
    tracker.cell_finished(make_record("a", status="failed", error="out of memory", curve=()))
    tracker.close("FAILED")
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    assert place.cells["a"].info.status == "RUNNING"
    tracker.cell_finished(make_record("a"))
    assert place.cells["a"].info.status == "FINISHED"
    assert place.cells["a"].data.tags["interfero.error"] == ""


def stopped_cell():
    return make_record(
        "a", status="stopped", stopped_at=30, metrics={"val/rd_gain_percent": 1.5}, seconds=9.0
    )


def test_a_cell_that_was_stopped_early_says_where(place):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(stopped_cell())
    run = place.cells["a"]
    assert run.info.status == "KILLED"
    assert run.data.tags["interfero.stopped_at"] == "30"
    assert "interfero.error" not in run.data.tags
    # At the step that it is a result of, not at the last one of the plan.
    assert place.history(run, "val/rd_gain_percent") == [(30, 1.5, START_MS + 9_000)]


def test_a_stopped_run_is_not_written_again(place, away):
    tracker = place.open()
    tracker.cell_finished(stopped_cell())
    tracker.close("FINISHED")
    tracker = place.open()
    away["calls"].clear()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(stopped_cell())
    assert away["calls"] == []
    assert place.cells["a"].info.status == "KILLED"


def test_a_cell_that_stopped_while_the_sweep_was_interrupted_is_written(place):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    tracker.close("KILLED")
    assert place.cells["a"].info.status == "KILLED"
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(stopped_cell())
    run = place.cells["a"]
    assert run.info.status == "KILLED"
    assert run.data.tags["interfero.stopped_at"] == "30"
    assert run.data.metrics["val/rd_gain_percent"] == 1.5


def test_finished_cells_can_be_tagged(place):
    tracker = place.open()
    tracker.cell_finished(make_record("a"))
    tracker.cell_tags({"a": {"interfero.pareto": "true"}})
    tracker.cell_tags({})
    run = place.cells["a"]
    assert run.data.tags["interfero.pareto"] == "true"
    assert run.info.status == "FINISHED"


def test_a_finished_run_is_not_written_again(place, away):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a"))
    away["calls"].clear()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a", metrics={"target/bpp": 9.0}))
    assert away["calls"] == []


def test_a_cell_costs_few_requests(place, away):
    tracker = place.open()
    away["calls"].clear()
    tracker.cell_started("a", PARAMS, TAGS)
    tracker.cell_finished(make_record("a", points=100))
    assert away["calls"] == ["create_run", "log_batch", "log_batch", "set_terminated"]


def test_parameters_may_come_with_the_results(place, away):
    """Of a large sweep, whatever became of the cell: a request less for each."""
    tracker = place.open(params_at_end=True)
    away["calls"].clear()
    tracker.cell_started("a", PARAMS, {})
    assert away["calls"] == ["create_run"]
    tracker.cell_finished(make_record("a"))
    assert away["calls"] == ["create_run", "log_batch", "set_terminated"]
    tracker.cell_finished(make_record("taken over"))
    tracker.cell_finished(
        make_record("failed", status="failed", error="E: no", metrics={}, curve=())
    )
    tracker.cell_started("under way", PARAMS, {})
    tracker.cell_started("killed with its driver", PARAMS, {})
    assert [r.data.params for r in place.runs("cell") if r.info.status == "RUNNING"] == [{}, {}]
    successor = place.open(params_at_end=True)
    successor.cell_started("under way", PARAMS, {})
    successor.cell_finished(make_record("killed with its driver"))
    successor.close("KILLED")
    names = {run.data.tags["interfero.cell"]: run for run in place.runs("cell")}
    assert {key: run.info.status for key, run in names.items()} == {
        "a": "FINISHED", "taken over": "FINISHED", "failed": "FAILED", "under way": "KILLED",
        "killed with its driver": "FINISHED",
    }  # fmt: skip
    for run in names.values():
        assert run.data.params["domain"] == "histology"


def test_a_curve_is_logged_once_over_a_resume(place, away):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    away["away"] = True
    tracker.cell_finished(make_record("a"))
    away["away"] = False
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a"))
    history = place.history(place.cells["a"], "train/loss")
    assert [step for step, _, _ in history] == [10, 20, 30]


def test_one_run_a_cell_over_kills_and_resumes(place):
    keys = [f"{i:016x}" for i in range(6)]
    for done in range(1, 7):
        tracker = place.open()
        for key in keys:
            tracker.cell_started(key, PARAMS, {})
        for key in keys[:done]:
            tracker.cell_finished(make_record(key))
        if done % 2:
            tracker.close("KILLED")
            statuses = [place.cells[key].info.status for key in keys]
            assert statuses == ["FINISHED"] * done + ["KILLED"] * (6 - done)
            assert place.parent.info.status == "KILLED"
    tracker.close("FINISHED")
    assert {run.info.status for run in place.cells.values()} == {"FINISHED"}
    assert sorted(place.cells) == keys
    assert place.parent.info.status == "FINISHED"


def test_nothing_is_left_running(place):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    assert tracker.close("FINISHED") == 0
    assert place.cells["a"].info.status == "KILLED"
    assert not place.outbox.exists()


def test_what_changed_on_a_resume_stands_beside_what_was(place):
    place.open().close("KILLED")
    tracker = place.open(
        tags={"interfero.git_commit": "def"}, params={"sampler": "tpe", "num_samples": 4}
    )
    data = place.parent.data
    assert data.params == {"sampler": "grid", "num_samples": "4"}
    assert data.tags["interfero.git_commit"] == "abc"
    assert data.tags["interfero.resumed_with"] == (
        '{"interfero.git_commit": "def", "sampler": "tpe"}'
    )
    assert tracker.num_refused == 0


def test_the_parent_holds_the_results(place, tmp_path):
    figure = tmp_path / "figure.png"
    figure.write_bytes(b"png")
    tracker = place.open()
    tracker.parent_artifacts([figure], "figures")
    tracker.note("# Results\n" + "x" * 9000)
    run = place.parent
    assert len(run.data.tags["mlflow.note.content"]) == 5000
    assert [f.path for f in place.client.list_artifacts(run.info.run_id, "figures")] == [
        "figures/figure.png"
    ]


def test_the_parent_shows_progress_now_and_then_and_at_the_end(place, away, monkeypatch):
    done = {"cells/finished": 0.0}
    monkeypatch.setattr("interfero.tracking.tracker.PROGRESS_S", 3600.0)
    tracker = place.open()
    away["calls"].clear()
    for _ in range(50):
        done["cells/finished"] += 1
        tracker.parent_progress(lambda: done)
    assert away["calls"] == [], "one request every few seconds"
    monkeypatch.setattr("interfero.tracking.tracker.PROGRESS_S", 0.0)
    tracker.parent_progress(lambda: done)
    assert place.parent.data.metrics == {"cells/finished": 50.0}
    done["cells/finished"] += 1
    monkeypatch.setattr("interfero.tracking.tracker.PROGRESS_S", 60.0)
    tracker.parent_progress(lambda: done)
    tracker.close("FINISHED")
    assert place.parent.data.metrics == {"cells/finished": 51.0}


def test_a_resumed_sweep_goes_on_with_its_progress(place, monkeypatch):
    """Killed without a word at 5 cells of which one failed; the failed one is tried again."""
    monkeypatch.setattr("interfero.tracking.tracker.PROGRESS_S", 0.0)
    place.open().parent_progress(lambda: {"cells/finished": 4.0, "cells/failed": 1.0})
    assert place.parent.info.status == "RUNNING"
    start = place.parent.info.start_time
    monkeypatch.setattr(time, "time", lambda: start / 1000 + 90)
    tracker = place.open()
    tracker.parent_progress(lambda: {"cells/finished": 5.0, "cells/failed": 0.0})
    tracker.close("FINISHED")
    assert place.parent.info.status == "FINISHED"
    assert place.parent.data.metrics == {"cells/finished": 5.0, "cells/failed": 0.0}
    steps = [step for step, _, _ in place.history(place.parent, "cells/finished")]
    assert steps[0] < 90
    assert steps[-1] == 90


def test_lines_over_a_step_are_the_same_after_a_resumption(place):
    line = {"psnr_db_by_millibits/text lora": [(120, 28.5), (410, 33.0)]}
    for _ in range(2):
        tracker = place.open()
        tracker.parent_series(line)
        tracker.close("FINISHED")
    found = place.history(place.parent, "psnr_db_by_millibits/text lora")
    assert [(step, value) for step, value, _ in found] == line["psnr_db_by_millibits/text lora"]


def test_every_run_says_who_started_what(place):
    origin = {"mlflow.source.name": "sweeps/x.py", "mlflow.user": "ann"}
    tracker = Tracker.open(
        place.uri,
        place.experiment,
        "demo",
        tags=origin,
        params={},
        outbox=place.outbox,
        on_cells=origin,
    )
    tracker.cell_started("a", PARAMS, TAGS)
    for run in (place.parent, place.cells["a"]):
        assert origin.items() <= run.data.tags.items()
    assert place.cells["a"].data.tags["interfero.codec_hash"] == "c0dec"


def test_artifacts_lie_beside_the_database(place, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (elsewhere / "file.txt").write_text("x")
    place.open().parent_artifacts([Path("file.txt")])
    assert len(list((tmp_path / "mlruns" / place.experiment).rglob("file.txt"))) == 1
    assert list(elsewhere.iterdir()) == [elsewhere / "file.txt"]


def test_a_deleted_experiment_is_restored(place, caplog):
    place.open().close("FINISHED")
    experiment = place.client.get_experiment_by_name(place.experiment)
    place.client.delete_experiment(experiment.experiment_id)
    with caplog.at_level(logging.WARNING):
        place.open()
    assert "restored" in caplog.text
    assert place.parent.info.status == "RUNNING"


KIND_OF_VIEW = "mlflow.experimentKind"


def test_the_ui_opens_the_view_of_runs_unless_somebody_chose_another(place):
    place.open().close("FINISHED")
    experiment = place.client.get_experiment_by_name(place.experiment)
    assert experiment.tags[KIND_OF_VIEW] == "custom_model_development"
    place.client.set_experiment_tag(experiment.experiment_id, KIND_OF_VIEW, "genai_development")
    place.open().close("FINISHED")
    tags = place.client.get_experiment_by_name(place.experiment).tags
    assert tags[KIND_OF_VIEW] == "genai_development"


def test_an_experiment_made_without_a_view_gets_one(place):
    place.client.create_experiment(place.experiment)
    place.open().close("FINISHED")
    tags = place.client.get_experiment_by_name(place.experiment).tags
    assert tags[KIND_OF_VIEW] == "custom_model_development"


def test_nothing_global_is_active(place):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    assert mlflow.active_run() is None
    assert mlflow.last_active_run() is None


def test_making_a_database_is_silent(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tracker = Tracker.open(None, "e", "s", tags={}, params={}, outbox=tmp_path / "outbox.jsonl")
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a"))
    tracker.close("FINISHED")
    assert (tmp_path / "mlflow.db").exists()
    assert capfd.readouterr() == ("", "")


def test_a_server_that_is_not_there_stops_the_sweep(place):
    place.uri = "http://ann:hunter2@127.0.0.1:9"
    with pytest.raises(TrackingError, match="MLFLOW_TRACKING_URI") as caught:
        place.open()
    assert "hunter2" not in str(caught.value)
    assert not place.outbox.exists()


def test_writes_wait_and_arrive_in_order(place, away):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    away["away"] = True
    tracker.cell_finished(make_record("a"))
    tracker.cell_started("b", PARAMS, {})
    tracker.cell_finished(make_record("b"))
    assert tracker.pending == 6
    assert "hunter2" not in tracker.trouble
    away["away"] = False
    away["calls"].clear()
    assert tracker.flush() == 0
    assert tracker.trouble is None
    assert away["calls"] == [
        *("log_batch", "set_terminated"),
        *("create_run", "log_batch", "log_batch", "set_terminated"),
    ]
    assert [run.info.status for run in place.cells.values()] == ["FINISHED", "FINISHED"]
    assert place.cells["a"].info.end_time == place.cells["a"].info.start_time


def test_a_server_that_is_away_is_not_asked_each_time(place, away, monkeypatch):
    tracker = place.open()
    away["away"] = True
    asked = []
    deliver = tracker._runs.deliver
    monkeypatch.setattr(tracker._runs, "deliver", lambda op: (asked.append(op), deliver(op)))
    for i in range(20):
        tracker.cell_started(f"{i}", PARAMS, {})
    assert len(asked) == 1


def test_a_killed_driver_leaves_its_writes_to_the_next(place, away):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    away["away"] = True
    tracker.cell_finished(make_record("a"))
    tracker.cell_started("b", PARAMS, {})
    assert tracker.close("KILLED", wait_s=0) == 6
    assert place.cells["a"].info.status == "RUNNING"
    away["away"] = False
    tracker = place.open()
    assert tracker.pending == 0
    assert place.cells["a"].info.status == "FINISHED"
    assert place.cells["b"].info.status == "KILLED"
    assert place.parent.info.status == "RUNNING"
    tracker.cell_finished(make_record("a"))
    tracker.cell_started("b", PARAMS, {})
    tracker.cell_finished(make_record("b"))
    assert tracker.close("FINISHED") == 0
    assert {run.info.status for run in place.cells.values()} == {"FINISHED"}


def test_what_waits_is_known_to_the_next_driver_before_it_is_delivered(place, away):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    away["away"] = True
    tracker.cell_finished(make_record("a"))
    away["away"] = False
    # Opening succeeds, then the server goes.
    runs = tracker._runs
    away["away"] = True
    again = Tracker(place.uri, runs, tracker._delivery._writes)
    waiting = again.pending
    again.cell_finished(make_record("a"))
    assert again.pending == waiting


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated"])
def test_a_lost_answer_doubles_nothing(place, monkeypatch, method):
    """The server did what it was asked, and the driver never heard."""
    tracker = place.open()
    original = getattr(MlflowClient, method)
    lost = []

    def lose_the_answer(self, *args, **kwargs):
        result = original(self, *args, **kwargs)
        if not lost:
            lost.append(method)
            raise MlflowException("timed out")
        return result

    monkeypatch.setattr(MlflowClient, method, lose_the_answer)
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a"))
    assert tracker.pending > 0
    tracker.close("FINISHED")
    assert lost == [method]
    assert place.cells["a"].info.status == "FINISHED"
    assert len(place.history(place.cells["a"], "train/loss")) == 3
    assert len(place.history(place.cells["a"], "target/bpp")) == 1


def test_a_run_that_was_created_late_is_removed(place, monkeypatch):
    """The driver gave up, looked, found nothing, created; then the first request went through."""
    tracker = place.open()
    original = MlflowClient.create_run
    late = []

    def be_late(self, *args):
        if not late:
            late.append(args)
            raise MlflowException("timed out")
        return original(self, *args)

    monkeypatch.setattr(MlflowClient, "create_run", be_late)
    tracker.cell_started("a", PARAMS, {})
    tracker.flush()
    original(place.client, *late[0])
    assert len(place.runs("cell")) == 2
    tracker.cell_finished(make_record("a"))
    place.open().close("FINISHED")
    assert place.cells["a"].info.status == "FINISHED"
    assert place.cells["a"].data.params != {}


def test_what_no_server_takes_does_not_block_the_rest(place, caplog, tmp_path):
    tracker = place.open()
    tracker.cell_started("a", PARAMS, {})
    with caplog.at_level(logging.WARNING):
        tracker.cell_finished(
            make_record("a", metrics={"bad|name": 1.0}), [(tmp_path / "gone", "")]
        )
    assert tracker.num_refused == 2
    assert tracker.pending == 0
    assert "refused" in caplog.text
    refused = place.outbox.with_name("outbox.jsonl.refused").read_text().splitlines()
    assert "bad|name" in refused[0]
    assert "not there any more" in refused[1]
    assert place.cells["a"].info.status == "FINISHED"


def test_a_file_that_its_store_does_not_take_does_not_block_the_rest(place, monkeypatch):
    def broken(*args):
        raise RuntimeError("no credentials")

    monkeypatch.setattr("interfero.tracking.runs.get_artifact_repository", broken)
    place.outbox.parent.mkdir()
    file = place.outbox.with_name("f")
    file.write_text("x")
    tracker = place.open()
    tracker.cell_finished(make_record("a"), [(file, "")])
    assert (tracker.pending, tracker.num_refused) == (1, 0)
    assert "no credentials" in tracker.trouble
    assert place.cells["a"].info.status == "FINISHED"
    # Its store takes another file each time.
    for _ in range(FILE_TRIES):
        tracker.flush()
    assert (tracker.pending, tracker.num_refused) == (0, 1)
    assert tracker.trouble is None
    assert tracker.close("FINISHED") == 0
    assert sorted(path.name for path in place.outbox.parent.iterdir()) == [
        "f", "outbox.jsonl.refused", "sweep_id",
    ]  # fmt: skip


def test_files_that_a_store_does_not_take_wait_and_are_kept_in_order(place, monkeypatch):
    """The next driver delivers them; of several with one name the last stays."""
    store = {"away": True}
    for name in ("log_text", "log_artifact"):
        original = getattr(MlflowClient, name)

        def call(self, *args, _original=original, **kwargs):
            if store["away"]:
                raise RuntimeError("the bucket is gone")
            return _original(self, *args, **kwargs)

        monkeypatch.setattr(MlflowClient, name, call)
    store["away"] = False
    tracker = place.open()
    store["away"] = True
    files = [place.outbox.parent / folder / "report.html" for folder in ("old", "new")]
    for file in files:
        file.parent.mkdir()
        file.write_text(file.parent.name)
        tracker.parent_artifacts([file])
    tracker.cell_finished(make_record("a"))
    assert place.cells["a"].info.status == "FINISHED"
    assert tracker.close("KILLED", wait_s=0) == len(files)
    store["away"] = False
    tracker = place.open()
    assert (tracker.pending, tracker.num_refused) == (0, 0)
    assert mlflow.artifacts.load_text(f"{place.parent.info.artifact_uri}/report.html") == "new"


def test_sweeps_of_one_name_in_two_storages_do_not_mix(place, tmp_path):
    one = place.open()
    one.cell_started("a", PARAMS, {})
    place.outbox = tmp_path / "elsewhere" / "outbox.jsonl"
    two = place.open()
    two.cell_started("a", PARAMS, {})
    two.close("FAILED")
    states = {run.data.tags["mlflow.parentRunId"]: run.info.status for run in place.runs("cell")}
    parents = {run.info.run_id: run.info.status for run in place.runs("sweep")}
    assert sorted(parents.values()) == ["FAILED", "RUNNING"]
    assert states == {run: {"FAILED": "KILLED"}.get(s, s) for run, s in parents.items()}
    again = place.open()
    again.cell_finished(make_record("a"))
    again.close("FINISHED")
    assert {run.info.status for run in place.runs("sweep")} == {"FINISHED", "RUNNING"}
    assert len(place.runs("cell")) == 2


def test_a_parent_run_of_before_sweeps_had_a_mark_is_gone_on_with(place):
    place.open().close("FINISHED")
    first = place.parent
    place.client.delete_tag(first.info.run_id, "interfero.sweep_id")
    place.open().close("FINISHED")
    assert place.parent.info.run_id == first.info.run_id
    assert "interfero.sweep_id" in place.parent.data.tags


def test_sweeps_that_start_at_once_share_their_new_experiment(place):
    """Each round, several drivers ask for an experiment that none has made yet."""
    for round_ in range(5):
        ready = threading.Barrier(4)

        def begin(number, ready=ready, round_=round_):
            ready.wait()
            return Runs(place.uri, f"new-{round_}", f"sweep-{number}")._experiment_id

        with ThreadPoolExecutor(4) as pool:
            assert len(set(pool.map(begin, range(4)))) == 1


def test_texts_that_some_databases_cannot_hold_are_mended(place):
    tracker = place.open(tags={"interfero.command": "read \udce9"})
    tracker.cell_started("a", PARAMS, {})
    tracker.cell_finished(make_record("a", status="failed", error="\0 in caf\udce9.png"))
    assert tracker.close("FAILED") == 0
    assert place.parent.data.tags["interfero.command"] == "read \ufffd"
    assert place.cells["a"].data.tags["interfero.error"] == "\ufffd in caf\ufffd.png"


def test_files_behind_a_server_are_not_reached_through_its_database(place):
    place.client.create_experiment(place.experiment, artifact_location="mlflow-artifacts:/1")
    with pytest.raises(TrackingError, match="set MLFLOW_TRACKING_URI to the server's address"):
        place.open()
    assert not place.outbox.exists()


def test_no_run_ends_before_it_began_when_the_clock_is_set_back(place, monkeypatch):
    """MLflow shows a negative duration. Run in one driver, and in the next one, which starts an hour ago."""
    tracker, now = place.open(), time.time()
    tracker.cell_started("trains", PARAMS, {})
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    tracker.parent_progress(lambda: {"cells/finished": 1.0})
    tracker.close("KILLED")
    for run in (place.parent, place.cells["trains"]):
        assert run.info.status == "KILLED"
        assert 0 <= run.info.end_time - run.info.start_time < 60_000
    place.open().close("FINISHED")
    assert 0 <= place.parent.info.end_time - place.parent.info.start_time < 60_000


@pytest.mark.parametrize("server_is_away", [False, True])
def test_progress_goes_on_from_what_a_dead_driver_has_told(
    place, away, monkeypatch, server_is_away
):
    """MLflow shows the value of the greatest step: the dead driver's, if the next one began below it."""
    monkeypatch.setattr("interfero.tracking.tracker.PROGRESS_S", 0.0)
    first, now = place.open(), time.time()
    first.cell_started("trains", PARAMS, {})
    monkeypatch.setattr(time, "time", lambda: now + 3600)
    away["away"] = server_is_away
    first.parent_progress(lambda: {"cells/finished": 1.0})
    assert (first.pending > 0) == server_is_away
    away["away"] = False
    monkeypatch.setattr(time, "time", lambda: now)
    second = place.open()
    second.parent_progress(lambda: {"cells/finished": 2.0})
    second.close("FINISHED")
    assert place.parent.data.metrics["cells/finished"] == 2
    steps = [step for step, *_ in place.history(place.parent, "cells/finished")]
    assert len(steps) >= 2
    assert 3600 <= steps[0] <= steps[-1] < 3660


def test_a_clock_that_was_ahead_and_is_corrected_does_not_go_back(monkeypatch):
    now, passed = 1.7e9, 50.0
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(time, "monotonic", lambda: passed)
    clock = Clock(not_before_ms=0)
    assert clock.now_ms() == 1.7e12
    now += 3600
    ahead = clock.now_ms()
    assert ahead == 1.7e12 + 3.6e6
    now, passed = 1.7e9 + 60, passed + 60
    assert clock.now_ms() == ahead + 60_000, "and goes on with the time that passes"
    now += 7200
    assert clock.now_ms() == (1.7e9 + 7260) * 1000, "until the machine's own time is ahead again"


def test_runs_of_a_driver_that_got_no_tracker_do_not_end_before_they_began(place, monkeypatch):
    tracker, now = place.open(), time.time()
    tracker.cell_started("trains", PARAMS, {})
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    Tracker.end_running(
        place.uri, place.experiment, "demo", "KILLED", outbox=place.outbox, wait_s=5.0
    )
    for run in (place.parent, place.cells["trains"]):
        assert run.info.status == "KILLED"
        assert run.info.end_time == run.info.start_time
