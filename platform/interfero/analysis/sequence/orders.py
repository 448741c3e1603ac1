"""Means over orders and seeds with intervals, paired differences, and whether order matters.

What is drawn again are orders, and seeds: two parts of the bootstrap that laws and restoration have (see
`interfero.analysis.laws.resampling`), their squared half-widths added. The scatter of single cells is in both
parts, so that intervals are rather too wide than too narrow. Where every order of the domains was run, no
order is left to be drawn, and the interval is over seeds.

Only orders and seeds that all compared settings have are counted: the largest block of them that is whole.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from interfero.analysis.capacity_table import counted
from interfero.analysis.comparable import comparable
from interfero.analysis.laws.resampling import (
    Part,
    half_width,
    holm_of_known,
    probability,
    seed_draws,
)
from interfero.analysis.sequence.chains import Order

FloatArray = npt.NDArray[np.float64]
Unit = tuple[Order, tuple[int, int]]
"""An order, and a pair of a data seed and an init seed."""

SIGNIFICANCE = 0.05
SAME = 1e-9
"""Sums in another order differ in their last bits: values that are no further apart are one."""
MAX_ARRANGEMENTS = 5000
"""Up to here every arrangement is counted; of more, `DRAWS` are drawn."""
DRAWS = 5000
"""The smallest probability is 1 in so many: it can stand a correction for 250 tests."""


@dataclass(frozen=True)
class SequenceMean:
    """A mean over orders and seeds."""

    value: float
    half_width: float | None
    """Of the 95 % interval; None with nothing that could be drawn again."""
    num_orders: int
    num_seeds: int
    all_orders: bool
    """Whether these are all orders of their domains: none is drawn."""
    same: bool = False
    """Whether orders and seeds all have this value: no spread says how sure it is."""
    probability: float | None = None
    """That chance gives as much; without a correction below 5 % where the interval leaves out zero."""
    num_compared: int = 1
    """Differences that were tried, for which the probability is corrected."""
    over_seeds: bool = False
    """Whether it is over seeds of each seed's mean over orders, for an order lacks a seed."""

    @property
    def sign(self) -> int:
        """1 or -1 where chance gives as much in less than 5 %, else 0: undecided."""
        if self.probability is None or self.probability >= SIGNIFICANCE:
            return 0
        return 1 if self.value > 0 else -1

    @property
    def doubt(self) -> str:
        """`, undecided`, and whether only the correction makes it so; empty where it is decided."""
        if self.sign:
            return ""
        by_itself = self.half_width is not None and abs(self.value) > self.half_width
        return ", undecided" + " by Holm's correction" * by_itself

    @property
    def span(self) -> tuple[float, float] | None:
        """Ends of the interval."""
        if self.half_width is None:
            return None
        return self.value - self.half_width, self.value + self.half_width

    @property
    def sample(self) -> str:
        """`3 orders, 3 seeds`, and what of it was not drawn."""
        orders = f"{'all ' * self.all_orders}{counted(self.num_orders, 'order')}"
        lacking = ", not all with every seed: over seeds of their means over orders"
        return f"{orders}, {counted(self.num_seeds, 'seed')}{lacking * self.over_seeds}"

    def text(self, unit: str = " %") -> str:
        """`+3.20 % (95 % interval +2.10 to +4.30; 3 orders, 3 seeds)`."""
        said = f"{self.value:+.2f}{unit}"
        if self.same:
            return f"{said} (the same each time; {self.sample})"
        if self.span is None:
            return f"{said} (no interval: {self.sample})"
        return f"{said} (95 % interval {self.span[0]:+.2f} to {self.span[1]:+.2f}; {self.sample})"

    @property
    def short(self) -> str:
        """`+3.20 (+2.10 to +4.30)`, under a heading that says the rest."""
        return self._shown("+.2f")

    @property
    def share(self) -> str:
        """`97.20 (96.10 to 98.30)`: a share is no change, and has no sign."""
        return self._shown(".2f")

    @property
    def judged(self) -> str:
        """`+1.20 (-0.40 to +2.80), undecided`; `+0.00, the same each time` of what never differs."""
        if self.same and not self.value:
            return f"{self.short}, the same each time"
        return self.short + self.doubt

    def _shown(self, form: str) -> str:
        ends = "" if self.span is None else f" ({self.span[0]:{form}} to {self.span[1]:{form}})"
        return f"{self.value:{form}}{ends}"


