"""Compressed copies: real sizes, kept by content, restartable half-way."""

from dataclasses import replace

import numpy as np
import pytest

from interfero.codecs.compressed import Compression, compressed
from interfero.codecs.lossy import find_lossy
from interfero.domains.copies import SHARD_IMAGES, CopiedImage, Copies
from interfero.domains.domain import Domain
from interfero.domains.images import ImageRules, Sample
from interfero.domains.ingest import load_parquet
from interfero.errors import StorageError


def samples(count, start=0, side=64):
    rng = np.random.default_rng(start)
    smooth = rng.integers(0, 256, (count, side // 8, side // 8, 3), dtype=np.uint8)
    large = smooth.repeat(8, axis=1).repeat(8, axis=2)
    return tuple(Sample(f"s{start + i}", f"s{start + i}", large[i]) for i in range(count))


class Darker:
    """A transform that counts what it is asked for, and dies on request."""

    def __init__(self, dies_at=None):
        self.calls = 0
        self.dies_at = dies_at

    def __call__(self, originals):
        self.calls += 1
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        return [CopiedImage(s.pixels_HWC // 2, 100 + i) for i, s in enumerate(originals)]


def test_copies_come_back_in_order_with_their_sizes(tmp_path):
    originals = samples(SHARD_IMAGES + 3)
    copies = Copies(tmp_path / "c", originals)
    copies.make(Darker(), {"step": "darker"})
    assert [c.coded_bytes for c in copies.images] == [*range(100, 116), 100, 101, 102]
    for original, copy in zip(originals, copies.images, strict=True):
        assert np.array_equal(copy.pixels_HWC, original.pixels_HWC // 2)
    assert copies.images[0].bpp == 8 * 100 / 64**2
    assert copies.mean_bpp == pytest.approx(np.mean([c.bpp for c in copies.images]))
    assert copies.lineage == {"step": "darker"}


def test_who_goes_on_makes_only_what_is_missing(tmp_path):
    originals = samples(3 * SHARD_IMAGES)
    dying = Darker(dies_at=3)
    with pytest.raises(KeyboardInterrupt):
        Copies(tmp_path / "c", originals).make(dying, {})
    assert Copies(tmp_path / "c", originals).missing == (2,)
    second = Darker()
    Copies(tmp_path / "c", originals).make(second, {})
    assert second.calls == 1
    assert Copies(tmp_path / "c", originals).missing == ()


def test_workers_share_a_folder_by_shards(tmp_path):
    originals = samples(3 * SHARD_IMAGES)
    Copies(tmp_path / "c", originals).make(Darker(), {}, shards=(1,))
    assert Copies(tmp_path / "c", originals).missing == (0, 2)


def test_damaged_shards_and_shards_of_other_images_are_made_again(tmp_path):
    originals = samples(SHARD_IMAGES)
    Copies(tmp_path / "c", originals).make(Darker(), {})
    (shard,) = (tmp_path / "c").glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-20])
    damaged = Copies(tmp_path / "c", originals)
    assert damaged.missing == (0,)
    with pytest.raises(StorageError, match=r"0000\.parquet is not a whole shard"):
        _ = damaged.images
    damaged.make(Darker(), {})
    others = Copies(tmp_path / "c", samples(SHARD_IMAGES, start=99))
    assert others.missing == (0,)
    with pytest.raises(StorageError, match="copies of other images"):
        _ = others.images


def test_a_compressed_domain_is_the_domain_at_its_rate(tmp_path):
    test = tuple(replace(s, source_image="whole") for s in samples(4, start=50))
    domain = Domain("thing", samples(8), test)
    copy = compressed(domain, find_lossy("webp"), 0.6, tmp_path)
    assert [s.name for s in copy.train] == [s.name for s in domain.train]
    assert [s.group for s in copy.test] == [s.group for s in domain.test]
    assert [s.source_image for s in copy.test] == [s.source_image for s in domain.test]
    assert copy.fingerprint != domain.fingerprint
    assert "compressed by webp, asked for 0.6 bpp, reached train 0.5" in copy.notes[-1]
    again = compressed(domain, find_lossy("webp"), 0.6, tmp_path)
    assert again.fingerprint == copy.fingerprint
    shards = list(tmp_path.glob("*/0000.parquet"))
    assert len(shards) == 2
    # Shards are Parquet like any other.
    read = load_parquet("copy", shards, ImageRules())
    assert {s.source_image for s in read.test} == {"whole"}
    assert read.fingerprint == copy.fingerprint


def load(shard):
    import pyarrow.parquet

    return pyarrow.parquet.read_table(shard).to_pylist()


def test_a_learned_codec_codes_for_real(tmp_path, tiny_codec_file):
    domain = Domain("thing", samples(3), samples(2, start=50))
    codec = find_lossy(str(tiny_codec_file))
    compressed(domain, codec, 0.2, tmp_path)
    rows = [row for shard in tmp_path.glob("*/0000.parquet") for row in load(shard)]
    by_name = {s.name: s for s in (*domain.train, *domain.test)}
    setting = codec.setting_for(domain.train, 0.2)
    for row in rows:
        coded = codec.transcode(by_name[row["name"]].pixels_HWC, setting)
        assert row["coded_bytes"] == coded.num_bytes


def test_the_rate_is_matched_on_training_images_alone(tmp_path):
    train = samples(6)
    first = Compression(find_lossy("jpeg"), 1.5, train, tmp_path).setting()
    assert Compression(find_lossy("jpeg"), 1.5, train, tmp_path).setting() == first
    assert first == find_lossy("jpeg").setting_for(train, 1.5)
    other = Compression(find_lossy("jpeg"), 1.5, samples(6, start=70), tmp_path)
    assert other.setting() is not first
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_setting_of_other_code_is_searched_again(tmp_path):
    train, codec = samples(6), find_lossy("jpeg")
    old = Compression(codec, 1.5, train, tmp_path, code="old")
    old.setting()
    (kept,) = tmp_path.glob("*.json")
    kept.write_text(kept.read_text().replace(f"{old.setting().value}", "1.0"))
    assert Compression(codec, 1.5, train, tmp_path, code="old").setting().value == 1.0
    new = Compression(codec, 1.5, train, tmp_path, code="new")
    assert new.setting() == codec.setting_for(train, 1.5)
