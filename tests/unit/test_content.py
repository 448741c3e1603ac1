"""Content that is damaged, missing or misnamed is refused; a node copies it once."""

import multiprocessing
import os

import pytest

from interfero.errors import StorageError
from interfero.store.content import CACHE_VARIABLE, FOLDER, ContentStore


@pytest.fixture
def content(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "node"))
    return ContentStore(tmp_path / "storage")


def fetch_and_tell(content, address, queue):
    path = content.fetch(address, "file.bin")
    queue.put((path.read_bytes(), path.stat().st_ino))


def test_a_file_comes_back_from_its_hash(content, tmp_path):
    address = content.add([b"first ", memoryview(b"second")])
    path = content.fetch(address, "file.bin")
    assert path.read_bytes() == b"first second"
    assert path.is_relative_to(tmp_path / "node")
    assert content.add([b"first second"]) == address
    assert [p.name for p in (tmp_path / "storage" / FOLDER).iterdir()] == [address]


def test_a_node_copies_once_for_all_its_processes(content):
    address = content.add([os.urandom(3 * 2**20)])
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(target=fetch_and_tell, args=(content, address, queue)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    seen = [queue.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert len(set(seen)) == 1


def test_a_copy_is_kept_and_one_that_was_cut_short_is_made_again(content):
    address = content.add([b"content"])
    copy = content.fetch(address, "file.bin")
    first = copy.stat().st_ino
    assert content.fetch(address, "file.bin").stat().st_ino == first
    copy.unlink()
    copy.write_bytes(b"con")
    assert content.fetch(address, "file.bin").read_bytes() == b"content"


def test_damage_in_the_storage_is_seen_and_mended_by_the_driver(content, tmp_path):
    address = content.add([b"content"])
    stored = tmp_path / "storage" / FOLDER / address
    stored.unlink()
    stored.write_bytes(b"CONTENT")
    with pytest.raises(StorageError, match=r"is damaged: .*--resume"):
        content.fetch(address, "file.bin")
    node = tmp_path / "node" / FOLDER / address
    assert [p.name for p in node.iterdir()] == [".lock"]
    assert content.add([b"content"]) == address
    assert content.fetch(address, "file.bin").read_bytes() == b"content"


def test_what_is_not_there_says_that_the_storage_must_be_shared(content):
    with pytest.raises(StorageError, match="every node sees at the same path"):
        content.fetch("0" * 32, "file.bin")


@pytest.mark.parametrize(
    ("address", "name"),
    [("../secret", "x"), ("0" * 31, "x"), ("0" * 32, "../x"), ("0" * 32, ".lock"), ("0" * 32, "")],
)
def test_no_name_leads_out_of_the_folders(content, address, name):
    with pytest.raises(StorageError, match="32 hexadecimal digits"):
        content.fetch(address, name)


def test_a_storage_that_cannot_be_written(content, tmp_path):
    (tmp_path / "storage").write_text("a file in the way")
    with pytest.raises(StorageError, match="choose another --storage"):
        content.add([b"content"])
