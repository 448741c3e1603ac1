"""Decoded images in files that are mapped, not read: for domains larger than memory.

Decoding is done once a node and kept: a file of raw pixels a chunk of images, and a description beside
it. A chunk is named by what its images were (names, sizes, times of change), so an interrupted
ingestion goes on where it was, and of a folder that changed only the changed chunks are decoded again.
The kernel shares mapped pages between processes and drops them when memory is short.
"""

from __future__ import annotations

import json
import mmap
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import __version__ as pillow_version
from PIL import features

from interfero.domains import images, mapped_values, pixel_meaning
from interfero.domains.decoding import DecodedFile, each_sample, in_threads
from interfero.domains.images import ImageRules, Sample, UInt8Array, digest_of
from interfero.domains.listing import Portion
from interfero.domains.readers import table
from interfero.domains.sources import Row, Source
from interfero.errors import DomainError, StorageError
from interfero.store.content import CACHE_VARIABLE, cached
from interfero.store.files import first_remedy, settle, temporary_file
from interfero.store.keyed import KeyedStore
from interfero.store.keys import ENTRY_DIGITS, content_key, text_key

_PIXELS, _DESCRIPTION, _LOCK = ".u8", ".json", "lock"
MAX_MAPS = 256
"""Files a process maps at once: each holds one of the 1,024 files it may usually open."""


@dataclass(frozen=True)
class PixelEntry:
    """One image in a file of pixels."""

    portion: Portion
    name: str
    group: str
    source_image: str
    digest: str
    offset: int
    """In bytes."""
    shape: tuple[int, int, int]
    """(height, width, channels)."""
    has_fine: bool = False
    """Whether what rounding left over follows the pixels, in as many bytes."""

    @property
    def num_bytes(self) -> int:
        """Size of the pixels, and of what follows them."""
        return prod(self.shape) * (2 if self.has_fine else 1)


@dataclass(frozen=True)
class PixelFile:
    """What a chunk of images became."""

    stem: str
    """File name without suffix: the chunk's identity."""
    entries: tuple[PixelEntry, ...]
    skipped: tuple[tuple[Portion, str], ...]
    counts: dict[str, int]

    @property
    def num_bytes(self) -> int:
        """Size of all pixels."""
        return sum(entry.num_bytes for entry in self.entries)

    @cached_property
    def content(self) -> str:
        """Hash of everything but the identity."""
        parts = asdict(self) | {"stem": ""}
        return content_key(parts, ENTRY_DIGITS)


@dataclass(frozen=True)
class PixelFiles:
    """All files of a source: where they are on this node, and how to make them on another."""

    source: Source
    rules: ImageRules
    folder: Path
    stems: tuple[str, ...]
    contents: tuple[str, ...]
    """`PixelFile.content`, by file."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Without `_here`, which holds for one node."""
        return PixelFiles, (self.source, self.rules, self.folder, self.stems, self.contents)

    def pixels(self, file: int, offset: int, shape: tuple[int, int, int]) -> UInt8Array:
        """A read-only view of one image, (height, width, channels) uint8.

        Raises:
            DomainError: this node has neither these files nor the same source.
        """
        path = self._here[file]
        return mapped_pixels(path, offset, shape)

    @cached_property
    def _here(self) -> tuple[Path, ...]:
        """The files on this node; one that has none decodes the source for all its processes."""
        paths = tuple(self.folder / (stem + _PIXELS) for stem in self.stems)
        if all(path.exists() for path in paths):
            return paths
        folder, made = make_pixel_files(self.source, self.rules)
        if tuple(file.content for file in made) != self.contents:
            raise DomainError(
                f"the images at {self.source.place} are not those that the domain was made of: put "
                "them back, the same on every node, or start again with another --name"
            )
        return tuple(folder / (file.stem + _PIXELS) for file in made)


class PixelPlace(Protocol):
    """Where decoded images lie; small to pickle."""

    def pixels(self, file: int, offset: int, shape: tuple[int, int, int]) -> UInt8Array:
        """A read-only view of one image, (height, width, channels) uint8."""


