"""COCO's annotations, polygons in JSON, drawn as label maps: 0 is background, then the categories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.domains.listing import shown
from interfero.errors import DomainError

BACKGROUND = "background"
_TIE = 1e-6
"""Pixels that outlines are moved by, so that none runs through the centre of a pixel."""


@dataclass(frozen=True)
class Outline:
    """One object: its class, and polygons (x, y, x, y, ...) in pixels, or runs."""

    label: int
    """`VOID` of a crowd."""
    area: float
    polygons: tuple[tuple[float, ...], ...] = field(repr=False)
    runs: tuple[int, ...] = field(default=(), repr=False)
    """Lengths of runs outside and inside by turns, down the columns; they can have holes."""


@dataclass(frozen=True)
class Outlines:
    """The objects of one image."""

    file: Path
    """The JSON they are from, for errors."""
    size: tuple[int, int]
    """(width, height) that the JSON says."""
    objects: tuple[Outline, ...]

    def draw(self, size: tuple[int, int], image: Path) -> UInt8Array:
        """(height, width) label map; smaller objects lie on larger ones, crowds are void below all.

        Args:
            size: (width, height) of the image as stored.
            image: Its path, for errors.

        Raises:
            DomainError: the JSON says another size.
        """
        if size != self.size:
            raise DomainError(
                f"{shown(image)} has {size[0]}x{size[1]} pixels, {shown(self.file)} says "
                f"{self.size[0]}x{self.size[1]}: outlines would lie elsewhere; mend one of them"
            )
        from skimage.draw import polygon  # seconds to import, and few domains have outlines

        labels = np.zeros(size[::-1], dtype=np.uint8)
        for outline in sorted(self.objects, key=lambda o: (o.label != VOID, -o.area)):
            if outline.runs:
                labels[_decoded(outline.runs, size, self.file)] = outline.label
            for corners in outline.polygons:
                # A pixel is inside with its centre, the first one lies at 0.5; of two that touch at a
                # centre one is, as in pycocotools.
                x, y = (np.array(corners[i::2]) - 0.5 - _TIE for i in (0, 1))
                inside: Any = polygon(y, x, labels.shape)  # type: ignore[no-untyped-call]
                labels[inside] = outline.label
        return labels


def read_coco(name: str, file: Path) -> tuple[tuple[str, ...], dict[str, Outlines]]:
    """The classes of a COCO file, background first, and the outlines of each image by its file name.

    Raises:
        DomainError: it is no such file, or holds masks as strings of run lengths.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8-sig"))
        categories = sorted(content["categories"], key=lambda c: int(c["id"]))
        numbers = {int(c["id"]): i + 1 for i, c in enumerate(categories)}
        found: dict[int, list[Outline]] = {}
        for annotation in content["annotations"]:
            found.setdefault(int(annotation["image_id"]), []).append(_outline(annotation, numbers))
        images = {
            str(image["file_name"]): Outlines(
                file,
                (int(image["width"]), int(image["height"])),
                tuple(found.get(int(image["id"]), ())),
            )
            for image in content["images"]
        }
        return (BACKGROUND, *(str(c["name"]) for c in categories)), images
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DomainError(
            f"domain {name!r}: {shown(file)} cannot be read as COCO's annotations ({error!r}): it needs "
            "images, categories, and annotations with polygons"
        ) from error


def _outline(annotation: Mapping[str, Any], numbers: Mapping[int, int]) -> Outline:
    label = numbers[int(annotation["category_id"])]
    area = float(annotation.get("area", 0.0))
    shape = annotation["segmentation"]
    if isinstance(shape, dict):
        counts = shape["counts"]
        if isinstance(counts, str):
            raise ValueError(
                f"annotation {annotation.get('id')} is a string of run lengths: draw it as polygons, or "
                "write label maps as PNG with pycocotools"
            )
        return Outline(
            VOID if annotation.get("iscrowd") else label, area, (), tuple(map(int, counts))
        )
    return Outline(label, area, tuple(_checked(annotation, shape)))


def _checked(annotation: Mapping[str, Any], shape: Sequence[Any]) -> Iterator[tuple[float, ...]]:
    for polygon in shape:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(
                f"annotation {annotation.get('id')} has a polygon of {len(polygon)} numbers: it needs x "
                "and y of three points at least"
            )
        yield tuple(map(float, polygon))


def _decoded(runs: Sequence[int], size: tuple[int, int], file: Path) -> npt.NDArray[np.bool_]:
    """(height, width) what is inside."""
    width, height = size
    if sum(runs) != width * height:
        raise DomainError(
            f"{shown(file)}: the run lengths of an object sum to {sum(runs)}, its image has {width * height} "
            "pixels; mend the annotation"
        )
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs).reshape(width, height).T
