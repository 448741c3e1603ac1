"""A storage as the build before laid it out: it is read, verified, and pruned of what nobody needs."""

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import save

from interfero.cli.store import list_command, prune_command, verify_command
from interfero.errors import ConfigError, StorageError
from interfero.store.content import CACHE_VARIABLE, ContentStore
from interfero.store.inventory import SweepState, take_stock
from interfero.store.products import Products
from interfero.store.pruning import Wish, prune
from interfero.store.sweep import SweepStore
from interfero.store.tensors import state_hash

STEP, OTHER = "compress-18b9342a5a520fcd", "restoration-25671d324077616d"
CELL = "0f3e1fe44698075b"
CODEC = "5a8604cfd2615728cbc1d5701cd8a8c0"


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(value if isinstance(value, bytes) else json.dumps(value).encode())
    return path


def tensors(**metadata):
    state = {"w": torch.arange(3.0)}
    text = json.dumps({"adapter_hash": state_hash(state.items()), **metadata})
    return save(state, {"interfero": text})


def record(key, **more):
    return {"key": key, "params": {}, "status": "finished", **more}


@pytest.fixture
def storage(tmp_path, monkeypatch):
    """One sweep that has ended and one that can go on, and products of both and of none."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    root = tmp_path / "storage"
    settings = {"kind": "k", "loop_hash": "l", "options": {}, "content": {"codec": CODEC}}
    for name in ("ended", "going"):
        put(root / name / "sweep.json", settings)
        put(root / name / "lease", b"4711")
        put(root / name / f"trained/{CELL}.safetensors", tensors())
    files = {"adapter_file": f"adapters/{CELL}.safetensors"}
    put(root / "ended" / files["adapter_file"], tensors())
    put(root / f"ended/cells/{CELL}.json", record(CELL, provenance={"compress": STEP}, **files))
    put(root / "ended/report/report.html", b"report")
    put(root / "going/checkpoints/abc.safetensors", tensors())
    for key, suffix in ((STEP, ".0"), (OTHER, "")):
        put(root / f"products/{key}/record{suffix}.json", record(f"{key}{suffix}"))
    put(root / f"products/{OTHER}/model.safetensors", tensors())
    put(root / "products/settings/0123456789abcdef.json", {"value": 1.0})
    put(root / f"content/{hashlib.blake2b(b'x', digest_size=16).hexdigest()}", b"x")
    put(root / "evaluations/ab/abcd.safetensors", tensors(codec=f"source {CODEC} Shape()"))
    return root


def end(storage):
    """The second sweep ends, too."""
    (storage / "going/checkpoints/abc.safetensors").unlink()
    put(storage / "going/report/report.html", b"report")


def kinds(kept):
    return sorted(entry.kind for entry in kept)


def hold(storage, ready):
    with SweepStore(storage, "going").lease():
        ready.set()
        time.sleep(600)


def test_what_the_build_before_kept_is_found(storage):
    assert SweepStore(storage, "ended").finished(CELL).key == CELL
    assert next(SweepStore(storage, "next").take_over({CELL})).reused_from == "ended"
    products = Products(storage)
    assert products.is_done(f"{STEP}.0", [])
    assert products.is_done(OTHER, ["model.safetensors"])
    assert not products.is_done(OTHER, ["gone"])
    with SweepStore(storage, "going").lease():
        assert (storage / "going/lease").read_text().startswith(f"{os.getpid()} ")
    address = hashlib.blake2b(b"x", digest_size=16).hexdigest()
    assert ContentStore(storage).fetch(address, "file").read_bytes() == b"x"


def test_what_a_sweep_needs_stays(storage):
    gone = prune(storage, Wish())
    assert kinds(gone) == ["content", "training"]
    assert [e.sweep for e in gone if e.kind == "training"] == ["ended"]
    end(storage)
    assert kinds(prune(storage, Wish())) == ["evaluation", "product", "training"]
    assert (storage / f"products/{STEP}").is_dir(), "a finished cell refers to it"
    assert not (storage / f"products/{OTHER}").exists()
    assert SweepStore(storage, "ended").finished(CELL) is not None
    assert prune(storage, Wish()) == []


def test_a_failed_cell_can_be_tried_again_so_its_sweep_has_not_ended(storage):
    end(storage)
    put(storage / "going/cells/0.json", {"key": "0", "params": {}, "status": "failed"})
    put(storage / "going/report/report.html", b"report")
    assert not SweepState(SweepStore(storage, "going"), running=False).ended


def test_dry_run_removes_nothing_and_age_and_size_choose(storage):
    end(storage)
    everything = {p for p in storage.rglob("*") if p.is_file()}
    assert len(prune(storage, Wish(), dry_run=True)) == 5
    assert {p for p in storage.rglob("*") if p.is_file()} == everything
    assert prune(storage, Wish(older_than_s=3600)) == []
    old = storage / "evaluations/ab/abcd.safetensors"
    os.utime(old, (1, 1))
    assert [e.path for e in prune(storage, Wish(older_than_s=3600), dry_run=True)] == [old]
    total = sum(e.num_bytes for e in take_stock(storage, [
        SweepState(SweepStore(storage, name), running=False) for name in ("ended", "going")
    ]))  # fmt: skip
    assert [e.path for e in prune(storage, Wish(max_bytes=total - 1))] == [old]
    assert prune(storage, Wish(max_bytes=total)) == []


def test_force_removes_a_sweep_and_what_it_alone_needs(storage):
    end(storage)
    with pytest.raises(ConfigError, match="--force would remove every result"):
        prune(storage, Wish(force=True))
    assert "sweep" in kinds(prune(storage, Wish(sweep="ended", force=True)))
    assert not (storage / "ended").exists()
    assert not (storage / f"products/{STEP}").exists()
    assert (storage / "going/sweep.json").exists()


def test_nothing_is_touched_while_a_sweep_runs_until_its_driver_is_killed(storage):
    end(storage)
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    driver = context.Process(target=hold, args=(storage, ready))
    driver.start()
    assert ready.wait(60)
    with pytest.raises(ConfigError, match=rf"is running \(process {driver.pid} on "):
        prune(storage, Wish(sweep="going", force=True))
    assert [e.sweep for e in prune(storage, Wish(kinds=("training", "content"), force=True))] == [
        "ended"
    ]
    driver.kill()
    driver.join()
    assert kinds(prune(storage, Wish(kinds=("training", "content")))) == ["content", "training"]


def test_verify_names_what_is_damaged_and_exits_with_1(storage, capsys):
    (storage / "evaluations/ab/abcd.safetensors").unlink()
    (storage / "going/checkpoints/abc.safetensors").unlink()
    verify_command(str(storage))
    assert ", 0 damaged" in capsys.readouterr().out
    adapter = storage / f"ended/adapters/{CELL}.safetensors"
    data = bytearray(adapter.read_bytes())
    data[-1] ^= 1
    adapter.write_bytes(data)
    put(storage / "products/settings/0123456789abcdef.json", b"{")
    with pytest.raises(SystemExit) as caught:
        verify_command(str(storage))
    assert caught.value.code == 1
    out = capsys.readouterr().out
    assert f"{adapter} does not match" in out
    assert "0123456789abcdef.json" in out
    assert ", 2 damaged" in out


def test_errors_say_what_to_do(storage, tmp_path):
    with pytest.raises(ConfigError, match=r"--older-than 'soon'.*30d"):
        prune_command(str(storage), older_than="soon")
    with pytest.raises(ConfigError, match=r"--max-size '5XB'.*20GiB"):
        prune_command(str(storage), max_size="5XB")
    with pytest.raises(ConfigError, match=r"unknown --kind 'x'.*evaluation"):
        prune_command(str(storage), kind=("x",))
    with pytest.raises(ConfigError, match=r"no sweep 'x'.*ended, going"):
        prune_command(str(storage), sweep="x")
    with pytest.raises(StorageError, match="is no folder"):
        prune_command(str(tmp_path / "nowhere"))


def test_the_cache_is_named_and_not_in_the_storages_sum(storage, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")

    def listed():
        list_command(str(storage))
        *table, ours, cache = capsys.readouterr().out.splitlines()
        assert ours.startswith(f"storage {storage}: ")
        assert cache.startswith(f"cache {storage.parent / 'cache'}: ")
        return " ".join(table), ours, cache.partition(": ")[2].partition(" (")[0]

    _, before, nothing = listed()
    put(storage.parent / "cache/domains/abc/pixels", b"x" * 5000)
    table, after, size = listed()
    assert (before, nothing, size) == (after, "0 B", "4.88 KiB")
    assert "(cache)" in table


@pytest.mark.parametrize("command", [list_command, verify_command, prune_command])
def test_a_folder_that_is_no_storage_is_refused(storage, tmp_path, command):
    (tmp_path / "docs/images").mkdir(parents=True)
    put(tmp_path / "docs/pool.md", b"text")
    for name in ("docs", "docs/images"):
        with pytest.raises(
            StorageError, match=f"--storage .*{name} is no storage, it has no sweep"
        ):
            command(str(tmp_path / name))
    with pytest.raises(StorageError, match=r"it is one sweep of .*storage: name that"):
        command(str(storage / "going"))


@pytest.mark.parametrize("command", [list_command, prune_command])
def test_a_storage_is_named_as_for_a_sweep(storage, command, capsys):
    command(storage.as_uri())
    assert capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"--storage 'file://host/srv': a file URI names"):
        command("file://host/srv")


def test_the_command_loads_no_torch(storage):
    script = (
        "import sys; from interfero.cli.store import run_store\n"
        f"run_store(['list', '--storage', {str(storage)!r}])\n"
        "assert 'torch' not in sys.modules"
    )
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=wide)
    assert done.returncode == 0, done.stderr
    assert "resumable" in done.stdout
