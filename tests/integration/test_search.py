"""Samplers over real cells: the study is stored, told exactly, and goes on after a kill."""

import os
import signal
import threading
import time
from collections import Counter

import optuna
import pyarrow.parquet
import pytest
from optuna.trial import TrialState

from interfero.engine.ending import StoppedError
from interfero.errors import ConfigError, StorageError
from interfero.store.sweep import SweepStore
from sweeps.adapter_capacity import SWEEP

SEARCH = [
    "--methods", "cawf", "--adapter-sizes", "1", "2", "--learning-rates", "1e-4", "1e-2",
    "--num-samples", "3", "--max-concurrent", "1", "--no-reuse",
]  # fmt: skip
"""Each by itself: a search begins with what other sweeps of the storage know, unless it is told not to."""


@pytest.fixture(scope="module")
def place(make_workplace):
    return make_workplace("search")


@pytest.fixture
def sweep(place, ray_here):
    """A sweep in this process, in the workplace's folder; returns its exit code."""
    return lambda *arguments: place.call(SWEEP, *place.tiny, *SEARCH, *arguments)[0]


def trials(place, name):
    storage = f"sqlite:///{place.sweep(name)}/search.db"
    (study_name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=study_name, storage=storage).trials


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_as_many_cells_as_asked_are_trained_and_told(place, sweep, sampler):
    assert sweep("--name", sampler, "--sampler", sampler) == 0
    told = trials(place, sampler)
    assert [t.state for t in told] == 3 * [TrialState.COMPLETE]
    records = place.records(sampler)
    assert {t.user_attrs["interfero.cell"] for t in told} == set(records)
    for trial in told:
        metrics = records[trial.user_attrs["interfero.cell"]]["metrics"]
        assert trial.values == [metrics["val/rd_gain_percent"]]
    started = {records[key]["started_at"] for key in records}
    # A random search fills a pack; TPE, of three samples, asks for one at a time.
    assert len(started) == (1 if sampler == "random" else 3)
    parent, cells = place.runs(sampler)
    assert set(cells) == set(records)
    assert parent.data.params["sampler"] == sampler
    assert {r.info.status for r in (parent, *cells.values())} == {"FINISHED"}


def test_a_search_that_is_complete_asks_for_nothing_more(place, sweep):
    before = {p: p.stat().st_mtime_ns for p in place.record_files("random")}
    assert sweep("--name", "random", "--sampler", "random", "--resume") == 0
    assert len(trials(place, "random")) == 3
    assert {p: p.stat().st_mtime_ns for p in place.record_files("random")} == before


def test_a_full_disk_stops_an_enlarged_search_and_says_how_to_go_on(place, sweep, monkeypatch):
    """Tune makes text of any error in a callback: ours must come out as it was."""
    enlarged = ["--name", "random", "--sampler", "random", "--num-samples", "4", "--resume"]

    known, keep = place.records("random"), SweepStore.keep

    def full(self, record):
        if record.key not in known:
            raise StorageError("the disk is full")
        keep(self, record)

    with monkeypatch.context() as patched:
        patched.setattr(SweepStore, "keep", full)
        with pytest.raises(
            StoppedError, match=r"^the disk is full\ngo on with: .*--name random .*--resume$"
        ):
            sweep(*enlarged)
    assert place.runs("random")[0].info.status == "FAILED"
    assert sweep(*enlarged) == 0
    told = trials(place, "random")
    assert not [t for t in told if t.state == TrialState.RUNNING]
    assert len([t for t in told if t.state == TrialState.COMPLETE]) == 4
    parent, cells = place.runs("random")
    assert len(cells) == len(place.records("random")) == 4
    assert {r.info.status for r in (parent, *cells.values())} == {"FINISHED"}


@pytest.fixture(scope="module")
def halved(place, ray_here):
    """Six cells, one after another, that may be stopped after one and three of four steps."""
    arguments = [*place.tiny, *SEARCH, "--name", "halved", "--num-samples", "6"]
    arguments += ["--sampler", "random", "--early-stopping", "asha"]
    return arguments, *place.call(SWEEP, *arguments)


