"""Texture mosaics: Voronoi regions filled with textures and photographs of installed packages.

The labels are exact, because the regions are drawn. Every picture is cut into tiles that do not touch;
a tile belongs to one portion, so no pixel of a texture is in two of them. Textures are grey, and each
region is brought to one mean and contrast: only structure tells classes apart, and structure is what
compression takes away.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interfero.domains.labelled import PORTIONS, LabelledDomain, LabelledSample, Portion
from interfero.domains.packaged import Grid, Picture, picture_note, read_picture, skimage_picture
from interfero.randomness import Role, numpy_generator

NAME = "mosaics"
SIDE = 128
"""Width and height of a mosaic in pixels."""
TILE = 96
"""Side of a tile; no region's bounding box may be larger."""
POINTS_A_SIDE = 3
"""Regions grow around the points of a jittered grid of so many points a side."""
JITTER = 0.15
"""Of the side: how far a point may lie from the middle of its field."""
NUM_IMAGES: dict[Portion, int] = {"train": 64, "restoration": 48, "test": 40}
MEAN, CONTRAST = 128.0, 42.0
"""Grey level and standard deviation that a region is brought to, before its own small change."""
CHANGE = 0.2
"""Largest relative change of a region's contrast; a sixth of it, of 255, is the largest of its mean."""

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Texture:
    """A class, the picture it is taken from and how that is cut."""

    name: str
    picture: Picture
    columns: int
    rows: int

    @property
    def grid(self) -> Grid:
        """Its tiles."""
        return Grid(self.columns, self.rows, TILE, TILE)


_CC0 = "CC0"
TEXTURES: tuple[Texture, ...] = (
    Texture("brick", skimage_picture("brick.png", (512, 512), _CC0), 5, 5),
    Texture("grass", skimage_picture("grass.png", (512, 512), _CC0), 5, 5),
    Texture("gravel", skimage_picture("gravel.png", (512, 512), _CC0), 5, 5),
    Texture("tissue", skimage_picture(
        "ihc.png", (512, 512), "no known copyright restrictions, CMMI"), 5, 5),
    Texture("galaxies", skimage_picture(
        "hubble_deep_field.jpg", (1000, 872), "public domain, NASA"), 9, 8),
    Texture("fur", skimage_picture(
        "chelsea.png", (451, 300), f"{_CC0}, Stefan van der Walt"), 4, 3),
)  # fmt: skip

SOURCE = "+".join(texture.picture.name for texture in TEXTURES)
"""Source image of every mosaic: all are arranged anew of the same few tiles of one picture a class, so
none is independent of another, and no bootstrap over them would say what other pictures give."""


def portion_of(column: int, row: int) -> Portion:
    """The portion of a tile: of five neighbours three are for training."""
    place = (column + 2 * row) % 5
    return "test" if place == 0 else "restoration" if place == 3 else "train"


def mosaics(num_images: dict[Portion, int] | None = None, side: int = SIDE) -> LabelledDomain:
    """The bundled labelled domain; asking for more images adds some and changes none.

    Args:
        num_images: By portion.
        side: Of a mosaic in pixels, `SIDE` at most: a region has to fit a tile.
    """
    counts: Counter[str] = Counter()
    tiles = {t.name: _tiles(t, counts) for t in TEXTURES}
    wanted = num_images or NUM_IMAGES
    portions = {
        portion: tuple(_mosaic(tiles, portion, i, side) for i in range(wanted[portion]))
        for portion in PORTIONS
    }
    notes = tuple(picture_note(texture.picture) for texture in TEXTURES)
    return LabelledDomain(
        NAME,
        tuple(texture.name for texture in TEXTURES),
        portions["train"],
        portions["restoration"],
        portions["test"],
        "crops",
        notes=(*notes, "in grey, cut into tiles; a tile is in one portion"),
    )


def _tiles(texture: Texture, counts: Counter[str]) -> dict[Portion, list[FloatArray]]:
    """Grey tiles by portion."""
    pixels = read_picture(NAME, texture.picture, counts)
    grey = pixels.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    found: dict[Portion, list[FloatArray]] = {portion: [] for portion in PORTIONS}
    for (column, row), (left, top, right, bottom) in texture.grid.boxes(texture.picture.size):
        found[portion_of(column, row)].append(grey[top:bottom, left:right])
    return found


def _mosaic(
    tiles: dict[str, dict[Portion, list[FloatArray]]], portion: Portion, index: int, side: int
) -> LabelledSample:
    """Mosaic `index` of a portion: a function of these alone."""
    random = numpy_generator(0, 0, Role.RENDER, index, f"{NAME}/{portion}")
    regions = _regions(random, side)
    grey = np.empty((side, side))
    labels = np.empty((side, side), dtype=np.uint8)
    names = list(tiles)
    for region, label in enumerate(_labels(random, POINTS_A_SIDE**2, len(names))):
        inside = regions == region
        choices = tiles[names[label]][portion]
        _fill(grey, inside, choices[int(random.integers(len(choices)))], random)
        labels[inside] = label
    pixels = np.repeat(grey.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=-1)
    name = f"{NAME}-{portion}-{index:04d}"
    return LabelledSample(name, name, pixels, labels, source_image=SOURCE)


def _regions(random: np.random.Generator, side: int) -> npt.NDArray[np.int64]:
    """(side, side) index of the nearest point of a jittered grid."""
    fields = (np.arange(POINTS_A_SIDE) + 0.5) / POINTS_A_SIDE
    points = np.stack(np.meshgrid(fields, fields, indexing="ij"), axis=-1).reshape(-1, 2)
    points = side * (points + random.uniform(-JITTER, JITTER, points.shape))
    rows, columns = np.mgrid[:side, :side]
    places = np.stack([rows, columns], axis=-1)[:, :, None, :]
    nearest: npt.NDArray[np.int64] = ((places - points) ** 2).sum(axis=-1).argmin(axis=-1)
    return nearest


def _labels(random: np.random.Generator, count: int, classes: int) -> list[int]:
    """Classes of the regions: each as often as any other, up to one."""
    repeats = -(-count // classes)
    order = np.concatenate([random.permutation(classes) for _ in range(repeats)])
    return [int(label) for label in order[:count]]


def _fill(
    grey: FloatArray, inside: npt.NDArray[np.bool_], tile: FloatArray, random: np.random.Generator
) -> None:
    """Fill a region with a part of a tile, turned and brought to the common mean and contrast."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    height, width = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    turned = np.rot90(tile, int(random.integers(4)))
    turned = turned[:, :: 1 - 2 * int(random.integers(2))]
    top = int(random.integers(TILE - height + 1))
    left = int(random.integers(TILE - width + 1))
    patch = turned[top : top + height, left : left + width]
    mask = inside[box]
    values = patch[mask]
    contrast = CONTRAST * (1 + random.uniform(-CHANGE, CHANGE))
    mean = MEAN + 255 * random.uniform(-CHANGE, CHANGE) / 6
    spread = max(float(values.std()), 1.0)
    grey[box][mask] = (values - values.mean()) / spread * contrast + mean
