"""Images with one class each: digits, folders of classes, and classes in file names."""

import numpy as np
import pytest
from PIL import Image

from interfero.domains.digits import NUM_IMAGES, digits
from interfero.domains.labelled import PORTIONS
from interfero.domains.labelled_catalogue import load_labelled
from interfero.domains.labelled_file import labelled_blocks, read_labelled_file
from interfero.errors import DomainError


def write(path, grey):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(str(path)) + grey)
    pixels = (grey + rng.integers(0, 20, (64, 80, 3))).astype(np.uint8)
    pixels[0, 0] = [sum(map(ord, path.name)) % 256, grey, len(path.name)]
    Image.fromarray(pixels).save(path)


@pytest.fixture(params=["folders", "names", "no portions"])
def root(request, tmp_path):
    for part, count in (("train", 5), ("test", 2)):
        for number, kind in enumerate(("cat", "dog")):
            for i in range(count):
                file = f"{kind}_{part}{i}.png" if request.param == "names" else f"{part}{i}.png"
                folders = {"folders": (part, kind), "names": (part,), "no portions": (kind,)}
                write(tmp_path.joinpath(*folders[request.param], file), 40 + 100 * number + i)
    return tmp_path


def test_classes_by_folder_or_by_file_name(root, tmp_path_factory):
    domain = load_labelled(f"pets={root}")
    assert domain.classes == ("cat", "dog")
    assert domain.label_kind == "images"
    assert sum(len(domain.portion(p)) for p in PORTIONS) == 14
    assert any("one class for each image" in note for note in domain.notes)
    for portion in PORTIONS:
        for sample in domain.portion(portion):
            assert sample.labels_HW.shape == (64, 80)
            (label,) = np.unique(sample.labels_HW)
            assert label == (sample.pixels_HWC.mean() > 100)
    path = tmp_path_factory.mktemp("shipped") / "labelled.u8"
    path.write_bytes(b"".join(labelled_blocks(domain)))
    again = read_labelled_file(path)
    assert (again.label_kind, again.fingerprint) == ("images", domain.fingerprint)


def test_a_folder_of_other_images_is_no_domain_of_classes(tmp_path):
    for i in range(6):
        write(tmp_path / "train" / f"a{i}.png", 10 * i)
        write(tmp_path / "test" / f"b{i}.png", 10 * i)
    with pytest.raises(DomainError, match="train/CLASS and test/CLASS"):
        load_labelled(f"x={tmp_path}")


def test_digits_are_apart_and_of_all_classes():
    domain = digits()
    assert {p: len(domain.portion(p)) for p in PORTIONS} == NUM_IMAGES
    assert domain.classes == tuple("0123456789")
    assert domain.train[0].pixels_HWC.shape == (32, 32, 3)
    assert digits().fingerprint == domain.fingerprint
    for sample in domain.test[:20]:
        assert len(np.unique(sample.labels_HW)) == 1


def test_few_digits_are_of_the_same_classes_in_every_portion():
    domain = load_labelled("digits", max_images=3)
    assert domain.classes == ("0", "1", "2")
    for portion in PORTIONS:
        assert [int(s.labels_HW[0, 0]) for s in domain.portion(portion)] == [0, 1, 2]


def test_few_of_a_folder_are_of_every_class(root):
    if (root / "train").is_dir():
        domain = load_labelled(f"pets={root}", max_images=2)
        assert domain.classes == ("cat", "dog")
        assert sorted(int(s.labels_HW[0, 0]) for s in domain.test) == [0, 1]


@pytest.mark.data
def test_aerial_images_have_classes_in_their_names(interfero_data):
    domain = load_labelled(f"aerial={interfero_data / 'aerial'}")
    assert domain.classes == ("aGrass", "bField", "cIndustry", "dRiverLake", "eForest", "fResident",
                              "gParking")  # fmt: skip
    assert len(domain.test) == 33
