"""Domains larger than their budget: decoded once to files, mapped, the same in every other way."""

import io
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from interfero.domains import decoding, sources
from interfero.domains.batches import draw_batch
from interfero.domains.catalogue import load_domain
from interfero.domains.images import ImageRules, decode_image, decoded_bytes
from interfero.domains.ingest import load_folder, load_parquet
from interfero.domains.memory import MEMORY_SHARE, MemoryBudget, machine_memory
from interfero.domains.pixel_files import CACHE_VARIABLE, MappedSample
from interfero.errors import DomainError, StorageError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    monkeypatch.setattr(sources, "CHUNK_IMAGES", 4)
    return folder


@pytest.fixture
def decoded_names(monkeypatch):
    """Labels of the images that are decoded, as they are."""
    names, real = [], decoding.decode_image

    def spy(data, label, *rest):
        names.append(label)
        return real(data, label, *rest)

    monkeypatch.setattr(decoding, "decode_image", spy)
    return names


def picture(seed, size=(80, 72)):
    """Smooth enough for Parquet and PNG to be small; no two alike."""
    y, x, c = np.ogrid[: size[1], : size[0], :3]
    return Image.fromarray(
        ((3 * y + 5 * x + 17 * c + 29 * seed + x * y // 9) % 256).astype(np.uint8)
    )


def fill(folder, count=14, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        picture(i, (70 + i % 5, 72)).save(folder / f"p{i:02d}.png")
    return folder


def mixed(folder):
    """Everything that is converted, halved, cut or skipped, in train/, val/ and test/."""
    for split, count in (("train", 10), ("val", 3), ("test", 12)):
        fill(folder / split, count, first={"train": 0, "val": 20, "test": 40}[split])
    picture(60).convert("L").save(folder / "train" / "grey.png")
    picture(61, (150, 140)).save(folder / "train" / "photo.jpg", quality=90)
    picture(62, (1100, 70)).save(folder / "test" / "wide.png")
    picture(63).save(folder / "train" / "s1_0.png")
    picture(64).save(folder / "train" / "s1_1.png")
    picture(65, (20, 20)).save(folder / "test" / "tiny.png")
    (folder / "train" / "bad.png").write_bytes(b"nothing")
    return folder


def parquet(path, split=True):
    rows = []
    for i in range(14):
        buffer = io.BytesIO()
        picture(i).save(buffer, "PNG")
        rows.append({"image": buffer.getvalue(), "name": f"n{i}", "group": f"g{i // 2}",
                     "source_image": f"picture {i // 4}"})  # fmt: skip
        if split:
            rows[-1]["split"] = "test" if i // 2 in (1, 5) else "train"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=6)
    return path


def load_twice(load, *arguments):
    in_memory = load("d", *arguments, budget=MemoryBudget(2**30))
    mapped = load("d", *arguments, budget=MemoryBudget(0))
    assert not any(isinstance(s, MappedSample) for s in in_memory.train + in_memory.test)
    assert all(isinstance(s, MappedSample) for s in mapped.train + mapped.test)
    return in_memory, mapped


def assert_same(one, two):
    assert one.fingerprint == two.fingerprint
    assert (one.notes, one.unit) == (two.notes, two.unit)
    for mine, other in ((one.train, two.train), (one.test, two.test)):
        assert [(s.name, s.group, s.source_image, s.digest) for s in mine] == [
            (s.name, s.group, s.source_image, s.digest) for s in other
        ]
        assert all(
            np.array_equal(a.pixels_HWC, b.pixels_HWC) for a, b in zip(mine, other, strict=True)
        )
    for seed in range(2):
        splits = [d.split("all", seed) for d in (one, two)]
        names = [[[s.name for s in part] for part in (x.training, x.validation)] for x in splits]
        assert names[0] == names[1]
        batches = [
            draw_batch(x.training, seed=seed, step=3, batch_size=6, crop_size=64) for x in splits
        ]
        assert batches[0].numpy().tobytes() == batches[1].numpy().tobytes()


def test_a_mapped_folder_is_the_folder_in_memory(tmp_path):
    one, two = load_twice(load_folder, mixed(tmp_path / "d"))
    assert len(one.notes) == 5, "not everything that is counted is there"
    assert_same(one, two)


@pytest.mark.parametrize("split", [True, False])
def test_mapped_parquet_is_parquet_in_memory(tmp_path, split):
    paths = [parquet(tmp_path / "a.parquet", split)]
    assert_same(*load_twice(load_parquet, paths))


@pytest.mark.parametrize("halve", [True, False])
def test_rules_are_part_of_what_is_kept(tmp_path, halve):
    folder = tmp_path / "d"
    folder.mkdir()
    for i in range(4):
        picture(i, (160, 150)).save(folder / f"{i}.jpg", quality=90)
    for rules in (ImageRules(halve_jpeg=not halve), ImageRules(halve_jpeg=halve)):
        assert_same(*load_twice(load_folder, folder, rules))


def test_refusals_are_the_same(tmp_path):
    folder = fill(tmp_path / "d")
    Image.new("CMYK", (70, 70)).save(folder / "p05.tif")
    Image.new("CMYK", (70, 70)).save(folder / "p11.tif")
    texts = []
    for num_bytes in (2**30, 0):
        with pytest.raises(DomainError, match=r"p05\.tif is CMYK") as caught:
            load_folder("d", folder, budget=MemoryBudget(num_bytes))
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_pixels_are_read_only_views_and_pickle_without_them(tmp_path):
    _, mapped = load_twice(load_folder, fill(tmp_path / "d"))
    pixels = mapped.train[0].pixels_HWC
    assert not pixels.flags.owndata
    assert not pixels.flags.writeable
    data = pickle.dumps(mapped)
    assert len(data) < 0.1 * sum(s.pixels_HWC.nbytes for s in mapped.train + mapped.test)
    again = pickle.loads(data)
    assert "fingerprint" in vars(again) or again.fingerprint
    assert_same(mapped, again)


def test_domains_share_one_budget(tmp_path):
    folders = [fill(tmp_path / name, first=i) for i, name in ((0, "a"), (20, "b"), (40, "c"))]
    size = sum(
        s.pixels_HWC.nbytes for d in [load_folder("a", folders[0])] for s in d.train + d.test
    )
    budget = MemoryBudget(int(2.5 * size))
    domains = [load_domain(f"{f.name}={f}", budget=budget) for f in folders]
    kinds = [isinstance(d.train[0], MappedSample) for d in domains]
    assert kinds == [False, False, True]
    assert 0 < budget.left < size


def test_the_default_budget_is_a_share_of_memory():
    assert MemoryBudget().left == int(machine_memory() * MEMORY_SHARE)
    assert 2**28 < machine_memory() < 2**48


@pytest.mark.parametrize(
    ("name", "size"), [("a.png", (70, 90)), ("a.jpg", (300, 200)), ("a.jpg", (100, 127)),
                       ("a.jpg", (5000, 128)), ("a.png", (1500, 1030)), ("a.jpg", (2500, 2100))],
)  # fmt: skip
def test_headers_tell_decoded_sizes(tmp_path, name, size):
    picture(1, size).save(tmp_path / name)
    rules = ImageRules()
    pixels = decode_image(tmp_path / name, name, rules, Counter())
    assert decoded_bytes(tmp_path / name, rules) == pixels.nbytes
    assert decoded_bytes((tmp_path / name).read_bytes(), rules) == pixels.nbytes


def files_of(cache):
    """When each file was made, by name."""
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns) for p in cache.rglob("*.u8")}


def load_mapped(folder):
    return load_folder("d", folder, budget=MemoryBudget(0))


def test_what_is_decoded_is_not_decoded_again(tmp_path, decoded_names):
    folder = fill(tmp_path / "d")
    first = load_mapped(folder)
    assert len(decoded_names) == 14
    assert_same(first, load_mapped(folder))
    assert len(decoded_names) == 14


def test_an_ingestion_goes_on_where_it_was_killed(tmp_path, cache, decoded_names):
    folder = fill(tmp_path / "d", 24)
    script = """
import os, signal, sys
from pathlib import Path
from interfero.domains import decoding, sources
from interfero.domains.ingest import load_folder
from interfero.domains.memory import MemoryBudget
sources.CHUNK_IMAGES = 4
decoding.usable_cores = lambda: 1
real = decoding.decode_image
def spy(data, label, *rest):
    if label == "p14.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return real(data, label, *rest)
decoding.decode_image = spy
load_folder("d", Path(sys.argv[1]), budget=MemoryBudget(0))
"""
    killed = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder)], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    before = files_of(cache)
    assert len(before) == 3
    mapped = load_mapped(folder)
    assert sorted(decoded_names) == [f"p{i}.png" for i in range(12, 24)]
    assert before.items() <= files_of(cache).items()
    assert list(cache.rglob(".*")) == [], "what was half written is left"
    assert_same(load_folder("d", folder), mapped)


