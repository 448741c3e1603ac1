"""What of the driver can be tested without Ray's processes."""

import logging
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from interfero.engine import trial
from interfero.engine.adaptation.search import open_searches
from interfero.engine.checkpoints import Checkpoints
from interfero.engine.code_version import CodeVersion
from interfero.engine.console import SweepProgress
from interfero.engine.feeding import Feeder
from interfero.engine.guarding import train_guarded
from interfero.engine.killed import PARTS, reason_of_kill
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import PACK, Pack
from interfero.engine.record_callback import RecordCallback
from interfero.engine.resources import check_machine, packs_at_once
from interfero.engine.sweep_run import SweepRun
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError, DomainError
from interfero.store.sweep import SweepStore
from interfero.tracking.tracker import Tracker


def test_a_runner_that_fails_leaves_a_record_of_every_cell(cell, record, tmp_path, caplog):
    cells = [cell(learning_rate=rate) for rate in (1e-4, 1e-3, 1e-2)]

    def runner(pack, worker):
        yield record(pack.nodes[0])
        raise DomainError("no such image")

    with caplog.at_level(logging.CRITICAL):
        records = list(train_guarded(runner, Pack(nodes=tuple(cells)), LocalWorker(tmp_path)))
    assert [r.key for r in records] == [c.key for c in cells]
    assert [r.status for r in records] == ["finished", "failed", "failed"]
    assert records[1].error.startswith("DomainError: no such image (test_driver.py:")


def test_a_runner_that_is_interrupted_is_not_a_failed_cell(cell, tmp_path):
    def runner(pack, worker):
        raise KeyboardInterrupt
        yield

    with pytest.raises(KeyboardInterrupt):
        list(train_guarded(runner, Pack(nodes=(cell(),)), LocalWorker(tmp_path)))


@pytest.mark.parametrize(
    ("asked", "have", "packs"),
    [
        ({}, {"CPU": 4.0}, 4),
        ({"cpus_per_trial": 2.0}, {"CPU": 5.0}, 2),
        ({"cpus_per_trial": 0.5}, {"CPU": 2.0}, 4),
        ({"max_concurrent": 1}, {"CPU": 4.0}, 1),
        ({"max_concurrent": 9}, {"CPU": 4.0}, 4),
        ({"gpus_per_trial": 0.25}, {"CPU": 16.0, "GPU": 1.0}, 4),
        ({"cpus_per_trial": 8.0, "address": "auto"}, {"CPU": 4.0}, 1),
        ({"workers_per_trial": 2}, {"CPU": 5.0}, 2),
        ({"workers_per_trial": 2, "gpus_per_trial": 0.5}, {"CPU": 16.0, "GPU": 2.0}, 2),
        ({"gpus_per_trial": 1.0, "address": "auto", "max_concurrent": 6}, {"CPU": 4.0}, 6),
    ],
)
def test_packs_at_once_follow_the_scarcest_resource(asked, have, packs):
    assert packs_at_once(AdaptationOptions(**asked), have) == packs


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"cpus_per_trial": 8.0}, "--cpus-per-trial must fit this machine: asked for 8, it has 4"),
        ({"gpus_per_trial": 1.0}, "--gpus-per-trial must fit this machine: asked for 1, it has 0"),
        (
            {"cpus_per_trial": 3.0, "workers_per_trial": 2},
            "--cpus-per-trial must fit this machine: asked for 2 workers of 3, it has 4",
        ),
    ],
)
def test_what_would_never_start_is_refused(asked, message):
    with pytest.raises(ConfigError, match=message):
        packs_at_once(AdaptationOptions(**asked), {"CPU": 4.0})


