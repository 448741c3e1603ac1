"""The best adapter of each domain: what somebody who deploys one would take."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interfero.adaptation.table import trains
from interfero.analysis.cells import cell_diverged, has_diverged
from interfero.analysis.choices import (
    CONTROL,
    Seed,
    by_data_seed,
    by_setting,
    edge_of,
    mean_merit,
    seed_of,
    setting_of,
    tried_together,
)
from interfero.analysis.seed_means import half_width
from interfero.errors import StorageError
from interfero.metrics.names import GAIN, ROUTED, VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord
from interfero.store.files import read_json, write_json

BEST_FILE = "best_adapters.json"
_RESULTS = (GAIN, ROUTED, VALIDATION_GAIN)
"""Percent of the loss before."""
MIN_SEEDS = 2
"""Data seeds of which a mean has an interval."""


@dataclass(frozen=True)
class BestAdapter:
    """Of one domain at one lambda."""

    record: CellRecord
    """The setting's cell of the seed in the middle by validation gain, of two the lower."""
    forgets: bool
    """Whether its setting forgets more than it may in some seed, as every other of its domain and lambda."""
    cells: tuple[CellRecord, ...] = ()
    """The setting's, one for each seed, this one too."""
    at_edge: bool = False
    """Whether its learning rate bounds those that were tried, so that a larger grid could do better."""

    @property
    def num_diverged(self) -> int:
        """Seeds of its setting whose loss on test or validation images went astray."""
        return sum(
            any(has_diverged(cell.metrics.get(name, 0.0)) for name in _RESULTS)
            for cell in self.cells
        )

    @property
    def mean_gain(self) -> float | None:
        """On test images, over the seeds of its setting that did not diverge; None where it is not known."""
        kept = [cell.metrics[GAIN] for cell in self._gained]
        return statistics.fmean(kept) if kept else None

    @property
    def gain_interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the mean gain over data seeds; None with fewer than two."""
        drawn = _seed_means(self._gained, GAIN)
        if len(drawn) < MIN_SEEDS:
            return None
        mean, half = statistics.fmean(drawn), half_width(drawn)
        return mean - half, mean + half

    @property
    def _gained(self) -> list[CellRecord]:
        """Its cells with a gain on test images that did not go astray."""
        known = [cell for cell in self.cells if GAIN in cell.metrics]
        return [cell for cell in known if not has_diverged(cell.metrics[GAIN])]

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
    records: Sequence[CellRecord], max_forgetting: float | None = None
) -> list[BestAdapter]:
    """Of each domain and lambda the setting that gains most on validation and forgets nothing in any seed.

    A setting is chosen by its mean: every data seed has validation images of its own, so the greatest gain
    of all cells would mostly tell which seed's images are easy. Settings with results of more data seeds
    come first: a mean over other images is not comparable, and a seed that diverged is none. In each seed a
    setting counts with the learning rate that gains most of those that forget no more than they may. Of its
    seeds the one in the middle is named, neither a lucky nor an unlucky one, and none that diverged on test
    images.

    Forgetting is routed, as in a deployment. Without a limit, settings come first that surely forget nothing:
    exactly 0, as where the adapter is taken off, or below 0 by more than the 95 % interval over data seeds. A
    few validation images that happen to cost less show nothing: others cost more as often as not. Where every
    setting forgets more than it may, the one that gains most is taken nevertheless, and says so. The control
    is no adapter, nor is a method that trains nothing.

    Args:
        records: All cells of a sweep.
        max_forgetting: Percent of the source loss that a deployment accepts; None is 0.
    """
    tried = tried_together(records)
    places: dict[tuple[str, float], list[_Candidate]] = defaultdict(list)
    settings = by_setting([r for r in records if _is_adapter(r)])
    for setting, cells in sorted(settings.items(), key=lambda pair: pair[0].order):
        candidate = _candidate(cells, max_forgetting)
        places[setting.domain, setting.rd_lambda].append(candidate)
    found = []
    for _, candidates in sorted(places.items()):
        best = max(candidates, key=lambda c: c.merit)
        by_gain = sorted(best.sound, key=lambda c: (c.metrics[VALIDATION_GAIN], c.key))
        middle = by_gain[(len(by_gain) - 1) // 2]
        edge = edge_of(middle, tried[setting_of(middle).without_steps, seed_of(middle)])
        found.append(BestAdapter(middle, best.keeps == "no", best.cells, edge is not None))
    return found


@dataclass(frozen=True)
class _Candidate:
    """A setting with its best cell in each seed."""

    cells: tuple[CellRecord, ...]
    keeps: Literal["no", "seemingly", "surely"]
    """Whether it forgets no more than it may."""

    @property
    def kept(self) -> list[CellRecord]:
        """Its cells that did not diverge on validation; all where none did not."""
        kept = [c for c in self.cells if not has_diverged(c.metrics[VALIDATION_GAIN])]
        return kept or list(self.cells)

    @property
    def sound(self) -> list[CellRecord]:
        """Of these the ones that did not diverge on test images either: that is a fault, no small gain."""
        return [c for c in self.kept if not cell_diverged(c.metrics)] or self.kept

    @property
    def merit(self) -> tuple[int, int, float]:
        """How surely it forgets nothing, data seeds, mean validation gain; initial seeds count no more."""
        rank = ("no", "seemingly", "surely").index(self.keeps)
        return (rank, *mean_merit(_seed_means(self.cells, VALIDATION_GAIN)))


def _is_adapter(record: CellRecord) -> bool:
    """Not the control, and not what searches each image's latents: neither leaves anything to ship."""
    method = str(record.params["method"])
    known = {VALIDATION_GAIN, VALIDATION_ROUTED} <= record.metrics.keys()
    return known and record.status == "finished" and method != CONTROL and trains(method)


def _seed_means(cells: Iterable[CellRecord], metric: str) -> list[float]:
    """The mean of each data seed."""
    return [
        statistics.fmean(c.metrics[metric] for c in own) for own in by_data_seed(cells).values()
    ]


def _candidate(cells: Iterable[CellRecord], max_forgetting: float | None) -> _Candidate:
    seeds: dict[Seed, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[seed_of(cell)].append(cell)
    limit = 0.0 if max_forgetting is None else max_forgetting
    within = [[c for c in own if c.metrics[VALIDATION_ROUTED] <= limit] for own in seeds.values()]
    if not all(within):
        return _Candidate(tuple(map(_most_gain, seeds.values())), keeps="no")
    best = tuple(map(_most_gain, within))
    sure = max_forgetting is not None or _surely_nothing(best)
    return _Candidate(best, keeps="surely" if sure else "seemingly")


def _most_gain(cells: Iterable[CellRecord]) -> CellRecord:
    """Of equal gains the smaller learning rate, as everywhere."""
    return max(cells, key=lambda c: (c.metrics[VALIDATION_GAIN], -float(c.params["learning_rate"])))


def _surely_nothing(cells: Iterable[CellRecord]) -> bool:
    """Whether forgetting is 0 in every seed, or certainly below: its 95 % interval over data seeds is."""
    means = _seed_means(cells, VALIDATION_ROUTED)
    if not any(means):
        return True
    return len(means) >= MIN_SEEDS and statistics.fmean(means) + half_width(means) <= 0


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
