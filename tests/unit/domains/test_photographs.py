"""The photographs that come with the package: whole, apart, known by origin, unseen by the codecs."""

import subprocess
import sys
import zipfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

from interfero.domains import photographs as module
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain, spread
from interfero.domains.graded import mixed
from interfero.domains.images import Sample
from interfero.domains.photographs import FOLDER, PROVENANCE, photographs, provenance
from interfero.domains.shipped import domain_blocks, read_domain_file
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.errors import DomainError

ROOT = Path(__file__).resolve().parents[3]
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def domain():
    return photographs()


def of(split):
    return {p["name"] for p in provenance() if p["split"] == split}


def test_splits_are_apart_by_photograph_and_large_enough(domain):
    train, validation, test = (of(split) for split in SPLITS)
    assert len(train | validation | test) == len(provenance()) >= 24
    assert len(validation) >= 5
    assert len(test) >= 8
    assert sum(p["licence"] == "CC0-1.0" for p in provenance()) >= 20
    assert {s.group for s in domain.test} == test
    assert {s.group for s in domain.train} == train | validation
    assert len({p["sha256"] for p in provenance()}) == len(provenance())


@pytest.mark.parametrize("seed", range(5))
def test_every_data_seed_validates_on_the_same_photographs(domain, seed):
    split = domain.split("all", seed)
    assert {s.group for s in split.validation} == of("validation")
    assert {s.group for s in split.training} == of("train")


def test_sides_are_multiples_of_the_stride_and_few_crops_are_of_one_photograph(domain):
    for sample in (*domain.train, *domain.test):
        assert not sample.pixels_HWC.shape[0] % 64
        assert not sample.pixels_HWC.shape[1] % 64
    assert max(Counter(s.group for s in (*domain.train, *domain.test)).values()) <= 2
    assert len({s.group for s in spread(domain.test, 8)}) == 8, "a default sweep tests on eight"


def test_no_validation_or_test_photograph_has_trained_a_bundled_codec():
    """Wallpapers were matched with the crops of their training; others are of packages that are not in it."""
    saw = {p["name"]: p["source_codecs_saw"] for p in provenance()}
    assert {saw[name] for name in of("test")} == {"nothing"}
    assert {saw[name] for name in of("validation")} <= {"nothing", "test"}
    assert set(saw.values()) <= {"nothing", "test", "training"}


def test_provenance_is_complete_and_crops_are_inside_and_disjoint():
    for picture in provenance():
        told = ("package", "version", "file", "sha256", "licence", "author", "statement")
        assert all(isinstance(picture[key], str) and picture[key] for key in told)
        assert len(picture["sha256"]) == 64
        assert picture["licence"] in ("CC0-1.0", "public domain")
        assert picture["reduced_by"] >= 2 or picture["file"].endswith(".png")
        boxes = [crop["box"] for crop in picture["crops"]]
        assert all(0 <= box[0] < box[2] <= picture["size"][0] for box in boxes)
        assert all(0 <= box[1] < box[3] <= picture["size"][1] for box in boxes)
        assert all(a[2] <= b[0] for a, b in pairwise(boxes))


def test_the_folder_holds_the_crops_their_recipe_and_the_licence():
    named = {crop["file"] for picture in provenance() for crop in picture["crops"]}
    found = {path.name for path in FOLDER.iterdir()}
    assert found == named | {PROVENANCE, "CC0-1.0.txt"}
    assert "CC0 1.0 Universal" in (FOLDER / "CC0-1.0.txt").read_text(encoding="utf-8")
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 5e6


def test_a_missing_or_other_crop_is_refused(tmp_path, monkeypatch):
    for path in FOLDER.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    Image.new("RGB", (192, 192)).save(tmp_path / "tulips_0.webp", lossless=True)
    with pytest.raises(DomainError, match=r"tulips_0.webp is another picture .*install interfero"):
        photographs()
    (tmp_path / "tulips_0.webp").unlink()
    with pytest.raises(DomainError, match=r"tulips_0.webp.*install interfero"):
        photographs()


def test_it_is_the_default_source_domain_and_photos_stays_what_it_was(domain):
    assert AdaptationOptions(domains=("text",)).source_domain == domain.name == "photographs"
    # Of the records that were made with it; their keys hold this hash.
    assert load_domain("photos").fingerprint == "6bb1c1240d37c2ac419eedddb4672b55"


def test_it_travels_and_is_corrupted_with_its_validation(domain, tmp_path):
    (tmp_path / "images.u8").write_bytes(b"".join(domain_blocks(domain)))
    again = read_domain_file(tmp_path / "images.u8")
    assert again.fingerprint == domain.fingerprint
    names = [s.name for s in domain.split(4, 3).validation]
    assert [s.name for s in again.split(4, 3).validation] == names
    foggy = load_domain("photographs.fog-3")
    assert {s.name for s in foggy.split(4, 3).validation} == set(names)


@pytest.mark.parametrize("share", [0, 10, 25, 50, 75, 100])
def test_mixtures_validate_on_validation_photographs_and_keep_enough_to_train(domain, share):
    made = load_domain(f"photographs.mix-text-{share}")
    own = [s for s in made.split(1, 0).validation if not s.name.startswith("text-")]
    assert {s.group for s in own} <= of("validation")
    assert min(made.num_outside_validation(seed) for seed in range(5)) >= 12
    assert share or made.fingerprint == domain.fingerprint


def test_named_validation_groups_are_training_images_and_part_of_the_content(domain):
    sample = domain.train[0]
    with pytest.raises(DomainError, match="'nothing' is for validation and has no image in train"):
        Domain("d", domain.train, domain.test, validation_groups=frozenset({"nothing"}))
    plain = Domain("d", domain.train, domain.test)
    named = Domain("d", domain.train, domain.test, validation_groups=frozenset({sample.group}))
    assert plain.fingerprint != named.fingerprint
    assert {s.group for s in named.split(1, 0).validation} == {sample.group}


def test_a_mixture_keeps_the_other_domains_validation_groups_under_their_new_names(domain):
    one = Sample("x", "tulips", domain.test[0].pixels_HWC)
    other = Domain("own", (one, Sample("y", "y", domain.test[1].pixels_HWC)), domain.train[:1])
    made = mixed(other, domain, 50, "m")
    assert all(g.removeprefix("photographs/") in of("validation") for g in made.validation_groups)


def test_a_wheel_carries_the_photographs_and_they_load_from_it(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        kept = [
            n for n in archive.namelist() if n.startswith("interfero/") and "/weights/" not in n
        ]
        archive.extractall(tmp_path / "site", kept)
        assert any(n.endswith("licenses/platform/interfero/domains/pictures/CC0-1.0.txt")
                   for n in archive.namelist())  # fmt: skip
    code = "import interfero.domains.photographs as p; print(p.photographs().fingerprint, p.FOLDER)"
    clean = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r}); {code}",
    ]
    told = subprocess.run(clean, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert told.stdout.split()[0] == photographs().fingerprint
    assert told.stdout.split()[1].startswith(str(tmp_path))
