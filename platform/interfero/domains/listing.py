"""The walk over a folder of images: which files are pictures, and one line about everything else."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interfero.domains.images import IMAGE_SUFFIXES
from interfero.domains.portions import SPLITS, said_as, split_folders
from interfero.domains.readers.table import FIELD_SUFFIXES, is_field_file, suffix_of
from interfero.errors import DomainError

Portion = Literal["train", "test", "any"]
"""Where the source puts an image; `any` where it does not say."""

PICTURE_FOLDERS = ("images", "JPEGImages", "leftImg8bit", "imagesTr")
"""Where CamVid's, VOC's, Cityscapes' and nnU-Net's layouts keep pictures, apart from their label maps."""
LABEL_FOLDERS = frozenset(
    {
        "annot", "annotation", "annotations", "gt", "gtcoarse", "gtfine", "ground_truth", "groundtruth",
        "label", "labels", "mask", "masks", "segmentationclass", "segmentationclassaug",
        "segmentationobject", "segmentations", "testannot", "trainannot", "valannot", "labelstr",
        "labelsts",
    }
)  # fmt: skip
"""Names of folders, in lower case, whose files are label maps where pictures of their names lie elsewhere."""
LABEL_SUFFIXES = (
    "_gtFine_labelTrainIds", "_gtFine_labelIds", "_gtFine_instanceIds", "_gtFine_color",
    "_labelTrainIds", "_labelIds", "_instanceIds", "_train_id", "_groundtruth", "_segmentation",
    "_annotation", "_labels", "_label", "_masks", "_mask", "_seg", "_gt", "_L",
)  # fmt: skip
"""Ends of names of label maps, the longest first: `X_mask.png` belongs to the picture `X.png`."""
_PICTURE_SUFFIX = "_leftImg8bit"
_KINDS = 6
"""Suffixes that the line of files left out names, at most."""


@dataclass(frozen=True)
class Found:
    """One picture."""

    label: str
    """Path below the domain's folder, as text; bytes that are no UTF-8 are written `\\xe9`."""
    portion: Portion
    path: Path


@dataclass(frozen=True)
class Listing:
    """What a folder holds."""

    pictures: tuple[Found, ...]
    notes: tuple[str, ...]
    """Guesses and what was left out, a line each."""


@dataclass
class _LeftOut:
    """Everything that is no picture of the domain, counted."""

    suffixes: Counter[str] = field(default_factory=Counter)
    links: list[str] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    """Label maps by the folder, or the end of the name, that told."""
    outside: Counter[str] = field(default_factory=Counter)
    """Images by the folder, next to the ones that are read, that they are in."""

    def line(self) -> str:
        parts = [
            _counted(self.outside, "image", "images", "in"),
            _counted(self.labels, "label map", "label maps", "by"),
            _counted(self.suffixes, "other file", "other files", "of"),
            _counted(Counter(self.links), "link to a folder", "links to folders", "at"),
        ]
        said = ", ".join(p for p in parts if p)
        return f"left out: {said}" if said else ""


def list_folder(name: str, root: Path, wanted: Callable[[Path], bool] | None = None) -> Listing:
    """Pictures of a folder in a fixed order, with the portion that their place says.

    `train/` and `test/` are used if both are there (`val/` joins train), in any case and spelling of
    `portions.WORDS`; else all pictures are to be split. Label maps are no pictures.

    Args:
        name: The domain's, for errors.
        root: The folder.
        wanted: Which files are pictures, `is_picture` unless given.

    Raises:
        DomainError: no folder, no image in it or in one of its splits, or it cannot be listed.
    """
    if not root.is_dir():
        raise DomainError(f"domain {name!r}: there is no folder {shown(root)}")
    wanted, left = wanted or is_picture, _LeftOut()
    try:
        places, notes = _places(name, root)
        pictures = [
            found
            for folder, portion in places
            for found in _pictures(root, folder, portion, left, wanted)
        ]
        _count_outside(root, [folder for folder, _ in places], left, wanted)
    except OSError as error:
        raise DomainError(f"domain {name!r}: {shown(root)} cannot be listed ({error})") from error
    kept = _without_label_maps(pictures, left)
    for portion in dict.fromkeys(portion for _, portion in places):
        if not any(found.portion == portion for found in kept):
            raise _no_image(name, root, portion, left)
    line = left.line()
    return Listing(tuple(kept), (*notes, line) if line else notes)


def shown(path: Path | str) -> str:
    r"""A path as text that can be written anywhere: bytes that are no UTF-8 become `\xe9`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def is_picture(file: Path) -> bool:
    """Whether a path has the name of an image, and is not hidden."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")


def is_any_image(file: Path) -> bool:
    """Whether a path is a picture, or of a kind that a field keeps its images in; and not hidden."""
    return is_picture(file) or (not file.name.startswith(".") and is_field_file(file))


def core_of(stem: str) -> str:
    """A name without what label maps and Cityscapes' pictures add to it."""
    for suffix in LABEL_SUFFIXES:
        if stem.endswith(suffix) and stem != suffix:
            return stem.removesuffix(suffix)
    return stem.removesuffix(_PICTURE_SUFFIX)


