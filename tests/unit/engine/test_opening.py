"""A sweep that is interrupted while it is opened leaves no run RUNNING, and says how to go on."""

import signal

import pytest
from mlflow.tracking.client import MlflowClient

from interfero.engine import opening
from interfero.engine.interrupts import interruptible
from interfero.engine.opening import begun
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.ray_session import RaySession
from interfero.engine.sweep import main
from interfero.errors import StorageError
from interfero.store.sweep import SweepStore
from interfero.tracking.runs import Runs
from interfero.tracking.tracker import Tracker
from sweeps.adapter_capacity import SWEEP as CAPACITY

SETTINGS = {
    "kind": "bitrate", "command": "python sweeps/bitrate.py", "loop_hash": "0", "options": {},
    "content": {}, "num_cells": 1,
}  # fmt: skip


@pytest.fixture
def store(tmp_path, tracking_uri, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    return SweepStore(tmp_path / "storage", "one")


@pytest.fixture
def statuses(tracking_uri):
    def look():
        client = MlflowClient(tracking_uri)
        experiment = client.get_experiment_by_name("bitrate")
        runs = client.search_runs([experiment.experiment_id])
        return sorted((r.data.tags["interfero.kind"], r.info.status) for r in runs)

    return look


def asked(number=signal.SIGTERM):
    """What asks for an end in the middle of a function that it stands for."""

    def function(*args, **options):
        signal.raise_signal(number)
        pytest.fail("nobody listened")

    return function


def begin(store, *, resume=False):
    with (
        interruptible(),
        begun(store, SETTINGS, AdaptationOptions(resume=resume), 1) as tracker,
    ):
        return tracker


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
@pytest.mark.parametrize(
    ("owner", "name"),
    [(Runs, "load"), (SweepStore, "write_settings"), (opening, "_keep_current")],
    ids=["before it has a tracker", "before it has its name", "with its name"],
)
def test_a_signal_while_a_sweep_is_opened_ends_its_run(
    store, statuses, monkeypatch, owner, name, number
):
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, asked(number))
        with pytest.raises(KeyboardInterrupt):
            begin(store)
    assert statuses() == [("sweep", "KILLED")]
    begin(store, resume=store.exists).close("FINISHED")
    assert statuses() == [("sweep", "FINISHED")]


@pytest.mark.parametrize(("owner", "name"), [(Runs, "load"), (Tracker, "flush")])
def test_a_signal_while_a_sweep_is_opened_again_ends_what_earlier_drivers_left(
    store, statuses, monkeypatch, cell, owner, name
):
    """Of a driver that was killed, a cell's run too; and the parent's, which runs again from `flush` on."""
    tracker = begin(store)
    tracker.cell_started(cell().key, cell().params, {})
    if owner is Tracker:
        tracker.close("KILLED")
    else:
        assert statuses() == [("cell", "RUNNING"), ("sweep", "RUNNING")]
    monkeypatch.setattr(owner, name, asked())
    with pytest.raises(KeyboardInterrupt):
        begin(store, resume=True)
    assert statuses() == [("cell", "KILLED"), ("sweep", "KILLED")]


def test_a_signal_before_the_driving_ends_the_run_and_one_after_it_leaves_it(store, statuses):
    def drive(*, resume):
        with (
            interruptible(),
            begun(store, SETTINGS, AdaptationOptions(resume=resume), 1) as tracker,
        ):
            if resume:
                tracker.close("FINISHED")
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt):
        drive(resume=False)
    assert statuses() == [("sweep", "KILLED")]
    with pytest.raises(KeyboardInterrupt):
        drive(resume=True)
    assert statuses() == [("sweep", "FINISHED")]


def test_an_error_that_a_library_made_of_a_signal_is_an_interruption(store, statuses, monkeypatch):
    def load(runs):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise OSError("no answer") from None

    monkeypatch.setattr(Runs, "load", load)
    with pytest.raises(KeyboardInterrupt):
        begin(store)
    assert statuses() == [("sweep", "KILLED")]


def test_a_disk_that_is_full_when_the_name_is_taken_leaves_no_run_running(
    store, statuses, monkeypatch
):
    def full(store, settings):
        raise StorageError("sweep.json cannot be written")

    monkeypatch.setattr(SweepStore, "write_settings", full)
    with pytest.raises(StorageError):
        begin(store)
    assert statuses() == [("sweep", "FAILED")]


def run_main(monkeypatch, planning, *arguments):
    """The exit code of a sweep script whose planning is replaced."""
    monkeypatch.setattr("interfero.engine.sweep._plan_and_drive", planning)
    with pytest.raises(SystemExit) as stop:
        main(CAPACITY, ["--name", "one", *arguments])
    return stop.value.code


def test_an_interrupted_resumption_says_how_to_go_on(store, monkeypatch, capsys):
    store.write_settings(SETTINGS)
    where = ["--storage", str(store.storage)]
    assert run_main(monkeypatch, asked(), *where, "--resume") == 130
    said = capsys.readouterr().out
    assert f"what sweep one has is kept in {store.folder}" in said
    assert f"--name one {' '.join(where)} --resume\n" in said.partition("go on with: ")[2]


def test_before_a_sweep_has_its_name_there_is_nothing_to_go_on_with(store, monkeypatch, capsys):
    assert run_main(monkeypatch, asked(), "--storage", str(store.storage)) == 130
    said = capsys.readouterr()
    assert "interrupted before any training" in said.err
    assert "go on with" not in said.out + said.err


def test_a_sweep_that_has_ended_keeps_its_code(store, monkeypatch, capsys):
    """A signal while Ray ends is no interruption of the sweep."""
    monkeypatch.setattr(RaySession, "end", asked())
    assert run_main(monkeypatch, lambda *_: 1, "--storage", str(store.storage)) == 1
    assert "interrupted" not in "".join(capsys.readouterr())
