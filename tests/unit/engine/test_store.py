import multiprocessing
import os
import socket

import pytest

from interfero.errors import ConfigError, StorageError
from interfero.store.files import patience
from interfero.store.sweep import SweepStore

SETTINGS = {
    "kind": "adapter-capacity", "loop_hash": "l", "options": {"num_steps": 4, "batch_size": 2},
    "content": {"domain thing": "d"}, "command": "python x.py",
}  # fmt: skip


@pytest.fixture
def store(tmp_path):
    return SweepStore(tmp_path, "one")


@pytest.fixture
def started(store):
    store.check(SETTINGS, resume=False)
    store.write_settings(SETTINGS)
    return store


def with_files(store, record):
    """A record whose adapter and sample exist."""
    for folder, suffix in (("adapters", "safetensors"), ("samples", "png")):
        path = store.folder / folder / f"{record.key}.{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.key)
    files = {
        "adapter_file": f"adapters/{record.key}.safetensors",
        "sample_file": f"samples/{record.key}.png",
    }
    return record.model_copy(update=files)


def test_a_record_comes_back_as_it_was(started, cell, record):
    written = record(cell(), curve=((1, {"train/bpp": 0.1}),), seconds=0.3)
    started.write_record(written)
    assert started.records() == {written.key: written}
    assert started.finished(written.key) == written


def test_failed_records_are_kept_but_not_finished(started, cell, record):
    failed = record(cell(), status="failed", metrics={}, error="loss nan at step 3")
    started.write_record(failed)
    assert started.records()[failed.key].error == "loss nan at step 3"
    assert started.finished(failed.key) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "x"}', b"\xff\xfe"])
def test_a_damaged_record_counts_as_not_computed_and_is_named_once(
    started, cell, record, damage, caplog
):
    written = record(cell())
    started.write_record(written)
    path = started.folder / "cells" / f"{written.key}.json"
    path.write_bytes(damage)
    assert started.finished(written.key) is None
    assert started.records() == {}
    assert started.finished("there-never-was-one") is None
    said = [r.getMessage() for r in caplog.records]
    assert len(said) == 1
    assert f"the record {path} cannot be used" in said[0]
    assert "a sweep makes it again" in said[0]


def test_half_a_write_leaves_the_old_record_and_no_other(started, cell, record, monkeypatch):
    old = record(cell(), status="failed", metrics={}, error="first")
    started.write_record(old)

    def dies(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", dies)
    monkeypatch.setattr("interfero.store.sweep.patience", lambda: patience(0.2))
    with pytest.raises(StorageError, match="No space left"):
        started.write_record(record(cell()))
    assert started.records() == {old.key: old}
    assert [p.name for p in (started.folder / "cells").iterdir()] == [f"{old.key}.json"]


def test_keep_does_not_rewrite_what_a_worker_has_written(started, cell, record):
    first = record(cell(), seconds=1.0)
    started.keep(first)
    started.keep(record(cell(), seconds=2.0))
    assert started.finished(first.key) == first


def test_keep_replaces_a_failed_record(started, cell, record):
    started.keep(record(cell(), status="failed", metrics={}, error="x"))
    started.keep(record(cell()))
    assert started.finished(cell().key) is not None


def test_a_name_is_taken_once(started):
    with pytest.raises(ConfigError, match="add --resume"):
        started.check_name(resume=False)
    started.check_name(resume=True)


def test_nothing_to_resume(store):
    with pytest.raises(ConfigError, match="no sweep 'one'"):
        store.check_name(resume=True)
    assert not store.folder.exists()


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [("options", "num_steps", 5), ("content", "domain thing", "other"), ("loop_hash", None, "m"),
     ("kind", None, "bitrate")],
)  # fmt: skip
def test_another_sweep_does_not_go_on_under_this_name(started, part, name, value):
    changed = SETTINGS | {part: SETTINGS[part] | {name: value} if name else value}
    with pytest.raises(ConfigError, match=r"different|change|not bitrate"):
        started.check(changed, resume=True)
    started.check(SETTINGS | {"command": "another"}, resume=True)


def test_a_resumed_sweep_keeps_its_first_settings(started):
    started.write_settings(SETTINGS | {"command": "another"})
    assert started.settings()["command"] == "python x.py"


def test_all_changes_are_named_at_once(started):
    changed = SETTINGS | {"options": {"num_steps": 5, "batch_size": 3}}
    with pytest.raises(ConfigError) as caught:
        started.check(changed, resume=True)
    assert "num_steps was 4, now it is 5" in str(caught.value)
    assert "batch_size was 2, now it is 3" in str(caught.value)


def hold(folder, ready, release):
    with SweepStore(folder, "one").lease():
        ready.set()
        release.wait(60)


