"""Labels as they come: public datasets' files, colours, polygons, and files that are not what was drawn."""

import json
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from interfero.domains.label_classes import ADE20K, CAMVID_COLOURS, CITYSCAPES, VOC, VOC_COLOURS
from interfero.domains.label_maps import LabelRules, read_label_map
from interfero.domains.labelled import VOID
from interfero.domains.labelled_catalogue import load_labelled
from interfero.errors import DomainError

HEIGHT, WIDTH = 64, 80


def stripes(classes):
    """(64, 80) numbers 0, 1, ... of vertical stripes."""
    row = np.arange(WIDTH) * classes // WIDTH
    return np.tile(row.astype(np.uint8), (HEIGHT, 1))


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def save(path, labels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels).save(path, **options)


def pairs(root, labels, count=8, suffix=".png", **options):
    """`images/p0x.png` and `labels/p0x.png` of one label map."""
    for i in range(count):
        picture(root / "images" / f"p{i}x.png", i)
        save(root / "labels" / f"p{i}x{suffix}", labels, **options)
    return root


def load(root, **options):
    return load_labelled(f"thing={root}", **options)


def refusal(root):
    with pytest.raises(DomainError) as caught:
        load(root)
    return str(caught.value)


def png_of(labels, bits):
    """A grey PNG of fewer bits a pixel, which Pillow does not write."""
    per_byte = 8 // bits
    rows = b""
    for row in labels:
        packed = row.reshape(-1, per_byte)
        shifts = bits * np.arange(per_byte - 1, -1, -1)
        rows += b"\0" + (packed << shifts).sum(axis=1).astype(np.uint8).tobytes()

    def chunk(kind, data):
        return (struct.pack(">L", len(data)) + kind + data
                + struct.pack(">L", zlib.crc32(kind + data)))  # fmt: skip

    head = struct.pack(">LLBBBBB", labels.shape[1], labels.shape[0], bits, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows))
            + chunk(b"IEND", b""))  # fmt: skip


@pytest.mark.parametrize(("bits", "classes"), [(1, 2), (2, 4), (4, 16), (8, 16)])
def test_numbers_of_few_bits_are_those_in_the_file(tmp_path, bits, classes):
    path, labels = tmp_path / "a.png", stripes(classes)
    path.write_bytes(png_of(labels, bits))
    read = read_label_map(path, (WIDTH, HEIGHT), LabelRules(classes))
    assert np.array_equal(read, labels)


@pytest.mark.parametrize("highest", [3, 11, 254, 255])
def test_numbers_of_a_pgm_are_not_stretched_to_its_maximum(tmp_path, highest):
    labels = stripes(4)
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5\n80 64\n%d\n" % highest + labels.tobytes())
    assert np.array_equal(read_label_map(path, (WIDTH, HEIGHT), LabelRules(4)), labels)


@pytest.mark.parametrize(
    ("suffix", "options", "said"),
    [
        (".jpg", {"quality": 100}, "is JPEG, which may be lossy"),
        (".webp", {"lossless": True}, "is WEBP, which may be lossy"),
        (".tif", {"compression": "jpeg"}, "is TIFF with lossy compression"),
    ],
)
def test_lossy_label_files_are_refused_by_name(tmp_path, suffix, options, said):
    message = refusal(pairs(tmp_path, stripes(3), suffix=suffix, **options))
    assert f"labels/p0x{suffix} {said}" in message
    assert "palette PNG" in message


def test_label_files_of_several_pages_or_turned_senses_are_refused(tmp_path):
    root = pairs(tmp_path, stripes(3), suffix=".tif")
    path = root / "labels" / "p0x.tif"
    tifffile.imwrite(path, stripes(3), photometric="miniswhite")
    assert "p0x.tif is a TIFF whose lowest number is white" in refusal(root)
    tifffile.imwrite(path, np.stack([stripes(3)] * 2), photometric="minisblack")
    assert "p0x.tif has 2 pages" in refusal(root)
    bands = np.dstack([stripes(3)] * 2)
    tifffile.imwrite(path, bands, photometric="minisblack", extrasamples=["unspecified"])
    assert "p0x.tif has 2 bands" in refusal(root)


