"""COCO's annotations, polygons in JSON, drawn as label maps: 0 is background, then the categories."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.domains.listing import shown
from interfero.errors import DomainError

BACKGROUND = "background"


@dataclass(frozen=True)
class Outline:
    """One object: its class, and polygons (x, y, x, y, ...) in pixels, or runs of a crowd."""

    label: int
    area: float
    polygons: tuple[tuple[float, ...], ...] = field(repr=False)
    runs: tuple[int, ...] = field(default=(), repr=False)
    """Of a crowd: lengths of runs outside and inside by turns, down the columns; it is void."""


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
        canvas = Image.new("L", size, 0)
        for outline in self.objects:
            if outline.runs:
                canvas.paste(VOID, mask=Image.fromarray(_decoded(outline.runs, size, self.file)))
        pen = ImageDraw.Draw(canvas)
        for outline in sorted(self.objects, key=lambda o: -o.area):
            for polygon in outline.polygons:
                pen.polygon(list(polygon), fill=outline.label)
        return np.array(canvas, dtype=np.uint8)


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
        return Outline(label, area, (), tuple(map(int, counts)))
    return Outline(label, area, tuple(_checked(annotation, shape)))


def _checked(annotation: Mapping[str, Any], shape: Sequence[Any]) -> Iterator[tuple[float, ...]]:
    for polygon in shape:
        if len(polygon) < 6 or len(polygon) % 2:
            raise ValueError(
                f"annotation {annotation.get('id')} has a polygon of {len(polygon)} numbers: it needs x "
                "and y of three points at least"
            )
        yield tuple(map(float, polygon))


def _decoded(runs: Sequence[int], size: tuple[int, int], file: Path) -> UInt8Array:
    """(height, width) 255 inside."""
    width, height = size
    if sum(runs) != width * height:
        raise DomainError(
            f"{shown(file)}: the run lengths of a crowd sum to {sum(runs)}, its image has {width * height} "
            "pixels; mend the annotation"
        )
    inside = np.arange(len(runs)) % 2 * 255
    return np.repeat(inside, runs).astype(np.uint8).reshape(width, height).T
