"""How datasets lay out images and label maps in folders: CamVid's, Cityscapes', VOC's, and the plain one.

CamVid (and plain):  PORTION/images/NAME.*        PORTION/labels/NAME.png     PORTION of train, val, test
                     or SegNet's train/ and trainannot/, val/ and valannot/, test/ and testannot/
                     or images/ and labels/ alone: parted by a seed
Cityscapes:          leftImg8bit/SPLIT/CITY/X_leftImg8bit.png    gtFine/SPLIT/CITY/X_gtFine_labelIds.png
VOC:                 JPEGImages/X.jpg  SegmentationClass/X.png  ImageSets/Segmentation/{train,val}.txt

`classes.txt` beside them, a name a line, names the classes; CamVid's eleven are known by their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfero.domains.decoding import group_of
from interfero.domains.images import IMAGE_SUFFIXES
from interfero.domains.label_maps import LabelRules, highest_label
from interfero.domains.labelled import MAX_CLASSES, VOID, check_classes
from interfero.errors import DomainError

Part = Literal["train", "val", "test", "any"]
"""Where a layout puts an image; `any` where it does not say."""

CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "sign", "fence", "car", "pedestrian",
    "bicyclist",
)  # fmt: skip
"""SegNet's eleven classes of CamVid, and 11 for void."""
CITYSCAPES: Mapping[int, str] = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole",
    19: "traffic light", 20: "traffic sign", 21: "vegetation", 22: "terrain", 23: "sky",
    24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train", 32: "motorcycle",
    33: "bicycle",
}  # fmt: skip
"""The 19 classes that Cityscapes evaluates, by `labelIds`."""
VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip
"""PASCAL VOC's classes; 255 is void."""
CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class Pair:
    """An image and its label map."""

    name: str
    group: str
    part: Part
    image: Path
    labels: Path


@dataclass(frozen=True)
class Layout:
    """What a folder was found to hold."""

    kind: str
    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    rules: LabelRules


