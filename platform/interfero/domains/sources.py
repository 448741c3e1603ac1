"""Where a domain's encoded images are: a folder, or Parquet files, read a few images at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow
import pyarrow.parquet

from interfero.domains.listing import Listing, Portion, is_picture, list_folder, shown
from interfero.domains.portions import SPLITS, split_of, split_of_shard
from interfero.errors import DomainError
from interfero.store.keys import text_key

UNIT_KEY = b"interfero.unit"
"""Parquet metadata: what one image is, where its groups cannot tell (regions of one picture)."""

CHUNK_IMAGES = 64
"""Images decoded together: 0.2 GB at most."""
_COLUMNS = ("image", "name", "group", "source_image", "split")
_READ_BYTES = 2**20
"""Parquet is read so much at a time; a whole column of a row group may be all of the file."""


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

    @property
    def notes(self) -> tuple[str, ...]:
        """Guesses, and what was left out, a line each."""

    @property
    def holds_pictures(self) -> bool:
        """Whether all files are of kinds that any viewer shows, one image each."""

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
    wanted: Callable[[Path], bool] = is_picture
    """Which files are images."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the list of files."""
        return FolderSource, (self.name, self.path, self.wanted)

    @property
    def place(self) -> str:
        """See `Source`."""
        return shown(self.path.resolve())

    @property
    def num_images(self) -> int:
        """See `Source`."""
        return len(self._rows)

    @property
    def unit(self) -> bytes | None:
        """File names tell."""
        return None

    @property
    def holds_pictures(self) -> bool:
        """See `Source`."""
        return self.wanted is is_picture

    def chunks(self) -> Iterator[Chunk]:
        """See `Source`."""
        for start in range(0, len(self._rows), CHUNK_IMAGES):
            rows = self._rows[start : start + CHUNK_IMAGES]
            yield Chunk(partial(_identity_of, rows), partial(list, rows))

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._listing.notes

    @cached_property
    def _listing(self) -> Listing:
        return list_folder(self.name, self.path, self.wanted)

    @cached_property
    def _rows(self) -> list[Row]:
        return [Row(f.label, None, f.portion, f.path) for f in self._listing.pictures]


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
        return "\n".join(shown(path.resolve()) for path in self.paths)

    @property
    def num_images(self) -> int:
        """See `Source`."""
        return sum(file.metadata.num_rows for file in self._files)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._named[1]

    @property
    def unit(self) -> bytes | None:
        """See `Source`: what the first file's metadata say."""
        metadata: dict[bytes, bytes] = self._files[0].schema_arrow.metadata or {}
        return metadata.get(UNIT_KEY)

    @property
    def holds_pictures(self) -> bool:
        """See `Source`."""
        return True

    def chunks(self) -> Iterator[Chunk]:
        """See `Source`."""
        first = 0
        portions = self._named[0]
        for path, file, portion in zip(self.paths, self._files, portions, strict=True):
            for group in range(file.metadata.num_row_groups):
                count = file.metadata.row_group(group).num_rows
                rows = _Forward(partial(self._rows, file, group, first, path, portion))
                for start in range(0, count, CHUNK_IMAGES):
                    stop = min(start + CHUNK_IMAGES, count)
                    place = (group, first + start, first + stop, portion)
                    yield Chunk(
                        partial(_identity_of_rows, path, place), partial(rows.rows, start, stop)
                    )
                first += count

    @cached_property
    def _named(self) -> tuple[tuple[Portion, ...], tuple[str, ...]]:
        """Where each file's name puts its rows, and a line that says so; `split` decides if it is there."""
        if "split" in self._files[0].schema_arrow.names:
            return _anywhere(self.paths), ()
        return portions_of_files(self.name, self.paths)

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
        self,
        file: pyarrow.parquet.ParquetFile,
        group: int,
        first: int,
        path: Path,
        portion: Portion,
    ) -> Iterator[Row]:
        columns = [c for c in _COLUMNS if c in file.schema_arrow.names]
        try:
            batches = file.iter_batches(CHUNK_IMAGES, row_groups=[group], columns=columns)
            for batch in batches:
                for values in batch.to_pylist():
                    yield _parquet_row(first, values, portion)
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


