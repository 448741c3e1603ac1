"""Labelled folders: four layouts read, and every wrong file named."""

import re

import numpy as np
import pytest
from mlflow.utils.validation import _validate_metric_name
from PIL import Image

from interfero.domains.labelled import VOID, LabelledDomain, LabelledSample, class_metric
from interfero.domains.labelled_catalogue import load_labelled
from interfero.domains.specs import DATA_VARIABLE
from interfero.errors import DomainError

SIZE = (80, 64)


def save_pair(image, labels, index, *, classes=3, void=VOID):
    """An image and a label map of vertical stripes, a stripe a class, the last columns void."""
    image.parent.mkdir(parents=True, exist_ok=True)
    labels.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(index)
    Image.fromarray(rng.integers(0, 256, (64, 80, 3), dtype=np.uint8)).save(image)
    stripes = np.repeat(np.arange(80) * classes // 72, 1).clip(max=classes - 1)
    stripes[-6:] = void
    Image.fromarray(np.tile(stripes.astype(np.uint8), (64, 1))).save(labels)


def camvid(root, counts=(("train", 4), ("val", 2), ("test", 2)), **options):
    index = 0
    for part, count in counts:
        for _ in range(count):
            name = f"frame{index:03d}"
            save_pair(root / part / "images" / f"{name}.png", root / part / "labels" / f"{name}.png",
                      index, **options)  # fmt: skip
            index += 1
    return root


def load(root, **options):
    return load_labelled(f"thing={root}", **options)


def test_camvid_layout(tmp_path):
    domain = load(camvid(tmp_path, classes=11, void=11))
    assert (len(domain.train), len(domain.restoration), len(domain.test)) == (4, 2, 2)
    assert domain.classes[:2] == ("sky", "building")
    labels = domain.train[0].labels_HW
    assert set(np.unique(labels)) == {*range(11), VOID}
    assert (labels[:, -6:] == VOID).all()


def test_segnet_folders(tmp_path):
    for part, count in (("train", 3), ("val", 1), ("test", 1)):
        for i in range(count):
            name = f"{part}{i}.png"
            save_pair(tmp_path / part / name, tmp_path / f"{part}annot" / name, len(part) + i)
    domain = load(tmp_path)
    assert (len(domain.train), len(domain.restoration), len(domain.test)) == (3, 1, 1)
    assert domain.classes == ("class 0", "class 1", "class 2")


def test_a_plain_folder_is_parted_by_source_image(tmp_path):
    for i in range(12):
        name = f"photo{i // 2:03d}_{i % 2}"
        save_pair(tmp_path / "images" / f"{name}.png", tmp_path / "labels" / f"{name}.png", i)
    (tmp_path / "classes.txt").write_text("left\nmiddle\nright\n")
    domain = load(tmp_path)
    parts = [{s.group for s in domain.portion(p)} for p in ("train", "restoration", "test")]
    assert all(parts)
    assert sum(map(len, parts)) == 6
    assert domain.classes == ("left", "middle", "right")
    assert len(load(tmp_path, max_images=1).train) == 1


def cityscapes(root, counts):
    numbers = np.full((64, 80), 3, dtype=np.uint8)
    classes = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
    numbers[:, : len(classes)] = classes
    for part, count in counts.items():
        for i in range(count):
            stem = f"city_{part}_{i:06d}"
            image = root / "leftImg8bit" / part / "city" / f"{stem}_leftImg8bit.png"
            labels = root / "gtFine" / part / "city" / f"{stem}_gtFine_labelIds.png"
            save_pair(image, labels, sum(part.encode()) + i)
            Image.fromarray(numbers).save(labels)
    return root


def test_cityscapes_layout_renumbers_and_voids_the_rest(tmp_path):
    domain = load(cityscapes(tmp_path, {"train": 3, "val": 2}))
    assert len(domain.classes) == 19
    assert domain.train[0].labels_HW[0, :20].tolist() == [*range(19), VOID]
    # Nobody has the test labels: `val` is the test, and the restorer takes a part of train.
    assert (len(domain.train), len(domain.restoration), len(domain.test)) == (2, 1, 2)


def test_the_dummy_labels_of_cityscapes_test_images_are_no_test(tmp_path):
    """The release has gtFine/test, filled with numbers that are no class: all void."""
    cityscapes(tmp_path, {"train": 3, "val": 2, "test": 2})
    for path in (tmp_path / "gtFine" / "test").rglob("*.png"):
        Image.fromarray(np.zeros((64, 80), dtype=np.uint8)).save(path)
    domain = load(tmp_path)
    assert [s.name for s in domain.test] == ["city_val_000000", "city_val_000001"]


@pytest.mark.parametrize("with_test", [False, True], ids=["trainval", "with a test list"])
def test_voc_layout(tmp_path, with_test):
    """VOC2012's test images have a list and no labels."""
    listing = tmp_path / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    (listing / "train.txt").write_text("a\nb\nc\n")
    (listing / "val.txt").write_text("d\n")
    if with_test:
        (listing / "test.txt").write_text("e\nf\n")
        Image.new("RGB", SIZE).save(tmp_path / "ImageSets" / "e.jpg")
    for i, stem in enumerate("abcd"):
        save_pair(tmp_path / "JPEGImages" / f"{stem}.jpg",
                  tmp_path / "SegmentationClass" / f"{stem}.png", i, classes=21)  # fmt: skip
    domain = load(tmp_path)
    assert domain.classes[15] == "person"
    assert domain.train[0].pixels_HWC.shape == (64, 80, 3)  # a JPEG, and not halved
    assert [s.name for s in domain.test] == ["d"]


def test_larger_images_are_cut_with_their_labels(tmp_path):
    domain = load(camvid(tmp_path), max_side=72)
    sample = domain.train[0]
    assert sample.pixels_HWC.shape[:2] == sample.labels_HW.shape == (64, 72)
    assert (sample.labels_HW[0, -2:] == VOID).all()
    assert sample.labels_HW[0, -3] == 2


def refusal(root):
    with pytest.raises(DomainError) as caught:
        load(root)
    return str(caught.value)


def relabel(path, value, mode=None):
    labels = np.array(Image.open(path))
    labels[3, 4] = value
    image = Image.fromarray(labels)
    (image.convert(mode) if mode else image).save(path)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda p: relabel(p, 7), "has the label 7 at 1 pixels: classes are 0 to 2, void 255"),
        (lambda p: Image.new("L", (79, 64)).save(p), "has 79x64 pixels, its image 80x64"),
        (lambda p: Image.new("I;16", SIZE).save(p), "more than 8 bits a pixel"),
        (lambda p: Image.new("RGB", SIZE).save(p), "is RGB: a label map has one channel"),
        (lambda p: p.write_bytes(b"no image"), "cannot be read as a label map"),
        (lambda p: p.unlink(), "has no partner frame001.* in"),
        (lambda p: p.rename(p.with_stem("frame999")), "has no partner"),
    ],
    ids=["range", "size", "16 bit", "colour", "damaged", "missing", "renamed"],
)
def test_a_wrong_label_map_is_named(tmp_path, spoil, said):
    camvid(tmp_path)
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    path = tmp_path / "train" / "labels" / "frame001.png"
    spoil(path)
    message = refusal(tmp_path)
    assert said in message
    assert "frame001" in message


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (Image.new("I;16", SIZE), "more than 8 bits a channel"),
        (Image.new("RGB", (40, 40)), "40x40 is under 64 pixels a side"),
    ],
    ids=["16 bit", "small"],
)
def test_a_wrong_image_is_named(tmp_path, image, said):
    camvid(tmp_path)
    image.save(tmp_path / "test" / "images" / "frame006.png")
    message = refusal(tmp_path)
    assert said in message
    assert "frame006.png" in message