def test_what_this_machine_lacks_is_refused_before_ray_starts(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    check_machine(AdaptationOptions())
    many = AdaptationOptions(cpus_per_trial=9999.0)
    with pytest.raises(ConfigError, match="--cpus-per-trial must fit this machine: asked for 9999"):
        check_machine(many)
    check_machine(many.model_copy(update={"address": "ray://head:10001"}))
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    check_machine(many)


@pytest.mark.parametrize("variable", ["RAY_TMPDIR", "TMPDIR"])
def test_a_folder_that_ray_cannot_use_is_refused_before_the_name_is_taken(monkeypatch, variable):
    for name in ("RAY_ADDRESS", "RAY_TMPDIR", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    check_machine(AdaptationOptions())
    short = Path("/tmp") / "a-folder-that-ray-would-make"
    long = Path("/tmp/scratch/people/someone/slurm_jobdir/1355700/tmp.t0016")
    for folder, reason in ((long, r"bytes too long"), (Path("/dev/null/x"), "no folder")):
        monkeypatch.setenv(variable, str(folder))
        with pytest.raises(ConfigError, match=rf"{variable}\), which .*{reason}.*set RAY_TMPDIR"):
            check_machine(AdaptationOptions())
    monkeypatch.setenv(variable, str(short))
    check_machine(AdaptationOptions())


class Heard:
    def __init__(self):
        self.records = []

    def on_started(self, pack):
        pass

    def on_repeated(self):
        pass

    def on_record(self, record):
        self.records.append(record)


@pytest.fixture
def answering(plan, tmp_path):
    """What the driver has of a search that stops cells early, and keys of two cells in training."""
    made = plan(sampler="random", early_stopping="asha", num_steps=90, learning_rates=(1e-5, 0.1))
    (search,) = open_searches(made, tmp_path / "search.db", {}.get)
    feeder = Feeder([], [search], 2, {}.get, Heard(), search.needs)
    keys = [Pack.from_text(feeder.suggest("x")["pack"]).nodes[0].key for _ in range(2)]
    store = SweepStore(tmp_path, "one")
    return RecordCallback(feeder, feeder._listener, store), store, keys


def at_rung(callback, key, step, gain):
    rung = {"key": key, "step": step, "metrics": {"val/rd_gain_percent": gain}}
    callback.on_trial_result(0, [], None, {"record": None, "rung": rung})


def test_a_rung_is_answered_by_a_file(answering, tmp_path):
    callback, store, (good, bad) = answering
    workers = {
        key: trial.TuneWorker(tmp_path, "cpu", stop_file=store.stop_file(key))
        for key in (good, bad)
    }
    at_rung(callback, good, 10, 5.0)
    at_rung(callback, bad, 10, 1.0)
    assert not workers[good].should_stop()
    assert workers[bad].should_stop()
    assert callback.listener.records == []


def test_a_worker_without_rungs_is_never_stopped(tmp_path):
    worker = trial.TuneWorker(tmp_path, "cpu")
    assert not worker.rungs
    assert not worker.should_stop()


def test_an_actor_that_died_too_often_leaves_what_its_cell_came_to(answering, record, cell):
    callback, store, _ = answering
    kept = record(cell(), status="stopped", stopped_at=10, metrics={"val/rd_gain_percent": 1.0})
    lost = record(cell(learning_rate=2e-3), status="failed", metrics={}, error="an earlier attempt")
    for each in (kept, lost):
        store.write_record(each)
    pack = Pack(nodes=(cell(), cell(learning_rate=2e-3))).text
    callback.on_trial_error(0, [], SimpleNamespace(config={"pack": pack}, error_file=None))
    assert [r.status for r in callback.listener.records] == ["stopped", "failed"]
    assert callback.listener.records[1].error.startswith("its process died 3 times")


DIED = """Failure # 1 (occurred at 2026-11-29_09-00-00)
The actor died unexpectedly before finishing this task.
\tclass_name: ImplicitFunc
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: \
Worker unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the \
process was killed by the OOM killer due to high memory usage, (2) ray stop --force was called.
"""
LOW = """Failure # 2 (occurred at 2026-11-29_09-00-09)
1 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 192.0.2.2) was 9.43GB
"""
RAISED = """Failure # 3 (occurred at 2026-11-29_09-01-00)
ray::ImplicitFunc.train() StorageError: the disk is full
"""
LOST = """Failure # 3 (occurred at 2026-11-29_09-01-00)
The actor died because its node has died. Node Id: 0a
"""


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        (DIED, "its process was killed, most likely for memory"),
        (DIED + LOW, "Ray killed its process because the machine ran low on memory"),
        (DIED + RAISED, None), (DIED + LOST, None), ("", None),
    ],
)  # fmt: skip
def test_the_last_failure_says_whether_a_process_was_killed(errors, said):
    """As Ray 2.60 words it, seen of a SIGKILL, of its memory monitor and of a lost node."""
    assert reason_of_kill(errors) == said


@pytest.fixture
def dies(tmp_path, cell):
    """A pack of cells whose process is killed, and what the driver makes of it."""
    listener, store = Heard(), SweepStore(tmp_path, "one")
    callback = RecordCallback(Feeder([], [], 0, {}.get, listener), listener, store)
    cells = [cell(init_seed=i) for i in range(5)]
    trial = SimpleNamespace(
        config={PACK: Pack(nodes=tuple(cells)).text}, error_file=str(tmp_path / "error.txt")
    )
    Path(trial.error_file).write_text("")

    def die(errors=DIED):
        with Path(trial.error_file).open("a") as file:
            file.write(errors)
        callback.on_trial_recover(0, [], trial)
        parts = [Pack.from_text(text).keys for text in trial.config.get(PARTS, ())]
        return [[[c.key for c in cells].index(key) for key in part] for part in parts]

    return die, cells, trial, callback


