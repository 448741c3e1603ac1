"""The cells that the answer, the table under it and the first figure are of, at one lambda."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from interfero.analysis.cells import Cells, once_for_cells
from interfero.analysis.choices import Choice, best_sizes, choose_learning_rates
from interfero.analysis.focus import (
    at_images,
    at_lambda,
    central_images,
    central_lambda,
    in_centre,
    longest,
)
from interfero.analysis.parts import without_grey
from interfero.analysis.shared_block import SharedBlock, shared_block
from interfero.records import CellRecord


@dataclass(frozen=True)
class FirstBlock:
    """What is compared first, of one budget, one lambda and one image count for each domain."""

    cells: Cells
    """Without grey domains where there are others."""
    best: tuple[Choice, ...]
    """One a case and method, at the size that validation chose."""
    block: SharedBlock
    """Those of `best` that every method has."""


def answer_lambda(records: Iterable[CellRecord]) -> float | None:
    """The lambda that the answer is at, and that figures open at; None where no cell finished.

    Args:
        records: All cells of a sweep.
    """
    return central_lambda(longest(without_grey(Cells(records))))


@once_for_cells
def first_block(records: Iterable[CellRecord], rd_lambda: float | None = None) -> FirstBlock:
    """The block at a lambda.

    Args:
        records: All cells of a sweep.
        rd_lambda: None is the central one.
    """
    every = without_grey(Cells(records))
    if rd_lambda is None:
        cells = in_centre(every)
    else:
        cells = at_images(at_lambda(longest(every), rd_lambda), central_images(every))
    best = best_sizes(choose_learning_rates(cells))
    return FirstBlock(cells, tuple(best), shared_block(best))
