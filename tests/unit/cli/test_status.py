"""`interfero status` on real records: running, interrupted and finished sweeps, and none."""

import os
import time

import pytest
import torch

from interfero import cli
from interfero.cli.status import status_lines
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.spending import STEPS, note_step
from interfero.store import outcomes
from interfero.store.files import write_json
from interfero.store.locks import LEASE_S
from interfero.store.sweep import SHARED_LEASE, SweepStore
from tests.unit.engine.conftest import make_cell, make_record

SETTINGS = {
    "kind": "adapter-capacity", "num_cells": 8, "command": "python sweeps/adapter_capacity.py --name s",
    "options": {"cpus_per_trial": 2.0, "workers_per_trial": 3, "gpus_per_trial": 0.5},
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    """Four of eight cells: two finished here, one taken over, one failed."""
    store = SweepStore(tmp_path, "s")
    store.write_settings(SETTINGS)
    changes = [
        {"seconds": 600.0},
        {"seconds": 1200.0},
        {"seconds": 5000.0, "reused_from": "earlier"},
        {"seconds": 60.0, "status": "failed", "metrics": {}, "error": "loss nan at step 3\nmore"},
    ]
    for rate, change in zip((1e-3, 2e-3, 3e-3, 4e-3), changes, strict=True):
        store.write_record(make_record(make_cell(learning_rate=rate), **change))
    return store


def said(store, **options):
    return "\n".join(status_lines(store, **options))


def call(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["interfero", "status", *map(str, arguments)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_a_clock_that_was_set_back_gives_no_rate(store):
    """By an hour, at once or after two hours: cells would have ended in no time, or twice as fast."""
    none = "the clock was set back since the driver started: no rate"
    with store.lease():
        began = store.lease_began
        assert none in said(store, running=True, now=began - 3600)
        for path in (store.folder / "cells").glob("*.json"):
            os.utime(path, (0, began + 7000))
        assert " cells an hour since the driver started" in said(
            store, running=True, now=began + 7200
        )
        text = said(store, running=True, now=began + 3600)
    assert none in text
    assert "cells an hour" not in text


def test_a_sweep_whose_driver_holds_the_lease_is_running(store, monkeypatch, capsys):
    with store.lease():
        assert call(monkeypatch, "s", "--storage", store.storage) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"adapter-capacity sweep s in {store.storage}: running (process ")
    assert (
        lines[1]
        == "  4 of 8 cells ended (50 %): 1 failed, 3 finished; 1 taken over from other sweeps"
    )
    assert lines[2].startswith("  no cell has ended since the driver started ")
    assert lines[3] == "  cost so far, of what ended: 3.1 CPU hours, 0.775 GPU hours"
    assert lines[4].endswith(": loss nan at step 3")


def test_the_cost_counts_steps_behind_cells_and_is_money_where_a_price_was_given(store):
    """Half an hour of cells and one of a step, which restarted: three processes of 2 CPUs and half a GPU."""
    for seconds in (60.0, 3600.0):
        note_step(store.folder, make_record(make_cell(), key="train-0a", seconds=seconds))
    with (store.folder / STEPS).open("a") as file:
        file.write('{"key": "train-0b", "sec')
    write_json(store.folder / "sweep.json", SETTINGS | {"price": {"low": 0.4, "high": 0.4}})
    said_so = "cost so far, of what ended: 9.1 CPU hours, 2.27 GPU hours, price 0.607 (at 0.4 per pack hour)"
    assert said_so in said(store, running=False)


def test_rate_and_time_left_are_those_of_this_driver(store):
    """Three cells of its own in two hours, the last ten minutes ago: four are left, at 1.5 an hour."""
    now = time.time() + 7200
    with store.lease():
        began = store.lease_began
        for path in (store.folder / "cells").iterdir():
            os.utime(path, (now - 600, now - 600))
        text = said(store, running=True, now=began + 7200)
    assert "1.5 cells an hour since the driver started 2.0 h ago" in text
    assert "about 2.7 h left" in text


def test_trainings_say_how_far_their_last_state_was(store):
    weight = torch.nn.Parameter(torch.zeros(1))
    states = Checkpoints(store.folder)
    for key, step in (("a", 12), ("a", 40), ("b", 7), ("trunk-c.5", 5)):
        states.write(key, {"w": weight}, [], {"step": step})
    (store.folder / "checkpoints" / "damaged.safetensors").write_bytes(b"none")
    with store.lease():
        text = said(store, running=True, now=time.time() + 30)
    trainings = [line.strip() for line in text.splitlines() if "in training" in line]
    assert [line.partition(", saved")[0] for line in trainings] == [
        "in training: a at step 40",
        "in training: b at step 7",
    ]
    assert "in training" not in said(store, running=False)


def test_a_cell_that_was_added_to_the_plan_trains_before_it_is_counted(store):
    """Widened grids: the sweep was at 100 % while it trained."""
    store.write_settings({**SETTINGS, "num_cells": 4})
    states = Checkpoints(store.folder)
    states.write("added", {"w": torch.nn.Parameter(torch.zeros(1))}, [], {"step": 3})
    with store.lease():
        assert "4 of 5 cells ended (80 %)" in said(store, running=True, now=time.time() + 30)
    assert "4 of 4 cells ended (100 %)" in said(store, running=False)


def test_interrupted_and_finished_are_told_apart_by_lease_and_report(store):
    text = said(store, running=False)
    assert "interrupted; go on with --resume: python sweeps/adapter_capacity.py --name s" in text
    assert "cells an hour" not in text
    states = store.folder / "checkpoints"
    states.mkdir()
    for name in ("a.safetensors", "a.before.safetensors", "b.safetensors"):
        (states / name).touch()
    assert "interrupted (2 cells go on from a checkpoint)" in said(store, running=False)
    (store.folder / "report").mkdir()
    (store.folder / "report" / "report.html").write_text("")
    assert ": finished, but for 1 failed cells" in said(store, running=False)


def test_who_may_not_write_sees_the_life_of_a_lease(store, monkeypatch, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    shared = store.folder / SHARED_LEASE
    with store.lease():
        assert call(monkeypatch, "s", "--storage", store.storage) == 0
        assert ": running (" in capsys.readouterr().out
        for touched in (time.time() - LEASE_S - 1, time.time() + 3600):
            os.utime(shared, (0, touched))
            assert call(monkeypatch, "s", "--storage", store.storage) == 0
            assert ": interrupted" in capsys.readouterr().out
    assert call(monkeypatch, "s", "--storage", store.storage) == 0
    assert ": interrupted" in capsys.readouterr().out


def test_a_storage_is_named_as_for_a_sweep(store, monkeypatch, capsys):
    assert call(monkeypatch, "s", "--storage", store.storage.as_uri()) == 0
    assert f"sweep s in {store.storage}: " in capsys.readouterr().out
    for given, remedy in (
        ("file://host/srv", "a file URI names an absolute path of this machine"),
        ("s3://bucket", "mount what s3:// names there"),
    ):
        assert call(monkeypatch, "s", "--storage", given) == 2
        assert f"--storage {given!r}: " in (said := capsys.readouterr().err)
        assert remedy in said


def test_records_are_read_at_the_first_of_many_looks(store, monkeypatch, capsys):
    read, whole = [], outcomes._read
    monkeypatch.setattr(outcomes, "_read", lambda path: read.append(path) or whole(path))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    running = iter([True, True, False])
    monkeypatch.setattr("interfero.cli.status._is_running", lambda _: next(running))
    with store.lease():
        assert call(monkeypatch, "s", "--storage", store.storage, "--every", "1") == 0
    assert capsys.readouterr().out.count("  4 of 8 cells ended") == 3
    assert len(read) == 4


def test_no_such_sweep_is_one_line(store, monkeypatch, capsys):
    assert call(monkeypatch, "t", "--storage", store.storage) == 2
    assert capsys.readouterr().err == (
        f"error: there is no sweep 't' in {store.storage}: known: s\n"
    )
    assert call(monkeypatch, "s", "--storage", store.storage / "none") == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_resumption_of_other_size_counts_its_own_cells(store):
    store.write_settings(SETTINGS | {"num_cells": 16, "command": "another"})
    assert store.settings() == SETTINGS | {"num_cells": 16}
