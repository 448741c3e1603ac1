"""Folders and Parquet as domains: splits by source image, nested subsets, skips and refusals."""

import io
import itertools
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from interfero.domains.decoding import group_of
from interfero.domains.domain import MAX_VALIDATION
from interfero.domains.ingest import load_folder, load_parquet
from interfero.errors import DomainError


def picture(seed, side=70):
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill(folder, names, first_seed=0, side=70):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        picture(first_seed + i, side).save(folder / name)
    return folder


def png(seed):
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def names(samples):
    return [s.name for s in samples]


@pytest.fixture
def folder(tmp_path):
    return fill(tmp_path / "domain", [f"p{i:02d}.png" for i in range(24)])


def test_train_and_test_folders_are_used_and_val_joins_train(tmp_path):
    for offset, (split, count) in enumerate((("train", 4), ("val", 2), ("test", 3))):
        fill(tmp_path / split, [f"{i}.png" for i in range(count)], first_seed=100 * offset)
    fill(tmp_path / "elsewhere", ["x.png"], first_seed=900)
    domain = load_folder("d", tmp_path)
    assert names(domain.train) == [
        *(f"train/{i}.png" for i in range(4)), "val/0.png", "val/1.png",
    ]  # fmt: skip
    assert names(domain.test) == [f"test/{i}.png" for i in range(3)]


def test_several_images_of_one_source_image_are_crops(tmp_path, folder):
    crops = fill(tmp_path / "crops", [f"s{i:04d}_{j}.png" for i in range(6) for j in range(2)])
    assert load_folder("d", crops).unit == "crops"
    assert load_folder("d", folder).unit == "images"
    lone = fill(tmp_path / "lone", [f"s{i:04d}_0.png" for i in range(6)])
    assert load_folder("d", lone).unit == "images"


def test_the_unit_is_no_part_of_the_fingerprint(folder):
    domain = load_folder("d", folder)
    assert replace(domain, unit="crops").fingerprint == domain.fingerprint


def test_links_that_point_nowhere_are_skipped_and_counted(folder):
    (folder / "gone.png").symlink_to(folder / "nowhere.png")
    domain = load_folder("d", folder)
    assert any("1 x skipped, the first: gone.png: cannot be read" in n for n in domain.notes)
    for i in range(6):
        (folder / f"gone{i}.png").symlink_to(folder / "nowhere.png")
    with pytest.raises(DomainError, match="7 of 31 images cannot be used"):
        load_folder("d", folder)


def test_a_flat_folder_is_split_by_group_about_a_quarter_for_test(folder):
    domain = load_folder("d", folder)
    assert (len(domain.train), len(domain.test)) == (18, 6)
    assert not {s.digest for s in domain.train} & {s.digest for s in domain.test}
    again = load_folder("another name", folder)
    assert names(again.test) == names(domain.test)
    assert again.fingerprint == domain.fingerprint


def test_crops_of_one_image_stay_in_one_split(tmp_path):
    fill(tmp_path, [f"s{i:04d}_{j}.png" for i in range(8) for j in range(4)])
    domain = load_folder("d", tmp_path)
    train, test = ({s.name[:5] for s in split} for split in (domain.train, domain.test))
    assert len(train) == 6
    assert len(test) == 2
    assert not train & test
    for seed in range(5):
        split = domain.split(3, seed)
        assert not {s.group for s in split.training} & {s.group for s in split.validation}


@pytest.mark.parametrize(
    ("stem", "group"),
    [
        ("s0000_1", "s0000"),
        ("photo012_13", "photo012"),
        ("photo_1", "photo_1"),
        ("2007_000032", "2007_000032"),
        ("kodim01", "kodim01"),
    ],
)
def test_file_names_tell_their_source_image(stem, group):
    assert group_of(stem) == group


def test_equal_names_in_two_folders_are_two_source_images(tmp_path):
    for i in range(3):
        fill(tmp_path / f"day{i}", ["a1_0.png", "a1_1.png"], first_seed=10 * i)
    domain = load_folder("d", tmp_path)
    assert {s.group for s in domain.train + domain.test} == {f"day{i}/a1" for i in range(3)}