@dataclass(frozen=True)
class OrderTable:
    """Values of one whole block."""

    values: FloatArray
    """(orders, seeds)."""
    orders: tuple[Order, ...]
    seeds: tuple[int, ...]

    @property
    def all_orders(self) -> bool:
        """Whether no order of the same domains is missing."""
        domains = {frozenset(order) for order in self.orders}
        return len(domains) == 1 and len(self.orders) == math.factorial(len(self.orders[0]))


def table_of(values: Mapping[Unit, float]) -> OrderTable | None:
    """The largest whole block of orders and seeds; None of nothing.

    Init seeds of one data seed are averaged, for they share its images; of one data seed its init seeds are
    what is drawn.
    """
    several = len({data for _, (data, _) in values}) > 1
    cells: dict[Order, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for (order, (data, init)), value in values.items():
        cells[order][data if several else init].append(value)
    orders, seeds = comparable(cells, lambda places: len(places) > 0)
    if not orders:
        return None
    rows, columns = sorted(orders), sorted(seeds)
    means = [[float(np.mean(cells[order][seed])) for seed in columns] for order in rows]
    return OrderTable(np.array(means), tuple(rows), tuple(columns))


def mean_of(values: Mapping[Unit, float]) -> SequenceMean | None:
    """Mean with its interval; None of nothing."""
    table = table_of(values)
    if table is None:
        return None
    num_orders, num_seeds = table.values.shape
    mean = SequenceMean(float(table.values.mean()), None, num_orders, num_seeds, table.all_orders)
    if num_orders * num_seeds > 1 and np.ptp(table.values) <= SAME:
        return replace(mean, value=float(table.values[0, 0]), same=True)
    parts = []
    if num_seeds > 1:
        parts.append(_part(table.values.mean(axis=0)))
    if num_orders > 1 and not table.all_orders:
        parts.append(_part(table.values.mean(axis=1)))
    if not parts:
        return mean
    return replace(mean, half_width=half_width(parts), probability=probability(mean.value, parts))


def num_averaged(values: Mapping[Unit, float]) -> int:
    """How many of these `mean_of` averages: those of the largest whole block."""
    table = table_of(values)
    if table is None:
        return 0
    seeds = set(table.seeds)
    several = len({data for _, (data, _) in values}) > 1
    return sum(
        order in table.orders and (data if several else init) in seeds
        for order, (data, init) in values
    )


def mean_of_all(values: Mapping[Unit, float]) -> SequenceMean | None:
    """Mean of all values, also where they are no whole block; None of nothing.

    A whole block is averaged as `mean_of` does. Else each seed's values are averaged over the
    orders that it has, and the interval is over seeds: that orders were drawn is not in it.
    """
    if num_averaged(values) == len(values):
        return mean_of(values)
    by_seed: dict[tuple[int, int], list[float]] = defaultdict(list)
    for (_, seed), value in values.items():
        by_seed[seed].append(value)
    mean = mean_of({((), seed): float(np.mean(own)) for seed, own in by_seed.items()})
    assert mean is not None
    num_orders = len({order for order, _ in values})
    return replace(mean, num_orders=num_orders, all_orders=False, over_seeds=True)


def paired(first: Mapping[Unit, float], second: Mapping[Unit, float]) -> SequenceMean | None:
    """Mean of first less second over the orders and seeds that both have; None where they share none."""
    return mean_of({unit: first[unit] - second[unit] for unit in first.keys() & second.keys()})


def corrected(found: Sequence[SequenceMean | None]) -> list[SequenceMean | None]:
    """Differences that were tried together, with the probabilities of Holm (1979) for how many they are."""
    chances = holm_of_known([None if mean is None else mean.probability for mean in found])
    count = sum(chance is not None for chance in chances)
    return [
        mean
        if mean is None or chance is None
        else replace(mean, probability=chance, num_compared=count)
        for mean, chance in zip(found, chances, strict=True)
    ]


def tried_text(found: Sequence[SequenceMean | None], what: str) -> str:
    """` (corrected for 5 lengths, Holm)`; empty where one alone was tried."""
    count = max((mean.num_compared for mean in found if mean is not None), default=1)
    return f" (corrected for {count} {what}, Holm)" if count > 1 else ""


def _part(values: FloatArray) -> tuple[float, int]:
    """Variance of a mean under drawing again, with its degrees of freedom."""
    counts, chances = seed_draws(len(values), np.random.default_rng(0))
    means = (counts @ values / len(values))[:, None]
    part = Part(means, chances, len(values) - 1)
    return part.variance(lambda mean: float(mean[0])), part.degrees


@dataclass(frozen=True)
class OrderEffect:
    """Whether order matters: the spread over orders against what seeds make of one order."""

    order_sd: float
    """Standard deviation of the orders' means."""
    chance_sd: float
    """The same, expected if order did not matter, over the exchanges of the permutation test."""
    probability: float | None
    """Of as large a spread over orders if order did not matter; None where refused."""
    sample: str
    refusal: str = ""
    least: float = 0.0
    """The smallest probability that could come out."""
    corrected: float | None = None
    """The probability by Holm (1979) among tests that were made together."""
    num_tests: int = 1
    """How many these are."""

    @property
    def chance(self) -> float | None:
        """The probability; None where nothing was tried: refused, or all orders have the same means."""
        return self.probability if self.order_sd > SAME else None

    def sentence(self, what: str) -> str:
        """What can be said.

        Args:
            what: To which it may matter, as `to what finetune forgets`.
        """
        if self.probability is None:
            return f"Whether the order of domains matters {what} cannot be told: {self.refusal}."
        test = (
            f"the orders' means have a standard deviation of {self.order_sd:.2f}, chance gives "
            f"{self.chance_sd:.2f}; permutation test p = {self.probability:.3f}, which {self.sample} make at "
            f"least {self.least:.3f}"
        )
        if self.corrected is None or self.num_tests == 1:
            chance = self.probability
        else:
            chance = self.corrected
            test += f"; corrected for {self.num_tests} tests (Holm) p = {chance:.3f}"
        if chance <= SIGNIFICANCE:
            return f"The order of domains matters {what} ({test})."
        if self.probability <= SIGNIFICANCE:
            return (
                f"By this test alone the order of domains matters {what}; among all that were made "
                f"it is undecided ({test})."
            )
        return f"Whether the order of domains matters {what} is undecided ({test})."


def order_effect(values: Mapping[Unit, float]) -> OrderEffect | None:
    """A permutation test: orders exchanged within each seed, for seeds have the same images in all orders.

    The statistic is the spread of the orders' means. Refused where even the most telling result could come
    about by chance in more than one of twenty cases.
    """
    table = table_of(values)
    if table is None:
        return None
    num_orders, num_seeds = table.values.shape
    sample = f"{counted(num_orders, 'order')}, {counted(num_seeds, 'seed')}"
    of_orders = float(np.std(table.values.mean(axis=1), ddof=1)) if num_orders > 1 else 0.0
    within = table.values.var(axis=0, ddof=1).sum() if num_orders > 1 else 0.0
    by_chance = float(np.sqrt(within)) / num_seeds
    # Exchanging all seeds alike changes nothing, so one of them stays as it is.
    arrangements = math.factorial(num_orders) ** (num_seeds - 1)
    if arrangements * SIGNIFICANCE < 1:
        why = (
            f"a permutation test of order needs {math.ceil(1 / SIGNIFICANCE)} arrangements or more, {sample} "
            f"allow {arrangements}: add --orders or --data-seeds"
        )
        return OrderEffect(of_orders, by_chance, None, sample, why)
    least = 1 / arrangements if arrangements <= MAX_ARRANGEMENTS else 1 / (1 + DRAWS)
    probability = _probability(table.values, arrangements)
    return OrderEffect(of_orders, by_chance, probability, sample, least=least)


def _probability(values: FloatArray, arrangements: int) -> float:
    num_orders, num_seeds = values.shape
    seen = np.var(values.mean(axis=1)) * (1 - 1e-9)
    if arrangements <= MAX_ARRANGEMENTS:
        every = list(itertools.permutations(range(num_orders)))
        drawn = itertools.product([every[0]], *[every] * (num_seeds - 1))
        index = np.array(list(drawn)).transpose(0, 2, 1)
        return float(np.mean(_spreads(np.take_along_axis(values[None], index, axis=1)) >= seen))
    shape = DRAWS, num_orders, num_seeds
    exchanged = np.random.default_rng(0).permuted(np.broadcast_to(values, shape), axis=1)
    return float((1 + np.sum(_spreads(exchanged) >= seen)) / (1 + DRAWS))


def _spreads(exchanged: FloatArray) -> FloatArray:
    """Of (arrangements, orders, seeds) the variance of the orders' means."""
    return np.asarray(exchanged.mean(axis=2).var(axis=1))
