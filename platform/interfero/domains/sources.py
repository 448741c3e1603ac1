"""Where a domain's encoded images are: a folder, or Parquet files, read a few images at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow
import pyarrow.parquet

from interfero.domains.images import IMAGE_SUFFIXES
from interfero.errors import DomainError
from interfero.store.keys import text_key

UNIT_KEY = b"interfero.unit"
"""Parquet metadata: what one image is, where its groups cannot tell (regions of one picture)."""

CHUNK_IMAGES = 64
"""Images decoded together: 0.2 GB at most."""
_COLUMNS = ("image", "name", "group", "source_image", "split")
_READ_BYTES = 2**20
"""Parquet is read so much at a time; a whole column of a row group may be all of the file."""

Portion = Literal["train", "test", "any"]
"""Where the source puts an image; `any` where it does not say."""


@dataclass(frozen=True)
class Row:
    """One encoded image."""

    label: str
    """File name below the folder, or the row's name."""
    group: str | None
    """What splits keep whole, if known."""
    portion: Portion
    data: bytes | Path
    source_image: str | None = None
    """The picture it was cut from, where that is not its group."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive images, decoded together."""

    identify: Callable[[], str]
    """What is there, without opening an image: files, their sizes and times of change."""
    read: Callable[[], list[Row]]
    """The rows; chunks of one pass are read in order, if at all."""


class Source(Protocol):
    """Encoded images in a fixed order; small to pickle, whatever it holds."""

    @property
    def place(self) -> str:
        """What tells it from other sources: absolute paths."""

    @property
    def num_images(self) -> int:
        """Images, usable or not."""

    @property
    def unit(self) -> bytes | None:
        """What one image is, if the source says so."""

    def chunks(self) -> Iterator[Chunk]:
        """All images, a few at a time.

        Raises:
            DomainError: something is not there or cannot be read.
        """


