"""The best adapter of each domain: what somebody who deploys one would take."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.choices import CONTROL
from interfero.analysis.metric_names import VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.engine.cells import CellRecord
from interfero.errors import StorageError
from interfero.storage import read_json, write_json

BEST_FILE = "best_adapters.json"


@dataclass(frozen=True)
class BestAdapter:
    """Of one domain at one lambda."""

    record: CellRecord
    forgets: bool
    """Whether it forgets more than it may, as every other cell of its domain and lambda."""

    @property
    def domain(self) -> str:
        """The target domain."""
        return str(self.record.params["domain"])

    @property
    def rd_lambda(self) -> float:
        """Weight of distortion."""
        return float(self.record.params["rd_lambda"])


def best_adapters(
    records: Iterable[CellRecord], max_forgetting: float | None = None
) -> list[BestAdapter]:
    """Of each domain and lambda the finished cell that gains most on validation and forgets nothing.

    Forgetting is routed, as in a deployment. Where every cell forgets more than it may, the one that
    gains most is taken nevertheless, and says so. The control is no adapter.

    Args:
        records: All cells of a sweep.
        max_forgetting: Percent of the source loss that a deployment accepts; None is 0.
    """
    groups: dict[tuple[str, float], list[CellRecord]] = {}
    for record in records:
        has = {VALIDATION_GAIN, VALIDATION_ROUTED} <= record.metrics.keys()
        known = record.status == "finished" and has
        if known and record.params["method"] != CONTROL:
            key = str(record.params["domain"]), float(record.params["rd_lambda"])
            groups.setdefault(key, []).append(record)
    limit = 0.0 if max_forgetting is None else max_forgetting
    found = []
    for _, cells in sorted(groups.items()):
        within = [c for c in cells if c.metrics[VALIDATION_ROUTED] <= limit]
        best = max(within or cells, key=lambda c: (c.metrics[VALIDATION_GAIN], c.key))
        found.append(BestAdapter(best, forgets=not within))
    return found


def write_best(best: Sequence[BestAdapter], folder: Path) -> list[Path]:
    """`best_adapters.json`: which cell and which adapter file are the best of what.

    Raises:
        StorageError: the folder is not writable.
    """
    entries = [
        {
            "domain": one.domain,
            "rd_lambda": one.rd_lambda,
            "cell": one.record.key,
            "method": one.record.params["method"],
            "adapter_size": one.record.params["adapter_size"],
            "adapter_file": one.record.adapter_file,
            "forgets": one.forgets,
        }
        for one in best
    ]
    write_json(folder / BEST_FILE, entries)
    return [folder / BEST_FILE]


def best_keys(folder: Path) -> set[str]:
    """Cells in the file that was written to a folder; none if there is none."""
    try:
        return {str(entry["cell"]) for entry in read_json(folder / BEST_FILE)}
    except (StorageError, TypeError, KeyError):
        return set()  # Not there yet, or damaged: it is written anew.