@pytest.mark.parametrize("harm", ["flip", "truncate", "lose", "describe", "forge"])
def test_damage_is_found_and_made_good(tmp_path, cache, decoded_names, harm):
    folder = fill(tmp_path / "d")
    first = load_mapped(folder)
    before = files_of(cache)
    pixels = sorted(cache.rglob("*.u8"))[1]
    description = pixels.with_suffix(".json")
    if harm == "flip":
        data = bytearray(pixels.read_bytes())
        data[1234] ^= 1
        pixels.write_bytes(data)
    elif harm == "truncate":
        os.truncate(pixels, 5000)
    elif harm == "lose":
        pixels.unlink()
    elif harm == "describe":
        description.write_text(description.read_text()[:-20])
    else:
        parts = json.loads(description.read_text())
        parts["entries"][0]["digest"] = parts["entries"][1]["digest"]
        description.write_text(json.dumps(parts))
    decoded_names.clear()
    assert_same(first, pickle.loads(pickle.dumps(load_mapped(folder))))
    assert len(decoded_names) in (2, 4), "one chunk is decoded again, and no other"
    changed = {name for name, made in files_of(cache).items() if before[name] != made}
    assert changed == {pixels.name}


def test_pixels_that_were_only_copied_are_kept(tmp_path, cache, decoded_names):
    folder = fill(tmp_path / "d")
    first = load_mapped(folder)
    for path in cache.rglob("*.u8"):
        os.utime(path, ns=(1, 1))
    decoded_names.clear()
    assert_same(first, load_mapped(folder))
    assert decoded_names == []
    times = [json.loads(p.read_text())["mtime_ns"] for p in cache.rglob("*.json")]
    assert set(times) == {1}, "every start would hash all pixels again"


