"""Domains of known shift: their names, their images, and that no picture crosses a split."""

from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest

from interfero.domains import graded
from interfero.domains.catalogue import known_domains, load_domain
from interfero.domains.corruptions.table import TABLE, corrupt
from interfero.domains.domain import Domain
from interfero.domains.graded_names import CORRUPTIONS, SHARES, expanded, parse_graded
from interfero.domains.images import Sample
from interfero.domains.memory import MemoryBudget
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.domains.specs import DATA_VARIABLE
from interfero.errors import DomainError
from tests.unit.domains.test_catalogue import write_images


@pytest.fixture(autouse=True)
def no_data_folder(monkeypatch):
    monkeypatch.delenv(DATA_VARIABLE, raising=False)


BUDGET = MemoryBudget()
"""One for all: text is then drawn once."""


@pytest.fixture(scope="module")
def photos():
    return load_domain("photos")


@pytest.fixture(scope="module")
def photo(photos):
    return photos.train[0].pixels_HWC


def drawn():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_keeps_the_size_and_grows_with_severity(name, photo):
    """`photo` is 250 x 246; 64 x 97 is the smallest side that domains have, and odd."""
    for pixels in (photo, np.ascontiguousarray(photo[100:164, 20:117])):
        made = [corrupt(pixels, name, severity, drawn()) for severity in range(1, 6)]
        assert {m.shape for m in made} == {pixels.shape}
        assert {m.dtype for m in made} == {np.dtype(np.uint8)}
        changes = [np.abs(m.astype(float) - pixels).mean() for m in made]
        assert changes[0] > 0.3
        if name in ("fog", "frost"):
            # What lies over the scene is hardly brighter at the end: less of the scene is left.
            changes = [1 - np.corrcoef(m.ravel(), pixels.ravel())[0, 1] for m in made]
        assert changes[4] > changes[2] > changes[0]
    assert (corrupt(photo, name, 3, drawn()) == corrupt(photo, name, 3, drawn())).all()


def test_the_table_and_the_names_agree():
    assert tuple(TABLE) == CORRUPTIONS
    assert len(CORRUPTIONS) == 15


def test_published_values_by_hand(photo):
    """Of those that draw nothing: contrast, brightness and a constant image under each blur."""
    x = photo / 255
    means = x.mean(axis=(0, 1))
    assert np.abs(corrupt(photo, "contrast", 5, drawn()) / 255 - means).max() <= 0.05 + 1 / 255
    pixel = np.full((64, 64, 3), (100, 50, 0), dtype=np.uint8)
    # The value 100 becomes 100 + 0.2 * 255 = 151; hue and saturation stay.
    assert corrupt(pixel, "brightness", 2, drawn())[0, 0].tolist() == [151, 76, 0]
    black = np.zeros((64, 64, 3), dtype=np.uint8)
    assert corrupt(black, "brightness", 5, drawn())[0, 0].tolist() == [128, 128, 128]
    for blur in ("defocus_blur", "motion_blur", "zoom_blur", "elastic_transform", "pixelate"):
        assert (corrupt(pixel, blur, 5, drawn()) == pixel).all(), blur


def test_noise_is_as_strong_as_published():
    grey = np.full((256, 256, 3), 128, dtype=np.uint8)
    found = corrupt(grey, "gaussian_noise", 1, drawn()).astype(float)
    assert found.std() == pytest.approx(0.08 * 255, rel=0.02)
    found = corrupt(grey, "impulse_noise", 5, drawn())
    assert np.isin(found, (0, 255)).mean() == pytest.approx(0.27, abs=0.01)
    # The variance of a Poisson number is its mean: x / 60 in units of 1.
    found = corrupt(grey, "shot_noise", 1, drawn()) / 255
    assert found.var() == pytest.approx(128 / 255 / 60, rel=0.03)


def test_a_corrupted_domain_has_the_splits_of_its_base(photos):
    made = load_domain("photos.shot_noise-2")
    assert made.name == "photos.shot_noise-2"
    assert [(s.name, s.group) for s in made.train] == [(s.name, s.group) for s in photos.train]
    assert [(s.name, s.source_image) for s in made.test] == [
        (s.name, s.source_image) for s in photos.test
    ]
    digests = {s.digest for s in (*made.train, *made.test)}
    assert len(digests) == len(photos.train) + len(photos.test)
    assert not digests & {s.digest for s in (*photos.train, *photos.test)}
    names = [s.group for s in photos.split("all", 3).validation]
    assert sorted(s.group for s in made.split("all", 3).validation) == sorted(names)
    assert made.notes == ("photos under shot_noise, severity 2 (arXiv:1903.12261)",)


