"""Domains that were read right stay what they are: their fingerprints, pinned."""

import io

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from interfero.domains.ingest import load_folder, load_parquet


def pixels(seed, height=72, width=80, channels=3):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_flat(root):
    """PNG in every mode, upright and turned, lossless WebP and 8-bit TIFF."""
    root.mkdir()
    for seed, mode in enumerate(("RGB", "L", "1", "P", "RGBA", "LA")):
        Image.fromarray(pixels(seed)).convert(mode).save(root / f"{mode}.png")
    Image.fromarray(pixels(10, channels=4)).save(root / "glass.png")
    Image.fromarray(pixels(11)).save(root / "key.png", transparency=(1, 2, 3))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(pixels(20 + orientation)).save(
            root / f"turned{orientation}t.png", exif=exif
        )
    Image.fromarray(pixels(30)).save(root / "web.webp", lossless=True)
    Image.fromarray(pixels(31)).save(root / "plain.tif")
    Image.fromarray(pixels(32, channels=1)).save(root / "grey.bmp")


def write_splits(root):
    """Crops in `train/`, `val/` and `test/`, in CamVid's `images/` with label maps in `labels/`."""
    for index, split in enumerate(("train", "val", "test")):
        for i in range(6):
            name = f"s{index}{i // 2}_{i % 2}.png"
            for kind, channels in (("images", 3), ("labels", 1)):
                folder = root / split / kind
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels(100 * index + i, channels=channels)).save(folder / name)


def write_parquet(path):
    rows = []
    for i in range(8):
        buffer = io.BytesIO()
        Image.fromarray(pixels(i)).save(buffer, "PNG")
        rows.append({"image": {"bytes": buffer.getvalue(), "path": f"{i}.png"}})
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.mark.parametrize(
    ("write", "load", "fingerprint"),
    [
        (write_flat, load_folder, "ccbaad62a24c3f4efd18e2d0bcbf271f"),
        (write_splits, load_folder, "48978b12f427d3b244f3866ca62fa777"),
        (write_parquet, load_parquet, "73249ff882ec93155767bc295094ee8b"),
    ],
    ids=["flat", "splits", "parquet"],
)
def test_the_fingerprint_is_what_it_was(tmp_path, write, load, fingerprint):
    place = tmp_path / "domain"
    write(place)
    assert load("d", place).fingerprint == fingerprint