def test_cells_stop_early_and_say_so(place, halved):
    _, done, shown = halved
    assert done == 0
    records = place.records("halved")
    ends = {"finished": (TrialState.COMPLETE, "FINISHED"), "stopped": (TrialState.PRUNED, "KILLED")}
    told = {t.user_attrs["interfero.cell"]: t.state for t in trials(place, "halved")}
    parent, runs = place.runs("halved")
    assert set(told) == set(runs) == set(records)
    assert len(records) == 6
    stopped = {key for key, r in records.items() if r["status"] == "stopped"}
    assert 1 <= len(stopped) < 6
    for key, record in records.items():
        assert (told[key], runs[key].info.status) == ends[record["status"]]
    for key in stopped:
        assert records[key]["stopped_at"] in (1, 3)
        assert set(records[key]["metrics"]) == {"val/rd_gain_percent"}
        assert len(records[key]["curve"]) == records[key]["stopped_at"]
        assert runs[key].data.tags["interfero.stopped_at"] == str(records[key]["stopped_at"])
        assert not any(name.startswith("target/") for name in runs[key].data.metrics)
    assert parent.data.metrics["cells/finished"] == 6 - len(stopped)
    assert parent.data.metrics["cells/stopped"] == len(stopped)
    assert f"{len(stopped)} of 6 cells were stopped early by asha" in shown
    assert f"{len(stopped)} stopped early" in shown
    table = pyarrow.parquet.read_table(place.sweep("halved") / "report" / "cells.parquet")
    assert set(table["key"].to_pylist()) == set(records) - stopped
    assert not (place.sweep("halved") / "stop").exists()


def test_a_stopped_cell_stays_stopped_on_resume(place, halved):
    before = {p: p.stat().st_mtime_ns for p in place.record_files("halved")}
    statuses = {key: run.info.status for key, run in place.runs("halved")[1].items()}
    assert place.call(SWEEP, *halved[0], "--resume")[0] == 0
    assert {p: p.stat().st_mtime_ns for p in place.record_files("halved")} == before
    assert len(trials(place, "halved")) == 6
    assert {key: run.info.status for key, run in place.runs("halved")[1].items()} == statuses


def test_a_killed_search_goes_on_with_its_study(place, sweep):
    arguments = ["--name", "front", "--sampler", "nsga2"]
    process = place.start(*SEARCH, *arguments)
    place.wait_for_records("front", 1, process)
    place.kill_while_running(process)
    killed = place.records("front")
    assert len(killed) < 3
    assert sweep(*arguments, "--resume") == 0
    told = trials(place, "front")
    assert not [t for t in told if t.state == TrialState.RUNNING]
    complete = [t for t in told if t.state == TrialState.COMPLETE]
    assert len(complete) == 3
    assert all(len(t.values) == 3 for t in complete)
    records = place.records("front")
    assert {t.user_attrs["interfero.cell"] for t in complete} == set(records)
    assert {k: records[k] for k in killed} == killed
    parent, cells = place.runs("front")
    assert parent.info.status == "FINISHED"
    assert set(cells) == set(records), "a cell in training when the driver died is trained first"
    assert {r.info.status for r in cells.values()} == {"FINISHED"}


def test_the_front_of_a_search_is_logged(place):
    parent, cells = place.runs("front")
    names = {"pareto_front.parquet", "pareto_thing.png", "pareto_thing.svg"}
    assert names <= set(place.artifacts(parent))
    table = pyarrow.parquet.read_table(place.sweep("front") / "report" / "pareto_front.parquet")
    keys = set(table["key"].to_pylist())
    tagged = {k for k, r in cells.items() if r.data.tags.get("interfero.pareto") == "true"}
    assert keys == tagged
    storage = f"sqlite:///{place.sweep('front')}/search.db"
    (name,) = optuna.get_all_study_names(storage)
    best = optuna.load_study(study_name=name, storage=storage).best_trials
    assert {t.user_attrs["interfero.cell"] for t in best} == keys


def test_more_cpus_than_there_are_is_refused(sweep):
    with pytest.raises(ConfigError, match=r"--cpus-per-trial must fit .* asked for 999"):
        sweep("--name", "greedy", "--cpus-per-trial", "999")


def test_slurms_warning_interrupts_although_tune_takes_that_signal(place, sweep):
    """Ray Tune (2.60) ends at SIGUSR1 as if all trials had: eight cells would be reported that are fewer."""

    def warn():
        while not place.record_files("warned"):
            time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGUSR1)

    warning = threading.Thread(target=warn, daemon=True)
    warning.start()
    code = sweep("--name", "warned", "--sampler", "random", "--num-samples", "8", "--no-packs")
    warning.join()
    assert code == 130
    assert 0 < len(place.records("warned")) < 8
    assert place.runs("warned")[0].info.status == "KILLED"


BUDGETS = [
    "--adapter-sizes", "1", "--learning-rates", "1e-4", "1e-3", "1e-2", "--num-steps", "4", "8", "16",
    "--reuse",
]  # fmt: skip


