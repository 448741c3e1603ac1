"""Make the crops of the bundled domain `photographs` from the packages that they come from.

    python tools/make_photographs.py FOLDER [--check]

FOLDER holds each package unpacked in a folder PACKAGE_VERSION: Debian's by `apt-get download
PACKAGE=VERSION` and `dpkg-deb -x PACKAGE_VERSION_all.deb FOLDER/PACKAGE_VERSION`, scikit-image's by `pip
download --no-deps scikit-image==VERSION` and unzipping its wheel. JPEG XL needs `pip install
-e '.[classical]'`.

`provenance.json` next to the crops is the recipe: package, version, file, SHA-256, reduction and boxes. Every
photograph is decoded and reduced by an area filter, its crops are cut out and written, and the digests of
their pixels go back into the recipe. With `--check` nothing is written, and a crop with other pixels is an
error. The lock file's versions of Pillow and the JPEG XL plugin give the same pixels and the same files.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from interfero.domains.images import ImageRules, UInt8Array, decode_image, digest_of
from interfero.domains.photographs import FOLDER, PROVENANCE
from interfero.errors import DomainError, InterferoError

try:
    import pillow_jxl  # noqa: F401 - Pillow opens JPEG XL once it is imported
except ImportError:
    sys.exit("some packages hold JPEG XL: pip install -e '.[classical]' in the project's folder")

_WHOLE = ImageRules(halve_jpeg=False, max_side=100_000)


def reduced(picture: dict[str, Any], root: Path) -> UInt8Array:
    """A photograph as its package has it, reduced: (height, width, 3) uint8.

    Raises:
        DomainError: the file is not the one that the recipe names.
    """
    unpacked = root / f"{picture['package']}_{picture['version']}"
    path = unpacked / picture["file"]
    if not path.is_file():
        raise DomainError(f"there is no {path}: unpack this version of the package in {unpacked}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != picture["sha256"]:
        raise DomainError(
            f"{path} has SHA-256 {found}, the recipe names {picture['sha256']}: unpack this version of "
            "the package anew"
        )
    pixels = decode_image(path, path.name, _WHOLE, Counter())
    return np.asarray(Image.fromarray(pixels).reduce(picture["reduced_by"]), dtype=np.uint8)


def made(picture: dict[str, Any], root: Path, *, check: bool) -> None:
    """Write the crops of one photograph and their digests, or compare them.

    Raises:
        DomainError: `check`, and a crop has other pixels.
    """
    pixels = reduced(picture, root)
    for crop in picture["crops"]:
        left, top, right, bottom = crop["box"]
        cut = np.ascontiguousarray(pixels[top:bottom, left:right])
        digest = digest_of(cut)
        if not check:
            crop["digest"] = digest
            Image.fromarray(cut).save(
                FOLDER / crop["file"], lossless=True, quality=100, method=6, exact=True
            )
        elif digest != crop["digest"]:
            raise DomainError(f"{crop['file']} has other pixels when it is made from {root}")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="holds a folder per unpacked package")
    parser.add_argument("--check", action="store_true", help="compare; write nothing")
    command = parser.parse_args()
    recipe = json.loads((FOLDER / PROVENANCE).read_text(encoding="utf-8"))
    try:
        for picture in recipe["photographs"]:
            made(picture, command.folder, check=command.check)
    except InterferoError as error:
        sys.exit(str(error))
    if not command.check:
        text = json.dumps(recipe, indent=1, ensure_ascii=False) + "\n"
        (FOLDER / PROVENANCE).write_text(text, encoding="utf-8")
    count = sum(len(picture["crops"]) for picture in recipe["photographs"])
    done = "are the same" if command.check else "were made"
    sys.stdout.write(f"{count} crops of {len(recipe['photographs'])} photographs {done}\n")


if __name__ == "__main__":
    main()