def find_layout(name: str, root: Path) -> Layout:
    """The layout of a folder, and its pairs.

    Raises:
        DomainError: no known layout, an image without a label map or the other way round.
    """
    if (root / "leftImg8bit").is_dir():
        return _cityscapes(name, root)
    if (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir():
        return _voc(name, root)
    pairs = tuple(_plain(name, root))
    classes, rules = _named_classes(name, root, [pair.labels for pair in pairs])
    return Layout("plain", pairs, classes, rules)


def is_labelled(root: Path) -> bool:
    """Whether a folder has one of the layouts."""
    folders = ("leftImg8bit", "SegmentationClass", "labels", "train/labels", "trainannot")
    return any((root / folder).is_dir() for folder in folders)


def _plain(name: str, root: Path) -> Iterator[Pair]:
    places: list[tuple[Part, Path, Path]] = []
    parts: tuple[Part, ...] = ("train", "val", "test")
    for part in parts:
        if (root / part / "images").is_dir() or (root / part / "labels").is_dir():
            places.append((part, root / part / "images", root / part / "labels"))
        elif (root / f"{part}annot").is_dir():
            places.append((part, root / part, root / f"{part}annot"))
    if not places and (root / "images").is_dir():
        places.append(("any", root / "images", root / "labels"))
    if not places:
        raise DomainError(
            f"domain {name!r}: {root} has none of the layouts of labelled images (train/images and "
            "train/labels, or images and labels, or Cityscapes' leftImg8bit and gtFine, or VOC's "
            "JPEGImages and SegmentationClass): arrange it so"
        )
    for part, images, labels in places:
        yield from _matched(name, part, images, labels)


def _matched(name: str, part: Part, images: Path, labels: Path) -> Iterator[Pair]:
    """Images and label maps of one name, wherever they are below their folders."""
    pictures, maps = _by_stem(name, images), _by_stem(name, labels)
    for alone, folder in (
        (pictures.keys() - maps.keys(), labels),
        (maps.keys() - pictures.keys(), images),
    ):
        if alone:
            first = min(alone)
            raise DomainError(
                f"domain {name!r}: {pictures.get(first) or maps[first]} has no partner {first}.* in "
                f"{folder} ({len(alone)} such files): every image needs its label map, and no other may "
                "be there"
            )
    for stem in sorted(pictures):
        yield Pair(stem, group_of(stem), part, pictures[stem], maps[stem])


def _by_stem(name: str, folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DomainError(f"domain {name!r}: there is no folder {folder}")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith("."):
            continue
        stem = path.relative_to(folder).with_suffix("").as_posix()
        other = found.setdefault(stem, path)
        if other != path:
            raise DomainError(
                f"domain {name!r}: {other} and {path} have one name; keep one of them"
            )
    if not found:
        raise DomainError(f"domain {name!r}: there is no image in {folder}")
    return found


def _named_classes(name: str, root: Path, maps: list[Path]) -> tuple[tuple[str, ...], LabelRules]:
    """From `classes.txt`; else CamVid's where numbers go up to 11; else numbers, up to the highest."""
    file = root / CLASSES_FILE
    if file.is_file():
        lines = _text(name, file).splitlines()
        classes = tuple(line.strip() for line in lines if line.strip())
        check_classes(f"domain {name!r}: {file}", classes)
        return classes, LabelRules(len(classes))
    highest = max(map(highest_label, maps))
    if highest == len(CAMVID):
        return CAMVID, LabelRules(len(CAMVID), frozenset({len(CAMVID), VOID}))
    if highest >= MAX_CLASSES:
        raise DomainError(
            f"domain {name!r}: its label maps have numbers up to {highest}, at most "
            f"{MAX_CLASSES - 1}; merge classes, or mark what does not count with {VOID}"
        )
    return tuple(f"class {i}" for i in range(highest + 1)), LabelRules(highest + 1)


def _text(name: str, file: Path) -> str:
    """A text file; some editors begin UTF-8 with a mark, which is no part of the first name."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(
            f"domain {name!r}: {file} cannot be read as UTF-8 text ({error}): save it as UTF-8, a name "
            "a line"
        ) from error


def _cityscapes(name: str, root: Path) -> Layout:
    def pairs() -> Iterator[Pair]:
        # gtFine/test of the release is filled with numbers of no class: nobody has its labels.
        parts: tuple[Part, ...] = ("train", "val")
        for part in parts:
            for image in sorted((root / "leftImg8bit" / part).rglob("*_leftImg8bit.png")):
                stem = image.name.removesuffix("_leftImg8bit.png")
                folder = root / "gtFine" / part / image.parent.name
                labels = folder / f"{stem}_gtFine_labelIds.png"
                _require(name, labels, image)
                yield Pair(stem, stem, part, image, labels)

    numbers = {number: i for i, number in enumerate(CITYSCAPES)}
    rules = LabelRules(len(CITYSCAPES), renumbered=numbers)
    return Layout("Cityscapes", _some(name, root, pairs), tuple(CITYSCAPES.values()), rules)


def _voc(name: str, root: Path) -> Layout:
    def pairs() -> Iterator[Pair]:
        parts: tuple[Part, ...] = ("train", "val", "test")
        for part in parts:
            listing = root / "ImageSets" / "Segmentation" / f"{part}.txt"
            stems = _text(name, listing).split() if listing.is_file() else []
            folder = root / "SegmentationClass"
            if part == "test" and not any((folder / f"{stem}.png").is_file() for stem in stems):
                continue  # Later years list test images, and keep their labels to themselves.
            for stem in stems:
                image = root / "JPEGImages" / f"{stem}.jpg"
                labels = folder / f"{stem}.png"
                _require(name, image, listing)
                _require(name, labels, image)
                yield Pair(stem, stem, part, image, labels)

    return Layout("VOC", _some(name, root, pairs), VOC, LabelRules(len(VOC)))


def _require(name: str, path: Path, partner: Path) -> None:
    if not path.is_file():
        raise DomainError(
            f"domain {name!r}: {partner} has no partner {path}; every image needs its label map"
        )


def _some(name: str, root: Path, pairs: Callable[[], Iterator[Pair]]) -> tuple[Pair, ...]:
    found = tuple(pairs())
    if not found:
        raise DomainError(f"domain {name!r}: {root} lists no labelled image")
    return found