@pytest.mark.parametrize("named", [False, True])
def test_masks_of_0_and_255_are_told_that_255_is_void(tmp_path, named):
    pairs(tmp_path, stripes(2) * 255)
    if named:
        (tmp_path / "classes.txt").write_text("background\nlesion\n")
    assert "255 is void here: a mask of 0 and 255 needs 1 for its class" in refusal(tmp_path)


def test_twelve_numbers_are_camvid_with_a_line_and_twelve_named_classes_are_twelve(tmp_path):
    pairs(tmp_path, stripes(12))
    domain = load(tmp_path)
    assert len(domain.classes) == 11
    assert any("taken for CamVid's 11 classes" in note for note in domain.notes)
    (tmp_path / "classes.txt").write_text("\n".join(f"kind {i}" for i in range(12)))
    assert len(load(tmp_path).classes) == 12


def voc(root, labels):
    for i in range(8):
        (root / "JPEGImages").mkdir(parents=True, exist_ok=True)
        picture(root / "JPEGImages" / f"v{i}v.jpg", i)
        save(root / "SegmentationClass" / f"v{i}v.png", labels)
    lists = root / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("\n".join(f"v{i}v" for i in range(5)))
    (lists / "val.txt").write_text("\n".join(f"v{i}v" for i in range(5, 8)))
    return root


def test_vocs_layout_takes_names_from_classes_txt(tmp_path):
    voc(tmp_path, stripes(4))
    (tmp_path / "classes.txt").write_text("w\nx\ny\nz\n")
    assert load(tmp_path).classes == ("w", "x", "y", "z")


def test_vocs_colours_are_its_classes_and_void(tmp_path):
    colours = np.array([*VOC_COLOURS], dtype=np.uint8)  # 21 classes, then void
    domain = load(voc(tmp_path, colours[stripes(22)]))
    assert domain.classes == VOC
    expected = stripes(22)
    assert np.array_equal(domain.test[0].labels_HW, np.where(expected == 21, VOID, expected))


def test_a_class_without_training_pixels_is_left_out_of_a_datasets_own(tmp_path):
    labels = stripes(21)
    root = voc(tmp_path, labels)
    for i in range(5):
        save(root / "SegmentationClass" / f"v{i}v.png", np.where(labels == 7, 6, labels))
    domain = load(root)
    assert domain.classes == (*VOC[:7], *VOC[8:])
    (line,) = [note for note in domain.notes if "left out" in note]
    assert "1 classes without a pixel in the 3 training images ('car')" in line
    test = domain.test[0].labels_HW
    assert (test[labels == 7] == VOID).all()
    assert (test[labels == 8] == 7).all(), "later classes move up"


def test_max_images_may_lose_a_rare_class(tmp_path):
    pairs(tmp_path, stripes(2), count=24)
    save(tmp_path / "labels" / "p5x.png", stripes(3))
    (tmp_path / "classes.txt").write_text("a\nb\nrare\n")
    few = load(tmp_path, max_images=1)
    assert few.classes == ("a", "b")
    assert any("('rare')" in note for note in few.notes)


def cityscapes(root, kind, numbers):
    for part, count in (("train", 4), ("val", 2)):
        for i in range(count):
            stem = f"ulm_{part}{i:04d}"
            image = root / "leftImg8bit" / part / "ulm" / f"{stem}_leftImg8bit.png"
            picture(image, len(part) * 100 + i)
            save(root / "gtFine" / part / "ulm" / f"{stem}_gtFine_{kind}.png", numbers)
    return root


