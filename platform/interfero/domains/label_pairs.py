"""Images with their label maps, before either is read: what every layout of labelled images comes to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from interfero.domains.decoding import group_of
from interfero.domains.images import UInt8Array
from interfero.domains.label_maps import LabelRules
from interfero.domains.labelled import check_classes
from interfero.domains.listing import LABEL_SUFFIXES, core_of, is_picture, shown
from interfero.domains.polygons import Outlines
from interfero.domains.readers.table import suffix_of
from interfero.errors import DomainError
from interfero.metrics.names import LabelKind

Part = Literal["train", "val", "test", "any"]
"""Where a layout puts an image; `any` where it does not say."""
CLASSES_FILE = "classes.txt"


@dataclass(frozen=True)
class WholeImage:
    """One class for a whole image."""

    label: int

    def draw(self, size: tuple[int, int], image: Path) -> UInt8Array:
        """(height, width) the class in every pixel, for an image of a (width, height)."""
        return np.full(size[::-1], self.label, dtype=np.uint8)


@dataclass(frozen=True)
class Pair:
    """An image and its label map."""

    name: str
    group: str
    part: Part
    image: Path
    labels: Path | Outlines | WholeImage


@dataclass(frozen=True)
class Layout:
    """What a folder was found to hold."""

    kind: str
    pairs: tuple[Pair, ...]
    classes: tuple[str, ...]
    rules: LabelRules
    notes: tuple[str, ...] = ()
    """Guesses, a line each."""
    fixed_classes: bool = False
    """Whether the classes are a dataset's own: one without a training pixel is then left out."""
    label_kind: LabelKind = "pixels"


def matched(
    name: str, part: Part, images: Path, labels: Path, wanted: Callable[[Path], bool] = is_picture
) -> Iterator[Pair]:
    """Images and label maps of one name, wherever they are below their folders.

    Label maps may end in `_mask`, `_L`, `_labelIds` and the like; those of one folder with their images must.

    Args:
        name: The domain's, for errors.
        part: Where its layout puts them.
        images: Folder of the images.
        labels: Folder of the label maps, which are pictures.
        wanted: Which files are images.

    Raises:
        DomainError: an image without a label map or the other way round, two of one name, no image.
    """
    pictures, maps = _by_stem(name, images, labels, wanted)
    for alone, folder in (
        (pictures.keys() - maps.keys(), labels),
        (maps.keys() - pictures.keys(), images),
    ):
        if alone:
            first = min(alone)
            raise DomainError(
                f"domain {name!r}: {shown(pictures.get(first) or maps[first])} has no partner {first}.* in "
                f"{shown(folder)} ({len(alone)} such files): every image needs its label map, and no other "
                "may be there"
            )
    for stem in sorted(pictures):
        yield Pair(stem, group_of(stem), part, pictures[stem], maps[stem])


def named_classes(name: str, root: Path) -> tuple[str, ...] | None:
    """The names in `classes.txt`; None without the file.

    Raises:
        DomainError: it is no text, or names what cannot be a class.
    """
    file = root / CLASSES_FILE
    if not file.is_file():
        return None
    lines = read_text(name, file).splitlines()
    classes = tuple(line.strip() for line in lines if line.strip())
    check_classes(f"domain {name!r}: {file}", classes)
    return classes


def read_text(name: str, file: Path) -> str:
    """A text file; some editors begin UTF-8 with a mark, which is no part of the first name."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DomainError(
            f"domain {name!r}: {shown(file)} cannot be read as UTF-8 text ({error}): save it as UTF-8, a "
            "name a line"
        ) from error


def require(name: str, path: Path, partner: Path) -> None:
    """Refuse a partner that is not there."""
    if not path.is_file():
        raise DomainError(
            f"domain {name!r}: {shown(partner)} has no partner {shown(path)}; every image needs its label map"
        )


def some(name: str, root: Path, pairs: Callable[[], Iterator[Pair]]) -> tuple[Pair, ...]:
    """All pairs, at least one."""
    found = tuple(pairs())
    if not found:
        raise DomainError(f"domain {name!r}: {shown(root)} lists no labelled image")
    return found


def is_mask_name(stem: str) -> bool:
    """Whether a name without suffix ends as those of label maps do."""
    return any(stem.endswith(end) and stem != end for end in LABEL_SUFFIXES)


def _by_stem(
    name: str, images: Path, labels: Path, wanted: Callable[[Path], bool]
) -> tuple[dict[str, Path], dict[str, Path]]:
    if images == labels:
        files = _files(name, images, wanted)
        masks = [f for f in files if is_picture(f) and is_mask_name(f.stem)]
        pictures = _named(name, images, [f for f in files if f not in set(masks)], is_core=False)
        return pictures, _named(name, images, masks, is_core=True)
    pictures = _named(name, images, _files(name, images, wanted), is_core=False)
    found = _files(name, labels, is_picture)
    if any(is_mask_name(file.stem) for file in found):
        plain = {file.relative_to(labels).with_suffix("").as_posix() for file in found}
        if plain != pictures.keys():
            return pictures, _named(name, labels, found, is_core=True)
    return pictures, _named(name, labels, found, is_core=False)


def _files(name: str, folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    if not folder.is_dir():
        raise DomainError(f"domain {name!r}: there is no folder {shown(folder)}")
    found = [path for path in sorted(folder.rglob("*")) if wanted(path)]
    if not found:
        raise DomainError(f"domain {name!r}: there is no image in {shown(folder)}")
    return found


def _named(name: str, folder: Path, files: list[Path], *, is_core: bool) -> dict[str, Path]:
    """Files by their path below the folder without suffix, `X_mask` as `X` if asked for."""
    found: dict[str, Path] = {}
    for path in files:
        place = path.relative_to(folder)
        place = place.with_name(place.name[: -len(suffix_of(place.name))] or place.name)
        stem = shown(place.with_name(core_of(place.name)) if is_core else place)
        other = found.setdefault(stem, path)
        if other != path:
            raise DomainError(
                f"domain {name!r}: {shown(other)} and {shown(path)} have one name; keep one of them"
            )
    return found