def _places(name: str, root: Path) -> tuple[list[tuple[Path, Portion]], tuple[str, ...]]:
    """Folders to walk with the portion of their pictures, and what is guessed."""
    base = root
    splits = split_folders(name, root)
    if not {"train", "test"} <= splits.keys():
        base = _inner(root)
        inner = split_folders(name, base) if base != root else splits
        splits = inner or splits
    said = said_as((split, folder.name) for split, folder in splits.items())
    if {"train", "test"} <= splits.keys():
        portions: dict[str, Portion] = {"train": "train", "val": "train", "test": "test"}
        places = [(_inner(splits[s]), portions[s]) for s in SPLITS if s in splits]
        return places, (said,) if said else ()
    if splits:
        named = " and ".join(f"{folder.name}/" for folder in splits.values())
        missing = "test/" if "train" in splits else "train/"
        return [(base, "any")], (f"{named} without {missing}: all images are split anew",)
    return [(base, "any")], ()


def _inner(folder: Path) -> Path:
    """Where a layout keeps the pictures of a folder that holds label maps too."""
    return next((folder / p for p in PICTURE_FOLDERS if (folder / p).is_dir()), folder)


def _pictures(
    root: Path, folder: Path, portion: Portion, left: _LeftOut, wanted: Callable[[Path], bool]
) -> Iterator[Found]:
    for file in _entries(folder):
        if not wanted(file):
            _count_other(root, file, left)
        # A link that points nowhere is an image that cannot be read, not none at all.
        elif file.is_file() or (file.is_symlink() and not file.exists()) or is_field_file(file):
            yield Found(shown(file.relative_to(root)), portion, file)


def _entries(folder: Path) -> list[Path]:
    """Everything below a folder that is not hidden, in order; links to folders are not followed.

    A Zarr array is a folder that counts as one file.
    """
    start = len(str(folder))
    inside = (f"{os.sep}.", f".zarr{os.sep}")
    return [p for p in sorted(folder.rglob("*")) if not any(i in str(p)[start:] for i in inside)]


def _count_other(root: Path, file: Path, left: _LeftOut) -> None:
    if file.is_dir():
        if file.is_symlink():
            left.links.append(f"{shown(file.relative_to(root))}/")
        return
    left.suffixes[shown(file.suffix.lower()) or "no suffix"] += 1


def _count_outside(
    root: Path, folders: Iterable[Path], left: _LeftOut, wanted: Callable[[Path], bool]
) -> None:
    """What lies next to the folders that are read."""
    inside = tuple(f"{folder}{os.sep}" for folder in folders)
    if f"{root}{os.sep}" in inside:
        return
    for entry in _entries(root):
        if str(entry).startswith(inside) or f"{entry}{os.sep}" in inside:
            continue
        if not wanted(entry):
            _count_other(root, entry, left)
            continue
        folder = entry.parent.relative_to(root)
        is_label = any(part.lower() in LABEL_FOLDERS for part in folder.parts)
        (left.labels if is_label else left.outside)[f"{shown(folder)}/"] += 1


def _without_label_maps(pictures: list[Found], left: _LeftOut) -> list[Found]:
    """Pictures alone: no file of a label folder, and no `X_mask`, whose picture is there too."""
    told = [_told_by(found) for found in pictures]
    if not any(told):
        return pictures
    cores = {
        core_of(_stem(found.path)) for found, mark in zip(pictures, told, strict=True) if not mark
    }
    kept = []
    for found, mark in zip(pictures, told, strict=True):
        if mark and core_of(_stem(found.path)) in cores:
            left.labels[mark] += 1
        else:
            kept.append(found)
    return kept


def _told_by(found: Found) -> str:
    """What says that a file may be a label map: its folder, or the end of its name; empty if nothing."""
    parts = found.label.split("/")[:-1]
    folder = next((i for i, part in enumerate(parts) if part.lower() in LABEL_FOLDERS), None)
    if folder is not None:
        return "/".join(parts[: folder + 1]) + "/"
    stem = _stem(found.path)
    return next((f"*{end}" for end in LABEL_SUFFIXES if stem.endswith(end) and stem != end), "")


def _stem(path: Path) -> str:
    """A name without suffix; of a volume also without nnU-Net's number of the channel."""
    suffix = suffix_of(path.name)
    if suffix not in FIELD_SUFFIXES:
        return path.stem
    return re.sub(r"_\d{4}$", "", path.name[: -len(suffix)])


def _no_image(name: str, root: Path, portion: Portion, left: _LeftOut) -> DomainError:
    place = shown(root) if portion == "any" else f"the {portion} images of {shown(root)}"
    line = left.line()
    return DomainError(
        f"domain {name!r}: no image in {place}; it may hold "
        f"{', '.join(sorted(IMAGE_SUFFIXES | FIELD_SUFFIXES))}" + (f" ({line})" if line else "")
    )


def _counted(found: Counter[str], one: str, many: str, word: str) -> str:
    """`3 other files (.txt 2, .json 1)`; nothing for none."""
    total = found.total()
    if not total:
        return ""
    common = found.most_common(_KINDS)
    kinds = ", ".join(key if count == total else f"{key} {count}" for key, count in common)
    more = f" and {len(found) - _KINDS} more" if len(found) > _KINDS else ""
    return f"{total} {one if total == 1 else many} ({word} {kinds}{more})"
