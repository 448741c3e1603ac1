"""What a storage knows of times."""

import json

from interfero.engine.adaptation.cost import START_UP_S
from interfero.engine.measurements import (
    FILE,
    keep_start,
    keep_timings,
    read_measurements,
)
from interfero.store.sweep import SweepStore
from tests.unit.engine.adaptation.test_cost import timing


def test_an_empty_storage_knows_nothing_and_stays_empty(tmp_path):
    found = read_measurements(tmp_path / "none", "EPYC")
    assert (found.timings, found.start_up_seconds) == ((), START_UP_S)
    assert not (tmp_path / "none").exists()


def test_records_of_all_sweeps_are_read_each_cell_once(tmp_path, cell, record):
    one, two, failed, untimed = (cell(init_seed=i) for i in range(4))
    for name, cells in (("first", (one, two)), ("second", (two,))):
        for c in cells:
            seconds = float(1 + c.hyperparameters.init_seed)
            SweepStore(tmp_path, name).write_record(record(c, timing=timing(step_seconds=seconds)))
    store = SweepStore(tmp_path, "first")
    store.write_record(record(failed, status="failed", timing=timing()))
    store.write_record(record(untimed))
    (store.folder / "cells" / "damaged.json").write_text("{")
    found = read_measurements(tmp_path, "EPYC")
    assert sorted(t.step_seconds for t in found.timings) == [1.0, 2.0]
    assert found.evaluated == {("tiny", 0.013, "thing")}


def test_what_was_timed_on_purpose_is_added_to_what_was_kept(tmp_path):
    keep_timings(tmp_path, [timing(), timing("cawf", 1)])
    keep_timings(tmp_path, [timing("cawf", 8)])
    found = read_measurements(tmp_path, "EPYC").timings
    assert [(t.method, t.adapter_size) for t in found] == [
        ("finetune", 0),
        ("cawf", 1),
        ("cawf", 8),
    ]


def test_starts_are_kept_by_machine(tmp_path):
    for seconds in (9.0, 30.0, 10.0):
        keep_start(tmp_path, "EPYC", seconds)
    keep_timings(tmp_path, [timing()])
    assert read_measurements(tmp_path, "EPYC").start_up_seconds == 10.0
    assert read_measurements(tmp_path, "Xeon").start_up_seconds == START_UP_S


def test_a_damaged_file_counts_as_not_there(tmp_path):
    (tmp_path / FILE).write_text("{")
    assert read_measurements(tmp_path, "EPYC").timings == ()
    keep_timings(tmp_path, [timing()])
    kept = json.loads((tmp_path / FILE).read_text())
    kept["timings"].append({"method": "of another release"})
    (tmp_path / FILE).write_text(json.dumps(kept))
    assert read_measurements(tmp_path, "EPYC").timings == (timing(),)


def test_records_of_other_kinds_of_sweeps_are_no_hindrance(tmp_path, cell, record):
    other = record(cell(), timing=timing(), params={"codec": "jpeg", "rate_bpp": 0.5})
    SweepStore(tmp_path, "segmentation").write_record(other)
    assert read_measurements(tmp_path, "EPYC").evaluated == frozenset()