def test_cityscapes_label_ids_and_train_ids_are_the_same_classes(tmp_path):
    ids = np.array([*CITYSCAPES, 3], dtype=np.uint8)
    train_ids = np.array([*range(19), 255], dtype=np.uint8)
    one = load(cityscapes(tmp_path / "a", "labelIds", ids[stripes(20)]))
    other = load(cityscapes(tmp_path / "b", "labelTrainIds", train_ids[stripes(20)]))
    assert one.fingerprint == other.fingerprint
    assert "labels are labelTrainIds" in other.notes


def ade20k(root, numbers):
    for part, first, count in (("training", 0, 5), ("validation", 50, 2)):
        for i in range(first, first + count):
            picture(root / "images" / part / f"ADE_{i:04d}n.png", i)
            save(root / "annotations" / part / f"ADE_{i:04d}n.png", numbers)
    return root


def test_ade20ks_0_is_void_and_1_to_150_are_classes(tmp_path):
    numbers = np.array([0, 1, 2, 150], dtype=np.uint8)[stripes(4)]
    domain = load(ade20k(tmp_path, numbers))
    assert domain.classes == (ADE20K[0], ADE20K[1], ADE20K[149]) == ("wall", "building", "flag")
    assert np.unique(domain.test[0].labels_HW).tolist() == [0, 1, 2, VOID]
    assert any("147 classes without a pixel" in note for note in domain.notes)
    save(tmp_path / "annotations" / "training" / "ADE_0001n.png", numbers + 1)
    assert "ADE_0001n.png has the label 151" in refusal(tmp_path)


def test_bdd100k(tmp_path):
    for part, first, count in (("train", 0, 5), ("val", 50, 2)):
        for i in range(first, first + count):
            picture(tmp_path / "images" / "10k" / part / f"b{i}b.jpg", i)
            save(tmp_path / "labels" / "sem_seg" / "masks" / part / f"b{i}b.png", stripes(19))
    domain = load(tmp_path)
    assert domain.classes == tuple(CITYSCAPES.values())
    assert (len(domain.train), len(domain.test)) == (3, 2)


@pytest.mark.parametrize(
    "text",
    ["255 0 0 roof\n0 0 255 water body\n0 0 0 void\n",
     "name,r,g,b\nroof,255,0,0\nwater body,0,0,255\nvoid,0,0,0\n"],
    ids=["palette.txt", "class_dict.csv"],
)  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "P"])
def test_colours_are_read_by_a_palette_file(tmp_path, text, mode):
    colours = np.array([[255, 0, 0], [0, 0, 255], [0, 0, 0]], dtype=np.uint8)[stripes(3)]
    pairs(tmp_path, colours)
    for path in (tmp_path / "labels").iterdir():
        Image.open(path).convert(mode, palette=Image.Palette.ADAPTIVE).save(path)
    (tmp_path / ("class_dict.csv" if "," in text else "palette.txt")).write_text(text)
    domain = load(tmp_path)
    assert domain.classes == ("roof", "water body")
    assert np.array_equal(domain.train[0].labels_HW, np.where(stripes(3) == 2, VOID, stripes(3)))
    save(tmp_path / "labels" / "p3x.png", colours + np.uint8(1))
    assert "p3x.png has the colour" in refusal(tmp_path)


def test_camvids_colours_are_known_and_other_colours_need_a_file(tmp_path):
    chosen = [colour for colour, name in CAMVID_COLOURS.items() if name in ("Sky", "Road", "Void")]
    pairs(tmp_path, np.array(chosen, dtype=np.uint8)[stripes(3)])
    domain = load(tmp_path)
    assert set(domain.classes) == {"Sky", "Road"}
    assert "label maps are coloured: CamVid's 32 colours" in domain.notes
    save(tmp_path / "labels" / "p0x.png", np.full((HEIGHT, WIDTH, 3), 7, dtype=np.uint8))
    assert "p0x.png is RGB" in refusal(tmp_path)


