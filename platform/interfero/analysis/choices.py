"""How cells are grouped, and learning rates chosen on validation: test numbers are never searched."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal

from interfero.analysis.cells import cell_diverged, has_diverged, once_for_cells
from interfero.metrics.names import VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord

NAIVE = "finetune"
"""The method that others are compared with."""
CONTROL = "continue_source"
"""The method that never sees the target domain."""

Edge = Literal["lowest", "highest", "only"]
Seed = tuple[int, int]
"""Data seed and init seed."""


def method_rank(method: str) -> tuple[int, str]:
    """Sorts: the naive method first, the control last."""
    return {NAIVE: 0, CONTROL: 2}.get(method, 1), method


def first_method(methods: Sequence[str]) -> str:
    """What the others are compared with: the naive one, or the first there is."""
    return NAIVE if NAIVE in methods else methods[0]


@dataclass(frozen=True)
class CellSetting:
    """What a learning rate is chosen for: a cell's params without learning rate and seeds."""

    domain: str
    rd_lambda: float
    num_images: int
    codec: str
    num_steps: int
    method: str
    adapter_size: int
    strength: float = 0.0
    """Weight of the method's own term; 0 where it has none."""
    # Older records lack it: it labels a setting and never tells two apart.
    image_unit: str = field(default="images", compare=False)
    """`images`, or `crops` where several are cut from one picture."""

    @property
    def images_in_table(self) -> str:
        """`20` under a heading that says images, `20 crops` where they are not."""
        return str(self.num_images) if self.image_unit == "images" else self.num_images_text

    @property
    def num_images_text(self) -> str:
        """`51 images` or `6 crops`."""
        unit = self.image_unit.removesuffix("s") if self.num_images == 1 else self.image_unit
        return f"{self.num_images} {unit}"

    @cached_property
    def without_method(self) -> CellSetting:
        """What methods are compared within, over all seeds; a `Case` is of one data seed."""
        return self.with_method("", 0)

    @cached_property
    def without_steps(self) -> CellSetting:
        """What a learning rate was tried for, however long."""
        return replace(self, num_steps=0)

    def with_method(self, method: str, adapter_size: int, strength: float = 0.0) -> CellSetting:
        """The same with another method."""
        return replace(self, method=method, adapter_size=adapter_size, strength=strength)

    @cached_property
    def order(self) -> tuple[str, float, int, str, int, tuple[int, str], int, float]:
        """Sorts by domain, lambda, images; the naive method first, the control last."""
        case = (self.domain, self.rd_lambda, self.num_images, self.codec, self.num_steps)
        return (*case, method_rank(self.method), self.adapter_size, self.strength)


@dataclass(frozen=True, order=True)
class Case:
    """What two methods share where their results are set against each other.

    A block, and what tells blocks of several sweeps apart: steps and codec.

    Methods that draw nothing run with the first initial seed alone, so no initial seed is part of it.
    """

    domain: str
    rd_lambda: float
    num_images: int
    num_steps: int
    codec: str
    data_seed: int


@dataclass(frozen=True)
class GridPoint:
    """The cells of a setting at one learning rate, over all seeds: what the choice was made from."""

    learning_rate: float
    cells: tuple[CellRecord, ...]
    """Finished, by seed."""
    num_left_out: int
    """Failed cells, and cells without a validation result."""


@dataclass(frozen=True)
class Pick:
    """The cell that validation chose among those of one seed."""

    cell: CellRecord
    edge: Edge | None
    """Where its learning rate bounds the seed's grid, so that a larger grid could do better."""

    @property
    def learning_rate(self) -> float:
        """The cell's."""
        return _rate(self.cell)


@dataclass(frozen=True)
class Choice:
    """A setting with one cell a seed, each at its own best learning rate, and the whole grid."""

    setting: CellSetting
    picks: tuple[Pick, ...]
    """By seed, a pair of data seed and init seed; a seed without a result has none."""
    grid: tuple[GridPoint, ...]
    """Every learning rate that was tried, rising; those of failed cells too."""
    diverged: frozenset[str] = frozenset()
    """Keys of chosen cells whose test results diverged: they are counted, and in no mean over others."""

    @cached_property
    def kept(self) -> tuple[Pick, ...]:
        """The chosen cells that did not diverge; all of them where there are no others."""
        kept = tuple(pick for pick in self.picks if pick.cell.key not in self.diverged)
        return kept or self.picks

    @property
    def learning_rates(self) -> tuple[float, ...]:
        """The chosen ones, rising, each once."""
        return tuple(sorted({pick.learning_rate for pick in self.picks}))

    @property
    def num_seeds(self) -> int:
        """Seeds with a result."""
        return len(self.picks)

    @property
    def num_left_out(self) -> int:
        """Cells of the whole grid that failed or have no validation result."""
        return sum(p.num_left_out for p in self.grid)

    @property
    def at_edge(self) -> bool:
        """Whether a larger grid could do better for some seed."""
        return any(pick.edge for pick in self.picks)

    @property
    def all_diverged(self) -> bool:
        """Whether no seed has a result for a mean over others."""
        return len(self.diverged) == self.num_seeds

    def mean(self, metric: str) -> float | None:
        """Mean over seeds, without those that diverged; None unless every chosen cell has the metric."""
        values = self.values(metric)
        return math.fsum(values) / len(values) if values else None

    def values(self, metric: str) -> tuple[float, ...]:
        """One value a seed that did not diverge; empty unless every chosen cell has the metric."""
        if any(metric not in pick.cell.metrics for pick in self.picks):
            return ()
        return tuple(pick.cell.metrics[metric] for pick in self.kept)

    def by_seed(self, metric: str) -> dict[Seed, float]:
        """The same by seed: of two choices one may lack a seed that the other has."""
        if not self.values(metric):
            return {}
        return {seed_of(pick.cell): pick.cell.metrics[metric] for pick in self.kept}


