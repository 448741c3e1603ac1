"""What is read from each chain, and its mean for each setting over orders and seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from interfero.analysis.comparable import comparable
from interfero.analysis.grouping import grouped
from interfero.analysis.matched_gain import MAX_STEP, NotReached, at_gain, front
from interfero.analysis.sequence.chains import (
    BOUNDS,
    Chain,
    Chains,
    FloatArray,
    SequenceCase,
    SequenceSetting,
    choose_rates,
)
from interfero.analysis.sequence.orders import (
    SequenceMean,
    Unit,
    corrected,
    mean_of,
    num_averaged,
    paired,
)
from interfero.metrics.continual import (
    average_loss,
    backward_transfer,
    forgetting,
    forward_transfer,
    intransigence,
)
from interfero.metrics.names import (
    GAIN,
    ROUTED,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord

NAIVE = "finetune"
STORAGE_SLACK = 1.001
"""Files of one size differ by a few bytes of metadata."""
Read = Callable[[FloatArray], float]


@dataclass(frozen=True)
class Measure:
    """A number of a matrix in percent of the source codec's loss."""

    name: str
    title: str
    read: Read
    least: int = 1
    """Domains that an order must have."""

    def of(self, chain: Chain, stages: int) -> float:
        """After so many domains, of those alone."""
        end = stages + 1
        return self.read(chain.percent[:end, :end])


def learned_gain(percent: FloatArray) -> float:
    """Mean gain on each domain right after it was learned: `-mean_{j >= 1} R[j, j]`; higher is better."""
    return float(-percent.diagonal()[1:].mean())


AVERAGE = Measure("average", "average loss", average_loss)
FORGETTING = Measure("forgetting", "forgetting", forgetting)
BACKWARD = Measure("backward", "backward transfer", backward_transfer)
MEASURES = (
    AVERAGE,
    FORGETTING,
    BACKWARD,
    Measure("forward", "forward transfer", forward_transfer, 2),
    Measure("gain", "learned gain", learned_gain),
    Measure("source", "source forgetting", lambda percent: float(percent[-1, 0])),
)
STORED = ("stored/parameters", "stored/bytes", "stored/memory_bytes")


def values_of(chains: Iterable[Chain], read: Callable[[Chain], float | None]) -> dict[Unit, float]:
    """A number of each chain by order and seed, without those that have none."""
    found = {(chain.order, chain.seed): read(chain) for chain in chains}
    return {unit: value for unit, value in found.items() if value is not None}


@dataclass(frozen=True, eq=False)
class SettingRow:
    """One setting with its means."""

    setting: SequenceSetting
    stages: int
    """Domains that were met: all of the order, or its first ones."""
    chains: tuple[Chain, ...]
    """At the learning rates that validation chooses after that many."""
    means: Mapping[str, SequenceMean]
    """By the name of a measure; over the orders and seeds of this setting's own."""
    stored: Mapping[str, float]
    """After these stages, mean over chains: parameters, bytes, bytes of the memory; empty for joint."""

    @property
    def score(self) -> float | None:
        """Mean validation score; lower is better."""
        each = [c.score_after(self.stages) for c in self.chains]
        scores = [score for score in each if score is not None]
        return float(np.mean(scores)) if len(scores) == len(each) else None

    @property
    def num_bytes(self) -> float | None:
        """What it stores in all; None where that is not known, as of joint, which keeps all images."""
        return self.stored.get("stored/bytes")

    @property
    def changes_nothing(self) -> bool:
        """Whether each domain is coded at the end as it was when it was learned.

        Forgetting after arXiv:1801.10112 can be above zero all the same: it counts the source codec among
        what a domain ever had, so that learning that did harm looks like forgetting.
        """
        return not self.means[BACKWARD.name].value

    @cached_property
    def by_order(self) -> dict[tuple[str, ...], SettingRow]:
        """The same of each order by itself: means are over seeds alone."""
        own = grouped(self.chains, lambda chain: chain.order)
        return {order: _row(chains, self.stages) for order, chains in sorted(own.items())}

    def values(self, measure: Measure) -> dict[Unit, float]:
        """By order and seed."""
        return values_of(self.chains, partial(measure.of, stages=self.stages))


@dataclass(frozen=True)
class EqualGain:
    """A method against fine-tuning at the gain of the method."""

    row: SettingRow
    difference: SequenceMean | None
    """Fine-tuning's forgetting less the method's; None where it is nowhere reached."""
    reached: int
    """Chains whose gain fine-tuning has too, at some learning rate."""
    num_chains: int
    averaged: int = 0
    """Of these, those that the difference is a mean of: the largest whole block."""
    why_not: tuple[str, ...] = ()
    """What keeps it from the others' gain, in a few words, the most frequent first."""