def test_an_image_that_a_camera_turned_is_named(tmp_path):
    """Its pixels would be turned upright, its label map would not."""
    camvid(tmp_path)
    path = tmp_path / "train" / "images" / "frame001.png"
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.open(path).save(path, exif=exif)
    message = refusal(tmp_path)
    assert "frame001.png is stored turned (EXIF orientation 3)" in message


def test_a_class_that_never_occurs_is_named(tmp_path):
    camvid(tmp_path)
    (tmp_path / "classes.txt").write_text("a\nb\nc\nnever\n")
    assert "has a pixel of 'never' (3)" in refusal(tmp_path)


def test_no_layout_at_all(tmp_path):
    assert "has none of the layouts of labelled images" in refusal(tmp_path)


def test_unknown_names_get_the_nearest(monkeypatch):
    monkeypatch.delenv("INTERFERO_DATA", raising=False)
    with pytest.raises(DomainError, match="did you mean 'mosaics'"):
        load_labelled("mosaic")


def test_a_data_folder_that_is_none_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(
        DomainError, match=r"INTERFERO_DATA is '.*nowhere', which is no folder; unset"
    ):
        load_labelled("streets")
    assert load_labelled("mosaics", max_images=1).name == "mosaics"


def test_the_data_folder_serves_labelled_folders_by_name(tmp_path, monkeypatch):
    camvid(tmp_path / "streets")
    camvid(tmp_path / ".hidden")
    (tmp_path / "photos").mkdir()
    (tmp_path / "README.txt").touch()
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert len(load_labelled("streets").train) == 4
    with pytest.raises(DomainError, match="known: digits, mosaics, streets; or give"):
        load_labelled("photos")


@pytest.mark.parametrize("spec", ["", "a/b", "a/b={}", "=x", "..={}", "a b={}"])
def test_names_follow_the_rules_of_all_domains(tmp_path, spec):
    camvid(tmp_path)
    with pytest.raises(DomainError, match=r"a name is made of letters, digits, `\.`, `_` and `-`"):
        load_labelled(spec.format(tmp_path))


