"""A domain that travels as a file is the same domain."""

import pickle

import numpy as np
import pytest

from interfero.domains.catalogue import load_domain
from interfero.domains.memory import MemoryBudget
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.errors import DomainError
from interfero.store.content import CACHE_VARIABLE, ContentStore


def through_a_file(domain, path):
    path.write_bytes(b"".join(domain_blocks(domain)))
    return read_domain_file(path)


def assert_same(first, second):
    assert first.fingerprint == second.fingerprint
    assert (first.name, first.unit, first.notes) == (second.name, second.unit, second.notes)
    for a, b in zip((*first.train, *first.test), (*second.train, *second.test), strict=True):
        assert (a.name, a.group, a.digest) == (b.name, b.group, b.digest)
        assert a.source_image == b.source_image
        np.testing.assert_array_equal(a.pixels_HWC, b.pixels_HWC)


def test_a_folder_in_memory_comes_back(image_folder, tmp_path):
    domain = load_domain(f"thing={image_folder}")
    again = through_a_file(domain, tmp_path / "images.u8")
    assert_same(domain, again)
    assert [s.name for s in again.split(3, 1).training] == [
        s.name for s in domain.split(3, 1).training
    ]


def test_blocks_of_a_picture_still_know_it(tmp_path):
    domain = load_domain("histology")
    again = through_a_file(domain, tmp_path / "images.u8")
    assert_same(domain, again)
    assert {s.source_image for s in pickle.loads(pickle.dumps(again.test))} == {"ihc"}


def test_a_mapped_domain_comes_back_and_is_the_same_file(image_folder, tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    content = ContentStore(tmp_path)
    mapped = load_domain(f"thing={image_folder}", budget=MemoryBudget(0))
    assert_same(mapped, through_a_file(mapped, tmp_path / "images.u8"))
    in_memory = load_domain(f"thing={image_folder}")
    assert content.add(domain_blocks(mapped)) == content.add(domain_blocks(in_memory))


def test_a_reserve_of_drawn_images_travels_along(tmp_path):
    domain = load_domain("text", num_images=60, data_seeds=(0, 3))
    assert domain.reserve
    again = through_a_file(domain, tmp_path / "images.u8")
    assert again.reserve.keys() == domain.reserve.keys()
    for seed in (0, 3):
        assert again.fingerprint_for(60, seed) == domain.fingerprint_for(60, seed)


def test_samples_travel_on_as_places(image_folder, tmp_path):
    again = through_a_file(load_domain(f"thing={image_folder}"), tmp_path / "images.u8")
    text = pickle.dumps(again.train)
    assert len(text) < 10_000
    np.testing.assert_array_equal(pickle.loads(text)[0].pixels_HWC, again.train[0].pixels_HWC)


def test_another_file_is_refused(tmp_path):
    (tmp_path / "images.u8").write_bytes(b'{"format": "other"}\n')
    with pytest.raises(DomainError, match="holds no domain"):
        read_domain_file(tmp_path / "images.u8")