@pytest.mark.parametrize("seed", range(4))
def test_subsets_are_nested_and_validation_is_the_same_for_all_counts(folder, seed):
    domain = load_folder("d", folder)
    splits = [domain.split(n, seed) for n in (1, 5, 12, "all")]
    for small, large in itertools.pairwise(splits):
        assert names(small.training) == names(large.training)[: len(small.training)]
        assert names(small.validation) == names(large.validation)
    whole = splits[-1]
    assert [len(s.training) for s in splits] == [1, 5, 12, domain.max_images]
    assert len(whole.training) + len(whole.validation) == len(domain.train)
    assert not set(names(whole.training)) & set(names(whole.validation))
    assert 1 <= len(whole.validation) <= MAX_VALIDATION


def test_seeds_draw_different_subsets_and_validation(folder):
    domain = load_folder("d", folder)
    splits = [domain.split(5, seed) for seed in range(6)]
    assert len({tuple(names(s.training)) for s in splits}) == 6
    assert len({tuple(names(s.validation)) for s in splits}) > 1


@pytest.mark.parametrize("count", [0, -1, 17])
def test_counts_outside_the_domain_are_refused_with_its_size(folder, count):
    domain = load_folder("d", folder)
    most = domain.max_images
    assert most < 17
    with pytest.raises(DomainError, match=f"'d' has {most} training images .* ask for 1 to {most}"):
        domain.split(count, 0)


def test_the_order_of_files_does_not_matter(folder, monkeypatch):
    straight = load_folder("d", folder)
    listed, walked = [], Path.rglob

    def shuffled(self, pattern):
        files = sorted(walked(self, pattern))
        random.Random(3).shuffle(files)
        listed.extend(files)
        return files

    monkeypatch.setattr(Path, "rglob", shuffled)
    domain = load_folder("d", folder)
    assert listed != sorted(listed), "nothing was shuffled"
    assert names(domain.train) == names(straight.train)
    assert domain.fingerprint == straight.fingerprint


def test_the_order_of_rows_does_not_matter(tmp_path):
    rows = [{"name": f"p{i}", "image": png(i)} for i in range(16)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    rows.reverse()
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "b.parquet")
    one, two = (load_parquet("d", tmp_path / f"{x}.parquet") for x in "ab")
    assert names(one.train) == names(two.train)[::-1], "the rows are not in another order"
    assert one.fingerprint == two.fingerprint
    for seed in range(3):
        first, second = one.split(4, seed), two.split(4, seed)
        assert names(first.training) == names(second.training)
        assert names(first.validation) == names(second.validation)


def test_conversions_are_one_counted_line_each(folder):
    for name in ("p03.png", "p04.png"):
        Image.open(folder / name).convert("L").save(folder / name)
    Image.open(folder / "p05.png").convert("P").save(folder / "p05.png")
    Image.open(folder / "p06.png").convert("RGBA").save(folder / "p06.png")
    assert load_folder("d", folder).notes == (
        "1 x RGBA converted to RGB",
        "2 x grey converted to RGB",
        "1 x palette converted to RGB",
    )


def test_jpegs_are_halved_with_one_counted_line(tmp_path):
    fill(tmp_path, [f"{i}.jpg" for i in range(4)], side=140)
    domain = load_folder("d", tmp_path)
    assert {s.pixels_HWC.shape for s in domain.train + domain.test} == {(70, 70, 3)}
    assert domain.notes == ("4 x JPEG halved",)


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("deep.png", Image.fromarray(np.zeros((70, 70), dtype=np.uint16)), "more than 8 bits"),
        ("print.jpg", Image.new("CMYK", (70, 70)), "is CMYK"),
        ("print.tif", Image.new("CMYK", (70, 70)), "is CMYK"),
    ],
)
def test_one_deep_or_cmyk_image_refuses_the_folder_and_names_the_file(folder, name, image, words):
    image.save(folder / name)
    with pytest.raises(DomainError, match=f"{name} .*{words}|{name} {words}"):
        load_folder("d", folder)


def test_a_few_unusable_images_are_skipped_with_a_count(folder):
    (folder / "bad.png").write_bytes(b"nothing")
    picture(1, side=20).save(folder / "tiny.png")
    domain = load_folder("d", folder)
    assert len(domain.train) + len(domain.test) == 24
    assert domain.notes == (
        "2 x skipped, the first: bad.png: cannot be read (cannot identify image file "
        f"'{folder / 'bad.png'}')",
    )


def test_many_unusable_images_are_refused_and_listed(folder):
    for i in range(3):
        (folder / f"bad{i}.png").write_bytes(b"nothing")
    with pytest.raises(DomainError, match=r"(?s)3 of 27 images cannot be used .*10%.*bad0.*bad2"):
        load_folder("d", folder)


