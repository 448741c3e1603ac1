"""Versions of libraries, read from the code that runs.

Package metadata may be another package's: `compressai-temp` writes its files over CompressAI's, and both stay
listed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
from functools import cache
from pathlib import Path

_FILES = ("version.py", "_version.py", "__version__.py", "__about__.py", "__init__.py")
_VERSION = re.compile(r"""^(?:__version__|version)\b[^=\n]*=\s*["']([^"'\n]+)["']""", re.MULTILINE)


@cache
def library_version(library: str) -> str:
    """Version of a library, which is not imported for it.

    Where its code names the release that its metadata names, the metadata's spelling, which has no build
    label (`2.15.0` for `2.15.0+cu132`).

    Raises:
        PackageNotFoundError: it is not installed.
    """
    stated = _in_code(library)
    try:
        listed = importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        if stated is None:
            raise
        return stated
    if stated is None or stated.partition("+")[0] == listed.partition("+")[0]:
        return listed
    return stated


def _in_code(library: str) -> str | None:
    """What the file that states a package's version states; None where none does."""
    spec = importlib.util.find_spec(library.replace("-", "_"))
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for name in _FILES:
            path = Path(folder) / name
            found = _VERSION.search(path.read_text("utf-8")) if path.is_file() else None
            if found:
                return found[1]
    return None