def test_one_driver_at_a_time_and_a_dead_one_lets_go(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    driver = context.Process(target=hold, args=(tmp_path, ready, release))
    driver.start()
    assert ready.wait(60)
    store = SweepStore(tmp_path, "one")
    with pytest.raises(ConfigError, match=f"is running \\(process {driver.pid} on "), store.lease():
        pass
    driver.kill()
    driver.join()
    with store.lease():
        assert (store.folder / "lease").read_text() == f"{os.getpid()} {socket.gethostname()}"


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    store = SweepStore(tmp_path / "file" / "below", "one")
    with pytest.raises(StorageError, match=r"cannot be made .*--storage"), store.lease():
        pass


def test_a_full_disk_is_refused(store, monkeypatch):
    class Usage:
        free = 1024**2

    monkeypatch.setattr("interfero.store.sweep.shutil.disk_usage", lambda _: Usage)
    with pytest.raises(StorageError, match="1 MiB free, a sweep needs 200 MiB"):
        store.check(SETTINGS, resume=False)


def test_cells_of_other_sweeps_are_taken_over_with_their_files(tmp_path, started, cell, record):
    known, wanted = cell(), cell(learning_rate=1e-2)
    started.write_record(with_files(started, record(known)))
    other = SweepStore(tmp_path, "two")
    taken = list(other.take_over({known.key, wanted.key}))
    assert [(r.key, r.reused_from) for r in taken] == [(known.key, "one")]
    assert (other.folder / taken[0].adapter_file).read_text() == known.key
    assert other.finished(known.key) == taken[0]
    third = list(SweepStore(tmp_path, "three").take_over({known.key}))
    assert third[0].reused_from == "one", "the sweep that computed it, not the last that had it"


def test_failed_cells_and_cells_without_files_are_not_taken_over(tmp_path, started, cell, record):
    failed, bare = cell(), cell(learning_rate=1e-2)
    started.write_record(record(failed, status="failed", metrics={}, error="x"))
    started.write_record(record(bare, adapter_file="adapters/gone.safetensors"))
    assert list(SweepStore(tmp_path, "two").take_over({failed.key, bare.key})) == []


def test_a_stopped_cell_has_ended_and_is_no_result_for_anybody(tmp_path, started, cell, record):
    stopped = record(cell(), status="stopped", stopped_at=3, metrics={"val/rd_gain_percent": 1.0})
    started.write_record(stopped)
    assert started.ended(stopped.key) == stopped
    assert started.finished(stopped.key) is None
    assert started.reusable({stopped.key}) == frozenset()
    other = SweepStore(tmp_path, "two")
    assert list(other.take_over({stopped.key})) == []
    assert other.ended(stopped.key) is None


def test_reusable_looks_and_writes_nothing(tmp_path, started, cell, record):
    started.write_record(with_files(started, record(cell())))
    other = SweepStore(tmp_path, "two")
    assert other.reusable({cell().key, "else"}) == {cell().key}
    assert not other.folder.exists()
    assert SweepStore(tmp_path / "nowhere", "two").reusable({"else"}) == frozenset()


@pytest.mark.parametrize("field", ["adapter_file", "sample_file"])
@pytest.mark.parametrize(
    "name", ["../../stolen", "adapters/../../../stolen", "{outside}", "link/x"]
)
def test_a_record_that_names_files_outside_its_sweep_is_not_taken_over(
    tmp_path, started, cell, record, field, name
):
    outside = tmp_path / "stolen"
    outside.write_text("secret")
    other = SweepStore(started.storage, "two")
    written = with_files(started, record(cell()))
    (started.folder / "link").symlink_to(tmp_path)
    (tmp_path / "x").write_text("secret")
    bad = written.model_copy(update={field: name.format(outside=outside)})
    started.write_record(bad)
    assert list(other.take_over({bad.key})) == []
    files = [p for p in other.folder.rglob("*") if p.is_file()]
    assert all(p.read_text() != "secret" for p in files)
    assert outside.read_text() == "secret"


def test_a_record_whose_key_is_a_path_counts_as_not_computed(started, cell, record):
    written = record(cell())
    path = started.folder / "cells" / f"{written.key}.json"
    started.write_record(written)
    path.write_text(path.read_text().replace(written.key, "../../outside"))
    assert started.finished(written.key) is None
    assert started.records() == {}


def test_a_cell_taken_over_has_the_files_that_its_record_is_of(tmp_path, started, cell, record):
    kept = with_files(started, record(cell()))
    started.write_record(kept)
    other = SweepStore(tmp_path, "two")
    # Its worker was killed behind the adapter and before the record; a GPU made other bits.
    own = other.folder / kept.adapter_file
    own.parent.mkdir(parents=True)
    own.write_text("of an attempt without a record")
    assert len(list(other.take_over({kept.key}))) == 1
    assert own.read_text() == kept.key
    assert (started.folder / kept.adapter_file).read_text() == kept.key


def test_a_copy_that_was_killed_half_way_is_no_file(tmp_path, started, cell, record, monkeypatch):
    kept = with_files(started, record(cell()))
    started.write_record(kept)
    other = SweepStore(tmp_path, "two")

    def no_links(source, target):
        raise OSError(1, "no hard links here")

    def half(source, target):
        target.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr("os.link", no_links)
    with monkeypatch.context() as patched:
        patched.setattr("shutil.copyfile", half)
        with pytest.raises(KeyboardInterrupt):
            list(other.take_over({kept.key}))
    assert not (other.folder / kept.adapter_file).exists()
    assert len(list(other.take_over({kept.key}))) == 1
    assert (other.folder / kept.adapter_file).read_text() == kept.key