def test_of_a_changed_folder_the_changed_chunks_are_decoded(tmp_path, cache, decoded_names):
    folder = fill(tmp_path / "d")
    first = load_mapped(folder)
    old = files_of(cache)
    decoded_names.clear()
    picture(99, (70, 72)).save(folder / "p05.png")
    fill(folder, 1, first=14)
    second = load_mapped(folder)
    assert second.fingerprint != first.fingerprint
    # Chunks are decoded side by side, in any order.
    assert sorted(decoded_names) == [f"p{i:02d}.png" for i in (4, 5, 6, 7, 12, 13, 14)]
    new = files_of(cache)
    assert len(new) == len(old) == 4
    assert len(new.keys() & old.keys()) == 2, "files of chunks that are no more are left"
    assert_same(load_folder("d", folder), second)


def test_a_changed_parquet_file_is_decoded_again(tmp_path, decoded_names):
    path = parquet(tmp_path / "a.parquet")
    first = load_parquet("d", path, budget=MemoryBudget(0))
    decoded_names.clear()
    table = pyarrow.parquet.read_table(path)
    pyarrow.parquet.write_table(table.slice(1), path)
    second = load_parquet("d", path, budget=MemoryBudget(0))
    assert len(decoded_names) == 13
    assert second.fingerprint != first.fingerprint


def test_another_node_decodes_for_itself(tmp_path, monkeypatch, decoded_names):
    folder = fill(tmp_path / "d")
    first = load_mapped(folder)
    expected, data = [s.pixels_HWC.copy() for s in first.test], pickle.dumps(first)
    shutil.rmtree(tmp_path / "cache")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "elsewhere"))
    for path in folder.iterdir():
        os.utime(path, ns=(7, 7))
    decoded_names.clear()
    there = pickle.loads(data)
    assert decoded_names == [], "unpickling opens nothing"
    assert all((s.pixels_HWC == e).all() for s, e in zip(there.test, expected, strict=True))
    assert len(decoded_names) == 14, "decoded once, not once an image"


@pytest.mark.parametrize("harm", ["change", "remove"])
def test_another_node_with_other_images_says_so(tmp_path, monkeypatch, harm):
    folder = fill(tmp_path / "d")
    data = pickle.dumps(load_mapped(folder))
    shutil.rmtree(tmp_path / "cache")
    if harm == "change":
        picture(99).save(folder / "p02.png")
        words = "are not those that the domain was made of"
    else:
        shutil.rmtree(folder)
        words = "no folder"
    with pytest.raises(DomainError, match=words):
        _ = pickle.loads(data).test[0].pixels_HWC


def test_two_at_once_decode_once(tmp_path, decoded_names):
    folder = fill(tmp_path / "d")
    domains = []
    threads = [threading.Thread(target=lambda: domains.append(load_mapped(folder))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(decoded_names) == 14
    assert_same(*domains)


def test_a_cache_that_cannot_be_written_says_what_to_do(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    with pytest.raises(StorageError, match=r"set INTERFERO_CACHE .* or raise --max-domain-memory"):
        load_mapped(fill(tmp_path / "d"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="counts memory as Linux does")
def test_memory_stays_bounded_whatever_the_domain_holds(tmp_path):
    """72 MB of pixels with 4 MB allowed: what is held while an image is decoded, and no more."""
    folder = tmp_path / "d"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        pixels = rng.integers(0, 256, (1000, 1000, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.bmp")
    script = """
import sys, threading, time
from pathlib import Path
from interfero.domains import decoding, sources
from interfero.domains.batches import draw_batch
from interfero.domains.ingest import load_folder
from interfero.domains.memory import MemoryBudget
from PIL import Image
def held_mb():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(l.split()[1]) / 1024 for l in lines if l.startswith("RssAnon"))
def watch():
    while True:
        peaks.append(max(peaks.pop(), held_mb()))
        time.sleep(0.002)
Image.init()
decoding.usable_cores = lambda: 1
sources.CHUNK_IMAGES = 4
before = held_mb()
peaks = [before]
threading.Thread(target=watch, daemon=True).start()
domain = load_folder("d", Path(sys.argv[1]), budget=MemoryBudget(4 * 2**20))
training = domain.split("all", 0).training
for step in range(40):
    draw_batch(training, seed=0, step=step, batch_size=8, crop_size=64)
time.sleep(0.1)
mapped = max(peaks) - before
in_memory = load_folder("d", Path(sys.argv[1]), budget=MemoryBudget(2**30))
print(mapped, held_mb() - before)
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(folder)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    mapped_mb, in_memory_mb = map(float, done.stdout.split())
    assert mapped_mb < 36
    assert in_memory_mb > 68, "this measures nothing"
