"""What a user types for a domain, `NAME` or `NAME=PATH`, and where names without a path are looked up."""

from __future__ import annotations

import os
import re
from pathlib import Path

from interfero.errors import DomainError

DATA_VARIABLE = "INTERFERO_DATA"
"""Environment variable: a folder whose subfolders are domains by name."""
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def split_spec(spec: str) -> tuple[str, Path | None]:
    """The name, and the path if one is given.

    Raises:
        DomainError: a malformed name, or an empty path.
    """
    name, given, path = spec.partition("=")
    if not _NAME.fullmatch(name) or name in (".", ".."):
        raise DomainError(
            f"domain {spec!r}: a name is made of letters, digits, `.`, `_` and `-`, found "
            f"{name!r}; write NAME or NAME=PATH"
        )
    if not given:
        return name, None
    if not path:
        raise DomainError(f"domain {name!r}: the path is empty; write {name}=PATH")
    return name, Path(path).expanduser()


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
