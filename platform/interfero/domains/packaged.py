"""Real images that come inside installed packages, cut into crops without any download."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from interfero.domains.domain import Domain
from interfero.domains.images import ImageRules, Sample, SkippedImageError, UInt8Array, decode_image
from interfero.errors import DomainError

Cell = tuple[int, int]
"""(column, row) of a grid."""

# Halving is decided picture by picture in the tables below.
_AS_STORED = ImageRules(halve_jpeg=False, max_side=4096)


@dataclass(frozen=True)
class Picture:
    """One image file of an installed package."""

    package: str
    """The name to import, such as `skimage`."""
    project: str
    """The name to install, such as `scikit-image`."""
    file: str
    """Path below the package."""
    size: tuple[int, int]
    """(width, height) in pixels as stored; grids are laid out for it."""
    licence: str
    """As the package states it."""
    halve: bool = False

    @property
    def name(self) -> str:
        """The file's name without folder and suffix."""
        return Path(self.file).stem


@dataclass(frozen=True)
class Grid:
    """Blocks of one size spread evenly over a picture; no two share a pixel."""

    columns: int
    rows: int
    width: int
    height: int

    def boxes(self, size: tuple[int, int]) -> Iterator[tuple[Cell, tuple[int, int, int, int]]]:
        """Each cell with its (left, top, right, bottom) in a picture of `size`."""
        for row, top in enumerate(_spread(size[1], self.height, self.rows)):
            for column, left in enumerate(_spread(size[0], self.width, self.columns)):
                yield (column, row), (left, top, left + self.width, top + self.height)


@dataclass(frozen=True)
class Regions:
    """A picture cut by a grid, some of whose cells are for test and some for nothing."""

    picture: Picture
    grid: Grid
    test: frozenset[Cell]
    unused: frozenset[Cell] = frozenset()


def skimage_picture(
    name: str, size: tuple[int, int], licence: str, *, halve: bool = False
) -> Picture:
    """A picture of scikit-image."""
    return Picture("skimage", "scikit-image", f"data/{name}", size, licence, halve)


def _sklearn(name: str, licence: str) -> Picture:
    return Picture("sklearn", "scikit-learn", f"datasets/images/{name}", (640, 427), licence, True)


_PUBLIC = "public domain"
_CC0 = "CC0"

# JPEGs are halved, which removes most of their artefacts, and so is the soft 512-pixel portrait;
# the other PNGs were already reduced from larger photographs by their authors.
PHOTOS_TRAIN: tuple[tuple[Picture, Grid], ...] = (
    # Only the left picture of the stereo pair: the right one shows the same scene.
    (skimage_picture("motorcycle_left.png", (741, 500), "Middlebury 2014 stereo benchmark, none stated"),
     Grid(3, 2, 246, 250)),
    (skimage_picture("coffee.png", (600, 400), f"{_CC0}, Rachel Michetti"), Grid(3, 2, 200, 200)),
    (skimage_picture("astronaut.png", (512, 512), f"{_PUBLIC}, NASA", halve=True), Grid(2, 2, 128, 128)),
    (_sklearn("china.jpg", "CC BY 2.0, danielbuechele"), Grid(2, 1, 160, 213)),
    (_sklearn("flower.jpg", "CC BY 2.0, danielbuechele (photostream of vultilion)"),
     Grid(2, 1, 160, 213)),
)  # fmt: skip
PHOTOS_TEST: tuple[tuple[Picture, Grid], ...] = (
    (skimage_picture("chelsea.png", (451, 300), f"{_CC0}, Stefan van der Walt"), Grid(3, 2, 150, 150)),
    (skimage_picture("rocket.jpg", (640, 427), f"{_PUBLIC}, SpaceX", halve=True), Grid(2, 1, 160, 213)),
    (Picture("matplotlib", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg", (512, 600),
             "none stated by the package", True), Grid(2, 2, 128, 150)),
)  # fmt: skip

# Three columns of 160 pixels with 16 between them; the middle one is for test, so test sees
# neighbours on both sides and shares no pixel with them.
_MIDDLE_COLUMN = frozenset((1, row) for row in range(4))
_COLUMNS = Grid(3, 4, 160, 128)

HISTOLOGY = (
    Regions(
        skimage_picture("ihc.png", (512, 512), "no known copyright restrictions, CMMI"),
        _COLUMNS,
        _MIDDLE_COLUMN,
    ),
)
FUNDUS = (
    Regions(
        skimage_picture("retina.jpg", (1411, 1411), f"{_CC0}, Mikael Häggström", halve=True),
        # 705 pixels: 5 blocks of 128 with 16 between them.
        Grid(5, 5, 128, 128),
        frozenset({(1, 0), (3, 1), (1, 2), (2, 3), (4, 3), (1, 4)}),
        # Black: the photograph is a disc.
        frozenset({(0, 0), (4, 0), (0, 4), (4, 4)}),
    ),
)
ASTRONOMY = (
    Regions(
        # As stored: at 4.8 bits a pixel the JPEG keeps even the sensor's noise.
        skimage_picture("hubble_deep_field.jpg", (1000, 872), f"{_PUBLIC}, NASA"),
        Grid(5, 4, 192, 192),
        frozenset({(0, 0), (2, 1), (4, 2), (1, 3), (3, 3)}),
    ),
)
TEXTURES = tuple(
    Regions(skimage_picture(f"{name}.png", (512, 512), _CC0), _COLUMNS, _MIDDLE_COLUMN)
    for name in ("brick", "grass", "gravel")
)


