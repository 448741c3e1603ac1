"""Colours as labels: palette files, and the palettes of CamVid and VOC."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from interfero.domains.label_classes import CAMVID_COLOURS, VOC_COLOURS, Colour
from interfero.domains.labelled import VOID
from interfero.errors import DomainError

PALETTE_FILES = ("palette.txt", "label_colors.txt", "class_dict.csv")
"""A class a line: `R G B name`, or `name,r,g,b`; a line of headings may come first."""
VOID_NAMES = frozenset({"void", "unlabelled", "unlabeled", "ignore"})
"""Names, in lower case, of what does not count."""
_LINES = (
    re.compile(r"(?P<r>\d+)[\s,;]+(?P<g>\d+)[\s,;]+(?P<b>\d+)[\s,;]+(?P<name>\S.*)"),
    re.compile(
        r"(?P<name>[^,;\t]*[^,;\t\d\s][^,;\t]*)[\s,;]+(?P<r>\d+)[\s,;]+(?P<g>\d+)[\s,;]+(?P<b>\d+)"
    ),
)


@dataclass(frozen=True)
class Palette:
    """What each colour of a label map means."""

    classes: tuple[str, ...]
    numbers: Mapping[Colour, int]
    """Class of a colour, or `VOID`."""
    origin: str
    """Where it is from, for notes and errors."""


def palette_of(names: Mapping[Colour, str], origin: str) -> Palette:
    """A palette in the order of its names; `void` and its like do not count."""
    classes = tuple(dict.fromkeys(n for n in names.values() if n.lower() not in VOID_NAMES))
    numbers = {c: classes.index(n) if n in classes else VOID for c, n in names.items()}
    return Palette(classes, numbers, origin)


KNOWN = (
    palette_of(VOC_COLOURS, "VOC's colours"), palette_of(CAMVID_COLOURS, "CamVid's 32 colours"),
)  # fmt: skip


def palette_file(root: Path) -> Path | None:
    """The palette file of a folder, if there is one."""
    return next((root / n for n in PALETTE_FILES if (root / n).is_file()), None)


def read_palette(name: str, file: Path, text: str) -> Palette:
    """A palette from the text of its file.

    Raises:
        DomainError: a line after the first is no class, a colour is no colour or given twice.
    """
    names: dict[Colour, str] = {}
    for number, line in enumerate(text.splitlines()):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = next(filter(None, (form.fullmatch(line.strip()) for form in _LINES)), None)
        if match is None:
            if number == 0:
                continue
            raise DomainError(
                f"domain {name!r}: {file}, line {number + 1}: {line!r} is no class; write `R G B name`"
            )
        colour = (int(match["r"]), int(match["g"]), int(match["b"]))
        if (
            max(colour) > 255
            or names.setdefault(colour, match["name"].strip()) != match["name"].strip()
        ):
            raise DomainError(
                f"domain {name!r}: {file}, line {number + 1}: {line!r} has a colour above 255, or one that "
                "another class has"
            )
    return palette_of(names, file.name)


def known_palette(colours: Iterable[Colour]) -> Palette | None:
    """The first known palette that has all of these colours; None if none does."""
    asked = set(colours)
    return next((p for p in KNOWN if asked <= p.numbers.keys()), None)