@dataclass(frozen=True)
class StorageRow:
    """What fits into a budget."""

    budget: float
    """Bytes."""
    best: SettingRow
    """Of those that fit, the one that validation chose."""
    others: tuple[tuple[SettingRow, SequenceMean | None], ...]
    """The other methods' best that fit, with their forgetting less this one's, paired."""


@dataclass(frozen=True)
class SequenceSummary:
    """The settings of one case, after all domains of its orders or after the first ones."""

    case: SequenceCase
    rows: tuple[SettingRow, ...]
    every: tuple[Chain, ...]
    """At all learning rates: fronts of gain and forgetting are made of these."""

    @cached_property
    def by_length(self) -> dict[int, SequenceSummary]:
        """The same, had the sequences ended after 1, 2, ... domains.

        Learning rates and settings are those that validation chooses then, by the domains met by then.
        """
        lengths = range(1, self.case.length)
        shorter = {k: _summary(self.case, self.every, k) for k in lengths}
        return {**shorter, self.case.length: self}

    @cached_property
    def choices(self) -> dict[str, SettingRow]:
        """Of each method the setting that validation chose; fewer bytes where it does not tell."""
        return {method: _chosen(rows) for method, rows in self.by_method.items()}

    @cached_property
    def by_method(self) -> dict[str, list[SettingRow]]:
        """The settings of each method, fine-tuning first."""
        by_method = grouped(self.rows, lambda row: row.setting.method)
        return dict(sorted(by_method.items(), key=lambda own: (own[0] != NAIVE, own[0])))

    @cached_property
    def alike(self) -> tuple[SettingRow, ...]:
        """The settings over the orders and seeds that all of these have; those without them are left out."""
        return tuple(alike(self.rows))

    @cached_property
    def best(self) -> dict[str, SettingRow]:
        """The same over the orders and seeds that all methods have; those without them are left out."""
        return {row.setting.method: row for row in alike(list(self.choices.values()))}

    @cached_property
    def searched(self) -> set[str]:
        """Methods with several learning rates or settings to choose from."""
        tried = grouped(self.every, lambda chain: chain.setting.method)
        return {
            m for m, own in tried.items() if len({(c.setting, c.learning_rate) for c in own}) > 1
        }

    @property
    def left_out(self) -> list[str]:
        """Methods that share too few orders and seeds with the others to be compared."""
        return [method for method in self.choices if method not in self.best]

    @cached_property
    def never_chosen(self) -> list[SettingRow]:
        """Settings that share too few orders and seeds with the others of their method to be chosen."""
        ranked = {row.setting for rows in self.by_method.values() for row in alike(rows)}
        return [row for row in self.rows if row.setting not in ranked]

    @property
    def one_codec(self) -> list[SettingRow]:
        """The methods that end with one codec for all domains, bounds left out."""
        return [r for m, r in self.best.items() if not r.setting.routed and m not in BOUNDS]

    @property
    def routed(self) -> list[SettingRow]:
        """Banks of adapters: an image is coded by one of them."""
        return [r for m, r in self.best.items() if r.setting.routed and m not in BOUNDS]

    def against_naive(self, row: SettingRow, measure: Measure) -> SequenceMean | None:
        """Fine-tuning less a method, paired over orders and seeds; positive where the method has less."""
        naive = self.best.get(NAIVE)
        return None if naive is None else paired(naive.values(measure), row.values(measure))

    @cached_property
    def better_than_naive(self) -> dict[str, SequenceMean | None]:
        """Fine-tuning's average loss less each other method's, corrected for how many there are."""
        others = {m: row for m, row in self.best.items() if m != NAIVE}
        each = corrected([self.against_naive(row, AVERAGE) for row in others.values()])
        return dict(zip(others, each, strict=True))

    @cached_property
    def intransigence(self) -> dict[str, SequenceMean]:
        """By method, against joint training on the domains met so far."""
        chains = self.best["joint"].chains if "joint" in self.best else ()
        joint = {(c.order, c.seed): c.percent.diagonal() for c in chains}

        def against_joint(chain: Chain) -> float | None:
            own = joint.get((chain.order, chain.seed))
            return None if own is None else intransigence(chain.percent, own)

        means = {
            m: mean_of(values_of(row.chains, against_joint))
            for m, row in self.best.items()
            if m not in BOUNDS
        }
        return {m: mean for m, mean in means.items() if mean is not None}

    @cached_property
    def at_equal_gain(self) -> list[EqualGain]:
        """Every other method against what fine-tuning forgets where it gains as much.

        Fine-tuning has a front over its learning rates in each order and seed, and is read where its
        validation gain is that of the other method; front, interpolation and refusals (outside the front, in
        its gaps) are those of `interfero.analysis.matched_gain`.
        """
        cells: dict[Unit, list[CellRecord]] = {}
        for chain in self.every:
            if chain.setting.method == NAIVE and (record := _as_cell(chain)) is not None:
                cells.setdefault((chain.order, chain.seed), []).append(record)
        fronts = {unit: front(own) for unit, own in cells.items()}
        found = []
        for method, row in self.best.items():
            if method == NAIVE or method in BOUNDS:
                continue
            naive: dict[Unit, float] = {}
            reasons: Counter[str] = Counter()
            for chain in row.chains:
                unit = chain.order, chain.seed
                if chain.validation is not None and unit in fronts:
                    at = at_gain(fronts[unit], learned_gain(chain.validation), MAX_STEP)
                    if isinstance(at, NotReached):
                        reasons[at.short] += 1
                    else:
                        naive[unit] = at.forgetting
            difference = paired(naive, row.values(FORGETTING))
            why_not = tuple(reason for reason, _ in reasons.most_common())
            averaged, count = num_averaged(naive), len(row.chains)
            found.append(EqualGain(row, difference, len(naive), count, averaged, why_not))
        each = corrected([equal.difference for equal in found])
        return [replace(e, difference=d) for e, d in zip(found, each, strict=True)]

    @cached_property
    def at_equal_storage(self) -> list[StorageRow]:
        """At the size of each method's best setting: what fits, the best of it on validation first."""
        sized = [row for row in self.rows if row.num_bytes is not None]
        own = [row.num_bytes for row in self.best.values()]
        budgets = sorted({size for size in own if size is not None})
        found: list[StorageRow] = []
        for budget in budgets:
            fits = [r for r in sized if (r.num_bytes or 0.0) <= budget * STORAGE_SLACK]
            inside = SequenceSummary(self.case, tuple(fits), ())
            first, *others = sorted(inside.best.values(), key=_rank)
            own_values = first.values(FORGETTING)
            each = corrected([paired(r.values(FORGETTING), own_values) for r in others])
            pairs = tuple(zip(others, each, strict=True))
            if not found or budget > found[-1].budget * STORAGE_SLACK:
                found.append(StorageRow(budget, first, pairs))
        return found