@dataclass(frozen=True)
class Missing:
    """A setting without any result, though the sweep has its method and size."""

    setting: CellSetting
    num_failed: int
    """0 if no cell of it was run."""


def unbracketed(choices: Iterable[Choice]) -> str:
    """That no grid has a rate between two others, so that every choice is at an edge; empty otherwise."""
    tried = {tuple(point.learning_rate for point in c.grid) for c in choices if c.picks}
    if {len(rates) for rates in tried} != {2}:
        return ""
    named = " or ".join(sorted({" and ".join(f"{rate:g}" for rate in rates) for rates in tried}))
    return f"only two learning rates were tried ({named}), so that none lies between others"


@once_for_cells
def choose_learning_rates(records: Iterable[CellRecord]) -> list[Choice]:
    """For each setting and seed, the cell with the best `val/rd_gain_percent`.

    A seed is a repetition of everything, the choice included: whoever has its images sees no other
    seed's. One rate for all seeds would also compare nothing where a sampler gave each seed rates
    of its own. A tie goes to the smaller. Nothing but validation is read. Settings without a result
    are in `missing_settings`.
    """
    groups, tried = by_setting(records), tried_together(records)
    found = []
    for setting, members in groups.items():
        if picks := _picks(setting, members, tried):
            astray = frozenset(p.cell.key for p in picks if cell_diverged(p.cell.metrics))
            found.append(Choice(setting, picks, _grid(members), astray))
    return sorted(found, key=lambda c: c.setting.order)


def best_sizes(choices: Iterable[Choice]) -> list[Choice]:
    """Of each case and method, the size with the best validation; a tie goes to the smaller."""
    best: dict[CellSetting, Choice] = {}

    def merit(choice: Choice) -> tuple[int, float]:
        kept, mean = mean_merit(_merit(pick.cell) for pick in choice.picks)
        # Seeds that have no result are told by others; those that diverged count against a size.
        return kept - len(choice.picks), mean

    for choice in sorted(choices, key=lambda c: c.setting.order):
        group = choice.setting.with_method(choice.setting.method, 0)
        if group not in best or merit(choice) > merit(best[group]):
            best[group] = choice
    return list(best.values())


def methods_of(choices: Iterable[Choice]) -> list[str]:
    """Each method once, in the order of the choices."""
    return list(by_method(choices))


def by_method(choices: Iterable[Choice]) -> dict[str, list[Choice]]:
    """The choices of each method, in their order."""
    found: dict[str, list[Choice]] = defaultdict(list)
    for choice in choices:
        found[choice.setting.method].append(choice)
    return found


@once_for_cells
def missing_settings(records: Iterable[CellRecord]) -> list[Missing]:
    """Settings whose cells all failed, and those that other domains have and this one lacks."""
    groups = by_setting(records)
    planned = defaultdict(set)
    for setting in groups:
        planned[_plan(setting)].add((setting.method, setting.adapter_size, setting.strength))
    expected = {
        case.with_method(*pair)
        for case in {setting.without_method for setting in groups}
        for pair in planned[_plan(case)]
    }
    empty = [s for s in expected if not any(_usable(r) for r in groups.get(s, ()))]
    found = [Missing(s, len(groups.get(s, ()))) for s in empty]
    return sorted(found, key=lambda m: m.setting.order)


def setting_of(record: CellRecord) -> CellSetting:
    """The setting a cell belongs to."""
    p = record.params
    # Older records lack the last two.
    return _setting(
        p["domain"], p["rd_lambda"], p["num_images"], p["codec"], p["num_steps"], p["method"],
        p["adapter_size"], p.get("strength", 0), p.get("image_unit", "images"),
    )  # fmt: skip


_KINDS = (str, float, int, str, int, str, int, float, str)


@lru_cache(maxsize=1 << 14)
def _setting(*values: Any) -> CellSetting:
    """One object for all cells of a setting: a report asks for it a dozen times for every cell."""
    return CellSetting(*(kind(value) for kind, value in zip(_KINDS, values, strict=True)))


