"""Label files to class maps: numbers as they are, every refusal with the file's name."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from interfero.domains.images import ImageRules, UInt8Array, decode_image
from interfero.domains.labelled import VOID
from interfero.errors import DomainError

_INDEX_MODES = ("L", "P", "1")
_ORIENTATION = 0x0112
"""Tag of EXIF; 1 is upright."""


@dataclass(frozen=True)
class LabelRules:
    """What the numbers in label files mean."""

    num_classes: int
    void: frozenset[int] = frozenset({VOID})
    """Numbers of pixels that do not count."""
    renumbered: Mapping[int, int] | None = None
    """Number in the file to class; numbers it does not name are void. None leaves numbers as they are."""


def read_label_map(path: Path, size: tuple[int, int], rules: LabelRules) -> UInt8Array:
    """One label file.

    Args:
        path: An image of one channel: the number of the class, or a palette's index, a pixel.
        size: (width, height) of its image as stored.
        rules: What the numbers mean.

    Returns:
        (height, width) uint8, class or `VOID`.

    Raises:
        DomainError: the file cannot be read, has colours or 16 bits, another size, or a number that is
            no class.
    """
    numbers = _read_numbers(path)
    if numbers.shape != size[::-1]:
        raise DomainError(
            f"{path} has {numbers.shape[1]}x{numbers.shape[0]} pixels, its image {size[0]}x{size[1]}: "
            "a label map needs a label for every pixel of its image"
        )
    table = _table(rules)
    labels: UInt8Array = table[numbers].astype(np.uint8)
    if rules.renumbered is None:
        known = np.isin(numbers, [*range(rules.num_classes), *rules.void])
        if not known.all():
            wrong = int(numbers[~known][0])
            raise DomainError(
                f"{path} has the label {wrong} at {int((~known).sum())} pixels: classes are 0 to "
                f"{rules.num_classes - 1}, void {_listed(rules.void)}; mend the file, or name its "
                "classes in classes.txt"
            )
    return labels


def highest_label(path: Path) -> int:
    """The highest number in a label file, `VOID` left out; 0 where all is void.

    Raises:
        DomainError: as `read_label_map`.
    """
    numbers = _read_numbers(path)
    return int(numbers[numbers != VOID].max(initial=0))


def crop_alike(pixels: UInt8Array, labels_HW: UInt8Array) -> UInt8Array:
    """The part of a label map that belongs to an image which was cut to its centre."""
    top = (labels_HW.shape[0] - pixels.shape[0]) // 2
    left = (labels_HW.shape[1] - pixels.shape[1]) // 2
    part = labels_HW[top : top + pixels.shape[0], left : left + pixels.shape[1]]
    return np.ascontiguousarray(part)


def read_image(
    path: Path, max_side: int, counts: Counter[str]
) -> tuple[UInt8Array, tuple[int, int]]:
    """An image as it is stored, never halved, cut to its centre beyond `max_side`; and its stored size.

    Raises:
        DomainError: more than 8 bits a channel, or stored turned.
        SkippedImageError: it cannot be read, or is too small.
    """
    rules = ImageRules(halve_jpeg=False, max_side=max_side)
    pixels = decode_image(path, str(path), rules, counts)
    with Image.open(path) as image:
        turned = image.getexif().get(_ORIENTATION, 1)
        if turned != 1:
            raise DomainError(
                f"{path} is stored turned (EXIF orientation {turned}): nobody knows whether its label map "
                "is; turn both upright and save them without that mark"
            )
        return pixels, image.size


def _read_numbers(path: Path) -> UInt8Array:
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):
                raise DomainError(
                    f"{path} has more than 8 bits a pixel (mode {image.mode}): label maps are 8-bit, one "
                    "number a pixel; save it as 8-bit grey or palette PNG"
                )
            if image.mode not in _INDEX_MODES:
                raise DomainError(
                    f"{path} is {image.mode}: a label map has one channel that holds the number of the "
                    "class; turn its colours into numbers first"
                )
            return np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DomainError(f"{path} cannot be read as a label map ({error})") from error


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
