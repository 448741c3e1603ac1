"""The bundled labelled domain: exact labels, and no pixel of a texture in two portions."""

import itertools

import numpy as np
import pytest

from interfero.domains.labelled import PORTIONS
from interfero.domains.mosaics import NUM_IMAGES, TEXTURES, TILE, mosaics, portion_of

FEW = {"train": 6, "restoration": 3, "test": 4}


@pytest.fixture(scope="module")
def domain():
    return mosaics(FEW)


@pytest.mark.parametrize("texture", TEXTURES, ids=lambda t: t.name)
def test_tiles_do_not_touch_and_every_portion_has_some(texture):
    boxes = list(texture.grid.boxes(texture.picture.size))
    found = {portion_of(*cell) for cell, _ in boxes}
    assert found == set(PORTIONS)
    for (one, a), (other, b) in itertools.combinations(boxes, 2):
        gap = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3])
        assert gap >= 4, (one, other)
    for _, (left, top, right, bottom) in boxes:
        assert 0 <= left < right <= texture.picture.size[0]
        assert 0 <= top < bottom <= texture.picture.size[1]


def test_an_image_is_a_function_of_its_place(domain):
    assert domain.fingerprint == mosaics(FEW).fingerprint
    more = mosaics({**FEW, "train": 8})
    assert [s.digest for s in more.train[:6]] == [s.digest for s in domain.train]
    assert all(len(mosaics_of(domain, p)) == FEW[p] for p in PORTIONS)


def test_mosaics_are_crops_that_share_their_pictures(domain):
    """All are made of the same few tiles: none is a picture that a bootstrap could draw."""
    samples = [s for portion in PORTIONS for s in domain.portion(portion)]
    assert domain.unit == "crops"
    assert {s.source_image for s in samples} == {"brick+grass+gravel+ihc+hubble_deep_field+chelsea"}
    assert [s.group for s in samples] == [s.name for s in samples]


def mosaics_of(domain, portion):
    return domain.portion(portion)


def test_every_image_has_all_classes_as_regions(domain):
    for portion in PORTIONS:
        for sample in domain.portion(portion):
            assert sample.labels_HW.shape == sample.pixels_HWC.shape[:2]
            assert set(np.unique(sample.labels_HW)) == set(range(len(domain.classes)))


def test_grey_level_and_contrast_tell_nothing_of_the_class(domain):
    """A classifier of single pixels would be at chance: all classes have about one histogram."""
    grey = np.concatenate([s.pixels_HWC[..., 0].ravel() for s in domain.train])
    labels = np.concatenate([s.labels_HW.ravel() for s in domain.train])
    means = [grey[labels == c].mean() for c in range(len(domain.classes))]
    spreads = [grey[labels == c].std() for c in range(len(domain.classes))]
    assert np.ptp(means) < 20
    assert np.ptp(spreads) < 15


def test_regions_fit_their_tiles():
    # The largest box of a region is bounded by its neighbours' points; TILE has to hold it.
    assert TILE <= 96
    assert mosaics({"train": 40, "restoration": 1, "test": 1}).train[-1].name.endswith("0039")


def test_the_default_is_small():
    assert sum(NUM_IMAGES.values()) <= 200
