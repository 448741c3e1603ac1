"""Learning rates chosen on validation: test numbers are reported, never searched."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from interfero.engine.cells import CellRecord

VALIDATION = "val/rd_gain_percent"
CONTROL_VALIDATION = "val/forgetting_percent"
"""The one metric that choices read."""
NAIVE = "finetune"
"""The method that others are compared with."""
CONTROL = "continue_source"
"""The method that never sees the target domain."""

Edge = Literal["lowest", "highest", "only"]


@dataclass(frozen=True)
class Setting:
    """What a learning rate is chosen for: a cell's params without learning rate and seeds."""

    domain: str
    rd_lambda: float
    num_images: int
    codec: str
    num_steps: int
    method: str
    adapter_size: int

    @property
    def case(self) -> Setting:
        """The same without the method: what methods are compared within."""
        return self.with_method("", 0)

    def with_method(self, method: str, adapter_size: int) -> Setting:
        """The same with another method."""
        return Setting(
            self.domain,
            self.rd_lambda,
            self.num_images,
            self.codec,
            self.num_steps,
            method,
            adapter_size,
        )

    @property
    def order(self) -> tuple[str, float, int, str, int, tuple[int, str], int]:
        """Sorts by domain, lambda, images; the naive method first, the control last."""
        rank = {NAIVE: 0, CONTROL: 2}.get(self.method, 1)
        method = (rank, self.method)
        case = (self.domain, self.rd_lambda, self.num_images, self.codec, self.num_steps)
        return (*case, method, self.adapter_size)


@dataclass(frozen=True)
class GridPoint:
    """The cells of a setting at one learning rate: they differ in seeds alone."""

    learning_rate: float
    cells: tuple[CellRecord, ...]
    """Finished, by seed."""
    num_left_out: int
    """Failed cells, and cells without a validation result."""

    def mean(self, metric: str) -> float | None:
        """Mean over seeds; None unless every cell has the metric."""
        values = self.values(metric)
        return math.fsum(values) / len(values) if values else None

    def values(self, metric: str) -> tuple[float, ...]:
        """One value a seed; empty unless every cell has the metric."""
        if any(metric not in c.metrics for c in self.cells):
            return ()
        return tuple(c.metrics[metric] for c in self.cells)

    @property
    def num_seeds(self) -> int:
        """Distinct pairs of data seed and init seed."""
        return len({(c.params["data_seed"], c.params["init_seed"]) for c in self.cells})


@dataclass(frozen=True)
class Choice:
    """A setting at the learning rate that validation chose, with the whole grid beside it."""

    setting: Setting
    chosen: GridPoint
    grid: tuple[GridPoint, ...]
    """Every learning rate that was tried, rising; those of failed cells too."""

    @property
    def learning_rate(self) -> float:
        """The chosen one."""
        return self.chosen.learning_rate

    @property
    def num_seeds(self) -> int:
        """Of the chosen learning rate."""
        return self.chosen.num_seeds

    @property
    def num_left_out(self) -> int:
        """Cells of the whole grid that failed or have no validation result."""
        return sum(p.num_left_out for p in self.grid)

    @property
    def edge(self) -> Edge | None:
        """Where the chosen learning rate bounds the grid, so that a larger grid could do better."""
        if len(self.grid) == 1:
            return "only"
        if self.learning_rate == self.grid[0].learning_rate:
            return "lowest"
        return "highest" if self.learning_rate == self.grid[-1].learning_rate else None

    def mean(self, metric: str) -> float | None:
        """Mean over seeds at the chosen learning rate; None unless every cell has the metric."""
        return self.chosen.mean(metric)

    def values(self, metric: str) -> tuple[float, ...]:
        """One value a seed at the chosen learning rate; empty unless every cell has the metric."""
        return self.chosen.values(metric)


@dataclass(frozen=True)
class Missing:
    """A setting without any result, though the sweep has its method and size."""

    setting: Setting
    num_failed: int
    """0 if no cell of it was run."""