class MappedSample(Sample):
    """A sample whose pixels lie in a mapped file; it pickles as a place, not as pixels."""

    def __init__(
        self, name: str, group: str, digest: str, files: PixelPlace, place: tuple[int, int],
        shape: tuple[int, int, int], source_image: str = "", *, has_fine: bool = False,
    ) -> None:  # fmt: skip
        """Refer to an image; nothing is opened.

        Args:
            name: See `Sample`.
            group: See `Sample`.
            digest: See `Sample`.
            files: Where its pixels are.
            place: Index of the file, and offset in it in bytes.
            shape: (height, width, channels).
            source_image: See `Sample`.
            has_fine: Whether `fine_HWC` follows the pixels in their file.
        """
        # Not through the frozen dataclass: `pixels_HWC` and `digest` are made otherwise here.
        vars(self).update(
            name=name, group=group, source_image=source_image or group, digest=digest, _files=files,
            _place=place, _shape=shape, _has_fine=has_fine,
        )  # fmt: skip

    @property
    def pixels_HWC(self) -> UInt8Array:
        """(height, width, channels), 0-255: a view of the file, read-only."""
        return self._view(0)

    @property
    def fine_HWC(self) -> UInt8Array | None:
        """See `Sample`: a view of the file, read-only."""
        return self._view(prod(vars(self)["_shape"])) if vars(self)["_has_fine"] else None

    def _view(self, skipped: int) -> UInt8Array:
        files: PixelPlace = vars(self)["_files"]
        file, offset = vars(self)["_place"]
        return files.pixels(file, offset + skipped, vars(self)["_shape"])

    def __reduce__(self) -> tuple[Any, ...]:
        """Everything but the pixels."""
        keys = ("name", "group", "digest", "_files", "_place", "_shape", "source_image")
        make = partial(MappedSample, has_fine=vars(self)["_has_fine"])
        return make, tuple(vars(self)[key] for key in keys)


def decode_to_files(source: Source, rules: ImageRules) -> DecodedFile:
    """Decode what is not decoded yet on this node, and map all of it.

    Raises:
        DomainError: an image that refuses its whole domain, or a source that cannot be read.
        StorageError: the disk of the cache is full or not writable; what is decoded is kept.
    """
    folder, made = make_pixel_files(source, rules)
    stems, contents = tuple(f.stem for f in made), tuple(f.content for f in made)
    files = PixelFiles(source, rules, folder, stems, contents)
    result = DecodedFile()
    for index, file in enumerate(made):
        result.skipped += file.skipped
        result.counts += Counter(file.counts)
        for e in file.entries:
            sample = MappedSample(
                e.name, e.group, e.digest, files, (index, e.offset), e.shape, e.source_image,
                has_fine=e.has_fine,
            )  # fmt: skip
            result.samples.append((e.portion, sample))
    return result


def make_pixel_files(source: Source, rules: ImageRules) -> tuple[Path, list[PixelFile]]:
    """Decode what is not decoded yet on this node; returns the folder and its files, in order.

    Files of chunks that the source no longer has are removed.

    Raises:
        DomainError, StorageError: see `decode_to_files`.
    """
    folders, key = decoded_folders(), text_key(source.place, repr(rules), *_decoder())
    folder = folders.path(key)
    # One process decodes into a folder; others wait and find it done.
    with folders.lock(key):
        made = list(in_threads(_tasks(source, rules, folder)))
        _remove_others(folder, {file.stem for file in made})
    return folder, made


def decoded_folders() -> KeyedStore:
    """Where this node keeps decoded images, a folder a source: it may be removed when nothing runs."""
    store = cached("domains")
    return replace(store, remedy=f"{store.remedy}, or raise --max-domain-memory", lock_name=_LOCK)


def _tasks(source: Source, rules: ImageRules, folder: Path) -> Iterator[Callable[[], PixelFile]]:
    for chunk in source.chunks():
        stem = chunk.identify()
        kept = _kept(folder, stem)
        if kept is not None:
            yield partial(_same, kept)
        else:
            yield partial(_decode, chunk.read(), rules, folder, stem)


def _same(file: PixelFile) -> PixelFile:
    return file


def _decode(rows: list[Row], rules: ImageRules, folder: Path, stem: str) -> PixelFile:
    """One chunk to its file, an image at a time; the description comes last and makes it valid."""
    decoded = DecodedFile()
    entries: list[PixelEntry] = []
    offset = 0
    path = folder / (stem + _PIXELS)
    with _disk_errors(folder):
        with temporary_file(folder, path.name) as out:
            for portion, sample in each_sample(rows, rules, decoded):
                for values in (sample.pixels_HWC, sample.fine_HWC):
                    if values is not None:
                        out.write(np.ascontiguousarray(values).reshape(-1).data)
                height, width, channels = sample.pixels_HWC.shape
                entry = PixelEntry(
                    portion, sample.name, sample.group, sample.source_image, sample.digest, offset,
                    (height, width, channels), sample.fine_HWC is not None,
                )  # fmt: skip
                entries.append(entry)
                offset += entry.num_bytes
            settle(out, path)
        file = PixelFile(stem, tuple(entries), tuple(decoded.skipped), dict(decoded.counts))
        _describe(folder, file)
    return file


