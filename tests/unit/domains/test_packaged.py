"""Packaged domains: what is where, and that no pixel is in train and in test."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from interfero.domains import packaged
from interfero.domains.packaged import Grid, Picture
from interfero.errors import DomainError

REGIONS = {
    "histology": packaged.HISTOLOGY,
    "fundus": packaged.FUNDUS,
    "astronomy": packaged.ASTRONOMY,
    "textures": packaged.TEXTURES,
}
LOADERS = (
    packaged.photos,
    packaged.histology,
    packaged.fundus,
    packaged.astronomy,
    packaged.textures,
)


def stored_size(region):
    width, height = region.picture.size
    return (width // 2, height // 2) if region.picture.halve else (width, height)


def gap(a, b):
    """Pixels between two boxes along the axis where they are farther apart; negative: overlap."""
    return max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])


@pytest.mark.parametrize(
    "region", list(itertools.chain(*REGIONS.values())), ids=lambda r: r.picture.name
)
def test_train_and_test_regions_keep_a_margin(region):
    size = stored_size(region)
    boxes = dict(region.grid.boxes(size))
    assert region.test | region.unused <= boxes.keys()
    test = [box for cell, box in boxes.items() if cell in region.test]
    train = [box for cell, box in boxes.items() if cell not in region.test | region.unused]
    assert min(gap(a, b) for a in train for b in test) >= 8
    assert all(gap(a, b) >= 0 for a, b in itertools.combinations(boxes.values(), 2))
    assert all(0 <= b[0] < b[2] <= size[0] and 0 <= b[1] < b[3] <= size[1] for b in boxes.values())


@pytest.mark.parametrize("load", LOADERS, ids=lambda f: f.__name__)
def test_contract_of_every_packaged_domain(load):
    domain = load()
    assert domain.name == load.__name__
    assert domain.unit == "crops"
    samples = domain.train + domain.test
    assert {s.pixels_HWC.dtype for s in samples} == {np.dtype(np.uint8)}
    assert all(s.pixels_HWC.shape[2] == 3 for s in samples)
    assert min(min(s.pixels_HWC.shape[:2]) for s in samples) >= 128
    assert len({s.name for s in samples}) == len(samples)
    assert len({s.digest for s in samples}) == len(samples), "the same crop twice"
    assert domain.split("all", data_seed=0).validation
    assert all("(" in note or " x " in note for note in domain.notes), "a picture without licence"


@pytest.mark.parametrize("name", REGIONS)
def test_region_crops_are_the_pixels_of_their_box(name):
    domain = getattr(packaged, name)()
    by_name = {s.name: s for s in domain.train + domain.test}
    seen = 0
    for region in REGIONS[name]:
        whole = packaged.read_picture(name, region.picture, Counter())
        assert whole.shape[1::-1] == stored_size(region)
        for (column, row), (left, top, right, bottom) in region.grid.boxes(stored_size(region)):
            if (column, row) in region.unused:
                continue
            sample = by_name[f"{region.picture.name}.c{column}r{row}"]
            assert np.array_equal(sample.pixels_HWC, whole[top:bottom, left:right])
            assert (sample in domain.test) == ((column, row) in region.test)
            seen += 1
    assert seen == len(by_name)


@pytest.mark.parametrize("name", REGIONS)
def test_blocks_are_groups_of_their_own_and_no_pictures(name):
    """Splits part blocks; a bootstrap draws pictures."""
    domain = getattr(packaged, name)()
    for split in (domain.train, domain.test):
        assert [s.group for s in split] == [s.name for s in split]
        assert {s.source_image for s in split} == {r.picture.name for r in REGIONS[name]}


@pytest.mark.parametrize("name", REGIONS)
def test_region_domains_have_groups_enough_for_validation(name):
    domain = getattr(packaged, name)()
    assert len({s.group for s in domain.train}) >= 6
    assert len(domain.test) >= 4


def test_no_crop_of_a_fundus_is_mostly_black():
    domain = packaged.fundus()
    lit = [np.mean(s.pixels_HWC.max(axis=2) > 40) for s in domain.train + domain.test]
    assert min(lit) > 0.4


def test_photos_are_split_by_photograph():
    domain = packaged.photos()
    train, test = ({s.group for s in split} for split in (domain.train, domain.test))
    assert len(train) >= 5
    assert len(test) >= 3
    assert not train & test
    stems = {g.split("_")[0] for g in train} & {g.split("_")[0] for g in test}
    assert not stems, "the two views of one scene in different splits"


def test_textures_become_rgb_with_one_counted_line():
    domain = packaged.textures()
    assert domain.notes[-1] == "3 x grey converted to RGB"
    pixels = domain.train[0].pixels_HWC
    assert np.array_equal(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize(
    ("length", "block", "count", "starts"),
    [(512, 160, 3, [0, 176, 352]), (100, 100, 1, [0]), (10, 3, 3, [0, 3, 7])],
)
def test_blocks_spread_from_edge_to_edge(length, block, count, starts):
    boxes = Grid(count, 1, block, 5).boxes((length, 5))
    assert [box[0] for _, box in boxes] == starts


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"package": "no_such_package"}, ("scikit-image", "not installed", "pip install")),
        ({"file": "data/no_such.png"}, ("data/no_such.png", "scikit-image", "pip install")),
        ({"size": (511, 512)}, ("512x512", "511x512", "requirements.lock")),
    ],
)
def test_a_missing_or_other_picture_names_package_and_remedy(changed, words):
    picture = replace(packaged.HISTOLOGY[0].picture, **changed)
    with pytest.raises(DomainError) as caught:
        packaged.read_picture("histology", picture, Counter())
    assert all(word in str(caught.value) for word in (*words, "'histology'"))


def test_a_damaged_picture_names_its_remedy(tmp_path, monkeypatch):
    package = tmp_path / "damaged_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "a.png").write_bytes(b"\x89PNG nothing")
    monkeypatch.syspath_prepend(str(tmp_path))
    picture = Picture("damaged_package", "damaged-project", "a.png", (128, 128), "none")
    with pytest.raises(DomainError, match="reinstall damaged-project"):
        packaged.read_picture("x", picture, Counter())


def test_a_picture_is_found_without_importing_its_package(tmp_path, monkeypatch):
    package = tmp_path / "explosive_package"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    Image.new("RGB", (130, 140), (9, 8, 7)).save(package / "a.png")
    monkeypatch.syspath_prepend(str(tmp_path))
    picture = Picture("explosive_package", "explosive", "a.png", (130, 140), "none", halve=True)
    pixels = packaged.read_picture("x", picture, Counter())
    assert pixels.shape == (70, 65, 3)
    assert (pixels == (9, 8, 7)).all()
