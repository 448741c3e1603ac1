"""WebDataset's shards: tar files whose members `KEY.jpg`, `KEY.json` are one sample.

Members are read by their place in the file, with the standard library, as webdataset itself does.
"""

from __future__ import annotations

import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from interfero.domains.images import IMAGE_SUFFIXES
from interfero.domains.listing import Portion, shown
from interfero.domains.readers.table import FIELD_SUFFIXES
from interfero.domains.sources import CHUNK_IMAGES, Chunk, Row, identity_of_part, portions_of_files
from interfero.errors import DomainError

_EXTENSIONS = frozenset(suffix[1:] for suffix in IMAGE_SUFFIXES | FIELD_SUFFIXES)


@dataclass(frozen=True)
class _Member:
    """An encoded image in a shard."""

    key: str
    extension: str
    offset: int
    size: int


@dataclass(frozen=True)
class _Shard:
    """A tar file and what is in it."""

    path: Path
    portion: Portion
    members: tuple[_Member, ...]
    left_out: Counter[str]
    """Other members by extension."""


@dataclass(frozen=True)
class TarSource:
    """Shards in the order given; see `Source`."""

    name: str
    """The domain's, for errors."""
    paths: tuple[Path, ...]
    extension: str = ""
    """Which member of a sample is the picture, where several could be."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Without the list of members."""
        return TarSource, (self.name, self.paths, self.extension)

    @property
    def place(self) -> str:
        """See `Source`."""
        return "\n".join([*(shown(path.resolve()) for path in self.paths), self.extension])

    @property
    def num_images(self) -> int:
        """See `Source`."""
        return sum(len(shard.members) for shard in self._shards)

    @property
    def unit(self) -> bytes | None:
        """Keys tell."""
        return None

    @property
    def holds_pictures(self) -> bool:
        """See `Source`."""
        return all(f".{m.extension}" in IMAGE_SUFFIXES for s in self._shards for m in s.members)

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Source`."""
        _, said = portions_of_files(self.name, self.paths)
        left = sum((shard.left_out for shard in self._shards), Counter[str]())
        if left:
            kinds = ", ".join(f".{kind} {count}" for kind, count in left.most_common(6))
            said = (*said, f"left out: {left.total()} other members ({kinds})")
        if self._repeat_keys:
            said = (*said, "shards share keys: images are named by shard and key")
        return said

    def chunks(self) -> Iterator[Chunk]:
        """See `Source`."""
        for shard in self._shards:
            for start in range(0, len(shard.members), CHUNK_IMAGES):
                members = shard.members[start : start + CHUNK_IMAGES]
                part = f"members from {start}, {shard.portion}, {self._repeat_keys}"
                yield Chunk(
                    partial(identity_of_part, shard.path, part), partial(self._read, shard, members)
                )

    def _read(self, shard: _Shard, members: Sequence[_Member]) -> list[Row]:
        folder = f"{shown(shard.path.stem)}/" if self._repeat_keys else ""
        rows = []
        with shard.path.open("rb") as file:
            for m in members:
                file.seek(m.offset)
                label = f"{folder}{m.key}.{m.extension}"
                rows.append(Row(label, None, shard.portion, file.read(m.size)))
        return rows

    @cached_property
    def _repeat_keys(self) -> bool:
        keys = [member.key for shard in self._shards for member in shard.members]
        return len(set(keys)) < len(keys)

    @cached_property
    def _shards(self) -> tuple[_Shard, ...]:
        portions, _ = portions_of_files(self.name, self.paths)
        return tuple(map(self._index, self.paths, portions))

    def _index(self, path: Path, portion: Portion) -> _Shard:
        """Samples of a shard: a key is all before the first dot of a member's name."""
        samples: dict[str, list[_Member]] = {}
        left: Counter[str] = Counter()
        try:
            with tarfile.open(path, "r:") as file:
                for info in file:
                    folder, _, base = info.name.rpartition("/")
                    stem, _, extension = base.partition(".")
                    if not info.isfile() or base.startswith("."):
                        continue
                    key = f"{folder}/{stem}".lstrip("./")
                    member = _Member(key, extension.lower(), info.offset_data, info.size)
                    if self._is_picture(member.extension):
                        samples.setdefault(key, []).append(member)
                    else:
                        left[member.extension] += 1
        except (OSError, tarfile.TarError) as error:
            raise DomainError(
                f"domain {self.name!r}: {shown(path)} cannot be read as an uncompressed tar ({error}); "
                "write it again, without gzip"
            ) from error
        return _Shard(path, portion, tuple(self._only(path, m) for m in samples.values()), left)

    def _is_picture(self, extension: str) -> bool:
        return extension == self.extension if self.extension else extension in _EXTENSIONS

    def _only(self, path: Path, members: list[_Member]) -> _Member:
        if len(members) > 1:
            several = ", ".join(f".{m.extension}" for m in members)
            raise DomainError(
                f"domain {self.name!r}: {members[0].key!r} in {shown(path)} has {several}, one of which may "
                f"be a label map: say which is the picture, with array={members[0].extension} behind the path"
            )
        return members[0]
