"""All that is written at a sweep's end, or later from its table of cells."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from interfero.analysis.about import About
from interfero.analysis.answers import Findings
from interfero.analysis.charts.data import Figure, RunLinks
from interfero.analysis.charts.files import file_name, write_pictures
from interfero.analysis.charts.thinned import thinned
from interfero.analysis.choices import choose_learning_rates
from interfero.analysis.comparison import write_comparison
from interfero.analysis.headline import Headline
from interfero.analysis.laws.fits_file import write_scaling_fits
from interfero.analysis.rd_curves import write_curves
from interfero.analysis.report.page import (
    Report,
    answer_of,
    first_figures,
    report_figures,
    report_html,
)
from interfero.analysis.report.pictures import FOLDER, Finder, ShownCell, shown_cells
from interfero.store.files import write_atomic

REPORT_FILE = "report.html"


@dataclass(frozen=True)
class Written:
    """What came of it."""

    files: tuple[Path, ...]
    """The report first, then tables and figures."""
    pictures: tuple[Path, ...]
    """Of the cells whose reconstructions are shown; they belong in a folder `reconstructions`."""
    answer: Headline = field(default_factory=lambda: Headline(()))
    picture: str = ""
    """Name of the PNG that shows the answer; empty where there is none."""


@dataclass(frozen=True)
class Origin:
    """Where the cells come from."""

    title: str
    abouts: Sequence[About] = ()
    runs: RunLinks = field(default_factory=RunLinks)
    remarks: Sequence[str] = ()
    answer: Sequence[str] = ()
    """To the sweep's own question, in sentences."""
    own: Sequence[str] = ()
    """Names of the figures that answer it."""


def write_report(
    found: Findings, folder: Path, origin: Origin, find: Finder, more: Sequence[Figure] = ()
) -> Written:
    """Fit, draw and write: `report.html`, static figures, tables of methods and curves, fits, pictures.

    Args:
        found: Of all cells but those that were stopped early.
        folder: Made if it is not there; files of the same names are replaced.
        origin: Where they come from.
        find: Finds a cell's pictures.
        more: Figures of the same sweep that the cells alone do not tell.

    Raises:
        StorageError: the folder is not writable.
    """
    records, results = found.records, found.laws
    pictures, problems = shown_cells(choose_learning_rates(records), find)
    remarks = [*origin.remarks, *problems]
    report = Report(
        origin.title, records, results, origin.abouts, origin.runs, pictures, remarks,
        origin.answer, origin.own,
    )  # fmt: skip
    figures = [thinned(figure) for figure in (*report_figures(report), *more)]
    page = folder / REPORT_FILE
    # A process of its own draws, which takes longer than all else: meanwhile the rest is computed here.
    with ThreadPoolExecutor(1) as pool:
        drawn = pool.submit(write_pictures, figures, folder)
        write_atomic(page, report_html(report, figures).encode())
        tables = [
            *write_comparison(records, folder),
            *write_curves(records, folder),
            *write_scaling_fits(results, folder),
        ]
        files = [page, *drawn.result(), *tables]
    shown = {f.name: v.file for f in figures for v in f.variants[f.start : f.start + 1] if v.file}
    picture = next((f"{shown[n]}.png" for n in first_figures(report) if n in shown), "")
    return Written(
        tuple(files),
        _copied(pictures, folder / FOLDER),
        answer_of(report),
        picture,
    )


def _copied(cells: Sequence[ShownCell], folder: Path) -> tuple[Path, ...]:
    """The files of the shown cells, where a report on another machine finds them."""
    copies = []
    for cell in cells:
        path = folder / f"{file_name(cell.record.key)}.png"
        if cell.path.absolute() != path.absolute():
            write_atomic(path, cell.path.read_bytes())
        copies.append(path)
    return tuple(copies)