def choose_learning_rates(records: Iterable[CellRecord]) -> list[Choice]:
    """For each setting, the learning rate with the best mean `val/rd_gain_percent` over seeds.

    Only learning rates that finished for the most seeds compete: one that survived on a lucky
    seed is not the best. A tie goes to the smaller. Nothing but validation is read. Settings
    without a result are in `missing_settings`.
    """
    choices = []
    for setting, members in _by_setting(records).items():
        grid = _grid(members)
        most = max(len(p.cells) for p in grid)
        if most:
            rivals = [p for p in grid if len(p.cells) == most]
            choices.append(Choice(setting, max(rivals, key=_merit), grid))
    return sorted(choices, key=lambda c: c.setting.order)


def best_sizes(choices: Iterable[Choice]) -> list[Choice]:
    """Of each case and method, the size with the best validation; a tie goes to the smaller."""
    best: dict[Setting, Choice] = {}
    for choice in sorted(choices, key=lambda c: c.setting.order):
        group = choice.setting.with_method(choice.setting.method, 0)
        if group not in best or _merit(choice.chosen)[0] > _merit(best[group].chosen)[0]:
            best[group] = choice
    return list(best.values())


def missing_settings(records: Iterable[CellRecord]) -> list[Missing]:
    """Settings whose cells all failed, and those that other domains have and this one lacks."""
    groups = _by_setting(records)
    planned = defaultdict(set)
    for setting in groups:
        planned[_plan(setting)].add((setting.method, setting.adapter_size))
    expected = {
        case.with_method(*pair)
        for case in {setting.case for setting in groups}
        for pair in planned[_plan(case)]
    }
    empty = [s for s in expected if not any(_usable(r) for r in groups.get(s, ()))]
    found = [Missing(s, len(groups.get(s, ()))) for s in empty]
    return sorted(found, key=lambda m: m.setting.order)


def setting_of(record: CellRecord) -> Setting:
    """The setting a cell belongs to."""
    p = record.params
    return Setting(
        domain=str(p["domain"]),
        rd_lambda=float(p["rd_lambda"]),
        num_images=int(p["num_images"]),
        codec=str(p["codec"]),
        num_steps=int(p["num_steps"]),
        method=str(p["method"]),
        adapter_size=int(p["adapter_size"]),
    )


def _plan(setting: Setting) -> tuple[float, int, int]:
    """What domains of one sweep share."""
    return setting.rd_lambda, setting.num_images, setting.num_steps


def _by_setting(records: Iterable[CellRecord]) -> dict[Setting, list[CellRecord]]:
    groups: dict[Setting, list[CellRecord]] = defaultdict(list)
    for record in records:
        groups[setting_of(record)].append(record)
    return groups


def _grid(members: Sequence[CellRecord]) -> tuple[GridPoint, ...]:
    rates: dict[float, list[CellRecord]] = defaultdict(list)
    for record in members:
        rates[float(record.params["learning_rate"])].append(record)
    points = []
    for rate, cells in sorted(rates.items()):
        usable = sorted((c for c in cells if _usable(c)), key=_seeds)
        points.append(GridPoint(rate, tuple(usable), len(cells) - len(usable)))
    return tuple(points)


def _usable(record: CellRecord) -> bool:
    return record.status == "finished" and VALIDATION in record.metrics


def _seeds(record: CellRecord) -> tuple[int, int]:
    return int(record.params["data_seed"]), int(record.params["init_seed"])


def _merit(point: GridPoint) -> tuple[float, float]:
    """Larger is better: validation first, then the smaller learning rate.

    The control never sees the target: its learning rate is the one that harms the source least.
    """
    is_control = point.cells[0].params["method"] == CONTROL
    mean = point.mean(CONTROL_VALIDATION if is_control else VALIDATION)
    if mean is None:
        return -math.inf, -point.learning_rate
    return (-mean if is_control else mean), -point.learning_rate