def test_hidden_files_are_no_images_and_other_files_are_counted(folder):
    (folder / ".p99.png").write_bytes(b"nothing")
    fill(folder / ".cache", ["c.png"])
    (folder / "labels.txt").write_text("x")
    domain = load_folder("d", folder)
    assert len(domain.train) + len(domain.test) == 24
    assert domain.notes == ("left out: 1 other file (of .txt)",)


def test_an_empty_folder_and_no_folder_are_named(tmp_path):
    with pytest.raises(DomainError, match=rf"no image in {tmp_path}"):
        load_folder("d", tmp_path)
    with pytest.raises(DomainError, match=r"no folder .*nowhere"):
        load_folder("d", tmp_path / "nowhere")


def test_two_source_images_are_too_few_to_split(tmp_path):
    fill(tmp_path, ["a1_0.png", "a1_1.png", "a2_0.png"])
    with pytest.raises(DomainError, match=r"at least 3 source images .* found 2"):
        load_folder("d", tmp_path)


def test_one_group_in_train_leaves_none_for_validation(tmp_path):
    fill(tmp_path / "train", ["a1_0.png", "a1_1.png"])
    fill(tmp_path / "test", ["b.png"], first_seed=9)
    with pytest.raises(DomainError, match="validation needs a second"):
        load_folder("d", tmp_path).split(1, 0)


def write(path, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


def test_parquet_columns_name_group_and_split_are_used(tmp_path):
    rows = [
        {"image": png(i), "name": f"n{i}", "group": f"g{i // 2}", "split": "test" if i > 5 else s}
        for i, s in enumerate(["train", "train", "validation", "validation", "train", "train"] * 2)
    ]
    domain = load_parquet("d", write(tmp_path / "a.parquet", rows))
    assert names(domain.train) == [f"n{i}" for i in range(6)]
    assert [s.group for s in domain.test] == ["g3", "g3", "g4", "g4", "g5", "g5"]


def test_parquet_with_one_group_in_both_splits_is_refused(tmp_path):
    rows = [{"image": png(i), "group": "same", "split": s} for i, s in enumerate(("train", "test"))]
    with pytest.raises(DomainError, match="'same' is in train and in test"):
        load_parquet("d", write(tmp_path / "a.parquet", rows))


def test_parquet_without_split_is_split_and_huggingface_images_are_read(tmp_path):
    rows = [{"image": {"bytes": png(i), "path": f"{i}.png"}} for i in range(8)]
    domain = load_parquet("d", write(tmp_path / "a.parquet", rows))
    assert (len(domain.train), len(domain.test)) == (6, 2)
    assert len({s.group for s in domain.train + domain.test}) == 8


def test_a_folder_called_like_a_partition_adds_no_column(tmp_path):
    (tmp_path / "split=test").mkdir()
    rows = [{"image": png(i)} for i in range(4)]
    domain = load_parquet("d", write(tmp_path / "split=test" / "a.parquet", rows))
    assert (len(domain.train), len(domain.test)) == (3, 1)


def test_several_parquet_files_are_one_domain(tmp_path):
    paths = [
        write(tmp_path / f"{k}.parquet", [{"image": png(10 * k + i)} for i in range(4)])
        for k in range(2)
    ]
    domain = load_parquet("d", paths)
    samples = domain.train + domain.test
    assert len(samples) == 8
    assert len({s.name for s in samples}) == 8, "rows of two files share a name"
    write(paths[1], [{"image": png(5), "split": "test"}])
    with pytest.raises(DomainError, match=r"1\.parquet has the columns .*same columns"):
        load_parquet("d", paths)


def test_unreadable_parquet_is_named(tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DomainError, match=r"a\.parquet cannot be read as Parquet"):
        load_parquet("d", tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([{"picture": b"x"}], r"columns \['picture'\], it needs `image`"),
        ([{"image": 3}], "must hold bytes, found int"),
        ([{"image": None, "name": "lost"}], "lost: column `image` must hold bytes"),
        ([{"image": b"nothing"}] * 4, "4 of 4 images cannot be used"),
    ],
)
def test_parquet_without_images_says_what_is_missing(tmp_path, rows, words):
    with pytest.raises(DomainError, match=words):
        load_parquet("d", write(tmp_path / "a.parquet", rows))
