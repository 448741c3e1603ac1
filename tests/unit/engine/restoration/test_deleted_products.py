"""A product that was deleted is made again by the functions that Ray's processes run, not by a stand-in."""

from types import SimpleNamespace

import pytest

from interfero.engine import group_trial, trial
from interfero.engine.feeding import Feeder
from interfero.engine.record_callback import RecordCallback
from interfero.engine.trial import run_pack_trial
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from trainables.runner import Runner

from .conftest import Local, packs_of, plan_of, ready


@pytest.fixture
def told(monkeypatch):
    """Keys that trials report to Tune, which is not there."""
    keys = []

    def report(result):
        keys.append(result["record"])

    monkeypatch.setattr(trial.tune, "report", report)
    monkeypatch.setattr(trial.ray, "get_gpu_ids", list)
    monkeypatch.setattr(trial, "own_node", lambda: "here")
    monkeypatch.setattr("interfero.engine.leaving.draining_nodes", frozenset)
    return keys


def run_trials(plan, storage, name, told):
    """Every pack that the plan hands out, as a Tune actor does it; returns what was reported."""
    products = Products(storage)
    done = {key for key, job in plan.behind(plan.cells).items() if products.is_done(key, job.files)}
    runner = Runner.of_restoration(plan)
    told.clear()
    waiting = packs_of(plan, done)
    while waiting:
        pack = next(p for p in waiting if ready(p, done))
        waiting.remove(pack)
        run_pack_trial(as_config(pack), runner=runner, storage=storage, name=name, threads=1)
        records = {key: SweepStore(storage, name).ended(key) for key in told}
        done |= {key for key, record in records.items() if record.status == "finished"}
    return records


def as_config(pack):
    return {"pack": pack.text}


def files_of_a_cell(plan, storage):
    """A file of each product behind the only cell."""
    (cell,) = plan.cells
    place = Products(storage).place
    return {
        "shard": place(cell.segmenter.images[0].key) / "0000.parquet",
        "model": place(cell.segmenter.key) / "model.safetensors",
    }


@pytest.mark.parametrize("lost", ["shard", "model"])
def test_a_trial_makes_again_what_was_deleted(tmp_path, told, lost):
    plan = plan_of(configurations=("CO",))
    before = run_trials(plan, tmp_path, "first", told)
    file = files_of_a_cell(plan, tmp_path)[lost]
    content = file.read_bytes()
    file.unlink()
    again = run_trials(plan, tmp_path, "second", told)
    assert file.read_bytes() == content
    (cell,) = plan.cells
    assert again[cell.key].metrics["segmentation/miou"] == pytest.approx(
        before[cell.key].metrics["segmentation/miou"]
    )


def test_what_is_whole_is_not_made_again(tmp_path, told):
    plan = plan_of(configurations=("CO",))
    run_trials(plan, tmp_path, "first", told)
    untouched = {f: f.stat().st_mtime_ns for f in files_of_a_cell(plan, tmp_path).values()}
    store = SweepStore(tmp_path, "second")
    for pack in packs_of(plan):
        if pack.nodes[0].kind != "test":
            run_pack_trial(as_config(pack), runner=None, storage=tmp_path, name="second", threads=1)
            assert all(store.outcome(job.key, job.files) is not None for job in pack.nodes)
    assert {file: file.stat().st_mtime_ns for file in untouched} == untouched


@pytest.fixture
def lost_model(tmp_path):
    """A pack whose model was deleted, its record left behind: (plan, pack, store, file)."""
    plan = plan_of(configurations=("OO",))
    Local(tmp_path).run(plan)
    place = Products(tmp_path).place(plan.cells[0].segmenter.key)
    (place / "model.safetensors").unlink()
    pack = next(p for p in packs_of(plan) if p.nodes[0].kind == "segmentation")
    return plan, pack, SweepStore(tmp_path, "s"), place / "model.safetensors"


def test_a_group_makes_it_again_and_hears_of_it_only_then(lost_model, in_a_group):
    plan, pack, store, file = lost_model
    known = {job.key: store.outcome(job.key, job.files) for job in pack.nodes}
    assert list(group_trial._new_records(store, pack, known)) == []
    in_a_group(pack, Runner.of_restoration(plan))
    assert file.exists()
    heard = list(group_trial._new_records(store, pack, known))
    assert [(r.key, r.status) for r in heard] == [(pack.nodes[0].key, "finished")]


def test_a_trial_that_died_over_it_has_not_finished_it(lost_model):
    _, pack, store, _ = lost_model
    heard = []
    listener = SimpleNamespace(on_record=heard.append)
    callback = RecordCallback(Feeder([], [], 0, store.ended, listener), listener, store)
    callback.on_trial_error(0, [], SimpleNamespace(config=as_config(pack), error_file=None))
    assert [record.status for record in heard] == ["failed"]