def test_pixels_are_a_function_of_content_corruption_and_severity(photos):
    first, again = (load_domain("photos.glass_blur-1") for _ in range(2))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != load_domain("photos.glass_blur-2").fingerprint
    pixels = first.train[3].pixels_HWC
    graded._kept.clear()
    assert (pixels == again.train[3].pixels_HWC).all()
    # Equal pixels under another name are corrupted alike.
    twin = Sample("other", "other", photos.train[3].pixels_HWC)
    assert (graded.CorruptedSample(twin, "glass_blur", 1).pixels_HWC == pixels).all()


def test_nothing_is_corrupted_to_load_or_split_a_domain(monkeypatch):
    def refuse(*_):
        raise AssertionError("corrupted")

    monkeypatch.setattr(graded, "corrupt", refuse)
    domain = load_domain("text.snow-4", num_images=70, data_seeds=(0,))
    assert len(domain.split(70, 0).training) == 70
    assert len(domain.fingerprint) == 32


def test_what_is_kept_in_memory_is_bounded(photos, monkeypatch):
    monkeypatch.setattr(graded, "KEPT_BYTES", 500_000)
    graded._kept.clear()
    for sample in load_domain("photos.contrast-1").train:
        assert not sample.pixels_HWC.flags.writeable
        assert 0 < sum(p.nbytes for p in graded._kept.values()) <= 500_000


def test_domains_of_one_sweep_share_their_base():
    budget = MemoryBudget()
    origins = [
        vars(load_domain(f"photos.fog-{severity}", budget=budget).train[0])["_origin"]
        for severity in (1, 2)
    ]
    assert origins[0] is origins[1]


def test_a_corrupted_image_travels_as_its_origin():
    sample = load_domain("photos.contrast-5").train[0]
    again = deepcopy(sample)
    assert again.digest == sample.digest
    assert (again.pixels_HWC == sample.pixels_HWC).all()


@pytest.mark.parametrize("name", ["photos.fog-3", "photos.mix-text-25"])
def test_a_domain_of_known_shift_travels_as_a_file(name, tmp_path):
    domain, path = load_domain(name), tmp_path / "images.u8"
    with path.open("wb") as file:
        file.writelines(domain_blocks(domain))
    again = read_domain_file(path)
    assert again.fingerprint == domain.fingerprint
    assert (again.train[0].pixels_HWC == domain.train[0].pixels_HWC).all()
    for parts in zip(
        (domain.split(5, 1).training, domain.split(5, 1).validation),
        (again.split(5, 1).training, again.split(5, 1).validation), strict=True,
    ):  # fmt: skip
        assert [s.name for s in parts[0]] == [s.name for s in parts[1]]


def of(domain, part):
    return {s.digest for s in getattr(domain, part) if s.name.startswith("text-")}


def test_mixtures_are_nested_and_have_the_share_they_say(photos):
    found = [load_domain(f"photos.mix-text-{share}", budget=BUDGET) for share in SHARES]
    assert [len(of(d, "train")) for d in found] == [0, 2, 5, 10, 15, 20]
    assert [len(of(d, "test")) for d in found] == [0, 1, 3, 6, 9, 12]
    assert {(len(d.train), len(d.test)) for d in found} == {(20, 12)}
    for part in ("train", "test"):
        for less, more in pairwise(found):
            assert of(less, part) < of(more, part)
    assert found[0].fingerprint == photos.fingerprint
    assert found[-1].notes == (
        "20 of 20 train and 12 of 12 test images of text, the others of photos",
    )


@pytest.mark.parametrize("seed", range(4))
def test_subsets_and_validation_of_a_mixture_have_its_share(seed):
    """Fewer than one image in five would be off by chance in most seeds."""
    for share, least, most in ((25, 2, 5), (50, 5, 7), (75, 8, 10)):
        split = load_domain(f"photos.mix-text-{share}", budget=BUDGET).split(12, seed)
        mixed = sum(s.name.startswith("text-") for s in split.training)
        assert least <= mixed <= most
        origins = {s.name.startswith("text-") for s in split.validation}
        assert origins == {True, False}


