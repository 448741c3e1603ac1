"""The best adapter of each domain: what somebody who deploys one would take."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.choices import CONTROL, CellSetting, Seed, seed_of, setting_of
from interfero.errors import StorageError
from interfero.metrics.names import GAIN, VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord
from interfero.store.files import read_json, write_json

BEST_FILE = "best_adapters.json"


@dataclass(frozen=True)
class BestAdapter:
    """Of one domain at one lambda."""

    record: CellRecord
    """The setting's cell of the seed in the middle by validation gain, of two the lower."""
    forgets: bool
    """Whether its setting forgets more than it may in some seed, as every other of its domain and lambda."""

    @property
    def loses(self) -> bool:
        """Whether its test images are coded worse than by the source codec: then that is what to ship."""
        return self.record.metrics.get(GAIN, 0.0) < 0

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
    """Of each domain and lambda the setting that gains most on validation and forgets nothing in any seed.

    A setting is chosen by its mean: every data seed has validation images of its own, so the greatest gain
    of all cells would mostly tell which seed's images are easy. Settings with results of more data seeds
    come first: a mean over other images is not comparable. In each seed a setting counts with the learning
    rate that gains most of those that forget no more than they may. Of its seeds the one in the middle is
    named, neither a lucky nor an unlucky one.

    Forgetting is routed, as in a deployment. Where every setting forgets more than it may, the one that
    gains most is taken nevertheless, and says so. The control is no adapter.

    Args:
        records: All cells of a sweep.
        max_forgetting: Percent of the source loss that a deployment accepts; None is 0.
    """
    limit = 0.0 if max_forgetting is None else max_forgetting
    groups: dict[tuple[str, float], list[_Candidate]] = {}
    for setting, cells in sorted(_settings(records).items(), key=lambda pair: pair[0].order):
        place = setting.domain, setting.rd_lambda
        groups.setdefault(place, []).append(_candidate(cells, limit))
    found = []
    for _, candidates in sorted(groups.items()):
        best = max(candidates, key=lambda c: c.merit)
        by_gain = sorted(best.cells, key=lambda c: (c.metrics[VALIDATION_GAIN], c.key))
        found.append(BestAdapter(by_gain[(len(by_gain) - 1) // 2], best.forgets))
    return found


@dataclass(frozen=True)
class _Candidate:
    """A setting with its best cell in each seed."""

    cells: tuple[CellRecord, ...]
    forgets: bool

    @property
    def merit(self) -> tuple[bool, int, float]:
        """Forgets nothing, data seeds, mean validation gain; more initial seeds of one count no more."""
        gains: dict[int, list[float]] = defaultdict(list)
        for cell in self.cells:
            gains[seed_of(cell)[0]].append(cell.metrics[VALIDATION_GAIN])
        mean = statistics.fmean(statistics.fmean(values) for values in gains.values())
        return not self.forgets, len(gains), mean


def _settings(records: Iterable[CellRecord]) -> dict[CellSetting, list[CellRecord]]:
    settings: dict[CellSetting, list[CellRecord]] = defaultdict(list)
    for record in records:
        known = {VALIDATION_GAIN, VALIDATION_ROUTED} <= record.metrics.keys()
        if known and record.status == "finished" and record.params["method"] != CONTROL:
            settings[setting_of(record)].append(record)
    return settings


def _candidate(cells: Iterable[CellRecord], limit: float) -> _Candidate:
    seeds: dict[Seed, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[seed_of(cell)].append(cell)
    within = [[c for c in own if c.metrics[VALIDATION_ROUTED] <= limit] for own in seeds.values()]
    forgets = not all(within)
    best = (
        # Of equal gains the smaller learning rate, as everywhere.
        max(own, key=lambda c: (c.metrics[VALIDATION_GAIN], -float(c.params["learning_rate"])))
        for own in (seeds.values() if forgets else within)
    )
    return _Candidate(tuple(best), forgets)


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
