"""The formats that fields keep their images in, and who reads each: one table.

A reader's module has `read(data, label, mapping, counts)`, which gives `RawImage`s. It is imported when a
file of its kind is met, and with it the library that the field keeps.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

from interfero.domains.images import IMAGE_SUFFIXES, SkippedImageError
from interfero.domains.pixel_mapping import PixelMapping
from interfero.domains.readers.raw import RawImage
from interfero.errors import DomainError, InterferoError
from interfero.versions import library_version


@dataclass(frozen=True)
class Reader:
    """A kind of file."""

    kind: str
    """What a user calls it."""
    suffixes: tuple[str, ...]
    module: str
    """Below `interfero.domains.readers`."""
    extra: str = ""
    """The optional dependency that reads it; empty if none is needed."""
    packages: tuple[str, ...] = ()
    """What has to be there to import it."""
    magic: tuple[tuple[int, bytes], ...] = ()
    """Offset and bytes by which a file without a known suffix is recognised."""


READERS = (
    Reader("a TIFF", (".tif", ".tiff"), "tiff", "deep", ("tifffile", "imagecodecs"),
           ((0, b"II*\0"), (0, b"MM\0*"), (0, b"II+\0"), (0, b"MM\0+"))),
    Reader("a DICOM file", (".dcm", ".dicom"), "dicom", "dicom", ("pydicom",), ((128, b"DICM"),)),
    Reader("a NIfTI volume", (".nii", ".nii.gz"), "nifti", "nifti", ("nibabel",)),
    Reader("a FITS file", (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz"), "fits", "fits", ("astropy",),
           ((0, b"SIMPLE  ="),)),
    Reader("a NumPy array", (".npy", ".npz"), "numpy_arrays", magic=((0, b"\x93NUMPY"),)),
    Reader("a Zarr array", (".zarr",), "zarr_arrays", "zarr", ("zarr",)),
    Reader("a whole-slide image", (".svs", ".ndpi", ".scn", ".bif", ".vms", ".vmu", ".mrxs", ".svslide"),
           "slides", "slides", ("openslide",)),
    Reader("a YUV file", (".yuv", ".y4m"), "yuv", magic=((0, b"YUV4MPEG2 "),)),
    Reader("a picture", tuple(sorted(IMAGE_SUFFIXES - {".tif", ".tiff"})), "pictures", "deep",
           ("imagecodecs",)),
)  # fmt: skip
"""The last one also takes what no other recognises."""
_DISTRIBUTIONS = {"openslide": "openslide-python"}
"""Where a package is installed under another name than it is imported by."""
_HEAD_BYTES = 132
_BY_SUFFIX = {suffix: reader for reader in READERS for suffix in reader.suffixes}
FIELD_SUFFIXES = frozenset(_BY_SUFFIX) - IMAGE_SUFFIXES
"""Suffixes of files that are no pictures to other programs."""


def suffix_of(name: str) -> str:
    """The suffix by which a file is known, in lower case: `.nii.gz`, `.png`; empty for none."""
    parts = name.lower().rsplit("/", 1)[-1].split(".")[1:]
    for count in (2, 1):
        if (suffix := "".join(f".{p}" for p in parts[-count:])) in _BY_SUFFIX and parts:
            return suffix
    return ""


def is_field_file(path: Path) -> bool:
    """Whether a path is of a kind in the table that is no plain picture; DICOM needs no suffix."""
    suffix = suffix_of(path.name)
    if suffix:
        return suffix in FIELD_SUFFIXES and (path.is_dir() == (suffix == ".zarr"))
    if path.name == "DICOMDIR" or not path.is_file():
        return False
    found = _recognised(_head(path))
    return found is not None and found.module == "dicom"


def reader_of(data: bytes | Path, label: str, mapping: PixelMapping) -> Reader:
    """Who reads a file: a path by its suffix, then by first bytes, else as a picture."""
    if isinstance(data, Path) and data.is_dir():
        return _BY_SUFFIX.get(suffix_of(data.name), READERS[-1])
    by_suffix = _BY_SUFFIX.get(suffix_of(label))
    # A whole slide and a camera's raw file are TIFFs too: a suffix that is known decides on a path.
    if by_suffix is not None and isinstance(data, Path):
        is_slide = by_suffix.module == "tiff" and mapping.level is not None
        return _BY_SUFFIX[".svs"] if is_slide else by_suffix
    return _recognised(_head(data)) or by_suffix or READERS[-1]


def read_raw(
    data: bytes | Path, label: str, mapping: PixelMapping, counts: Counter[str]
) -> Iterator[RawImage]:
    """The images of a file, as the numbers in it.

    Raises:
        DomainError: its reader is not installed, or what is declared does not fit; names the file.
        SkippedImageError: it is damaged.
    """
    reader = reader_of(data, label, mapping)
    try:
        module: Any = importlib.import_module(f"interfero.domains.readers.{reader.module}")
        yield from module.read(data, label, mapping, counts)
    except (InterferoError, SkippedImageError, MemoryError):
        raise
    except ImportError as error:
        raise DomainError(
            f"{label} is {reader.kind}, and {error.name or reader.packages[-1]} is not installed, which "
            f"reads it: pip install -e '.[{reader.extra}]' in the project's folder"
        ) from error
    except Exception as error:
        # Libraries of a dozen fields raise what they like of a damaged file.
        raise SkippedImageError(f"{label}: cannot be read as {reader.kind} ({error})") from error


def library_versions() -> tuple[str, ...]:
    """Versions of the readers' libraries, as far as they are installed."""
    found = []
    for package in sorted({p for reader in READERS for p in reader.packages}):
        with suppress(PackageNotFoundError):
            found.append(f"{package} {library_version(_DISTRIBUTIONS.get(package, package))}")
    return tuple(found)


def _recognised(head: bytes) -> Reader | None:
    return next((r for r in READERS for at, mark in r.magic if head[at:].startswith(mark)), None)


def _head(data: bytes | Path) -> bytes:
    if isinstance(data, bytes):
        return data[:_HEAD_BYTES]
    try:
        with data.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
