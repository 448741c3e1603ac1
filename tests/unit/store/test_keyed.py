"""Entries are made once, whole or absent; a dead maker's lock is free and its leftovers go."""

import hashlib
import json
import multiprocessing
import os
import time

import pytest

from interfero.errors import StorageError
from interfero.store.files import leftovers, read_json, remove_leftovers, write_json
from interfero.store.keyed import KeyedStore
from interfero.store.keys import bytes_key, content_key, text_key
from interfero.store.locks import acquired


def make_slowly(folder, made):
    def make(path):
        made.put(os.getpid())
        time.sleep(0.5)
        write_json(path, {"by": os.getpid()})

    KeyedStore(folder, ".json").fetch("key", read_json, make)


def stop_half_way(folder, ready):
    store = KeyedStore(folder, ".json")
    with store.lock("key"):
        (folder / ".key.json.abcd1234").write_text("half")
        ready.set()
        time.sleep(600)


def test_of_two_processes_one_makes_an_entry(tmp_path):
    context = multiprocessing.get_context("fork")
    made = context.Queue()
    processes = [context.Process(target=make_slowly, args=(tmp_path, made)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    maker = made.get(timeout=10)
    assert made.empty()
    assert read_json(tmp_path / "key.json") == {"by": maker}


def test_the_lock_of_a_killed_writer_is_free_and_what_it_left_is_no_entry(tmp_path):
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    writer = context.Process(target=stop_half_way, args=(tmp_path, ready))
    writer.start()
    assert ready.wait(60)
    store = KeyedStore(tmp_path, ".json")
    assert acquired(store.lock_path("key")) is None
    writer.kill()
    writer.join()
    free = acquired(store.lock_path("key"))
    assert free is not None
    free.release()
    assert store.read("key", read_json) is None
    assert list(store.list_keys()) == []
    assert store.fetch("key", read_json, lambda path: write_json(path, 1)) == 1
    left = tmp_path / ".key.json.abcd1234"
    assert leftovers(tmp_path) == [], "a writer may still live"
    os.utime(left, (0, 0))
    assert remove_leftovers(tmp_path) == 1
    assert not left.exists()


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff"])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    store = KeyedStore(tmp_path, ".json", spread=True)
    path = store.path("abcd")
    path.parent.mkdir()
    path.write_bytes(damage)
    assert store.read("abcd", read_json) is None
    assert store.fetch("abcd", read_json, lambda p: write_json(p, 2)) == 2
    assert path == tmp_path / "ab" / "abcd.json"
    assert list(store.list_keys()) == ["abcd"]


@pytest.mark.parametrize("key", ["", ".", "..", "../x", "a/b", ".lock", "a\0b"])
def test_no_key_leads_out_of_the_folder(tmp_path, key):
    with pytest.raises(StorageError, match="is no key"):
        KeyedStore(tmp_path).path(key)


def test_keys_are_those_of_the_builds_before():
    identity = {"b": [1, 0.5, None], "a": {"z": "x", "y": float("inf")}}
    text = json.dumps(identity, sort_keys=True).encode()
    assert content_key(identity) == hashlib.blake2b(text, digest_size=8).hexdigest()
    assert content_key({"kind": "source", "steps": 30}) == "27fb54f6ac8b5282"
    assert text_key("a", "b") == hashlib.blake2b(b"a\0b", digest_size=16).hexdigest()
    assert bytes_key(b"a", 16) == hashlib.blake2b(b"a", digest_size=8).hexdigest()
