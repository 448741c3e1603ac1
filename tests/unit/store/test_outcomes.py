"""What is read of records while a sweep runs: a part, and only once."""

import json
import os

import pytest

from interfero.store import outcomes as module
from interfero.store.outcomes import Outcomes
from interfero.store.sweep import SweepStore
from tests.unit.engine.conftest import make_cell, make_record


@pytest.fixture
def store(tmp_path):
    return SweepStore(tmp_path, "one")


def write(store, rate, **changes):
    record = make_record(make_cell(learning_rate=rate), **changes)
    store.write_record(record)
    return store.record_file(record.key)


def found(outcomes):
    return {outcome.key: outcome for outcome, _ in outcomes.look()}


def change(path, **values):
    """Other values in a file whose time stays."""
    before = path.stat().st_mtime_ns
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    os.utime(path, ns=(before, before))


def test_a_record_is_read_once_until_it_is_written_again(store):
    outcomes, path = Outcomes(store), write(store, 1e-3, seconds=3.0)
    assert found(outcomes)[path.stem].seconds == 3.0
    change(path, seconds=4.0)
    assert found(outcomes)[path.stem].seconds == 3.0
    os.utime(path, ns=(1, 1))
    ((again, ended),) = outcomes.look()
    assert (again.seconds, ended) == (4.0, 1e-9)


def test_a_look_reads_what_is_new_and_forgets_what_is_gone(store, monkeypatch):
    read, whole = [], module._read
    monkeypatch.setattr(module, "_read", lambda path: read.append(path) or whole(path))
    outcomes = Outcomes(store)
    assert found(outcomes) == {}
    first, second = write(store, 1e-3), write(store, 2e-3)
    assert found(outcomes).keys() == {first.stem, second.stem}
    third = write(store, 3e-3)
    second.unlink()
    assert found(outcomes).keys() == {first.stem, third.stem}
    assert sorted(read) == sorted([first, second, third])


def test_what_is_not_read_is_not_checked(store):
    path = write(store, 1e-3)
    change(path, curve="nonsense", images=[{}], metrics={"target/bpp": "much"})
    assert found(Outcomes(store))[path.stem].status == "finished"
    assert store.records() == {}


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"key": "x"}', b"\xff\xfe"])
def test_a_damaged_record_counts_as_not_there_and_is_named_once(store, damage, caplog):
    path, outcomes = write(store, 1e-3), Outcomes(store)
    path.write_bytes(damage)
    assert found(outcomes) == found(outcomes) == {}
    (said,) = (record.getMessage() for record in caplog.records)
    assert f"the record {path} cannot be used" in said


def test_a_record_of_another_cell_counts_as_not_there(store, caplog):
    path = write(store, 1e-3)
    path.rename(path.with_name("other.json"))
    assert found(Outcomes(store)) == {}
    assert f"it is of {path.stem}" in caplog.text


def test_a_reason_is_one_line_without_credentials(store):
    path = write(store, 1e-3, status="failed", metrics={}, error="away\nmore")
    change(path, error="postgresql://ann:hunter2@host/db is away\nmore")
    reason = found(Outcomes(store))[path.stem].reason
    assert reason.endswith("host/db is away")
    assert "hunter2" not in reason
