import numpy as np
import pytest
from PIL import Image

from interfero.analysis.reconstructions import (
    MAX_SIDE,
    Reconstruction,
    ranked,
    read_reconstructions,
    save_reconstructions,
)
from interfero.errors import StorageError
from interfero.records import ImageRow


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def row(name, before, after):
    return ImageRow(
        role="target", name=name, group=name, bpp_before=1, psnr_db_before=30,
        rd_loss_before=before, bpp=1, psnr_db=30, rd_loss=after,
    )  # fmt: skip


def pictures(rng, height, width):
    return tuple(rng.integers(0, 256, (height, width, 3), dtype=np.uint8) for _ in range(3))


def test_worst_is_where_the_loss_grew_most_for_what_it_was():
    # Ratios 0.5, 1.2, 0.9, 1.1: in order 0, 2, 3, 1; of the two in the middle the worse.
    rows = [row("a", 4, 2), row("b", 1, 1.2), row("c", 10, 9), row("d", 1, 1.1)]
    assert ranked(rows) == [("worst", 1), ("median", 3)]
    assert ranked(rows[:1]) == [("worst", 0)]
    assert ranked([]) == []


def test_pictures_of_different_sizes_come_back_pixel_for_pixel(tmp_path, rng):
    small, large = pictures(rng, 64, 100), pictures(rng, 300, 200)
    shown = [
        Reconstruction("target", "worst", "a", small),
        Reconstruction("source_unrouted", "median", "b", large),
    ]
    save_reconstructions(tmp_path / "x.png", shown)
    found = read_reconstructions(tmp_path / "x.png")
    assert [(f.role, f.rank, f.name) for f in found] == [
        ("target", "worst", "a"), ("source_unrouted", "median", "b"),
    ]  # fmt: skip
    for got, put in zip(found[0].pictures_HWC, small, strict=True):
        np.testing.assert_array_equal(got, put)
    for got, put in zip(found[1].pictures_HWC, large, strict=True):
        np.testing.assert_array_equal(got, put[22 : 22 + MAX_SIDE])


def test_a_picture_of_an_earlier_version_names_nothing(tmp_path):
    Image.new("RGB", (30, 10)).save(tmp_path / "old.png")
    assert read_reconstructions(tmp_path / "old.png") == []


@pytest.mark.parametrize("damage", ["cut", "text", "missing"])
def test_a_damaged_file_is_refused_by_name(tmp_path, rng, damage):
    path = tmp_path / "x.png"
    save_reconstructions(path, [Reconstruction("target", "worst", "a", pictures(rng, 64, 64))])
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:500] if damage == "cut" else b"no picture")
    with pytest.raises(StorageError, match=r"x\.png"):
        read_reconstructions(path)
