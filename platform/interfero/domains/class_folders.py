"""Images with one class each: in folders named after the classes, or by the first word of file names.

PORTION/CLASS/NAME.*     PORTION of train, val, test; or CLASS/NAME.* alone, parted by a seed
PORTION/CLASS_NAME.*     likewise
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from interfero.domains.decoding import group_of
from interfero.domains.label_maps import LabelRules
from interfero.domains.label_pairs import Layout, Pair, Part, WholeImage
from interfero.domains.labelled import check_classes
from interfero.domains.listing import shown
from interfero.domains.portions import split_folders

_FIRST_WORD = re.compile(r"([A-Za-z][A-Za-z-]*)_.+")
MIN_OF_CLASS = 2
"""Training images of every class; names that are all different are no classes."""


def find_classes(name: str, root: Path, wanted: Callable[[Path], bool]) -> Layout | None:
    """The layout of a folder whose images have one class each; None if it is not such a folder.

    Args:
        name: The domain's, for errors.
        root: The folder.
        wanted: Which files are images.

    Raises:
        DomainError: the names of classes cannot be names of scores, or there are too many.
    """
    splits = split_folders(name, root)
    places: dict[Part, Path] = {part: folder for part, folder in splits.items()}  # noqa: C416
    places = places or {"any": root}
    files = {
        part: [path for path in sorted(folder.rglob("*")) if wanted(path)]
        for part, folder in places.items()
    }
    ways = {"folders": _by_folder, "first words of file names": _by_first_word}
    for said, class_of in ways.items():
        found = {
            part: [(path, class_of(path.relative_to(places[part]))) for path in paths]
            for part, paths in files.items()
        }
        learned = Counter(label for _, label in found.get("train", found.get("any", [])))
        every = {label for labelled in found.values() for _, label in labelled}
        if None not in every and len(learned) > 1 and min(learned.values()) >= MIN_OF_CLASS:
            classes = tuple(sorted(filter(None, every)))
            check_classes(f"domain {name!r}: {shown(root)}", classes)
            return _layout(said, places, found, classes)
    return None


def _layout(
    said: str,
    places: Mapping[Part, Path],
    found: Mapping[Part, list[tuple[Path, str | None]]],
    classes: tuple[str, ...],
) -> Layout:
    pairs = []
    for part, labelled in found.items():
        for path, label in labelled:
            assert label is not None
            stem = path.relative_to(places[part]).with_suffix("").as_posix()
            pairs.append(Pair(stem, group_of(stem), part, path, WholeImage(classes.index(label))))
    note = f"one class for each image, by {said}"
    rules = LabelRules(len(classes))
    return Layout("classes", tuple(pairs), classes, rules, (note,), label_kind="images")


def _by_folder(place: Path) -> str | None:
    return place.parts[0] if len(place.parts) == 2 else None


def _by_first_word(place: Path) -> str | None:
    match = _FIRST_WORD.fullmatch(place.stem) if len(place.parts) == 1 else None
    return match[1] if match else None
