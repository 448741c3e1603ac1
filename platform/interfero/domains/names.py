"""Names and paths of domains, looked up without the libraries that read images."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import NamedTuple

from interfero.domains.graded_names import graded_name
from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.specs import data_folders, split_spec
from interfero.errors import DomainError, nearest

BUNDLED_NAMES = (
    "photographs", "photos", "histology", "fundus", "astronomy", "textures", "text", "charts",
    "windows",
)  # fmt: skip
"""Of the table `BUNDLED`, which imports what draws them."""
LABELLED_NAMES = ("mosaics", "digits")
"""Of the table `LABELLED`."""
_TABLES = (".parquet", ".tar")
"""Files that hold many images each."""


class DomainPlace(NamedTuple):
    """Where the files of a domain are."""

    name: str
    path: Path
    tables: tuple[Path, ...]
    """Files of many images; empty for a folder."""
    mapping: PixelMapping


def known_domains() -> tuple[str, ...]:
    """Every name that needs no path: the bundled ones, then the folders of $INTERFERO_DATA."""
    return (*BUNDLED_NAMES, *sorted(data_folders().keys() - set(BUNDLED_NAMES)))


def check_domain(spec: str) -> None:
    """Refuse a name or path that does not exist; nothing is read.

    Raises:
        DomainError: names it, and the nearest.
    """
    name, path, _ = split_spec(spec)
    if path is None:
        known = known_domains()
        if name in BUNDLED_NAMES or (name not in known and graded_name(name, known) is not None):
            return
    find_place(spec)


def check_labelled(spec: str) -> None:
    """The same for a labelled domain.

    Raises:
        DomainError: names it, and the nearest.
    """
    name, path, _ = split_spec(spec)
    if path is None and name not in LABELLED_NAMES:
        labelled_folder(name)
    if path is not None and not path.is_dir():
        raise DomainError(
            f"domain {name!r}: there is no folder {path}; give one that holds images and label maps"
        )


def labelled_folder(name: str) -> Path:
    """The folder of $INTERFERO_DATA that has that name, and label maps.

    Raises:
        DomainError: there is none; names the nearest that is.
    """
    folders = {folder: path for folder, path in data_folders().items() if is_labelled(path)}
    if name not in folders:
        raise DomainError(
            f"no labelled domain is called {name!r}: {nearest(name, (*LABELLED_NAMES, *folders))}; or give "
            f"a folder of images and label maps as {name}=PATH"
        )
    return folders[name]


def is_labelled(root: Path) -> bool:
    """Whether a folder has one of the layouts of `label_layouts`."""
    folders = ("leftImg8bit", "SegmentationClass", "labels", "masks", "train/labels", "train/masks",
               "trainannot", "annotations/training")  # fmt: skip
    return any((root / folder).is_dir() for folder in folders) or bool(coco_files(root))


def coco_files(root: Path) -> list[Path]:
    """COCO's annotation files of a folder: `annotations/instances_*.json`, or one a split folder."""
    inside = sorted((root / "annotations").glob("instances*.json"))
    return inside or sorted((*root.glob("*.coco.json"), *root.glob("*/*.coco.json")))


def spec_of(text: str) -> str:
    """A domain as `NAME` or `NAME=PATH`, where a path may stand alone: its last part is the name then.

    Raises:
        DomainError: it is a path, and nothing is there.
    """
    if "=" in text:
        return text
    path = Path(text).expanduser()
    if path.exists():
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.resolve().stem)
        return f"{name or 'domain'}={text}"
    if "/" in text:
        raise DomainError(
            f"there is no {text}: give a folder of images or a Parquet file, or the NAME of one of "
            f"these: {', '.join(known_domains())}"
        )
    return text


def find_place(spec: str) -> DomainPlace:
    """The files of a domain that has a path, or the name of a folder of $INTERFERO_DATA.

    Raises:
        DomainError: a malformed or unknown name, or nothing usable at the path.
    """
    name, path, mapping = split_spec(spec)
    if path is None:
        folders = data_folders()
        if name not in folders:
            raise DomainError(
                f"no domain is called {name!r}: {nearest(name, known_domains())}; or give a folder or "
                f"a Parquet file as {name}=PATH"
            )
        path = folders[name]
    if path.is_dir():
        return DomainPlace(name, path, (), mapping)
    if path.is_file():
        if path.suffix.lower() not in _TABLES:
            raise DomainError(
                f"domain {name!r}: {path} is neither a folder nor a .parquet file nor a .tar of WebDataset; "
                "give the folder that holds the images"
            )
        return DomainPlace(name, path, (path,), mapping)
    if path.is_symlink():
        raise DomainError(
            f"domain {name!r}: {path} is a link to {path.readlink()}, which is not there; mend the "
            "link, or give the folder of images or the .parquet file itself"
        )
    return DomainPlace(name, path, _matches(name, path), mapping)


def _matches(name: str, pattern: Path) -> tuple[Path, ...]:
    found = sorted(Path(p) for p in glob.glob(str(pattern)))  # noqa: PTH207 - absolute patterns
    if not found:
        raise DomainError(
            f"domain {name!r}: there is no {pattern}; give a folder of images, a .parquet file or "
            "a pattern of them that exists"
        )
    kinds = {p.suffix.lower() for p in found}
    others = [p for p in found if p.suffix.lower() not in _TABLES]
    if others or len(kinds) > 1:
        odd = (others or found)[0]
        raise DomainError(
            f"domain {name!r}: the pattern {pattern} matches {odd}, which is no .parquet "
            "file like the others; patterns are for Parquet or for .tar, images need their folder"
        )
    return tuple(found)
