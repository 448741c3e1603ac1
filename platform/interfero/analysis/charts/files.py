"""Figures as PNG and SVG files, drawn from the specifications that the page has; and how files are named."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import vl_convert
from PIL import Image

from interfero.analysis.charts.data import Figure, Variant
from interfero.analysis.charts.vega import THEME, Texts, coloured, picture_spec, variant_spec
from interfero.store.files import write_atomic

SCALE = 2.0
"""Pixels of a PNG for each of the SVG: some 200 dots an inch at the width of a column."""
SUFFIXES = (".png", ".svg")
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
    """
    paths = []
    for figure in figures:
        if figure is None:
            continue
        for name, rows in _by_file(figure).items():
            svg = svg_of(figure, rows)
            for suffix, data in zip(SUFFIXES, (png_of(svg), svg.encode()), strict=True):
                path = folder / f"{name}{suffix}"
                write_atomic(path, data)
                paths.append(path)
    return paths


def png_of(svg: str) -> bytes:
    """A PNG of an SVG, in 256 colours: an eighth of the bytes that it has in 16 million."""
    with Image.open(io.BytesIO(vl_convert.svg_to_png(svg, scale=SCALE))) as picture:
        few = picture.convert("RGB").quantize(
            method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
        )
    file = io.BytesIO()
    few.save(file, "PNG")
    return file.getvalue()


def svg_of(figure: Figure, variants: Sequence[Variant]) -> str:
    """One picture of some of a figure's variants."""
    texts: Texts = {}
    rows = [(v.caption, variant_spec(v, texts)) for v in variants]
    spec = picture_spec([figure.title, figure.note], rows)
    return vl_convert.vegalite_to_svg(coloured(spec, THEME))


def _by_file(figure: Figure) -> dict[str, list[Variant]]:
    found: dict[str, list[Variant]] = {}
    for variant in figure.variants:
        if variant.file:
            found.setdefault(variant.file, []).append(variant)
    return found
