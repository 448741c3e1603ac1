"""Drawings that come with this package, so that nobody waits for them: what drawing them again gives."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from interfero.domains.images import UInt8Array
from interfero.errors import DomainError

FOLDER = Path(__file__).parent / "kept"
"""`NAME.zip` of lossless `SPLIT-INDEX.webp`, as `tools/keep_drawings.py` writes them."""


def kept_drawings(name: str) -> Mapping[str, UInt8Array]:
    """By `SPLIT-INDEX`, (height, width, 3) of each drawing that is kept; none for a domain without a file.

    Raises:
        DomainError: the file is damaged.
    """
    path = FOLDER / f"{name}.zip"
    if not path.exists():
        return {}
    try:
        with zipfile.ZipFile(path) as archive:
            return {Path(n).stem: _pixels(archive.read(n)) for n in archive.namelist()}
    except (zipfile.BadZipFile, OSError) as error:
        raise DomainError(
            f"domain {name!r}: {path} cannot be read ({error}): install interfero again"
        ) from error


def _pixels(data: bytes) -> UInt8Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