def summarise_case(chains: Chains, case: SequenceCase) -> SequenceSummary:
    """Means of every setting of a case."""
    return _summary(case, chains.of(case), case.length)


def _summary(case: SequenceCase, every: Iterable[Chain], stages: int) -> SequenceSummary:
    every = tuple(every)
    chosen, _ = choose_rates(every, stages)
    by_setting = sorted(grouped(chosen, lambda chain: chain.setting).items())
    return SequenceSummary(case, tuple(_row(own, stages) for _, own in by_setting), every)


def _row(chains: Sequence[Chain], stages: int) -> SettingRow:
    """Of chains of one setting."""
    means = {}
    for measure in MEASURES:
        if stages >= measure.least:
            mean = mean_of(values_of(chains, partial(measure.of, stages=stages)))
            assert mean is not None
            means[measure.name] = mean
    ends = [c.rows[stages].metrics for c in chains]
    stored = {
        name: float(np.mean([metrics[name] for metrics in ends]))
        for name in STORED
        if chains[0].setting.method != "joint" and all(name in metrics for metrics in ends)
    }
    return SettingRow(chains[0].setting, stages, tuple(chains), means, stored)


def alike(rows: Sequence[SettingRow]) -> list[SettingRow]:
    """Results over the orders and seeds that all of them have, without those that have others."""
    coverage: dict[Unit, set[int]] = defaultdict(set)
    for index, row in enumerate(rows):
        for chain in row.chains:
            coverage[chain.order, chain.seed].add(index)
    units, places = comparable(coverage, lambda places: len(places) > 0)
    return [
        _row([c for c in rows[i].chains if (c.order, c.seed) in units], rows[i].stages)
        for i in sorted(places)
    ]


def _chosen(rows: Sequence[SettingRow]) -> SettingRow:
    """Of one method's settings the best on validation, in the orders and seeds that they share."""
    best = min(alike(rows), key=_rank).setting
    return next(row for row in rows if row.setting == best)


def _rank(row: SettingRow) -> tuple[bool, float, float, SequenceSetting]:
    return row.score is None, row.score or 0.0, row.num_bytes or 0.0, row.setting


def _as_cell(chain: Chain) -> CellRecord | None:
    """A chain as the point of a front: what it learned, and what it forgot."""
    if chain.validation is None:
        return None
    lost = forgetting(chain.percent)
    metrics = {
        GAIN: learned_gain(chain.percent), ROUTED: lost, UNROUTED: lost,
        VALIDATION_GAIN: learned_gain(chain.validation),
        VALIDATION_UNROUTED: forgetting(chain.validation),
    }  # fmt: skip
    last = chain.last
    return CellRecord(key=last.key, params=last.params, status="finished", metrics=metrics)
