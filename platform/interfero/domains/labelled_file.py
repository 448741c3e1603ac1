"""A labelled domain as one file, for nodes that lack its images: pixels and labels behind a line of JSON.

The file is read by mapping it: all processes of a node share its pages.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from interfero.domains.described_pixels import described_blocks, read_described
from interfero.domains.labelled import PORTIONS, LabelledDomain, LabelledSample
from interfero.domains.pixel_files import mapped_pixels

FORMAT = "interfero-labelled-domain-3"


def labelled_blocks(domain: LabelledDomain) -> Iterator[bytes | memoryview]:
    """The bytes of a labelled domain's file, an image and its labels at a time."""
    placed = [(p, sample) for p in PORTIONS for sample in domain.portion(p)]
    header = {
        "format": FORMAT,
        "name": domain.name,
        "classes": list(domain.classes),
        "unit": domain.unit,
        "notes": list(domain.notes),
        "label_kind": domain.label_kind,
        "images": [
            {
                "portion": p,
                "name": s.name,
                "group": s.group,
                "source_image": s.source_image,
                "shape": s.pixels_HWC.shape,
            }
            for p, s in placed
        ],
    }
    arrays = (values for _, s in placed for values in (s.pixels_HWC, s.labels_HW))
    return described_blocks(header, arrays)


# A warm worker asks for the same few domains again and again.
@lru_cache(maxsize=8)
def read_labelled_file(path: Path) -> LabelledDomain:
    """The labelled domain in a file.

    Raises:
        DomainError: it is no such file.
    """

    def build(header: dict[str, Any], offset: int) -> LabelledDomain:
        parts = _samples(path, header["images"], offset)
        return LabelledDomain(
            header["name"],
            tuple(header["classes"]),
            tuple(parts["train"]),
            tuple(parts["restoration"]),
            tuple(parts["test"]),
            header["unit"],
            tuple(header["notes"]),
            header["label_kind"],
        )

    return read_described(path, FORMAT, "labelled domain", build)


def _samples(
    path: Path, images: list[dict[str, Any]], offset: int
) -> dict[str, list[LabelledSample]]:
    parts: dict[str, list[LabelledSample]] = {}
    for image in images:
        height, width, channels = map(int, image["shape"])
        pixels = mapped_pixels(path, offset, (height, width, channels))
        offset += prod(pixels.shape)
        labels = mapped_pixels(path, offset, (height, width, 1))[..., 0]
        offset += prod(labels.shape)
        sample = LabelledSample(
            image["name"], image["group"], pixels, labels, source_image=image["source_image"]
        )
        parts.setdefault(image["portion"], []).append(sample)
    return parts