def _describe(folder: Path, file: PixelFile) -> None:
    status = (folder / (file.stem + _PIXELS)).stat()
    parts = asdict(file) | {"content": file.content, "mtime_ns": status.st_mtime_ns}
    path = folder / (file.stem + _DESCRIPTION)
    with temporary_file(folder, path.name) as out:
        out.write(json.dumps(parts).encode())
        settle(out, path)


def _kept(folder: Path, stem: str) -> PixelFile | None:
    """A chunk that is decoded already, if it is whole.

    Its description must hash to what it says and the pixels must have their size. Pixels that were
    touched since they were written must still have their digests.
    """
    try:
        parts = json.loads((folder / (stem + _DESCRIPTION)).read_text())
        status = (folder / (stem + _PIXELS)).stat()
        content, mtime_ns = parts.pop("content"), parts.pop("mtime_ns")
        entries = tuple(PixelEntry(**e | {"shape": tuple(e["shape"])}) for e in parts["entries"])
        skipped = tuple((portion, text) for portion, text in parts["skipped"])
        file = PixelFile(parts["stem"], entries, skipped, parts["counts"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if (file.stem, file.content, file.num_bytes) != (stem, content, status.st_size):
        return None
    if status.st_mtime_ns != mtime_ns:
        if not _has_digests(folder, file):
            return None
        with _disk_errors(folder):
            _describe(folder, file)
    return file


def check_decoded(folder: Path) -> None:
    """Compare decoded images with the digests in their descriptions.

    Raises:
        StorageError: names the file that differs; it is made again when it is needed.
    """
    for description in sorted(folder.glob(f"*{_DESCRIPTION}")):
        file = _kept(folder, description.stem)
        if file is None or not _has_digests(folder, file):
            raise StorageError(f"{description.with_suffix(_PIXELS)} does not match its description")


def _has_digests(folder: Path, file: PixelFile) -> bool:
    if not file.entries:
        return True
    mapped = _map_file(folder / (file.stem + _PIXELS))
    for e in file.entries:
        stored = np.frombuffer(mapped, np.uint8, e.num_bytes, e.offset).reshape(-1, *e.shape)
        if digest_of(*stored) != e.digest:
            return False
    return True


def mapped_pixels(path: Path, offset: int, shape: tuple[int, int, int]) -> UInt8Array:
    """A read-only view of one image in a file of pixels.

    Raises:
        DomainError: the file is gone.
    """
    try:
        mapped = _mapped(path)
    except OSError as error:
        raise DomainError(
            f"the decoded images {path} cannot be read ({error.strerror}): start again, and "
            "they are made again"
        ) from error
    count = shape[0] * shape[1] * shape[2]
    return np.frombuffer(mapped, np.uint8, count, offset).reshape(shape)


def _mapped(path: Path) -> mmap.mmap:
    return _mapped_once(path, path.stat().st_ino)


@lru_cache(MAX_MAPS)
def _mapped_once(path: Path, inode: int) -> mmap.mmap:
    # By inode: a file that was damaged and made anew is another, and reading a map that was cut kills.
    return _map_file(path)


def _map_file(path: Path) -> mmap.mmap:
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _remove_others(folder: Path, stems: set[str]) -> None:
    for path in folder.iterdir():
        if path.name != _LOCK and path.stem not in stems:
            path.unlink(missing_ok=True)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"decoded images cannot be kept in {folder} ({error.strerror}): {first_remedy(error)}, set "
            f"{CACHE_VARIABLE} to a folder with room, or raise --max-domain-memory; what is "
            "decoded is kept"
        ) from error


def _decoder() -> tuple[str, ...]:
    """What decides pixels besides the files and the rules."""
    readers = sorted(Path(str(table.__file__)).parent.glob("*.py"))
    modules = [Path(str(module.__file__)) for module in (images, pixel_meaning, mapped_values)]
    code = "".join(path.read_text() for path in (*modules, *readers))
    codecs = ("libjpeg_turbo", "zlib", "webp", "libtiff", "avif")
    versions = [str(features.version(c)) for c in codecs]
    return (code, pillow_version, *versions, *table.library_versions())