def _plan(setting: CellSetting) -> tuple[float, int, int]:
    """What domains of one sweep share."""
    return setting.rd_lambda, setting.num_images, setting.num_steps


@once_for_cells
def by_setting(records: Iterable[CellRecord]) -> dict[CellSetting, list[CellRecord]]:
    """The cells of each setting, in their order."""
    groups: dict[CellSetting, list[CellRecord]] = defaultdict(list)
    for record in records:
        groups[setting_of(record)].append(record)
    return groups


def tried_together(
    records: Iterable[CellRecord],
) -> dict[tuple[CellSetting, Seed], list[CellRecord]]:
    """Cells that differ in their learning rate or their steps: by setting without steps, and seed."""
    tried: dict[tuple[CellSetting, Seed], list[CellRecord]] = defaultdict(list)
    for setting, members in by_setting(records).items():
        for record in members:
            tried[setting.without_steps, seed_of(record)].append(record)
    return tried


def _picks(
    setting: CellSetting,
    members: Iterable[CellRecord],
    tried: Mapping[tuple[CellSetting, Seed], list[CellRecord]],
) -> tuple[Pick, ...]:
    """The best usable cell of each seed that has one."""
    best: dict[Seed, CellRecord] = {}
    for record in filter(_usable, members):
        seed, rank = seed_of(record), (_merit(record), -_rate(record))
        if seed not in best or rank > (_merit(best[seed]), -_rate(best[seed])):
            best[seed] = record
    return tuple(
        Pick(cell, edge_of(cell, tried[setting.without_steps, seed]))
        for seed, cell in sorted(best.items())
    )


def edge_of(record: CellRecord, tried: Iterable[CellRecord]) -> Edge | None:
    """Where the learning rate of a cell bounds those that were tried; None where others lie around it.

    Args:
        record: The cell.
        tried: Cells of its setting and seed, this one and failed ones too; a longer training of theirs says
            nothing, and a rate that was tried with fewer steps alone was worse there: halving ended it.
    """
    steps, rate = int(record.params["num_steps"]), _rate(record)
    rates = {_rate(r) for r in tried if int(r.params["num_steps"]) <= steps}
    if len(rates) == 1:
        return "only"
    if rate == min(rates):
        return "lowest"
    return "highest" if rate == max(rates) else None


def _grid(members: Sequence[CellRecord]) -> tuple[GridPoint, ...]:
    rates: dict[float, list[CellRecord]] = defaultdict(list)
    for record in members:
        rates[_rate(record)].append(record)
    points = []
    for rate, cells in sorted(rates.items()):
        usable = sorted((c for c in cells if _usable(c)), key=seed_of)
        points.append(GridPoint(rate, tuple(usable), len(cells) - len(usable)))
    return tuple(points)


def _usable(record: CellRecord) -> bool:
    return record.status == "finished" and VALIDATION_GAIN in record.metrics


def seed_of(record: CellRecord) -> Seed:
    """The seed a cell repeats its setting with."""
    return int(record.params["data_seed"]), int(record.params["init_seed"])


def _rate(record: CellRecord) -> float:
    return float(record.params["learning_rate"])


def _merit(record: CellRecord) -> float:
    """Validation, larger is better.

    The control never sees the target: its learning rate is the one that harms the source least.
    """
    if record.params["method"] == CONTROL:
        return -record.metrics.get(VALIDATION_ROUTED, math.inf)
    return record.metrics.get(VALIDATION_GAIN, -math.inf)


def mean_merit(merits: Iterable[float]) -> tuple[int, float]:
    """Seeds that did not diverge on validation, and their mean: how far one went astray says nothing.

    Args:
        merits: One a seed, percent; higher is better.
    """
    own = list(merits)
    kept = [merit for merit in own if not has_diverged(merit)]
    return len(kept), math.fsum(kept or own) / len(kept or own)


def case_of(record: CellRecord) -> Case:
    """The case a cell belongs to."""
    s = setting_of(record)
    seed = int(record.params["data_seed"])
    return Case(s.domain, s.rd_lambda, s.num_images, s.num_steps, s.codec, seed)


def by_case(records: Iterable[CellRecord]) -> dict[Case, dict[str, list[CellRecord]]]:
    """The cells of each case, by method."""
    cases: dict[Case, dict[str, list[CellRecord]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        cases[case_of(record)][str(record.params["method"])].append(record)
    return dict(sorted(cases.items()))


def by_data_seed(cells: Iterable[CellRecord]) -> dict[int, list[CellRecord]]:
    """Initial seeds of one data seed share its images."""
    seeds: dict[int, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[seed_of(cell)[0]].append(cell)
    return seeds


def by_init_seed(cells: Iterable[CellRecord]) -> list[list[CellRecord]]:
    """Each seed chooses for itself: of several, the best would be luck taken for skill."""
    seeds: dict[int, list[CellRecord]] = defaultdict(list)
    for cell in cells:
        seeds[int(cell.params["init_seed"])].append(cell)
    return [members for _, members in sorted(seeds.items())]
