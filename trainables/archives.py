"""Streams as an archive keeps them: what a codec once made of test images, and what it was to decode to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interfero.codecs.coding import Coded, Coder, Decoded, ImageScore, decode, encode, pixel_mse
from interfero.domains.images import Sample, UInt8Array
from interfero.errors import StorageError
from interfero.metrics.forgetting import exact_fraction, psnr_drop_db
from interfero.metrics.rate_distortion import psnr_db
from interfero.store.files import write_atomic
from interfero.store.keys import bytes_key, new_digest
from trainables.evaluation import decode_old

_SCHEMA = pa.schema(
    [
        ("domain", pa.string()),
        ("name", pa.string()),
        ("group", pa.string()),
        ("data", pa.binary()),
        ("num_pixels", pa.int64()),
        ("mse", pa.float64()),
        ("symbols", pa.string()),
        ("pixels", pa.string()),
    ]
)


@dataclass(frozen=True)
class ArchivedImage:
    """One stream, and what its own codec showed of it."""

    domain: str
    name: str
    group: str
    """The source image."""
    data: bytes
    num_pixels: int
    mse: float
    """Mean squared error of the decoded 8-bit pixels."""
    symbols: str
    """Hash of the symbols."""
    pixels: str
    """Hash of the decoded pixels."""

    @property
    def score(self) -> ImageScore:
        """Rate and distortion, as its own codec has them."""
        return ImageScore(self.name, self.group, 8 * len(self.data) / self.num_pixels, self.mse)


def archived(domain: str, sample: Sample, coded: Coded, decoded: Decoded) -> ArchivedImage:
    """A stream with what it decodes to."""
    pixels = decoded.pixels_HWC
    return ArchivedImage(
        domain=domain,
        name=sample.name,
        group=sample.source_image,
        data=coded.data,
        num_pixels=pixels.shape[0] * pixels.shape[1],
        mse=pixel_mse(pixels, sample.pixels_HWC),
        symbols=_symbols_key(coded.symbols),
        pixels=_pixels_key(pixels),
    )


def code_image(domain: str, sample: Sample, coder: Coder) -> ArchivedImage:
    """Code an image, and decode it."""
    coded = encode(coder, sample.pixels_HWC)
    return archived(domain, sample, coded, decode(coder, coded.data))


def write_streams(path: Path, images: Sequence[ArchivedImage]) -> None:
    """Write an archive, whole or not at all.

    Raises:
        StorageError: the disk is full.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist([asdict(i) for i in images], _SCHEMA), sink)
    write_atomic(path, sink.getvalue().to_pybytes())


def read_streams(path: Path) -> dict[str, list[ArchivedImage]]:
    """The streams of an archive by domain, in the order in which they were coded.

    Raises:
        StorageError: it is not there, or damaged.
    """
    try:
        rows = pq.read_table(path, schema=_SCHEMA).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise StorageError(
            f"{path} is no archive of streams ({error}): delete it, and it is made again"
        ) from error
    found: dict[str, list[ArchivedImage]] = {}
    for row in rows:
        found.setdefault(row["domain"], []).append(ArchivedImage(**row))
    return found


@dataclass(frozen=True)
class Reading:
    """What a later codec makes of one old stream."""

    old: ArchivedImage
    decoded: Decoded | None
    """None if it leads to no picture at all."""
    psnr_db: float | None
    """Of that picture."""


def read_old(old: ArchivedImage, sample: Sample, coder: Coder) -> Reading:
    """Decode an old stream with any codec, whatever names are in its header."""
    decoded = decode_old(coder, old.data)
    mse = None if decoded is None else pixel_mse(decoded.pixels_HWC, sample.pixels_HWC)
    return Reading(old, decoded, None if mse is None else psnr_db(mse))


def reading_metrics(readings: Sequence[Reading]) -> Mapping[str, float]:
    """Shares of streams that decode to their symbols and to their pixels, and what others lose."""
    symbols = [(r.decoded and _symbols_key(r.decoded.symbols), r.old.symbols) for r in readings]
    pixels = [(r.decoded and _pixels_key(r.decoded.pixels_HWC), r.old.pixels) for r in readings]
    drops = [psnr_drop_db(r.old.score.psnr_db, r.psnr_db) for r in readings]
    return {
        "symbols_exact": exact_fraction(symbols),
        "pixels_exact": exact_fraction(pixels),
        "psnr_drop_db": sum(drops) / len(drops),
        "refused": sum(r.decoded is None for r in readings) / len(readings),
    }


def _symbols_key(symbols: Sequence[Sequence[int]]) -> str:
    digest = new_digest()
    for latent in symbols:
        digest.update(f"{len(latent)} ".encode() + np.asarray(latent, "<i4").tobytes())
    return digest.hexdigest()


def _pixels_key(pixels_HWC: UInt8Array) -> str:
    return bytes_key(f"{pixels_HWC.shape} ".encode() + pixels_HWC.tobytes())
