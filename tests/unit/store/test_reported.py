"""Whether a sweep's report is of the records that are there, with clocks that go back."""

import os
import time

import pytest

from interfero.cli.status import status_lines
from interfero.store.inventory import SweepState
from interfero.store.reported import NOTE
from interfero.store.sweep import SweepStore
from tests.unit.engine.conftest import make_cell, make_record

HOUR_S = 3600.0


def write_cell(store, rate, **changes):
    store.write_record(make_record(make_cell(learning_rate=rate), **changes))


def write_report(store):
    page = store.folder / "report" / "report.html"
    page.parent.mkdir(exist_ok=True)
    whole = page.with_name(".report.html")
    whole.write_text("report")
    whole.replace(page)


def interrupt(store, *, report=False):
    """A driver that writes one more cell, and perhaps the report, before it is asked to end."""
    with store.lease():
        write_cell(store, 3e-3)
        if report:
            write_report(store)
        raise KeyboardInterrupt


def shift(folder, seconds):
    """Move the times of all files of a folder."""
    for path in folder.iterdir():
        when = path.stat().st_mtime + seconds
        os.utime(path, (when, when))


def state(store):
    """As `SweepState`, prune and `interfero status` have it."""
    found = SweepState(store, running=False)
    text = "\n".join(status_lines(store, running=False))
    assert ("interrupted; go on with --resume" in text) is not found.reported
    assert found.reported == found.ended
    return "finished" if found.reported else "interrupted"


@pytest.fixture
def store(tmp_path):
    """Two cells of two, whose driver has written the report."""
    store = SweepStore(tmp_path, "s")
    store.write_settings({"kind": "k", "num_cells": 2, "command": "python sweep.py", "options": {}})
    with store.lease():
        write_cell(store, 1e-3)
        write_cell(store, 2e-3)
        assert state(store) == "interrupted"
        write_report(store)
    return store


def test_a_clock_that_was_set_back_before_the_report_leaves_a_finished_sweep(tmp_path):
    store = SweepStore(tmp_path, "s")
    store.write_settings({"kind": "k", "options": {}})
    with store.lease():
        write_cell(store, 1e-3)
        shift(store.folder / "cells", HOUR_S)
        write_report(store)
    record = next((store.folder / "cells").iterdir())
    assert record.stat().st_mtime > time.time() + HOUR_S / 2
    assert state(store) == "finished"


def test_a_record_that_is_touched_later_changes_nothing(store):
    assert state(store) == "finished"
    shift(store.folder / "cells", HOUR_S)
    assert state(store) == "finished"


@pytest.mark.parametrize("earlier_s", [0.0, HOUR_S])
def test_a_record_after_the_report_is_not_in_it_however_old_it_looks(store, earlier_s):
    with store.lease():
        write_cell(store, 3e-3)
        shift(store.folder / "cells", -earlier_s)
    assert state(store) == "interrupted"
    with store.lease():
        write_report(store)
    assert state(store) == "finished"


def test_a_cell_that_was_tried_again_is_not_in_the_report_before(store):
    with store.lease():
        write_cell(store, 2e-3, seconds=12345.678)
    assert state(store) == "interrupted"


def test_a_driver_that_writes_no_report_leaves_the_state_as_it_was(store):
    with store.lease():
        pass
    assert state(store) == "finished"
    with pytest.raises(KeyboardInterrupt):
        interrupt(store)
    assert state(store) == "interrupted"


def test_an_end_in_the_middle_of_what_follows_the_report_keeps_it(store):
    with pytest.raises(KeyboardInterrupt):
        interrupt(store, report=True)
    assert state(store) == "finished"


def test_of_an_earlier_build_the_times_tell(store):
    (store.folder / NOTE).unlink()
    assert state(store) == "finished"
    shift(store.folder / "cells", HOUR_S)
    assert state(store) == "interrupted"
