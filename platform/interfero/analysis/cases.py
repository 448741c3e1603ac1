"""A case: what two methods share where their results are set against each other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from interfero.records import CellRecord


@dataclass(frozen=True, order=True)
class Case:
    """A block, and what tells blocks of several sweeps apart: steps and codec.

    Methods that draw nothing run with the first initial seed alone, so no initial seed is part of it.
    """

    domain: str
    rd_lambda: float
    num_images: int
    num_steps: int
    codec: str
    data_seed: int


def case_of(record: CellRecord) -> Case:
    """The case a cell belongs to."""
    p = record.params
    return Case(
        domain=str(p["domain"]),
        rd_lambda=float(p["rd_lambda"]),
        num_images=int(p["num_images"]),
        num_steps=int(p["num_steps"]),
        codec=str(p["codec"]),
        data_seed=int(p["data_seed"]),
    )


def by_case(records: Iterable[CellRecord]) -> dict[Case, dict[str, list[CellRecord]]]:
    """The cells of each case, by method."""
    cases: dict[Case, dict[str, list[CellRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        cases[case_of(record)][str(record.params["method"])].append(record)
    return {case: dict(methods) for case, methods in sorted(cases.items())}


def by_init_seed(cells: Iterable[CellRecord]) -> list[list[CellRecord]]:
    """Each seed chooses for itself: of several, the best would be luck taken for skill."""
    seeds: dict[int, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[int(cell.params["init_seed"])].append(cell)
    return [members for _, members in sorted(seeds.items())]