def photos() -> Domain:
    """Colour photographs at about half scale, split by photograph."""
    counts: Counter[str] = Counter()
    notes: list[str] = []

    def crops(pictures: Iterable[tuple[Picture, Grid]]) -> Iterator[Sample]:
        for picture, grid in pictures:
            pixels = read_picture("photos", picture, counts)
            notes.append(picture_note(picture))
            for cell, crop in _cut(pixels, grid):
                yield Sample(_label(picture, cell), picture.name, crop)

    train, test = tuple(crops(PHOTOS_TRAIN)), tuple(crops(PHOTOS_TEST))
    return Domain("photos", train, test, "crops", (*notes, *_lines(counts)))


def histology() -> Domain:
    """Stained tissue under the microscope: crops of one picture, split by region."""
    return _by_region("histology", HISTOLOGY)


def fundus() -> Domain:
    """The back of a human eye: crops of one photograph, split by region."""
    return _by_region("fundus", FUNDUS)


def astronomy() -> Domain:
    """Hubble's extreme deep field: crops of one picture, split by region."""
    return _by_region("astronomy", ASTRONOMY)


def textures() -> Domain:
    """Brick, grass and gravel in grey: crops of three pictures, each split by region."""
    return _by_region("textures", TEXTURES)


def _by_region(name: str, regions: Iterable[Regions]) -> Domain:
    counts: Counter[str] = Counter()
    train: list[Sample] = []
    test: list[Sample] = []
    notes: list[str] = []
    for region in regions:
        picture = region.picture
        notes.append(picture_note(picture))
        for cell, crop in _cut(read_picture(name, picture, counts), region.grid):
            if cell in region.unused:
                continue
            # One picture feeds both splits, so the thing that must not straddle them is the block:
            # blocks share no pixel, and each is a group of its own so that validation finds some.
            label = _label(picture, cell)
            sample = Sample(label, label, crop, source_image=picture.name)
            (test if cell in region.test else train).append(sample)
    return Domain(name, tuple(train), tuple(test), "crops", (*notes, *_lines(counts)))


def read_picture(domain: str, picture: Picture, counts: Counter[str]) -> UInt8Array:
    """The pixels of one picture, halved if its table entry says so.

    Raises:
        DomainError: the package or the file is not there, or the file is another one.
    """
    path = _locate(domain, picture)
    remedy = f"run `pip install --force-reinstall {picture.project}`"
    try:
        pixels = decode_image(path, picture.file, _AS_STORED, counts)
    except SkippedImageError as error:
        raise DomainError(f"domain {domain!r}: {error}; {remedy}") from error
    if pixels.shape[1::-1] != picture.size:
        raise DomainError(
            f"domain {domain!r}: {path} has {pixels.shape[1]}x{pixels.shape[0]} pixels, its crops "
            f"are laid out for {picture.size[0]}x{picture.size[1]}; install the version of "
            f"{picture.project} that requirements.lock names"
        )
    if not picture.halve:
        return pixels
    half = (picture.size[0] // 2, picture.size[1] // 2)
    return np.asarray(Image.fromarray(pixels).resize(half, Image.Resampling.BOX), dtype=np.uint8)


def _locate(domain: str, picture: Picture) -> Path:
    # Found without importing: scikit-image's own loaders fall back to a download.
    spec = importlib.util.find_spec(picture.package)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        if (path := Path(folder) / picture.file).is_file():
            return path
    where = f"there is no such file in {folders[0]}" if folders else "it is not installed"
    raise DomainError(
        f"domain {domain!r} needs {picture.file} from the package {picture.project}, {where}: "
        f"run `pip install --force-reinstall {picture.project}`"
    )


def _cut(pixels: UInt8Array, grid: Grid) -> Iterator[tuple[Cell, UInt8Array]]:
    size = (pixels.shape[1], pixels.shape[0])
    for cell, (left, top, right, bottom) in grid.boxes(size):
        yield cell, np.ascontiguousarray(pixels[top:bottom, left:right])


def _spread(length: int, block: int, count: int) -> list[int]:
    """Starts of `count` blocks spread over `length` with equal gaps, from edge to edge."""
    free = length - block * count
    return [i * block + i * free // max(1, count - 1) for i in range(count)]


def _label(picture: Picture, cell: Cell) -> str:
    return f"{picture.name}.c{cell[0]}r{cell[1]}"


def picture_note(picture: Picture) -> str:
    """Where a picture comes from, and its licence."""
    halved = ", halved" if picture.halve else ""
    return f"{picture.project}: {picture.file}{halved} ({picture.licence})"


def _lines(counts: Counter[str]) -> tuple[str, ...]:
    return tuple(f"{n} x {what}" for what, n in sorted(counts.items()))
