"""What a user types for a domain, `NAME` or `NAME=PATH`, and where names without a path are looked up."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

from interfero.domains.pixel_mapping import NOTHING_DECLARED, PixelMapping, parse_mapping, parted
from interfero.errors import DomainError

DATA_VARIABLE = "INTERFERO_DATA"
"""Environment variable: a folder whose subfolders are domains by name."""
DEFAULT_SOURCE = "photographs"
"""The bundled domain on which forgetting is measured unless another one is named."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


class DomainSpec(NamedTuple):
    """What a user typed for a domain."""

    name: str
    path: Path | None
    """None for a name alone."""
    mapping: PixelMapping = NOTHING_DECLARED


def split_spec(spec: str) -> DomainSpec:
    """The name, the path if one is given, and what is declared behind it (`:range=0,4095`).

    A file or folder of exactly that name goes before a declaration.

    Raises:
        DomainError: a malformed name, an empty path, or a declaration that cannot be read.
    """
    name, given, path = spec.partition("=")
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise DomainError(
            f"domain {spec!r}: a name is made of letters, digits, `.`, `_` and `-`, found "
            f"{name!r}; write NAME or NAME=PATH"
        )
    if not given:
        return DomainSpec(name, None)
    if not path:
        raise DomainError(f"domain {name!r}: the path is empty; write {name}=PATH")
    whole = Path(path).expanduser()
    place, words = parted(path)
    if not words or whole.exists():
        return DomainSpec(name, whole)
    return DomainSpec(name, Path(place).expanduser(), parse_mapping(name, words))


def data_folders() -> dict[str, Path]:
    """The folders of $INTERFERO_DATA by name; none without the variable.

    Raises:
        DomainError: the variable names no folder.
    """
    root = os.environ.get(DATA_VARIABLE, "")
    if not root:
        return {}
    if not Path(root).is_dir():
        raise DomainError(
            f"{DATA_VARIABLE} is {root!r}, which is no folder; unset it, or set it to a folder "
            "whose subfolders are domains"
        )
    return {p.name: p for p in sorted(Path(root).iterdir()) if p.is_dir() and p.name[0] != "."}
