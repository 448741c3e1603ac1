"""Figures as PNG and SVG files, drawn from the specifications that the page has; and how files are named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from interfero.analysis.charts.data import Figure, Variant
from interfero.analysis.charts.drawing import Drawing
from interfero.analysis.charts.vega import (
    THEME,
    Texts,
    caption_of,
    coloured,
    picture_spec,
    variant_spec,
)
from interfero.store.files import write_atomic

MAX_NAME = 80
MAX_ROWS = 12
"""Of one picture: more could not be read, nor would some programs open it."""


def file_name(*parts: object) -> str:
    """A file's name from what it is of: plain names as they are, others with a mark that tells them apart.

    A domain may be called `a/b` or `..` in a table from elsewhere; its picture still lies where it belongs.
    """
    text = "_".join(map(str, parts))
    plain = re.sub(r"[^\w.-]+", "-", text).strip("-.")[:MAX_NAME]
    if plain == text:
        return plain
    return f"{plain or 'x'}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def file_part(*parts: object, index: int, rows: int = MAX_ROWS) -> str:
    """The name of the picture that has a row: after so many rows the next one, `NAME_2`."""
    number = index // rows + 1
    return file_name(*parts) if number == 1 else file_name(*parts, number)


def write_pictures(figures: Iterable[Figure | None], folder: Path) -> list[Path]:
    """A PNG and an SVG of every file that the figures' variants name; variants of one name are its rows.

    Raises:
        StorageError: the folder is not writable.
        InterferoError: a figure cannot be drawn.
    """
    paths = []
    with Drawing() as drawing:
        for figure in figures:
            if figure is None:
                continue
            for name, rows in _by_file(figure).items():
                svg, png = drawing.of(specification(figure, rows))
                for suffix, data in ((".png", png), (".svg", svg)):
                    path = folder / f"{name}{suffix}"
                    write_atomic(path, data)
                    paths.append(path)
    return paths


def specification(figure: Figure, variants: Sequence[Variant]) -> str:
    """One picture of some of a figure's variants, as JSON in one line."""
    texts: Texts = {}
    specs = [variant_spec(v, texts) for v in variants]
    rows = [(caption_of(v, spec), spec) for v, spec in zip(variants, specs, strict=True)]
    return coloured(picture_spec([figure.title, figure.note], rows), THEME)


def _by_file(figure: Figure) -> dict[str, list[Variant]]:
    found: dict[str, list[Variant]] = {}
    for variant in figure.variants:
        if variant.file:
            found.setdefault(variant.file, []).append(variant)
    return found
