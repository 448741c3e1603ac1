"""The walk over a folder: every file is a picture or counted, splits are read as data name them."""

import io
import os

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain
from interfero.domains.images import Sample
from interfero.domains.ingest import load_folder
from interfero.errors import DomainError


def picture(seed, mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (70, 70, 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


def fill(folder, names, first=0, mode="RGB"):
    folder.mkdir(parents=True, exist_ok=True)
    for i, name in enumerate(names):
        picture(first + i, mode).save(folder / name)
    return folder


def names(samples):
    return sorted(s.name for s in samples)


LETTERS = [f"{c}.png" for c in "abcdef"]


def test_valid_and_capitals_are_splits_and_the_guess_is_said(tmp_path):
    for offset, folder in enumerate(("Train", "valid", "Test")):
        fill(tmp_path / folder, LETTERS, first=10 * offset)
    domain = load_folder("d", tmp_path)
    assert names(domain.test) == [f"Test/{name}" for name in LETTERS]
    assert len(domain.train) == 12
    assert domain.notes == (
        "Train/ is read as train/, valid/ is read as val/, Test/ is read as test/",
    )


def test_two_folders_for_one_split_are_refused(tmp_path):
    for folder in ("train", "Valid", "validation", "test"):
        fill(tmp_path / folder, ["a.png"])
    with pytest.raises(DomainError, match=r"Valid/ and validation/ in .* would both be val/"):
        load_folder("d", tmp_path)


def test_a_split_without_a_test_is_split_anew_and_said(tmp_path):
    fill(tmp_path / "train", LETTERS)
    fill(tmp_path / "val", ["x.png"], first=50)
    domain = load_folder("d", tmp_path)
    assert domain.notes == ("train/ and val/ without test/: all images are split anew",)


def test_everything_that_is_no_picture_is_in_one_line(tmp_path):
    for offset, folder in enumerate(("train", "test", "extra")):
        fill(tmp_path / folder, LETTERS, first=10 * offset)
    (tmp_path / "train" / "notes.txt").write_text("x")
    (tmp_path / "readme").write_text("x")
    (tmp_path / "train" / "more").symlink_to(fill(tmp_path.parent / "linked", ["z.png"]))
    (tmp_path / "rows.parquet.bak").write_text("x")
    (line,) = load_folder("d", tmp_path).notes
    assert line == (
        "left out: 6 images (in extra/), 3 other files (of .txt 1, no suffix 1, .bak 1), "
        "1 link to a folder (at train/more/)"
    )


@pytest.mark.parametrize(
    ("pictures", "labels", "tail"),
    [
        ("JPEGImages", "SegmentationClass", ""),
        ("photos", "masks", ""),
        ("photos", "photos", "_mask"),
        ("leftImg8bit/train/ulm", "gtFine/train/ulm", "_gtFine_labelIds"),
    ],
    ids=["voc", "masks", "suffix", "cityscapes"],
)
def test_label_maps_are_no_pictures(tmp_path, pictures, labels, tail):
    stems = [f"{c}x" for c in "abcdefgh"]
    extra = "_leftImg8bit" if "left" in pictures else ""
    fill(tmp_path / pictures, [f"{s}{extra}.png" for s in stems])
    fill(tmp_path / labels, [f"{s}{tail}.png" for s in stems], first=50, mode="L")
    domain = load_folder("d", tmp_path)
    assert len(domain.train + domain.test) == 8
    assert not any("grey" in note for note in domain.notes)
    assert any("8 label maps" in note for note in domain.notes)


def test_pictures_that_merely_look_like_label_maps_stay(tmp_path):
    """Bottle labels have no pictures of their names elsewhere; left eyes have no picture without `_L`."""
    fill(tmp_path / "labels", LETTERS)
    fill(tmp_path, ["u_L.png", "u_R.png"], first=20)
    domain = load_folder("d", tmp_path)
    assert (len(domain.train + domain.test), domain.notes) == (8, ())


def test_names_that_are_no_utf8_are_used_and_shown(tmp_path):
    for i in range(6):
        picture(i).save(tmp_path / "x.png")
        os.rename(tmp_path / "x.png", os.fsencode(tmp_path) + b"/caf\xe9 %d x.png" % i)  # noqa: PTH104
    domain = load_folder("d", tmp_path)
    assert names(domain.train + domain.test)[0] == r"caf\xe9 0 x.png"
    assert len(domain.fingerprint) == 32


def test_crops_of_one_picture_in_two_folders_are_refused(tmp_path):
    fill(tmp_path / "train", [f"scene{i}_0.png" for i in range(4)])
    fill(tmp_path / "test", ["scene2_1.png"], first=50)
    with pytest.raises(
        DomainError, match=r"'train/scene2_0.png' in train and 'test/scene2_1.png' in"
    ):
        load_folder("d", tmp_path)


def test_crops_in_train_and_val_are_refused_too(tmp_path):
    """`val/` joins train, and validation would be drawn of either."""
    fill(tmp_path / "train", [f"scene{i}_0.png" for i in range(4)])
    fill(tmp_path / "val", ["scene2_1.png"], first=50)
    fill(tmp_path / "test", ["other.png"], first=60)
    with pytest.raises(DomainError, match=r"'val/scene2_1\.png' in val are crops of one"):
        load_folder("d", tmp_path)


def test_folders_that_number_their_crops_anew_are_taken_with_a_line(tmp_path):
    for offset, folder in enumerate(("train", "test")):
        fill(tmp_path / folder, [f"s{i}_{j}.png" for i in range(3) for j in range(2)], 10 * offset)
    assert load_folder("d", tmp_path).notes == (
        "train/ and test/ give one name to different images: crops are told apart in each alone",
    )


def test_a_copy_under_another_name_counts_once(tmp_path):
    fill(tmp_path / "train", LETTERS)
    fill(tmp_path / "train", ["b copy.png"], first=1)
    fill(tmp_path / "test", ["t.png"], first=50)
    domain = load_folder("d", tmp_path)
    assert len(domain.train) == 6
    assert domain.notes == (
        "1 x copy of another image left out, the first: train/b copy.png is train/b.png",
    )


def test_equal_crops_of_one_picture_are_all_kept(tmp_path):
    """White margins of one page are equal, and never parted."""
    fill(tmp_path, [f"page{i}_0.png" for i in range(4)])
    fill(tmp_path, ["page1_1.png"], first=1)
    domain = load_folder("d", tmp_path)
    assert (len(domain.train + domain.test), domain.notes) == (5, ())


def test_a_validation_image_that_is_trained_on_is_refused():
    def sample(name, seed):
        return Sample(name, name, np.full((64, 64, 3), seed, dtype=np.uint8))

    train = tuple(sample(f"p{i}", i // 2) for i in range(8))
    domain = Domain("d", train, (sample("t", 99),))
    with pytest.raises(DomainError, match=r"validation image 'p.' is the training image 'p.'"):
        domain.split("all", 0)


def png(seed):
    buffer = io.BytesIO()
    picture(seed).save(buffer, "PNG")
    return buffer.getvalue()


def write(path, seeds, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{"image": {"bytes": png(i), "path": f"{i}.png"}} | columns for i in seeds]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [
        ("train-00000-of-00001", "validation-00000-of-00001", "test-00000-of-00001"),
        ("default/train/0000", "default/validation/0000", "default/test/0000"),
    ],
    ids=["files", "folders"],
)
def test_shards_are_the_splits_that_their_names_say(tmp_path, train, val, test):
    for stem, seeds in ((train, range(4)), (val, range(10, 12)), (test, range(20, 23))):
        write(tmp_path / "data" / f"{stem}.parquet", seeds)
    (tmp_path / "README.md").write_text("x")
    domain = load_domain(f"d={tmp_path}")
    assert (len(domain.train), len(domain.test)) == (6, 3)
    assert domain.notes == ("split as file names say (train: 1, val: 1, test: 1 files)",)


def test_shards_without_a_test_are_split_anew_and_said(tmp_path):
    write(tmp_path / "train-00000-of-00001.parquet", range(4))
    write(tmp_path / "validation-00000-of-00001.parquet", range(10, 12))
    assert load_domain(f"d={tmp_path}").notes == (
        "file names say train: 1, val: 1 and no test: all images are split anew",
    )


def test_a_shard_of_no_split_next_to_others_is_refused(tmp_path):
    for stem, first in (("train-0", 0), ("test-0", 10), ("more", 20)):
        write(tmp_path / f"{stem}.parquet", range(first, first + 3))
    with pytest.raises(
        DomainError, match=r"more\.parquet does not say whether it is train or test"
    ):
        load_domain(f"d={tmp_path}")


def test_the_column_split_goes_before_names_and_unknown_words_are_refused(tmp_path):
    write(tmp_path / "train-0.parquet", range(4), split="Train")
    write(tmp_path / "test-0.parquet", range(10, 13), split="Test")
    assert len(load_domain(f"d={tmp_path}").test) == 3
    write(tmp_path / "test-0.parquet", range(10, 13), split="fold 3")
    with pytest.raises(
        DomainError, match="column `split` is 'fold 3'; it must say train, val or test"
    ):
        load_domain(f"d={tmp_path}")


def test_pictures_next_to_parquet_are_counted(tmp_path):
    write(tmp_path / "rows.parquet", range(4))
    fill(tmp_path, LETTERS, first=50)
    assert load_domain(f"d={tmp_path}").notes == (
        "left out: 6 images next to 1 Parquet files, which were read",
    )
