"""Which records were damaged, and what is said of those that were made again."""

import logging

import pytest

from interfero.engine.damage import damaged_cells, damaged_steps, made_again_line
from interfero.store.files import write_atomic
from interfero.store.products import Products
from interfero.store.sweep import SweepStore


@pytest.fixture
def store(tmp_path, cell, record, caplog):
    """Three cells, the second of which is damaged, and two steps, the first of which is."""
    caplog.set_level(logging.CRITICAL)
    store = SweepStore(tmp_path, "one")
    for rate in (1e-3, 2e-3, 3e-3):
        store.write_record(record(cell(learning_rate=rate)))
    for key in ("train-0a", "train-0b"):
        store.write_record(record(cell(), key=key, params={"step": "train"}))
    store.record_file(cell(learning_rate=2e-3).key).write_bytes(b"{")
    (Products(tmp_path).place("train-0a") / "record.json").write_bytes(b"")
    write_atomic(Products(tmp_path).place("copy-0d") / "record.3.json", b"{")
    return store


def test_records_that_cannot_be_read_are_found(store, cell):
    damaged = cell(learning_rate=2e-3).key
    assert damaged_cells(store, store.records().keys()) == [damaged]
    steps = ["train-0a", "train-0b", "train-0c", "copy-0d.3", "copy-0d.4"]
    assert damaged_steps(store.storage, steps) == ["copy-0d.3", "train-0a"]


def test_what_was_made_again_is_named_and_nothing_else(store, cell, record):
    damaged = [cell(learning_rate=2e-3).key, "train-0a"]
    assert made_again_line(store, damaged) is None
    store.write_record(record(cell(learning_rate=2e-3)))
    assert made_again_line(store, damaged) == (
        f"made again, because its record was damaged: {damaged[0]}"
    )
    store.write_record(record(cell(), key="train-0a", params={"step": "train"}))
    assert made_again_line(store, damaged) == (
        f"made again, because their records were damaged: {damaged[0]}, train-0a"
    )
    assert made_again_line(store, [*damaged, *damaged, "train-0b"]).endswith(" and 2 more")
