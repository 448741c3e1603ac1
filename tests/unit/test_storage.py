"""Files are whole or absent, and damage is a StorageError with the file's name."""

import errno
import math
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from interfero.errors import StorageError
from interfero.store.files import inside, patience, read_json, write_atomic, write_json
from interfero.store.tensors import load_tensors, save_tensors


@pytest.fixture
def full_disk(monkeypatch):
    def refuse(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_written_file_is_read_back_and_nothing_lies_beside_it(tmp_path):
    path = tmp_path / "new" / "folder" / "file.bin"
    write_atomic(path, b"first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_leaves_the_old_file_and_no_remains(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(
        StorageError, match=r"file\.bin.*No space left.*free the disk or name another place"
    ):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_leaves_the_old_file_and_no_remains(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")

    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_the_disk_before_the_name_is_and_then_the_name(tmp_path, monkeypatch):
    path = tmp_path / "file.bin"
    synced = []

    def sync(handle: int) -> None:
        synced.append((Path(f"/proc/self/fd/{handle}").readlink() == tmp_path, path.exists()))

    monkeypatch.setattr(os, "fsync", sync)
    write_atomic(path, b"new")
    assert synced == [(False, False), (True, True)]


def test_a_folder_whose_names_cannot_be_synced_is_written_all_the_same(tmp_path, monkeypatch):
    """As some file systems say of a folder; a fault of the disk is an error."""
    path, sync = tmp_path / "file.bin", os.fsync
    for number, fails in ((errno.EINVAL, False), (errno.EIO, True)):

        def refuse(handle: int, number: int = number) -> None:
            if path.exists():
                raise OSError(number, os.strerror(number))
            sync(handle)

        path.unlink(missing_ok=True)
        monkeypatch.setattr(os, "fsync", refuse)
        if fails:
            with pytest.raises(StorageError, match="Input/output error"):
                write_atomic(path, b"new")
        else:
            write_atomic(path, b"new")
        assert path.read_bytes() == b"new"


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "taken" / "file.bin", b"new")


def test_json_round_trip(tmp_path):
    value = {"b": [1, 2.5, None, True], "a": {"nested": "text"}}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


def test_equal_json_is_equal_bytes(tmp_path):
    write_json(tmp_path / "1.json", {"a": 1, "b": 2})
    write_json(tmp_path / "2.json", {"b": 2, "a": 1})
    assert (tmp_path / "1.json").read_bytes() == (tmp_path / "2.json").read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf, {"deep": [-math.inf]}])
def test_json_without_a_meaning_is_refused_and_the_old_file_stays(tmp_path, value):
    path = tmp_path / "value.json"
    write_json(path, "old")
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, value)
    assert read_json(path) == "old"


@pytest.mark.parametrize("data", [b"", b'{"a": ', b"\xff\xfe\x00", None])
def test_damaged_json_is_refused_by_name(tmp_path, data):
    path = tmp_path / "value.json"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(StorageError, match=r"value\.json"):
        read_json(path)


TENSORS = {
    "float": torch.tensor([[1.5, -0.0], [math.inf, 3e-42]]),
    "half": torch.tensor([0.1], dtype=torch.float16),
    "brain": torch.tensor([0.1], dtype=torch.bfloat16),
    "table": torch.tensor([[1, -7]], dtype=torch.int32),
    "flag": torch.tensor(True),
    "empty": torch.zeros(0, 3),
    "strided": torch.arange(6).reshape(2, 3).T,
}


def test_tensors_round_trip(tmp_path):
    path = tmp_path / "state.safetensors"
    metadata = {"step": 3, "card": {"text": "ä"}, "list": [1, None]}
    save_tensors(path, TENSORS, metadata)
    tensors, read = load_tensors(path)
    assert read == metadata
    assert tensors.keys() == TENSORS.keys()
    for name, value in TENSORS.items():
        assert tensors[name].dtype == value.dtype
        assert torch.equal(tensors[name], value)


def test_a_parameter_is_stored_without_its_gradient(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2))
    save_tensors(tmp_path / "p.safetensors", {"p": parameter}, {})
    tensors, _ = load_tensors(tmp_path / "p.safetensors")
    assert not tensors["p"].requires_grad


def test_metadata_with_nan_is_refused(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        save_tensors(tmp_path / "p.safetensors", {}, {"loss": math.nan})
    assert not list(tmp_path.iterdir())


def test_a_truncated_file_is_refused_at_every_length(tmp_path):
    path = tmp_path / "state.safetensors"
    save_tensors(path, TENSORS, {"step": 3})
    data = path.read_bytes()
    for length in [0, 1, 7, 8, *np.linspace(9, len(data) - 1, 20).astype(int)]:
        path.write_bytes(data[:length])
        with pytest.raises(StorageError, match=r"state\.safetensors"):
            load_tensors(path)


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(StorageError, match=r"there is no file .*absent\.safetensors"):
        load_tensors(tmp_path / "absent.safetensors")
    with pytest.raises(StorageError):
        load_tensors(tmp_path)


def test_a_file_of_another_program_is_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(StorageError, match="interfero"):
        load_tensors(tmp_path / "plain.safetensors")
    save_file({"a": torch.ones(1)}, tmp_path / "odd.safetensors", {"interfero": "{"})
    with pytest.raises(StorageError, match="interfero"):
        load_tensors(tmp_path / "odd.safetensors")


def test_a_name_below_the_folder_is_joined(tmp_path):
    assert inside(tmp_path, "adapters/a..b.safetensors") == tmp_path / "adapters/a..b.safetensors"


@pytest.mark.parametrize(
    "name", ["", ".", "../../x", "adapters/../../x", "adapters/..", "/etc/passwd", "link/x"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    with pytest.raises(StorageError, match=f"must be the path of a file below {folder}"):
        inside(folder, name)


def test_inside_patience_a_write_waits_for_a_place_that_is_mended(tmp_path):
    in_the_way = tmp_path / "folder"
    in_the_way.write_text("not a folder")
    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(in_the_way / "result", b"x")
    mending = threading.Timer(0.7, in_the_way.unlink)
    mending.start()
    with patience(60):
        write_atomic(in_the_way / "result", b"x")
    assert (in_the_way / "result").read_bytes() == b"x"


def test_patience_ends(tmp_path):
    (tmp_path / "folder").write_text("not a folder")
    begun = time.monotonic()
    with pytest.raises(StorageError, match="cannot be written"), patience(1.0):
        write_atomic(tmp_path / "folder/result", b"x")
    assert 0.4 < time.monotonic() - begun < 60