@dataclass(frozen=True)
class FolderSource:
    """A folder of images: its `train/`, `val/` and `test/`, or all of it."""

    name: str
    """The domain's, for errors."""
    path: Path

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the list of files."""
        return FolderSource, (self.name, self.path)

    @property
    def place(self) -> str:
        """See `Source`."""
        return str(self.path.resolve())

    @property
    def num_images(self) -> int:
        """See `Source`."""
        return len(self._rows)

    @property
    def unit(self) -> bytes | None:
        """File names tell."""
        return None

    def chunks(self) -> Iterator[Chunk]:
        """See `Source`."""
        for start in range(0, len(self._rows), CHUNK_IMAGES):
            rows = self._rows[start : start + CHUNK_IMAGES]
            yield Chunk(partial(_identity_of, rows), partial(list, rows))

    @cached_property
    def _rows(self) -> list[Row]:
        if not self.path.is_dir():
            raise DomainError(f"domain {self.name!r}: there is no folder {self.path}")
        if (self.path / "train").is_dir() and (self.path / "test").is_dir():
            return [*self._files(("train", "val"), "train"), *self._files(("test",), "test")]
        return self._files(("",), "any")

    def _files(self, folders: Iterable[str], portion: Portion) -> list[Row]:
        try:
            found = [row for folder in folders for row in self._walk(folder, portion)]
        except OSError as error:
            raise DomainError(
                f"domain {self.name!r}: {self.path} cannot be listed ({error})"
            ) from error
        if not found:
            raise DomainError(
                f"domain {self.name!r}: no image in {self.path}; it may hold "
                f"{', '.join(sorted(IMAGE_SUFFIXES))}"
            )
        return found

    def _walk(self, folder: str, portion: Portion) -> Iterator[Row]:
        root = self.path / folder
        # CamVid's layout keeps the pictures beside their label maps.
        root = root / "images" if (root / "images").is_dir() else root
        for file in sorted(root.rglob("*")):
            hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
            # A link that points nowhere is an image that cannot be read, not none at all.
            there = file.is_file() or (file.is_symlink() and not file.exists())
            if file.suffix.lower() in IMAGE_SUFFIXES and there and not hidden:
                yield Row(str(file.relative_to(self.path)), None, portion, file)


@dataclass(frozen=True)
class ParquetSource:
    """Parquet files of one schema: `image`, and `name`, `group`, `source_image`, `split` if known."""

    name: str
    """The domain's, for errors."""
    paths: tuple[Path, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the open files."""
        return ParquetSource, (self.name, self.paths)

    @property
    def place(self) -> str:
        """See `Source`."""
        return "\n".join(str(path.resolve()) for path in self.paths)

    @property
    def num_images(self) -> int:
        """See `Source`."""
        return sum(file.metadata.num_rows for file in self._files)

    @property
    def unit(self) -> bytes | None:
        """What the first file's metadata say."""
        metadata: dict[bytes, bytes] = self._files[0].schema_arrow.metadata or {}
        return metadata.get(UNIT_KEY)

    def chunks(self) -> Iterator[Chunk]:
        """See `Source`."""
        first = 0
        for path, file in zip(self.paths, self._files, strict=True):
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                rows = _Forward(partial(self._rows, file, group, first, path))
                for start in range(0, count, CHUNK_IMAGES):
                    stop = min(start + CHUNK_IMAGES, count)
                    yield Chunk(
                        partial(_identity_of_rows, path, group, first + start, first + stop),
                        partial(rows.rows, start, stop),
                    )
                first += count

    @cached_property
    def _files(self) -> list[pyarrow.parquet.ParquetFile]:
        files: list[pyarrow.parquet.ParquetFile] = []
        for path in self.paths:
            try:
                file = pyarrow.parquet.ParquetFile(path, buffer_size=_READ_BYTES)
            except (OSError, pyarrow.ArrowException) as error:
                raise self._unreadable(path, error) from error
            columns = file.schema_arrow.names
            if "image" not in columns:
                raise DomainError(
                    f"domain {self.name!r}: {path} has the columns {columns}, "
                    "it needs `image` with encoded images as bytes"
                )
            if files and columns != files[0].schema_arrow.names:
                raise DomainError(
                    f"domain {self.name!r}: {path} has the columns {columns}, {self.paths[0]} has "
                    f"{files[0].schema_arrow.names}; write all files with the same columns"
                )
            files.append(file)
        return files

    def _rows(
        self, file: pyarrow.parquet.ParquetFile, group: int, first: int, path: Path
    ) -> Iterator[Row]:
        columns = [c for c in _COLUMNS if c in file.schema_arrow.names]
        try:
            batches = file.iter_batches(CHUNK_IMAGES, row_groups=[group], columns=columns)
            for batch in batches:
                for values in batch.to_pylist():
                    yield _parquet_row(first, values)
                    first += 1
        except (OSError, pyarrow.ArrowException) as error:
            raise self._unreadable(path, error) from error

    def _unreadable(self, path: Path, error: Exception) -> DomainError:
        return DomainError(
            f"domain {self.name!r}: {path} cannot be read as Parquet ({error}); write it again"
        )


class _Forward:
    """Rows of one row group, which can only be read from its start on."""

    def __init__(self, start: Callable[[], Iterator[Row]]) -> None:
        self._start = start
        self._left: Iterator[Row] | None = None
        self._position = 0

    def rows(self, start: int, stop: int) -> list[Row]:
        if self._left is None or start < self._position:
            self._left, self._position = self._start(), 0
        found = list(islice(self._left, start - self._position, stop - self._position))
        self._position = stop
        return found


def _parquet_row(index: int, values: dict[str, Any]) -> Row:
    label = str(values.get("name") or f"row {index}")
    group, source_image = (
        None if values.get(name) is None else str(values[name])
        for name in ("group", "source_image")
    )
    image = values["image"]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise DomainError(f"{label}: column `image` must hold bytes, found {type(data).__name__}")
    portion: Portion = "any"
    if "split" in values:
        portion = "test" if values["split"] == "test" else "train"
    return Row(label, group, portion, data, source_image)


def _identity_of_rows(path: Path, group: int, start: int, stop: int) -> str:
    return _hash([f"rows {start} to {stop} in group {group}", *_state(path)])


def _identity_of(rows: Sequence[Row]) -> str:
    parts: list[str] = []
    for row in rows:
        assert isinstance(row.data, Path)
        parts += [row.label, row.portion, *_state(row.data)]
    return _hash(parts)


def _state(path: Path) -> tuple[str, str]:
    """Size and time of change of a file."""
    try:
        status = path.stat()
    except OSError:
        return ("not", "there")
    return (str(status.st_size), str(status.st_mtime_ns))


def _hash(parts: Iterable[str]) -> str:
    return text_key(*parts)