def test_a_killed_process_that_starts_a_group_halves_nothing(dies, caplog):
    """It trains no pack; the group that it starts takes the whole one."""
    die, _, _, callback = dies
    callback.in_groups = True
    for _ in range(2):
        assert die() == []
    assert callback.listener.records == [], "nothing failed: it is tried again"
    assert caplog.messages == ["its process was killed, most likely for memory, the one that starts a "
                               "group of processes: it starts again"] * 2  # fmt: skip


def test_a_pack_whose_process_is_killed_goes_on_in_halves_once(dies, record, caplog):
    caplog.set_level(logging.CRITICAL)
    die, cells, trial, callback = dies
    callback.store.write_record(record(cells[1]))
    assert die(RAISED) == []
    assert PARTS not in trial.config, "an exception is no want of memory"
    # The second is finished, and is not done again.
    assert die() == [[0, 2], [3, 4]]
    callback.store.write_record(record(cells[0]))
    assert die(LOW) == [[3, 4]]
    (lost,) = callback.listener.records
    assert (lost.key, lost.status) == (cells[2].key, "failed")
    assert lost.error.startswith(
        "Ray killed its process because the machine ran low on memory, twice: "
    )
    assert "--max-concurrent" in lost.error
    # The third death is the last that Tune allows.
    Path(trial.error_file).write_text(DIED)
    callback.on_trial_error(0, [], trial)
    failed = {r.key: r.error for r in callback.listener.records if r.status == "failed"}
    assert failed.keys() == {cells[i].key for i in (2, 3, 4)}
    assert failed[cells[4].key].startswith(
        "its process died 3 times, the last time its process was"
    )
    assert "--batch-size" in failed[cells[4].key]


def test_a_cell_alone_is_tried_once_more(dies, record, caplog):
    caplog.set_level(logging.CRITICAL)
    die, cells, trial, callback = dies
    trial.config[PACK] = Pack(nodes=(cells[0],)).text
    assert die() == [[0]]
    assert callback.listener.records == []
    assert die() == []
    assert trial.config[PARTS] == []
    assert [r.status for r in callback.listener.records] == ["failed"]


def test_a_cluster_named_by_the_environment_may_grow_too(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    have = {"CPU": 4.0}
    assert packs_at_once(AdaptationOptions(gpus_per_trial=1.0, max_concurrent=6), have) == 6
    assert packs_at_once(AdaptationOptions(cpus_per_trial=8.0), have) == 1


def test_a_result_of_a_second_attempt_takes_the_place_of_a_failure(answering, record, cell):
    callback, _, _ = answering
    for status in ("failed", "failed", "finished", "failed"):
        told = record(cell(), status=status)
        callback.store.write_record(told)
        callback.on_trial_result(0, [], None, {"record": told.key})
    assert [r.status for r in callback.listener.records] == ["failed", "finished"]


def test_every_process_of_a_group_checks_its_code(cell, tmp_path):
    from interfero.engine.group_trial import GroupSize, train_rank

    other = CodeVersion(("interfero",), "another", ())
    config = {
        "runner": None, "pack": Pack(nodes=(cell(),)).model_dump_json(), "code": other,
        "storage": tmp_path, "name": "one", "size": GroupSize(2, 1.0, 0.0),
    }  # fmt: skip
    with pytest.raises(ConfigError, match="must run the driver's version"):
        train_rank(config)


def test_a_cell_that_a_group_tried_again_is_heard_of_again(cell, record, tmp_path):
    from interfero.engine.group_trial import _new_records

    store = SweepStore(tmp_path, "one")
    first, second = cell(), cell(learning_rate=2e-3)
    store.write_record(record(first, status="failed", error="in an earlier attempt"))
    pack = Pack(nodes=(first, second))
    known = {each.key: store.outcome(each.key) for each in pack.nodes}
    heard = []
    for each, status in ((second, "failed"), (second, "finished"), (first, "finished")):
        store.write_record(record(each, status=status))
        # A second look finds nothing more.
        heard += [[r.status for r in _new_records(store, pack, known)] for _ in range(2)]
    assert heard == [["failed"], [], ["finished"], [], ["finished"], []]


@pytest.mark.parametrize(("status", "left"), [("finished", 0), ("stopped", 0), ("failed", 1)])
def test_states_of_a_cell_that_ended_go_when_its_record_is_heard_of(
    cell, record, tmp_path, tracking_uri, status, left
):
    """Its worker was killed between keeping the record and removing them."""
    store = SweepStore(tmp_path, "one")
    tracker = Tracker.open(
        tracking_uri, "kind", "one", tags={}, params={},
        outbox=tmp_path / "outbox.jsonl",
    )  # fmt: skip
    Checkpoints(store.folder).write(cell().key, {}, [], {"step": 1})
    kept = record(cell(), status=status, error="its process died" if status == "failed" else None)
    SweepRun(store, tracker, SweepProgress(Console(quiet=True))).on_record(kept)
    assert len(list((store.folder / "checkpoints").iterdir())) == left
