"""Public labelled datasets as they are unpacked: Cityscapes, VOC, ADE20K, BDD100K, COCO's polygons."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from interfero.domains.decoding import group_of
from interfero.domains.label_classes import ADE20K, CITYSCAPES, VOC
from interfero.domains.label_maps import LabelRules
from interfero.domains.label_pairs import (
    CLASSES_FILE,
    Layout,
    Pair,
    Part,
    matched,
    named_classes,
    read_text,
    require,
    some,
)
from interfero.domains.label_palettes import KNOWN
from interfero.domains.labelled import check_classes
from interfero.domains.listing import shown
from interfero.domains.names import coco_files
from interfero.domains.polygons import read_coco
from interfero.domains.portions import split_of
from interfero.errors import DomainError

_LABELLED_PARTS: tuple[Part, ...] = ("train", "val")
"""Of datasets that keep the labels of their test images to themselves."""
ADE_LIST = "objectInfo150.txt"


def cityscapes(name: str, root: Path) -> Layout:
    """`leftImg8bit/SPLIT/CITY/X_leftImg8bit.png` and `gtFine/SPLIT/CITY/X_gtFine_labelIds.png`.

    Where the first image has no labelIds, all are read as labelTrainIds: 0 to 18, 255 is void.
    """

    def label_file(image: Path, part: Part, kind: str) -> Path:
        stem = image.name.removesuffix("_leftImg8bit.png")
        return root / "gtFine" / part / image.parent.name / f"{stem}_gtFine_{kind}.png"

    def images(part: Part) -> list[Path]:
        return sorted((root / "leftImg8bit" / part).rglob("*_leftImg8bit.png"))

    first = next(((i, p) for p in _LABELLED_PARTS for i in images(p)), None)
    is_train_ids = first is not None and (
        not label_file(*first, "labelIds").is_file()
        and label_file(*first, "labelTrainIds").is_file()
    )
    kind = "labelTrainIds" if is_train_ids else "labelIds"

    def pairs() -> Iterator[Pair]:
        # gtFine/test of the release is filled with numbers of no class: nobody has its labels.
        for part in _LABELLED_PARTS:
            for image in images(part):
                labels = label_file(image, part, kind)
                require(name, labels, image)
                stem = image.name.removesuffix("_leftImg8bit.png")
                yield Pair(stem, stem, part, image, labels)

    numbers = {number: i for i, number in enumerate(CITYSCAPES)}
    rules = LabelRules(len(CITYSCAPES), renumbered=None if is_train_ids else numbers)
    classes = _renamed(name, root, tuple(CITYSCAPES.values()), "Cityscapes")
    notes = (f"labels are {kind}",) if is_train_ids else ()
    return Layout("Cityscapes", some(name, root, pairs), classes, rules, notes, fixed_classes=True)


def voc(name: str, root: Path) -> Layout:
    """`JPEGImages/X.jpg`, `SegmentationClass/X.png`, and lists in `ImageSets/Segmentation`."""

    def pairs() -> Iterator[Pair]:
        parts: tuple[Part, ...] = ("train", "val", "test")
        for part in parts:
            listing = root / "ImageSets" / "Segmentation" / f"{part}.txt"
            stems = read_text(name, listing).split() if listing.is_file() else []
            folder = root / "SegmentationClass"
            if part == "test" and not any((folder / f"{stem}.png").is_file() for stem in stems):
                continue  # Later years list test images, and keep their labels to themselves.
            for stem in stems:
                image = root / "JPEGImages" / f"{stem}.jpg"
                labels = folder / f"{stem}.png"
                require(name, image, listing)
                require(name, labels, image)
                yield Pair(stem, stem, part, image, labels)

    own = named_classes(name, root)
    classes = own or VOC
    # Some copies have the colours of VOC's palette as RGB, without its numbers.
    palette = None if own else KNOWN[0]
    rules = LabelRules(len(classes), palette=palette)
    return Layout("VOC", some(name, root, pairs), classes, rules, fixed_classes=own is None)


def ade20k(name: str, root: Path) -> Layout:
    """`images/training/X.jpg` and `annotations/training/X.png`: 0 is other (void), 1 to 150 are classes."""

    def pairs() -> Iterator[Pair]:
        folders = ("training", "validation")
        for part, folder in zip(_LABELLED_PARTS, folders, strict=True):
            if (root / "images" / folder).is_dir():
                yield from matched(
                    name, part, root / "images" / folder, root / "annotations" / folder
                )

    rules = LabelRules(
        len(ADE20K), frozenset({0, 255}), {i + 1: i for i in range(len(ADE20K))}, strict=True
    )
    classes = _renamed(name, root, ADE20K, "ADE20K")
    return Layout("ADE20K", some(name, root, pairs), classes, rules, fixed_classes=True)


def bdd100k(name: str, root: Path) -> Layout:
    """`images/10k/SPLIT/X.jpg` and `labels/sem_seg/masks/SPLIT/X.png`: Cityscapes' labelTrainIds."""

    def pairs() -> Iterator[Pair]:
        for part in _LABELLED_PARTS:
            masks = root / "labels" / "sem_seg" / "masks" / part
            if masks.is_dir():
                yield from matched(name, part, root / "images" / "10k" / part, masks)

    rules = LabelRules(len(CITYSCAPES))
    classes = _renamed(name, root, tuple(CITYSCAPES.values()), "BDD100K")
    return Layout("BDD100K", some(name, root, pairs), classes, rules, fixed_classes=True)


