"""How the values in a field's files become what a codec sees, as a user declares it.

A declaration is part of a domain: `NAME=PATH:bands=4,3,2:range=0,4095`. Options of a sweep
(`--bands`, `--pixel-range`, `--window`, `--percentiles`) hold for each domain with a path that does not
declare the same itself. docs/domains.md describes every word.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace

from interfero.errors import DomainError, nearest

FRAMES = 8
"""Slices, frames or regions that a file gives, unless declared otherwise: neighbours are nearly alike."""
Ends = tuple[float, float]
"""The values that become black and white."""

_SCALES = ("pixel_range", "window", "percentiles")
"""Ways to say which values become black and white: one of them at a time."""


@dataclass(frozen=True)
class PixelMapping:
    """What is declared of a domain's files; nothing by default."""

    bands: tuple[int, ...] = ()
    """Bands to take, in order, counted from 1; empty for all of them."""
    pixel_range: Ends | None = None
    """Values that become 0 and 255."""
    window: tuple[float, float] | None = None
    """Centre and width of the range."""
    percentiles: tuple[float, float] | None = None
    """Percentiles of the training images' values that become 0 and 255, band by band."""
    stretch: tuple[Ends, ...] = ()
    """What the percentiles are in numbers, by band; found from the training images."""
    frames: int | None = None
    """Slices, frames or regions per file at most, spread evenly."""
    axes: str = ""
    """What an array's axes are, in order: Y and X, C for bands, N for images."""
    array: str = ""
    """Name of the array in a file that holds several."""
    level: int | None = None
    """Level of a whole-slide image, 0 being the finest; a TIFF of which it is declared is read as a slide."""
    size: tuple[int, int] | None = None
    """(width, height) of raw YUV frames."""

    @property
    def is_declared(self) -> bool:
        """Whether anything is declared."""
        return self != NOTHING_DECLARED

    @property
    def num_frames(self) -> int:
        """Slices, frames or regions per file at most."""
        return self.frames or FRAMES

    @property
    def text(self) -> str:
        """As it is typed behind a path, in a fixed order; percentiles with the numbers they stand for."""
        words = [f"{word}={said}" for word, said in _said(self)]
        found = [f"{_number(low)},{_number(high)}" for low, high in self.stretch]
        return " ".join(words + ([f"({' '.join(found)})"] if found else []))

    def ends(self, num_bands: int) -> tuple[Ends, ...] | None:
        """The values that become 0 and 255, by band; None where none are declared."""
        if self.pixel_range is not None:
            return (self.pixel_range,) * num_bands
        if self.window is not None:
            centre, width = self.window
            return ((centre - width / 2, centre + width / 2),) * num_bands
        return self.stretch or None

    def over(self, other: PixelMapping) -> PixelMapping:
        """This declaration, and of another what this one does not say."""
        if any(getattr(self, scale) is not None for scale in _SCALES):
            other = replace(other, pixel_range=None, window=None, percentiles=None, stretch=())
        own = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(other, **{k: v for k, v in own.items() if v != getattr(NOTHING_DECLARED, k)})


NOTHING_DECLARED = PixelMapping()

_FIELDS = {
    "bands": "bands", "range": "pixel_range", "window": "window", "percentiles": "percentiles",
    "frames": "frames", "axes": "axes", "array": "array", "level": "level", "size": "size",
}  # fmt: skip
"""Word behind a path to the field it sets."""
_EXAMPLES = {
    "bands": "4,3,2", "range": "0,4095", "window": "40,400", "percentiles": "2,98", "frames": "8",
    "axes": "NYX", "array": "SCI", "level": "1", "size": "352x288",
}  # fmt: skip
_DECLARED = re.compile(r"(?P<path>.+?)(?P<words>(?::[a-z]+=[^:/]*)+)", re.DOTALL)


