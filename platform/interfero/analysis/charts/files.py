"""Figures as PNG and SVG files, drawn from the specifications that the page has; and how files are named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from interfero.analysis.charts.data import Figure, Variant
from interfero.analysis.charts.drawing import Drawing
from interfero.analysis.charts.looks import picture_looks
from interfero.analysis.charts.picture import picture_spec
from interfero.analysis.charts.vega import (
    THEME,
    Texts,
    caption_of,
    coloured,
    variant_spec,
)
from interfero.analysis.grouping import grouped
from interfero.cores import usable_cores
from interfero.store.files import write_atomic

MAX_NAME = 80
MAX_PROCESSES = 4
ENOUGH = 30
"""Pictures that are worth one more process: its start takes as long as a few of them."""
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

    Many pictures are drawn by several processes, as many as there are processors; each takes 100 MiB
    and more.

    Raises:
        StorageError: the folder is not writable.
        InterferoError: a figure cannot be drawn.
    """
    wanted = [
        (figure, folder / name, rows)
        for figure in figures
        if figure is not None
        for name, rows in grouped(figure.variants, lambda variant: variant.file).items()
        if name
    ]
    count = min(MAX_PROCESSES, usable_cores(), 1 + len(wanted) // ENOUGH)
    with ThreadPoolExecutor(count) as pool:
        every = [pool.submit(_write_all, wanted[start::count]) for start in range(count)]
    made = {place: paths for part in every for place, paths in part.result().items()}
    return [path for _, place, _ in wanted for path in made[place]]


def _write_all(
    wanted: Sequence[tuple[Figure, Path, Sequence[Variant]]],
) -> dict[Path, tuple[Path, Path]]:
    """Pictures by one process, one after the other; their PNG and SVG by the path without a suffix."""
    made = {}
    with Drawing() as drawing:
        for figure, place, rows in wanted:
            svg, png = drawing.of(specification(figure, rows))
            paths = place.with_name(f"{place.name}.png"), place.with_name(f"{place.name}.svg")
            for path, data in zip(paths, (png, svg), strict=True):
                write_atomic(path, data)
            made[place] = paths
    return made


def specification(figure: Figure, variants: Sequence[Variant]) -> str:
    """One picture of some of a figure's variants, as JSON in one line."""
    texts: Texts = {}
    looks = picture_looks(variants)
    specs = [variant_spec(v, texts, looks) for v in variants]
    rows = [(caption_of(v, spec), spec) for v, spec in zip(variants, specs, strict=True)]
    return coloured(picture_spec([figure.title, figure.note], rows), THEME)
