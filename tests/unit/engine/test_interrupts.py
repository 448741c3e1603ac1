"""What asks a sweep to end, and how it ends then."""

import io
import os
import pty
import signal
import sqlite3

import pytest
from mlflow.tracking.client import MlflowClient
from pydantic import BaseModel, model_serializer
from rich.console import Console

from interfero.engine.console import SweepProgress
from interfero.engine.ending import ended_well
from interfero.engine.interrupts import (
    ASKED_TO_END,
    hear_again,
    heed,
    interruptible,
    uninterrupted,
)
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


@pytest.fixture(autouse=True)
def _hears_its_terminal():
    """Whoever runs the tests under nohup hands on that SIGHUP is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", ASKED_TO_END, ids=lambda number: number.name)
def test_each_interrupts_as_ctrl_c_does(number):
    before = signal.getsignal(number)
    with interruptible(), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert signal.getsignal(number) is before


class _Destroyed:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_that_is_swallowed_interrupts_in_the_next_round():
    """Seen in a large sweep: "Exception ignored ... KeyboardInterrupt", and on it went."""
    with interruptible():
        heed()
        thing = _Destroyed()
        del thing
        for _ in range(2):  # However often it is swallowed again.
            with pytest.raises(KeyboardInterrupt):
                heed()
    with interruptible():
        heed()


class _Written(BaseModel):
    @model_serializer(mode="plain")
    def _parts(self):
        signal.raise_signal(signal.SIGTERM)
        return {}


def test_one_that_pydantic_makes_an_error_of_is_an_interruption(tracked):
    store, tracker = tracked

    def writing():
        _Written().model_dump_json()
        return 0

    text = io.StringIO()
    with interruptible():
        assert ended_well(writing, tracker, store, Console(file=text), "python s.py") == 130
    assert "0 finished cells are kept" in text.getvalue()
    assert parent_status(tracker) == "KILLED"


def test_nohup_keeps_its_promise():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_second_signal_does_not_disturb_the_closing():
    before = signal.getsignal(signal.SIGINT)
    with uninterrupted():
        for number in (signal.SIGINT, *ASKED_TO_END):
            signal.raise_signal(number)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def tracked(tmp_path, tracking_uri):
    store = SweepStore(tmp_path, "one")
    tracker = Tracker.open(
        tracking_uri, "kind", "one", tags={}, params={},
        outbox=store.folder / "outbox.jsonl",
    )  # fmt: skip
    return store, tracker


def parent_status(tracker):
    client = MlflowClient(tracker.uri)
    experiment = client.get_experiment_by_name("kind")
    (parent,) = client.search_runs([experiment.experiment_id])
    return parent.info.status


def test_an_end_while_the_report_is_written_says_how_to_go_on(tracked):
    store, tracker = tracked
    text = io.StringIO()

    def reporting():
        signal.raise_signal(signal.SIGTERM)
        return 0

    with interruptible():
        code = ended_well(reporting, tracker, store, Console(file=text, width=200), "python s.py")
    assert code == 130
    assert "go on with: python s.py --resume" in text.getvalue()
    assert parent_status(tracker) == "KILLED"


def test_an_end_while_the_last_lines_are_printed_leaves_the_run_finished(tracked):
    store, tracker = tracked

    def concluding():
        tracker.close("FINISHED")
        signal.raise_signal(signal.SIGTERM)
        return 0

    with interruptible():
        assert ended_well(concluding, tracker, store, Console(quiet=True), "python s.py") == 130
    assert parent_status(tracker) == "FINISHED"


def test_one_that_was_swallowed_before_the_driving_is_heeded_first(tracked):
    store, tracker = tracked
    with interruptible():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with interruptible():  # As around Ray's part.
            code = ended_well(pytest.fail, tracker, store, Console(quiet=True), "python s.py")
        heed()  # The next sweep under the same Ray is not asked to end.
    assert code == 130
    with interruptible():
        heed()


def test_an_interrupt_in_the_middle_of_a_write_leaves_nothing_locked(tracked, tmp_path):
    store, tracker = tracked

    def writing():
        connection = sqlite3.connect(tmp_path / "mlflow.db")
        connection.execute("BEGIN IMMEDIATE")
        signal.raise_signal(signal.SIGINT)
        return connection.total_changes

    assert ended_well(writing, tracker, store, Console(quiet=True), "python s.py") == 130
    assert parent_status(tracker) == "KILLED"


def test_a_terminal_that_closes_does_not_hide_the_end(tracked):
    """Whatever is written to it fails from then on: the progress line's end, and the last lines."""
    store, tracker = tracked
    ours, theirs = pty.openpty()
    console = Console(file=os.fdopen(theirs, "w"), force_terminal=True)

    def training():
        with SweepProgress(console) as progress:
            progress.expect(3)
            os.close(ours)
            signal.raise_signal(signal.SIGHUP)
        return 0

    with interruptible():
        assert ended_well(training, tracker, store, console, "python s.py") == 130
    assert parent_status(tracker) == "KILLED"


def test_a_sweep_is_not_interrupted_by_what_ended_the_one_before():
    """Also where a library's end left our handlers behind, as in a notebook that runs several sweeps."""
    before = {number: signal.getsignal(number) for number in ASKED_TO_END}
    try:
        hear_again()
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGUSR1)
        with interruptible():
            heed()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