def test_an_empty_path_is_not_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(camvid(tmp_path))
    with pytest.raises(DomainError, match="'streets': the path is empty; write streets=PATH"):
        load_labelled("streets=")


def test_crops_of_one_image_are_called_so(tmp_path):
    for i in range(12):
        name = f"photo{i // 2:03d}_{i % 2}"
        save_pair(tmp_path / "images" / f"{name}.png", tmp_path / "labels" / f"{name}.png", i)
    assert load(tmp_path).unit == "crops"
    assert load(camvid(tmp_path / "other")).unit == "images"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n".join(f"c{i}" for i in range(300)), "has 300 classes, it must be 2 to 254"),
        ("sky\n", "has 1 classes, it must be 2 to 254"),
        ("straße\nweg\nhaus\n".encode("latin-1"), "cannot be read as UTF-8 text"),
        ("road, wet\nsky\ntree\n", "the class 'road, wet' cannot be the name of a score"),
        ("a\t\tb\nsky\ntree\n", r"the class 'a\t\tb' cannot be the name of a score"),
        ("sky/\nroad\ntree\n", "the class 'sky/' cannot be the name of a score"),
        ("sky/../road\nroad\ntree\n", "the class 'sky/../road' cannot be the name of a score"),
        ("road\nsky\nroad\n", "the classes 'road' and 'road' would have one score"),
        ("a road\na_road\nsky\n", "the classes 'a road' and 'a_road' would have one score"),
        ("x" * 201 + "\nsky\ntree\n", "up to 200 letters"),
    ],
    ids=["many", "one", "latin-1", "comma", "tab", "slash", "dots", "twice", "as one", "long"],
)
def test_classes_that_cannot_be_scored_are_refused(tmp_path, text, said):
    """MLflow refuses all metrics of a cell for one bad name."""
    camvid(tmp_path)
    file = tmp_path / "classes.txt"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(DomainError, match=re.escape(said)) as caught:
        load(tmp_path)
    assert f"'thing': {file}" in str(caught.value)
    assert any(remedy in str(caught.value) for remedy in ("rename", "save it as", "merge some"))


def test_classes_are_read_without_the_mark_that_editors_write(tmp_path):
    camvid(tmp_path)
    (tmp_path / "classes.txt").write_text("straße\ntraffic light\nwall: low/high\n", "utf-8-sig")
    classes = load(tmp_path).classes
    assert classes == ("straße", "traffic light", "wall: low/high")
    for name in classes:
        _validate_metric_name(class_metric(name))


def test_a_list_of_images_that_is_no_text_is_named(tmp_path):
    listing = tmp_path / "ImageSets" / "Segmentation"
    listing.mkdir(parents=True)
    (tmp_path / "JPEGImages").mkdir()
    (tmp_path / "SegmentationClass").mkdir()
    (listing / "train.txt").write_bytes(b"\xff\xfe\x00a")
    assert "train.txt cannot be read as UTF-8 text" in refusal(tmp_path)


def test_classes_are_checked_wherever_they_come_from():
    parts = (sample("a", 1),), (sample("b", 2),), (sample("c", 3),)
    with pytest.raises(DomainError, match="domain 'd': the class 'x,y' cannot be the name"):
        LabelledDomain("d", ("x,y", "z"), *parts)


def sample(name, seed, label=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    labels = np.full((64, 64), label, dtype=np.uint8)
    labels[0] = 1
    return LabelledSample(name, name, pixels, labels)


def test_no_image_may_be_in_two_portions():
    with pytest.raises(DomainError, match="'a' in train and 'b' in test are one image"):
        LabelledDomain("d", ("x", "y"), (sample("a", 1),), (sample("c", 2),), (sample("b", 1),))


def test_labels_count_in_the_fingerprint():
    def domain(label):
        parts = (sample("a", 1, label),), (sample("b", 2),), (sample("c", 3),)
        return LabelledDomain("d", ("x", "y"), *parts)

    assert domain(0).fingerprint == domain(0).fingerprint
    one = domain(0)
    other = LabelledDomain("d", ("x", "y"), one.train, one.restoration, (sample("c", 3, 1),))
    assert other.fingerprint != one.fingerprint


def test_order_counts_in_the_fingerprint():
    """Crops are drawn by an image's place, copies kept by it."""
    a, b, c, d = (sample(name, seed) for seed, name in enumerate("abcd"))
    one = LabelledDomain("d", ("x", "y"), (a, b), (c,), (d,))
    other = LabelledDomain("d", ("x", "y"), (b, a), (c,), (d,))
    assert one.fingerprint != other.fingerprint


@pytest.mark.data
def test_camvid_for_real(interfero_data):
    domain = load_labelled(f"driving={interfero_data / 'driving'}", max_images=6)
    assert domain.classes[0] == "sky"
    assert (len(domain.train), len(domain.restoration), len(domain.test)) == (6, 6, 6)