def parted(place: str) -> tuple[str, str]:
    """A path, and the words declared behind it: `scans:window=40,400`."""
    match = _DECLARED.fullmatch(place)
    return (match["path"], match["words"]) if match else (place, "")


def parse_mapping(name: str, words: str) -> PixelMapping:
    """The declaration in `:bands=4,3,2:range=0,4095`; nothing of an empty text.

    Args:
        name: The domain's, for errors.
        words: What is typed behind its path.

    Raises:
        DomainError: an unknown word, a word given twice, or a value that cannot be.
    """
    found: dict[str, object] = {}
    for said in filter(None, words.split(":")):
        word, _, value = said.partition("=")
        if word not in _FIELDS:
            raise DomainError(f"domain {name!r}: no word {word!r}: {nearest(word, _FIELDS)}")
        if _FIELDS[word] in found:
            raise DomainError(f"domain {name!r}: {word} is declared twice; leave one of them out")
        found[_FIELDS[word]] = _value(name, word, value)
    mapping = replace(NOTHING_DECLARED, **found)  # type: ignore[arg-type]
    problems = problems_of(mapping)
    if problems:
        raise DomainError(f"domain {name!r}: {'; '.join(problems)}")
    return mapping


def problems_of(mapping: PixelMapping) -> list[str]:
    """What is wrong with a declaration, a sentence each."""
    given = [s for s in _SCALES if getattr(mapping, s) is not None]
    low, high = mapping.pixel_range or (0.0, 1.0)
    first, last = mapping.percentiles or (0.0, 100.0)
    numbers = [*(mapping.pixel_range or ()), *(mapping.window or ()), first, last]
    rules = [
        (len(given) > 1, "range, window and percentiles say the same thing: give one of them"),
        (any(b < 1 for b in mapping.bands), f"bands count from 1, got {mapping.bands}"),
        (not all(map(math.isfinite, numbers)), f"numbers must be finite, got {numbers}"),
        (low == high, f"range needs two values, got {low:g} twice"),
        (
            mapping.window is not None and mapping.window[1] <= 0,
            f"window is a centre and a width above 0, got {mapping.window}",
        ),
        (
            not 0 <= first < last <= 100,
            f"percentiles are two numbers from 0 to 100, the smaller first, got {first:g} and {last:g}",
        ),
        (mapping.frames is not None and mapping.frames < 1, "frames must be 1 or more"),
        ((mapping.level or 0) < 0, "level must be 0 or more"),
        (
            mapping.size is not None and min(mapping.size) < 1,
            f"size is a width and a height in pixels, got {mapping.size}",
        ),
        (
            bool(mapping.axes) and not _are_axes(mapping.axes),
            f"axes name each axis once, Y and X among them, C for bands, N, T or Z for others, got "
            f"{mapping.axes!r}",
        ),
    ]
    return [text for broken, text in rules if broken]


def _are_axes(axes: str) -> bool:
    return {"Y", "X"} <= set(axes) <= set("YXCNTZ") and len(set(axes)) == len(axes)


def _value(name: str, word: str, value: str) -> object:
    try:
        if word == "array":
            if not value:
                raise ValueError(value)
            return value
        if word == "axes":
            return value.upper()
        if word in ("frames", "level"):
            return int(value)
        if word == "bands":
            return tuple(map(int, value.split(",")))
        width, height = map(int if word == "size" else float, re.split("[,x]", value))
    except ValueError:
        raise DomainError(
            f"domain {name!r}: {word}={value} cannot be read; write it as {word}={_EXAMPLES[word]}"
        ) from None
    return width, height


def _said(mapping: PixelMapping) -> list[tuple[str, str]]:
    words = []
    for word, field in _FIELDS.items():
        value = getattr(mapping, field)
        if value != getattr(NOTHING_DECLARED, field):
            several = value if isinstance(value, tuple) else (value,)
            words.append((word, ",".join(v if isinstance(v, str) else _number(v) for v in several)))
    return words


def _number(value: float) -> str:
    return f"{value:.10g}"