def test_every_mixture_of_the_sweep_has_as_many_images_as_it_asks_for():
    for share in SHARES:
        domain = load_domain(f"photos.mix-text-{share}", budget=BUDGET)
        assert min(domain.num_outside_validation(seed) for seed in range(10)) >= 12


def test_groups_of_two_folders_that_bear_one_name_are_kept_apart(tmp_path, monkeypatch):
    """Both number their images from p0, and split them by those names alone."""
    for name, value in (("one", 0), ("two", 50)):
        for part, count in (("train", 4), ("test", 2)):
            write_images(tmp_path / name / part, count, value + len(part) * 7)
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    domain = load_domain("one.mix-two-50")
    assert len(domain.train) == 4
    assert len(domain.test) == 2


def sample(name, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    return Sample(name, name, pixels)


def test_a_name_that_is_in_train_here_and_in_test_there_is_not_one_picture():
    one = Domain("one", (sample("a", 0), sample("b", 1)), (sample("c", 2),))
    two = Domain("two", (sample("c", 3), sample("b", 4)), (sample("a", 5),))
    mixed = graded.mixed(one, two, 50, "m")
    assert sorted(s.group.rpartition("/")[0] for s in mixed.train) == ["", "two"]


def test_a_mixture_with_a_corruption_of_itself_keeps_pictures_whole(photos):
    domain = load_domain("photos.mix-photos.fog-3-50")
    sides = [{s.group for s in part} for part in (domain.train, domain.test)]
    assert not sides[0] & sides[1]
    split = domain.split("all", 0)
    assert not {s.group for s in split.training} & {s.group for s in split.validation}


def test_a_folder_of_exactly_that_name_goes_first(tmp_path, monkeypatch):
    write_images(tmp_path / "photos.fog-3")
    write_images(tmp_path / "photos.fog")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert len(load_domain("photos.fog-3").train) < 6
    assert expanded(("photos.fog", "photos.snow"))[:2] == ("photos.fog", "photos.snow-1")
    assert load_domain("photos.fog.pixelate-2").unit == "images"


def test_short_names_stand_for_many():
    every = expanded(("photos.corruptions",))
    assert len(every) == len(set(every)) == 75
    assert every[:2] == ("photos.gaussian_noise-1", "photos.gaussian_noise-2")
    assert expanded(("text", "photos.fog", "a=/x.corruptions")) == (
        "text", *(f"photos.fog-{i}" for i in range(1, 6)), "a=/x.corruptions",
    )  # fmt: skip
    assert expanded(("photos.mixes-text",))[1] == "photos.mix-text-10"
    assert parse_graded("photos.mix-text-10").other == "text"
    assert parse_graded("my.data-3") is parse_graded("photos") is None
    assert not set(every) & set(known_domains())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("photos.fogg-3", "no corruption is called 'fogg': did you mean 'fog'"),
        ("photos.fog-0", "severities are 1 to 5, got 0; write photos.fog-1, say"),
        ("photos.fog-6", "severities are 1 to 5, got 6; write photos.fog-5, say"),
        ("photso.fog-3", r"'photso' is neither a bundled domain .*did you mean 'photos'"),
        ("photos.mix-texd-25", r"'texd' is neither a bundled domain .*did you mean 'text'"),
        ("photos.mix-text-101", "0 to 100 % of text, got 101"),
        ("my.data-3", "no domain is called 'my.data-3'"),
    ],
)
def test_errors_name_the_value_the_rule_and_the_remedy(name, said):
    with pytest.raises(DomainError, match=said):
        load_domain(name)


def test_only_plain_pictures_are_corrupted(tmp_path, monkeypatch):
    from interfero.domains.images import ImageRules
    from interfero.domains.pixel_mapping import PixelMapping

    write_images(tmp_path / "sat")
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    rules = ImageRules(mapping=PixelMapping(bands=(3, 2, 1)))
    with pytest.raises(DomainError, match=r"8-bit RGB, 'sat' has 3 channels by the declaration"):
        load_domain("sat.fog-3", rules)