def test_masks_that_end_in_a_word_pair_with_their_images(tmp_path):
    for folder, first in (("train", 0), ("valid", 10), ("test", 20)):
        for i in range(first, first + 3):
            picture(tmp_path / folder / f"r{i}r.png", i)
            save(tmp_path / folder / f"r{i}r_mask.png", stripes(3))
    domain = load(tmp_path)
    assert [len(domain.portion(p)) for p in ("train", "restoration", "test")] == [3, 3, 3]
    assert "valid/ is read as val/" in domain.notes
    (tmp_path / "test" / "r21r.png").unlink()
    assert "r21r_mask.png has no partner r21r.*" in refusal(tmp_path)


def test_splits_below_images_and_labels(tmp_path):
    for folder, first in (("train", 0), ("val", 10), ("test", 20)):
        for i in range(first, first + 2):
            picture(tmp_path / "images" / folder / f"r{i}r.png", i)
            save(tmp_path / "masks" / folder / f"r{i}r.png", stripes(3))
    domain = load(tmp_path)
    assert [s.name for s in domain.test] == ["r20r", "r21r"]


def coco(root, split, first, count, crowd=None):
    folder = root / split
    square, hole = [10, 10, 50, 10, 50, 50, 10, 50], [20, 20, 30, 20, 30, 30, 20, 30]
    content = {"categories": [{"id": 7, "name": "hat"}, {"id": 3, "name": "dog"}],
               "images": [], "annotations": []}  # fmt: skip
    for i in range(first, first + count):
        picture(folder / f"c{i}c.png", i)
        content["images"].append({"id": i, "file_name": f"c{i}c.png", "width": 80, "height": 64})
        for category, area, shape in ((7, 100, [hole]), (3, 1600, [square])):
            content["annotations"].append(
                {"image_id": i, "category_id": category, "area": area, "segmentation": shape})  # fmt: skip
        if crowd:
            shape = {"counts": crowd}
            content["annotations"].append(
                {"image_id": i, "category_id": 3, "iscrowd": 1, "segmentation": shape}
            )
    (folder / "_annotations.coco.json").write_text(json.dumps(content))


def test_polygons_are_drawn_smaller_ones_on_larger_ones_and_crowds_are_void(tmp_path):
    crowd = [0, 2 * HEIGHT, (WIDTH - 2) * HEIGHT]  # the first two columns
    for split, first in (("train", 0), ("valid", 10), ("test", 20)):
        coco(tmp_path, split, first, 3, crowd)
    domain = load(tmp_path)
    assert domain.classes == ("background", "dog", "hat")
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[10:50, 10:50] = 1
    labels[20:30, 20:30] = 2
    labels[:, :2] = VOID
    assert np.array_equal(domain.train[0].labels_HW, labels)
    assert len(domain.test) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c["images"][0].update(width=81), "has 80x64 pixels, .* says 81x64"),
        (lambda c: c["images"][0].update(file_name="gone.png"), "names the image 'gone.png'"),
        (
            lambda c: c["annotations"][0].update(category_id=99),
            "cannot be read as COCO's annotations",
        ),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2]]), "a polygon of 2 numbers"),
        (
            lambda c: c["annotations"][0].update(segmentation={"counts": "ab"}),
            "string of run lengths",
        ),
        (lambda c: c["annotations"][0].update(segmentation={"counts": [5]}), "sum to 5"),
    ],
    ids=["size", "missing", "category", "points", "string", "runs"],
)
def test_a_wrong_annotation_names_its_file(tmp_path, change, said):
    for split, first in (("train", 0), ("valid", 10), ("test", 20)):
        coco(tmp_path, split, first, 3)
    file = tmp_path / "test" / "_annotations.coco.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    with pytest.raises(DomainError, match=said) as caught:
        load(tmp_path)
    assert "_annotations.coco.json" in str(caught.value)