def coco(name: str, root: Path) -> Layout:
    """Polygons: `annotations/instances_SPLIT*.json` or `SPLIT/_annotations.coco.json`, and their images."""
    classes: tuple[str, ...] = ()
    pairs: list[Pair] = []
    for file in coco_files(root):
        own, outlines = read_coco(name, file)
        if classes and own != classes:
            raise DomainError(
                f"domain {name!r}: {shown(file)} has other categories than the file before it; give all "
                "splits one list"
            )
        classes, part = own, _part_of(root, file)
        for file_name, shapes in sorted(outlines.items()):
            image = _coco_image(name, root, file, file_name)
            stem = Path(file_name).with_suffix("").as_posix()
            pairs.append(Pair(stem, group_of(stem), part, image, shapes))
    check_classes(f"domain {name!r}: {shown(root)}", classes)
    note = "labels are polygons, drawn with 0 for background, smaller objects on larger ones"
    return Layout(
        "COCO",
        some(name, root, lambda: iter(pairs)),
        classes,
        LabelRules(len(classes)),
        (note,),
        True,
    )


def _part_of(root: Path, file: Path) -> Part:
    """By the words in the file's name (`instances_train2017`), or by its folder."""
    folder = file.parent.name if file.parent != root else ""
    for word in (*re.split(r"[^A-Za-z]+", file.stem), folder):
        if (split := split_of(word)) is not None:
            return split
    return "any"


def _coco_image(name: str, root: Path, file: Path, file_name: str) -> Path:
    """Where an image is: next to its JSON, in `images/`, or in the folder that the JSON is named after."""
    split = file.stem.removeprefix("instances_")
    folders = (file.parent, root, root / "images", root / split, root / "images" / split)
    found = next((f / file_name for f in folders if (f / file_name).is_file()), None)
    if found is None:
        raise DomainError(
            f"domain {name!r}: {shown(file)} names the image {file_name!r}, which is in none of "
            f"{', '.join(shown(f) for f in dict.fromkeys(folders))}"
        )
    return found


def _renamed(name: str, root: Path, classes: tuple[str, ...], kind: str) -> tuple[str, ...]:
    """A dataset's classes, by the names of `classes.txt` if it is there."""
    own = named_classes(name, root)
    if own is not None and len(own) != len(classes):
        raise DomainError(
            f"domain {name!r}: {shown(root / CLASSES_FILE)} names {len(own)} classes, {kind} has "
            f"{len(classes)}: name all of them, or remove the file"
        )
    return own or classes