def portions_of_files(
    name: str, paths: Sequence[Path]
) -> tuple[tuple[Portion, ...], tuple[str, ...]]:
    """Where the names of files (`train-00000-of-00002`, or the folder `train/`) put their rows.

    Names count if both train and test are among them; then every name must tell.

    Args:
        name: The domain's, for errors.
        paths: Parquet files.

    Returns:
        A portion a file, and a line that says what the names were taken for, if any tells.

    Raises:
        DomainError: some names tell train and test, and another tells nothing.
    """
    told = [split_of_shard(path.stem) or split_of(path.parent.name) for path in paths]
    named = [f"{split}: {told.count(split)}" for split in SPLITS if split in told]
    if not named:
        return _anywhere(paths), ()
    if not {"train", "test"} <= set(told):
        missing = "test" if "train" in told else "train"
        line = f"file names say {', '.join(named)} and no {missing}: all images are split anew"
        return _anywhere(paths), (line,)
    if None in told:
        raise DomainError(
            f"domain {name!r}: {shown(paths[told.index(None)])} does not say whether it is train or test, "
            "as other files there do by their names; rename it, or write a column `split`"
        )
    portions: dict[str | None, Portion] = {"train": "train", "val": "train", "test": "test"}
    return tuple(portions[split] for split in told), (
        f"split as file names say ({', '.join(named)} files)",
    )


def _anywhere(paths: Sequence[Path]) -> tuple[Portion, ...]:
    return tuple("any" for _ in paths)


def _parquet_row(index: int, values: dict[str, Any], portion: Portion) -> Row:
    label = str(values.get("name") or f"row {index}")
    group, source_image = (
        None if values.get(name) is None else str(values[name])
        for name in ("group", "source_image")
    )
    image = values["image"]
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise DomainError(_no_bytes(label, image, data))
    if "split" in values:
        split = split_of(str(values["split"]))
        if split is None:
            raise DomainError(
                f"{label}: column `split` is {values['split']!r}; it must say train, val or test"
            )
        portion = "test" if split == "test" else "train"
    return Row(label, group, portion, data, source_image)


def _no_bytes(label: str, image: Any, data: Any) -> str:
    if isinstance(image, dict) and image.get("path"):
        return (
            f"{label}: column `image` holds the path {image['path']!r} and no bytes: write the files into "
            "the table (datasets: `dataset.save_to_disk`, or cast_column(Image(decode=False)) with bytes), "
            "or give their folder"
        )
    return f"{label}: column `image` must hold bytes, found {type(data).__name__}"


def _identity_of_rows(path: Path, place: tuple[int, int, int, Portion]) -> str:
    group, start, stop, portion = place
    return identity_of_part(path, f"rows {start} to {stop} in group {group}, {portion}")


def identity_of_part(path: Path, part: str) -> str:
    """What is there of a part of a file, without reading it."""
    return _hash([part, *_state(path)])


def _identity_of(rows: Sequence[Row]) -> str:
    parts: list[str] = []
    for row in rows:
        assert isinstance(row.data, Path)
        parts += [row.label, row.portion, *_state(row.data)]
    return _hash(parts)


def _state(path: Path) -> tuple[str, str]:
    """Size and time of change of a file; of a folder that counts as one, of all files in it."""
    try:
        if path.is_dir():
            inside = [p.stat() for p in sorted(path.rglob("*"))]
            changed = max((s.st_mtime_ns for s in inside), default=0)
            return (f"{len(inside)} {sum(s.st_size for s in inside)}", str(changed))
        status = path.stat()
    except OSError:
        return ("not", "there")
    return (str(status.st_size), str(status.st_mtime_ns))


def _hash(parts: Iterable[str]) -> str:
    return text_key(*parts)
