"""Writing a domain as one Parquet file that reads back to the same fingerprint."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow
import pyarrow.parquet
from PIL import Image

from interfero.domains.domain import Domain
from interfero.domains.images import UInt8Array
from interfero.domains.sources import UNIT_KEY


def write_parquet(domain: Domain, path: Path) -> None:
    """Write `image` (PNG), `name`, `group`, `source_image`, `split` and the unit; a domain reads them.

    PNG is never halved, so any rules that admit the sizes give back the same pixels.
    """
    splits = (("train", domain.train), ("test", domain.test))
    rows = [(split, sample) for split, samples in splits for sample in samples]
    table = pyarrow.table(
        {
            "image": [_png(sample.pixels_HWC) for _, sample in rows],
            "name": [sample.name for _, sample in rows],
            "group": [sample.group for _, sample in rows],
            "source_image": [sample.source_image for _, sample in rows],
            "split": [split for split, _ in rows],
        }
    )
    table = table.replace_schema_metadata({UNIT_KEY: domain.unit.encode()})
    pyarrow.parquet.write_table(table, path)


def _png(pixels_HWC: UInt8Array) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels_HWC).save(buffer, format="PNG")
    return buffer.getvalue()
