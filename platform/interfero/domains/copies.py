"""Copies of images kept as Parquet shards: compressed ones, restored ones, each with its lineage.

FOLDER/lineage.json   what the copy was made of, and how; written first
FOLDER/0000.parquet   up to `SHARD_IMAGES` images: `image` (PNG), `name`, `group`, `source_image`, `split`,
                      `source` (digest of the original), `coded_bytes` and `bpp` of the compressed image

A shard is whole or absent, so whoever dies half-way leaves work that the next one goes on with, and
several workers can fill one folder. Every shard reads as a domain of its own (`NAME=FOLDER`).
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from PIL import Image

from interfero.domains.images import Sample, UInt8Array
from interfero.domains.sources import UNIT_KEY
from interfero.errors import StorageError
from interfero.store.files import read_json, write_atomic, write_json

SHARD_IMAGES = 16
"""Images in a shard: what is lost at most when a worker dies."""
LINEAGE_KEY = b"interfero.lineage"
LINEAGE_FILE = "lineage.json"


@dataclass(frozen=True)
class CopiedImage:
    """One image of a copy."""

    pixels_HWC: UInt8Array
    coded_bytes: int
    """Of the compressed image it is, or was made of."""

    @property
    def bpp(self) -> float:
        """Bits per pixel of the compressed image, headers included."""
        height, width = self.pixels_HWC.shape[:2]
        return 8 * self.coded_bytes / (height * width)


Transform = Callable[[Sequence[Sample]], Sequence[CopiedImage]]
"""Makes the copies of a shard's images, in order."""


@dataclass(frozen=True)
class Copies:
    """The copy of some images: a folder, and what is to be in it."""

    folder: Path
    samples: tuple[Sample, ...]
    """The originals, in order."""
    split: str = "train"
    """What the shards say these images are for."""

    @property
    def num_shards(self) -> int:
        """Shards of a whole copy."""
        return shards_of(len(self.samples))

    @property
    def missing(self) -> tuple[int, ...]:
        """Shards that are not there, or not whole."""
        return tuple(i for i in range(self.num_shards) if not self._is_whole(i))

    def make(
        self,
        transform: Transform,
        lineage: Mapping[str, Any],
        shards: Sequence[int] | None = None,
        poll: Callable[[], None] | None = None,
    ) -> None:
        """Make what is missing.

        Args:
            transform: From originals to copies.
            lineage: What the copy is made of, as JSON.
            shards: Of these alone; other workers make the others.
            poll: Called after each shard.

        Raises:
            StorageError: the folder cannot be written.
        """
        write_json(self.folder / LINEAGE_FILE, dict(lineage))
        wanted = range(self.num_shards) if shards is None else shards
        for shard in wanted:
            if not self._is_whole(shard):
                originals = self._originals(shard)
                self._write(shard, originals, transform(originals), lineage)
            if poll is not None:
                poll()

    @cached_property
    def images(self) -> tuple[CopiedImage, ...]:
        """All copies, in the order of the originals.

        Raises:
            StorageError: a shard is missing, damaged, or of other images.
        """
        found: list[CopiedImage] = []
        for shard in range(self.num_shards):
            found += self._read(shard)
        return tuple(found)

    @property
    def mean_bpp(self) -> float:
        """Mean over images of bits per pixel, as they were coded."""
        return float(np.mean([image.bpp for image in self.images]))

    @property
    def lineage(self) -> dict[str, Any]:
        """What the copy was made of.

        Raises:
            StorageError: nothing has been made.
        """
        lineage: dict[str, Any] = read_json(self.folder / LINEAGE_FILE)
        return lineage

    def _path(self, shard: int) -> Path:
        return self.folder / shard_file(shard)

    def _originals(self, shard: int) -> tuple[Sample, ...]:
        return self.samples[shard * SHARD_IMAGES : (shard + 1) * SHARD_IMAGES]

    def _is_whole(self, shard: int) -> bool:
        try:
            table = pyarrow.parquet.read_table(self._path(shard), columns=["source"])
        except (OSError, pyarrow.ArrowException):
            return False
        sources: list[str] = table["source"].to_pylist()
        return sources == [sample.digest for sample in self._originals(shard)]

    def _write(
        self, shard: int, originals: Sequence[Sample], copies: Sequence[CopiedImage],
        lineage: Mapping[str, Any],
    ) -> None:  # fmt: skip
        table = pyarrow.table(
            {
                "image": [_png(copy.pixels_HWC) for copy in copies],
                "name": [sample.name for sample in originals],
                "group": [sample.group for sample in originals],
                "source_image": [sample.source_image for sample in originals],
                "split": [self.split for _ in originals],
                "source": [sample.digest for sample in originals],
                "coded_bytes": [copy.coded_bytes for copy in copies],
                "bpp": [copy.bpp for copy in copies],
            }
        )
        text = json.dumps(dict(lineage), sort_keys=True)
        table = table.replace_schema_metadata({UNIT_KEY: b"images", LINEAGE_KEY: text.encode()})
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(table, buffer)
        write_atomic(self._path(shard), buffer.getvalue())

    def _read(self, shard: int) -> list[CopiedImage]:
        path = self._path(shard)
        try:
            rows = pyarrow.parquet.read_table(path).to_pylist()
            copies = [CopiedImage(_pixels(row["image"]), int(row["coded_bytes"])) for row in rows]
            sources = [row["source"] for row in rows]
        except (OSError, KeyError, ValueError, pyarrow.ArrowException) as error:
            raise StorageError(
                f"{path} is not a whole shard of a copy ({error}): delete it, and it is made again"
            ) from error
        if sources != [sample.digest for sample in self._originals(shard)]:
            raise StorageError(
                f"{path} holds copies of other images: delete it, and it is made again"
            )
        return copies


def shards_of(num_images: int) -> int:
    """Shards of a whole copy of so many images."""
    return -(-num_images // SHARD_IMAGES)


def shard_file(shard: int) -> str:
    """Name of a shard in its copy's folder."""
    return f"{shard:04d}.parquet"


def _png(pixels_HWC: UInt8Array) -> bytes:
    buffer = io.BytesIO()
    # Level 1 takes a quarter of the time of the default, for files a tenth larger.
    Image.fromarray(pixels_HWC).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def _pixels(data: bytes) -> UInt8Array:
    with Image.open(io.BytesIO(data)) as image:
        return np.array(image, dtype=np.uint8)
