"""What cannot be had together: cells that no other cell of their case beats in everything.

Validation decides what is on a front; the test numbers of its cells are reported beside it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from interfero.analysis.cells import FloatArray
from interfero.analysis.choices import Case, case_of
from interfero.analysis.matched_gain import front
from interfero.analysis.records import cells_table
from interfero.metrics.names import (
    NUM_PARAMS,
    VALIDATION_GAIN,
    VALIDATION_ROUTED,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic

FRONT_FILE = "pareto_front.parquet"
OBJECTIVES: dict[str, Literal["maximize", "minimize"]] = {
    VALIDATION_GAIN: "maximize",
    # Unrouted: routed forgetting is zero wherever the adapter detaches, and says nothing there.
    VALIDATION_UNROUTED: "minimize",
    NUM_PARAMS: "minimize",
}
CONSTRAINED = VALIDATION_ROUTED
"""What a limit on forgetting limits: what a deployment, which routes, would see of it."""


@dataclass(frozen=True)
class Front:
    """The finished cells of one case, and those of them on its Pareto front."""

    cells: tuple[CellRecord, ...]
    """All that finished, rising in validation gain."""
    members: tuple[CellRecord, ...]
    """Feasible and not dominated, rising in validation gain."""
    max_forgetting: float | None = None
    """Percent of `CONSTRAINED` that a feasible cell has at most; None lets all be feasible."""

    @property
    def domain(self) -> str:
        """The case's target domain."""
        return str(self.cells[0].params["domain"])

    @property
    def outline(self) -> tuple[CellRecord, ...]:
        """Members that no other beats in gain and forgetting, whatever their parameters."""
        return tuple(point.record for point in front(self.members))


def pareto_fronts(
    records: Sequence[CellRecord], max_forgetting: float | None = None
) -> list[Front]:
    """The front of each case by validation gain, unrouted forgetting and live trained parameters.

    Cells that failed or were stopped early are left out.

    Args:
        records: All cells of a sweep.
        max_forgetting: Percent; cells above it in `CONSTRAINED` are not feasible.
    """
    cases: dict[Case, list[CellRecord]] = defaultdict(list)
    for record in records:
        if record.status == "finished" and all(name in record.metrics for name in OBJECTIVES):
            cases[case_of(record)].append(record)
    fronts = []
    for _, cells in sorted(cases.items()):
        ordered = sorted(cells, key=_gain_then_forgetting)
        members = tuple(_front(ordered, max_forgetting))
        fronts.append(Front(tuple(ordered), members, max_forgetting))
    return fronts


def front_table(fronts: Sequence[Front]) -> pa.Table:
    """One row a member: the columns of `cells.parquet`, case by case."""
    return cells_table([member for front in fronts for member in front.members])


def front_keys(folder: Path) -> set[str]:
    """Keys in the table that was written to a folder; none if there is none."""
    path = folder / FRONT_FILE
    if not path.exists():
        return set()
    try:
        return set(pq.read_table(path, columns=["key"], partitioning=None)["key"].to_pylist())
    except (OSError, pa.ArrowException):
        return set()  # Damaged: it is written anew.


def write_fronts(fronts: Sequence[Front], folder: Path) -> list[Path]:
    """Write `pareto_front.parquet`, whole or not at all.

    Raises:
        StorageError: the folder is not writable.
    """
    write_atomic(folder / FRONT_FILE, partial(pq.write_table, front_table(fronts)))
    return [folder / FRONT_FILE]


def _front(cells: Sequence[CellRecord], max_forgetting: float | None) -> list[CellRecord]:
    """Feasible cells that no other is at least as good as in all, and better in one."""
    able = [c for c in cells if max_forgetting is None or c.metrics[CONSTRAINED] <= max_forgetting]
    signs = [1 if way == "maximize" else -1 for way in OBJECTIVES.values()]
    values = np.array([[c.metrics[name] for name in OBJECTIVES] for c in able])
    merits = values.reshape(-1, len(signs)) * signs

    def beaten(own: FloatArray) -> bool:
        return bool(((merits >= own).all(axis=1) & (merits > own).any(axis=1)).any())

    # Nothing beats what is no number.
    return [
        cell
        for cell, own in zip(able, merits, strict=True)
        if np.isfinite(own).all() and not beaten(own)
    ]


def _gain_then_forgetting(record: CellRecord) -> tuple[float, float, str]:
    metrics = record.metrics
    return metrics[VALIDATION_GAIN], -metrics[VALIDATION_UNROUTED], record.key
