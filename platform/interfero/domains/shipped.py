"""A domain as one file, for nodes that lack its images: decoded pixels behind a line of JSON.

The file is read by mapping it: all processes of a node share its pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from interfero.domains.described_pixels import described_blocks, read_described
from interfero.domains.domain import Domain
from interfero.domains.images import Sample, UInt8Array
from interfero.domains.pixel_files import MappedSample, mapped_pixels

FORMAT = "interfero-domain-3"
RESERVE = "reserve"


@dataclass(frozen=True)
class DomainFile:
    """The pixels of a whole domain in one file of this node."""

    path: Path

    def pixels(self, file: int, offset: int, shape: tuple[int, int, int]) -> UInt8Array:
        """A read-only view of one image, (height, width, channels) uint8; there is one file."""
        return mapped_pixels(self.path, offset, shape)


def domain_blocks(domain: Domain) -> Iterator[bytes | memoryview]:
    """The bytes of a domain's file, an image at a time; the same for the same content."""
    placed = list(_placed(domain))
    header = {
        "format": FORMAT,
        "name": domain.name,
        "unit": domain.unit,
        "notes": list(domain.notes),
        "mapping": domain.mapping,
        "mixed_in": sorted(domain.mixed_in),
        "validation_groups": sorted(domain.validation_groups),
        "images": [
            {
                "split": split,
                "name": sample.name,
                "group": sample.group,
                "source_image": sample.source_image,
                "digest": sample.digest,
                "shape": sample.pixels_HWC.shape,
                "has_fine": sample.fine_HWC is not None,
            }
            for split, sample in placed
        ],
    }
    stored = ((sample.pixels_HWC, sample.fine_HWC) for _, sample in placed)
    return described_blocks(header, (v for both in stored for v in both if v is not None))


# A warm worker asks for the same few domains again and again.
@lru_cache(maxsize=32)
def read_domain_file(path: Path) -> Domain:
    """The domain in a file; no pixel is read before it is asked for.

    Raises:
        DomainError: it is no such file.
    """

    def build(header: dict[str, Any], offset: int) -> Domain:
        parts = _samples(header["images"], DomainFile(path), offset)
        return Domain(
            header["name"],
            tuple(parts.pop("train", ())),
            tuple(parts.pop("test", ())),
            header["unit"],
            tuple(header["notes"]),
            {int(key.removeprefix(RESERVE)): tuple(spare) for key, spare in parts.items()},
            header["mapping"],
            frozenset(header.get("mixed_in", ())),
            frozenset(header.get("validation_groups", ())),
        )

    return read_described(path, FORMAT, "domain", build)


def _placed(domain: Domain) -> Iterator[tuple[str, Sample]]:
    """Every image behind the part that it belongs to."""
    yield from (("train", sample) for sample in domain.train)
    yield from (("test", sample) for sample in domain.test)
    for data_seed, samples in sorted(domain.reserve.items()):
        yield from ((f"{RESERVE}{data_seed}", sample) for sample in samples)


def _samples(
    images: list[dict[str, Any]], place: DomainFile, offset: int
) -> dict[str, list[MappedSample]]:
    parts: dict[str, list[MappedSample]] = {}
    for image in images:
        height, width, channels = map(int, image["shape"])
        shape = (height, width, channels)
        sample = MappedSample(
            image["name"], image["group"], image["digest"], place, (0, offset), shape,
            image["source_image"], has_fine=image["has_fine"],
        )  # fmt: skip
        parts.setdefault(image["split"], []).append(sample)
        offset += prod(shape) * (2 if image["has_fine"] else 1)
    return parts
