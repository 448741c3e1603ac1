"""Label files to class maps: numbers as they are in the file, every refusal with the file's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from interfero.domains.images import ImageRules, UInt8Array, decode_image
from interfero.domains.label_classes import Colour
from interfero.domains.label_palettes import Palette
from interfero.domains.labelled import VOID
from interfero.domains.listing import shown
from interfero.domains.mapped_values import map_values
from interfero.domains.pixel_meaning import UNREADABLE, num_pages, orientation_of
from interfero.domains.readers.raw import LEFT_OUT
from interfero.domains.readers.table import read_raw
from interfero.errors import DomainError

_INDEX_MODES = ("L", "P", "1")
_COLOUR_MODES = ("RGB", "RGBA")
_EXACT = ("PNG", "TIFF", "BMP", "GIF", "PPM")
"""Formats, as Pillow calls them, that keep every number."""
_LOSSY_TIFF = ("jpeg", "tiff_jpeg", "webp")
_UNKNOWN_TURN = "nobody knows whether its label map is"
_PHOTOMETRIC, _SAMPLES, _MIN_IS_WHITE = 262, 277, 0


@dataclass(frozen=True)
class LabelRules:
    """What the numbers, or the colours, in label files mean."""

    num_classes: int
    void: frozenset[int] = frozenset({VOID})
    """Numbers of pixels that do not count."""
    renumbered: Mapping[int, int] | None = None
    """Number in the file to class; numbers it does not name are void. None leaves numbers as they are."""
    strict: bool = False
    """Whether numbers that `renumbered` and `void` do not name are refused instead."""
    palette: Palette | None = None
    """What colours mean, where label maps may be coloured."""
    by_colour: bool = False
    """Whether files with a colour table count by its colours too, not by their numbers."""


def read_label_map(path: Path, size: tuple[int, int], rules: LabelRules) -> UInt8Array:
    """One label file.

    Args:
        path: An image of one channel: the number of the class, or a palette's index, a pixel; or of
            colours, if the rules have a palette.
        size: (width, height) of its image as stored.
        rules: What the numbers mean.

    Returns:
        (height, width) uint8, class or `VOID`.

    Raises:
        DomainError: the file cannot be read, is lossy, has colours without a meaning or 16 bits, another
            size, or a number that is no class.
    """
    values, is_colour = _read_values(path, rules)
    if values.shape[:2] != size[::-1]:
        raise DomainError(
            f"{shown(path)} has {values.shape[1]}x{values.shape[0]} pixels, its image {size[0]}x{size[1]}: "
            "a label map needs a label for every pixel of its image"
        )
    if is_colour:
        assert rules.palette is not None
        return _by_palette(path, values, rules.palette)
    _check_numbers(path, values, rules)
    labels: UInt8Array = _table(rules)[values].astype(np.uint8)
    return labels


def highest_label(path: Path) -> int:
    """The highest number in a label file, `VOID` left out; 0 where all is void.

    Raises:
        DomainError: as `read_label_map`.
    """
    numbers, _ = _read_values(path, LabelRules(VOID))
    return int(numbers[numbers != VOID].max(initial=0))


def colours_of(path: Path) -> frozenset[Colour]:
    """The colours of a label file; none where it holds numbers.

    Raises:
        DomainError: it cannot be read, or is lossy.
    """
    rules = LabelRules(VOID, palette=Palette((), {}, ""))
    values, is_colour = _read_values(path, rules)
    if not is_colour:
        return frozenset()
    return frozenset(map(_unpacked, np.unique(_packed(values)).tolist()))


def crop_alike(pixels: UInt8Array, labels_HW: UInt8Array) -> UInt8Array:
    """The part of a label map that belongs to an image which was cut to its centre."""
    top = (labels_HW.shape[0] - pixels.shape[0]) // 2
    left = (labels_HW.shape[1] - pixels.shape[1]) // 2
    part = labels_HW[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    return np.ascontiguousarray(part)


def read_image(
    path: Path, rules: ImageRules, counts: Counter[str]
) -> tuple[UInt8Array, tuple[int, int]]:
    """An image as it is stored, cut to its centre beyond `rules.max_side`; and its stored size.

    Raises:
        DomainError: not 8-bit colour, grey or palette, and nothing is declared; or it does not fit what is
            declared, is stored turned, or holds several images.
        SkippedImageError: it cannot be read, or is too small.
    """
    if not rules.is_plain:
        return _read_mapped(path, rules, counts)
    pixels = decode_image(path, shown(path), rules, counts)
    with Image.open(path) as image:
        _refuse_turned(orientation_of(image), path, _UNKNOWN_TURN)
        return pixels, image.size


def _read_mapped(
    path: Path, rules: ImageRules, counts: Counter[str]
) -> tuple[UInt8Array, tuple[int, int]]:
    own: Counter[str] = Counter()
    found = list(read_raw(path, shown(path), rules.mapping, own))
    if (several := len(found) + own.pop(LEFT_OUT, 0)) != 1:
        raise DomainError(
            f"{shown(path)} holds {several} images, its label map is of one: write each as a file of its own"
        )
    _refuse_turned(found[0].orientation, path, _UNKNOWN_TURN)
    pixels, _ = map_values(found[0], shown(path), rules, own)
    counts.update(own)
    height, width = found[0].values_HWB.shape[:2]
    return pixels, (width, height)


def _read_values(path: Path, rules: LabelRules) -> tuple[UInt8Array, bool]:
    """(height, width) numbers, or (height, width, 3) colours and True."""
    try:
        with Image.open(path) as image:
            # First: reading EXIF data decodes a PNG, and then nothing tells of its bits.
            levels = _levels(image)
            _refuse_inexact(image, path)
            _refuse_turned(orientation_of(image), path, "its image is not")
            has_colours = image.mode in _COLOUR_MODES or (image.mode == "P" and rules.by_colour)
            if has_colours and rules.palette is not None:
                return np.asarray(image.convert("RGB"), dtype=np.uint8), True
            if image.mode not in _INDEX_MODES:
                raise DomainError(
                    f"{shown(path)} is {image.mode}: a label map has one channel that holds the number of "
                    "the class; turn its colours into numbers, or name them in palette.txt, a line "
                    "`R G B name` each"
                )
            numbers = np.asarray(image, dtype=np.uint8)
    except UNREADABLE as error:
        raise DomainError(f"{shown(path)} cannot be read as a label map ({error})") from error
    if levels < 255:
        # Pillow stretches files of fewer bits over 0 to 255, as pictures want it.
        numbers = np.rint(numbers * (levels / 255)).astype(np.uint8)
    return numbers, False


def _refuse_inexact(image: Image.Image, path: Path) -> None:
    """Refuse files whose numbers are not those that were drawn, or are more than one map."""
    remedy = "save it as 8-bit grey or palette PNG"
    if image.format not in _EXACT or image.info.get("compression") in _LOSSY_TIFF:
        what = "TIFF with lossy compression" if image.format == "TIFF" else image.format
        raise DomainError(
            f"{shown(path)} is {what}, which may be lossy: numbers at the edges of regions would be "
            f"classes that nobody drew; {remedy} from the originals"
        )
    if image.mode.startswith(("I", "F")):
        raise DomainError(
            f"{shown(path)} has more than 8 bits a pixel (mode {image.mode}): label maps are 8-bit, one "
            f"number a pixel; {remedy}"
        )
    tags: Any = getattr(image, "tag_v2", {})
    if image.format == "TIFF" and tags.get(_PHOTOMETRIC) == _MIN_IS_WHITE:
        raise DomainError(
            f"{shown(path)} is a TIFF whose lowest number is white (MinIsWhite): programs read such numbers "
            f"in both senses; {remedy}"
        )
    if image.mode == "L" and tags.get(_SAMPLES, 1) > 1:
        raise DomainError(
            f"{shown(path)} has {tags.get(_SAMPLES)} bands: a label map has one; {remedy}"
        )
    if (pages := num_pages(image)) > 1:
        raise DomainError(f"{shown(path)} has {pages} pages: a label map has one; {remedy}")


def _refuse_turned(orientation: int, path: Path, whether: str) -> None:
    if orientation > 1:
        raise DomainError(
            f"{shown(path)} is stored turned (EXIF orientation {orientation}): {whether}; turn both upright "
            "and save them without that mark"
        )


def _levels(image: Image.Image) -> int:
    """The highest number that the file can hold: 3 for 2 bits."""
    if image.mode != "L":
        return 255
    arguments = [tile[3] for tile in getattr(image, "tile", ())]
    if image.format == "PPM":
        return next((int(a[1]) for a in arguments if isinstance(a, tuple)), 255)
    rawmodes = {str(a[0] if isinstance(a, tuple) else a) for a in arguments}
    return next((2**bits - 1 for bits in (2, 4) if f"L;{bits}" in rawmodes), 255)


def _check_numbers(path: Path, numbers: UInt8Array, rules: LabelRules) -> None:
    if rules.renumbered is not None and not rules.strict:
        return
    classes = range(rules.num_classes) if rules.renumbered is None else rules.renumbered
    known = np.isin(numbers, [*classes, *rules.void])
    if not known.all():
        wrong = int(numbers[~known][0])
        raise DomainError(
            f"{shown(path)} has the label {wrong} at {int((~known).sum())} pixels: classes are "
            f"{min(classes)} to {max(classes)}, void {_listed(rules.void)}; mend the file, or name its "
            "classes in classes.txt"
        )


def _by_palette(path: Path, colours: UInt8Array, palette: Palette) -> UInt8Array:
    """(height, width) classes of (height, width, 3) colours."""
    packed = _packed(colours)
    found, places = np.unique(packed, return_inverse=True)
    classes = np.empty(len(found), dtype=np.uint8)
    for index, colour in enumerate(map(_unpacked, found.tolist())):
        if colour not in palette.numbers:
            raise DomainError(
                f"{shown(path)} has the colour {colour} at {int((packed == found[index]).sum())} pixels, "
                f"which {palette.origin} does not name: mend the file, or add the colour to palette.txt"
            )
        classes[index] = palette.numbers[colour]
    return classes[places].reshape(packed.shape)


def _packed(colours: UInt8Array) -> npt.NDArray[np.int32]:
    """(height, width) one number a colour."""
    red, green, blue = (colours[..., c].astype(np.int32) for c in range(3))
    return red << 16 | green << 8 | blue


def _unpacked(number: int) -> Colour:
    return number >> 16, number >> 8 & 255, number & 255


def _table(rules: LabelRules) -> UInt8Array:
    """(256,) number in the file to class."""
    table = np.full(256, VOID, dtype=np.uint8)
    if rules.renumbered is None:
        table[: rules.num_classes] = np.arange(rules.num_classes)
        table[sorted(rules.void)] = VOID
    else:
        for number, label in rules.renumbered.items():
            table[number] = label
    return table


def _listed(numbers: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
