"""How datasets lay out images and label maps in folders.

CamVid (and plain):  PORTION/images/NAME.*        PORTION/labels/NAME.png     PORTION of train, val, test
                     or SegNet's train/ and trainannot/, val/ and valannot/, test/ and testannot/
                     or PORTION/NAME.* with PORTION/NAME_mask.png in one folder
                     or images/PORTION/ and labels/PORTION/
                     or images/ and labels/ alone: parted by a seed
Classes of images:   PORTION/CLASS/NAME.* and the like (`class_folders`)
and the datasets of `label_datasets`. `labels/` may be `masks/` or `annotations/`, names may end in `_mask`
and the like, PORTION be `valid` or `Train`.

`classes.txt` names the classes, a name a line; CamVid's eleven are known by their number. Coloured label
maps need a palette file (`label_palettes`), or have CamVid's or VOC's colours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from interfero.domains.class_folders import find_classes
from interfero.domains.label_classes import CAMVID
from interfero.domains.label_datasets import ade20k, bdd100k, cityscapes, coco, voc
from interfero.domains.label_maps import LabelRules, colours_of, highest_label
from interfero.domains.label_pairs import (
    Layout,
    Pair,
    Part,
    is_mask_name,
    matched,
    named_classes,
    read_text,
)
from interfero.domains.label_palettes import (
    Palette,
    known_palette,
    palette_file,
    read_palette,
)
from interfero.domains.labelled import MAX_CLASSES, VOID
from interfero.domains.listing import is_picture, shown
from interfero.domains.names import coco_files
from interfero.domains.portions import said_as, split_folders
from interfero.errors import DomainError

LABEL_FOLDERS = ("labels", "masks", "annotations", "label", "mask")
_PALETTE_MAPS = 16
"""Label maps whose colours choose a known palette, at most; every colour is looked up when maps are read."""

Place = tuple[Part, Path, Path]
"""Portion, folder of images, folder of label maps."""


def find_layout(name: str, root: Path, wanted: Callable[[Path], bool] = is_picture) -> Layout:
    """The layout of a folder, and its pairs.

    Args:
        name: The domain's, for errors.
        root: The folder.
        wanted: Which files are images where a layout does not name them.

    Raises:
        DomainError: no known layout, an image without a label map or the other way round.
    """
    for is_there, read in _DATASETS:
        if is_there(root):
            return read(name, root)
    places, said = _places(name, root)
    if not places:
        classes = find_classes(name, root, wanted)
        if classes is not None:
            return classes
        raise DomainError(
            f"domain {name!r}: {shown(root)} has none of the layouts of labelled images (train/images and "
            "train/labels, or images and labels, or X.png with X_mask.png, or those of Cityscapes, VOC, "
            "ADE20K, BDD100K and COCO, or train/CLASS and test/CLASS): arrange it so"
        )
    pairs = tuple(p for place in places for p in matched(name, *place, wanted))
    layout = _plain(name, root, pairs)
    return replace(layout, notes=(said, *layout.notes)) if said else layout


def _is_ade20k(root: Path) -> bool:
    return (root / "annotations" / "training").is_dir()


def _is_bdd100k(root: Path) -> bool:
    return (root / "labels" / "sem_seg" / "masks").is_dir()


def _is_cityscapes(root: Path) -> bool:
    return (root / "leftImg8bit").is_dir()


def _is_voc(root: Path) -> bool:
    return (root / "JPEGImages").is_dir() and (root / "SegmentationClass").is_dir()


def _is_coco(root: Path) -> bool:
    return bool(coco_files(root))


_DATASETS: tuple[tuple[Callable[[Path], bool], Callable[[str, Path], Layout]], ...] = (
    (_is_cityscapes, cityscapes), (_is_voc, voc), (_is_ade20k, ade20k), (_is_bdd100k, bdd100k),
    (_is_coco, coco),
)  # fmt: skip


def _places(name: str, root: Path) -> tuple[list[Place], str]:
    """Folders of images and label maps with their portion, and what was guessed; none if it has others."""
    splits = split_folders(name, root)
    places: list[Place] = []
    for part, folder in splits.items():
        if (folder / "images").is_dir() or _labels_in(folder) is not None:
            places.append((part, folder / "images", _labels_in(folder) or folder / "labels"))
        elif (root / f"{folder.name}annot").is_dir():
            places.append((part, folder, root / f"{folder.name}annot"))
        elif _holds_masks(folder):
            places.append((part, folder, folder))
    if places:
        used = {part for part, _, _ in places}
        return places, said_as((s, f.name) for s, f in splits.items() if s in used)
    if (root / "images").is_dir():
        return _beside(name, root)
    if _holds_masks(root):
        return [("any", root, root)], ""
    return [], ""


def _beside(name: str, root: Path) -> tuple[list[Place], str]:
    """`images/` and `labels/`, with splits below both or none."""
    images, labels = root / "images", _labels_in(root) or root / "labels"
    inner = split_folders(name, images)
    if labels.is_dir() and {"train", "val"} & inner.keys() and len(inner) > 1:
        places: list[Place] = [(s, f, labels / f.name) for s, f in inner.items()]
        return places, said_as((s, f.name) for s, f in inner.items())
    return [("any", images, labels)], ""


def _labels_in(folder: Path) -> Path | None:
    return next((folder / n for n in LABEL_FOLDERS if (folder / n).is_dir()), None)


def _holds_masks(folder: Path) -> bool:
    return any(is_picture(p) and is_mask_name(p.stem) for p in folder.iterdir())


def _plain(name: str, root: Path, pairs: tuple[Pair, ...]) -> Layout:
    """Classes by a palette, by `classes.txt`, as CamVid's where numbers go up to 11, or by number."""
    maps = [pair.labels for pair in pairs if isinstance(pair.labels, Path)]
    palette, is_file = _palette(name, root, maps)
    if palette is not None:
        rules = LabelRules(len(palette.classes), palette=palette, by_colour=is_file)
        note = f"label maps are coloured: {palette.origin}"
        return Layout("plain", pairs, palette.classes, rules, (note,), fixed_classes=True)
    classes = named_classes(name, root)
    if classes is not None:
        return Layout("plain", pairs, classes, LabelRules(len(classes)))
    highest = max(map(highest_label, maps))
    if highest == len(CAMVID):
        rules = LabelRules(len(CAMVID), frozenset({len(CAMVID), VOID}))
        note = (
            "numbers go up to 11 and there is no classes.txt: taken for CamVid's 11 classes, where 11 does "
            "not count; name 12 classes in classes.txt if they are others"
        )
        return Layout("CamVid", pairs, CAMVID, rules, (note,))
    _check_highest(name, highest, maps)
    return Layout(
        "plain", pairs, tuple(f"class {i}" for i in range(highest + 1)), LabelRules(highest + 1)
    )


def _check_highest(name: str, highest: int, maps: list[Path]) -> None:
    if highest >= MAX_CLASSES:
        raise DomainError(
            f"domain {name!r}: its label maps have numbers up to {highest}, at most "
            f"{MAX_CLASSES - 1}; merge classes, or mark what does not count with {VOID}"
        )
    if highest == 0:
        raise DomainError(
            f"domain {name!r}: its label maps ({shown(maps[0])} and {len(maps) - 1} more) hold 0 and "
            f"{VOID} at most, and {VOID} is void here: a mask of 0 and {VOID} needs 1 for its class"
        )


def _palette(name: str, root: Path, maps: list[Path]) -> tuple[Palette | None, bool]:
    """What colours mean, and whether a file says so; None where the first label map holds numbers."""
    file = palette_file(root)
    if file is not None:
        return read_palette(name, file, read_text(name, file)), True
    if not colours_of(maps[0]):
        return None, False
    step = max(1, len(maps) // _PALETTE_MAPS)
    colours = frozenset[tuple[int, int, int]]().union(*map(colours_of, maps[::step]))
    return known_palette(colours), False