def by_steps(records, status):
    return Counter(r["params"]["num_steps"] for r in records.values() if r["status"] == status)


def test_halving_lets_the_best_and_the_next_larger_rate_train_for_longer(place, sweep):
    assert sweep("--name", "halving", "--sampler", "halving", *BUDGETS) == 0
    records = place.records("halving")
    finished, stopped = (by_steps(records, status) for status in ("finished", "stopped"))
    assert finished[4] == 3
    assert all(finished[steps] + stopped[steps] == 3 for steps in (8, 16))
    for steps in (4, 8):
        gains = {
            r["params"]["learning_rate"]: r["metrics"]["val/rd_gain_percent"]
            for r in records.values()
            if r["params"]["num_steps"] == steps and r["status"] == "finished"
        }
        best = max(gains, key=gains.__getitem__)
        longer = {
            r["params"]["learning_rate"]
            for r in records.values()
            if r["params"]["num_steps"] == 2 * steps and r["status"] == "finished"
        }
        assert longer == set([rate for rate in sorted(gains) if rate >= best][:2])
    assert not list((place.sweep("halving") / "checkpoints").glob("*"))
    _, runs = place.runs("halving")
    ended = Counter(run.info.status for run in runs.values())
    assert ended == {"FINISHED": finished.total(), "KILLED": stopped.total()}


def test_a_sweep_of_all_of_them_takes_over_what_halving_trained(place, sweep):
    assert sweep("--name", "all", "--sampler", "grid", *BUDGETS) == 0
    records = place.records("all")
    assert by_steps(records, "finished") == {4: 3, 8: 3, 16: 3}
    taken = [r for r in records.values() if r["reused_from"] == "halving"]
    trained = by_steps(place.records("halving"), "finished")
    assert by_steps({r["key"]: r for r in taken}, "finished") == trained


OWN_RATES = [
    "--methods", "finetune", "--max-concurrent", "1", "--num-steps", "4", "8", "--name", "widened"
]  # fmt: skip


def test_a_grid_of_the_methods_own_is_widened_until_the_best_lies_inside(place, ray_here):
    code, shown = place.call(SWEEP, *place.tiny, *OWN_RATES, "--no-reuse")
    assert code == 0, shown
    records = place.records("widened")
    gains = {
        r["params"]["learning_rate"]: r["metrics"]["val/rd_gain_percent"]
        for r in records.values()
        if r["params"]["num_steps"] == 4
    }
    added = len(gains) - 3
    # A codec that was hardly trained, and four steps: no rate of the grid is too large.
    assert sorted(gains)[:3] == [3e-5, 1e-4, 3e-4]
    assert sorted(gains)[3:] == [1e-3, 3e-3, 1e-2][:added]
    best = max(gains, key=gains.__getitem__)
    assert added == 3 or 3e-4 <= best < max(gains)
    assert added >= 1
    assert f"{2 * added} cells of learning rates outside of their method's own grid" in " ".join(
        shown.split()
    )
    # Each is there once for each number of steps, finished or stopped, and has one run.
    assert Counter(r["params"]["num_steps"] for r in records.values()) == {
        4: len(gains), 8: len(gains)
    }  # fmt: skip
    parent, runs = place.runs("widened")
    assert set(runs) == set(records)
    assert parent.data.metrics["cells/share"] == 1


def test_a_widened_sweep_goes_on_where_it_was(place, ray_here):
    before = place.records("widened")
    last = max(
        (r for r in before.values() if r["status"] == "finished" and r["params"]["num_steps"] == 4),
        key=lambda r: r["params"]["learning_rate"],
    )
    (place.sweep("widened") / "cells" / f"{last['key']}.json").unlink()
    code, shown = place.call(SWEEP, *place.tiny, *OWN_RATES, "--no-reuse", "--resume")
    assert code == 0, shown
    after = place.records("widened")
    assert after.keys() == before.keys()
    again = {k for k in after if after[k]["started_at"] != before[k]["started_at"]}
    assert again == {last["key"]}
    assert set(place.runs("widened")[1]) == set(after)


def test_another_sweep_takes_over_what_was_added(place, ray_here):
    given = [word if word != "widened" else "taken" for word in OWN_RATES]
    code, shown = place.call(SWEEP, *place.tiny, *given)
    assert code == 0, shown
    finished = [r for r in place.records("taken").values() if r["status"] == "finished"]
    assert {r["reused_from"] for r in finished} == {"widened"}
    assert place.records("taken").keys() == place.records("widened").keys()
