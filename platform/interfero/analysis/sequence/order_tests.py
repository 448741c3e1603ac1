"""Whether order matters, of every method after 2, 3, ... domains, corrected for all these tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from interfero.analysis.capacity_table import counted
from interfero.analysis.laws.resampling import holm_of_known
from interfero.analysis.sequence.measures import (
    AVERAGE,
    FORGETTING,
    Measure,
    SequenceSummary,
    SettingRow,
)
from interfero.analysis.sequence.orders import SIGNIFICANCE, OrderEffect, Unit, order_effect

TESTED = (FORGETTING, AVERAGE)


@dataclass(frozen=True)
class OrderTest:
    """Of one measure of a method after so many domains."""

    row: SettingRow
    measure: Measure
    effect: OrderEffect
    """With its probability corrected for all tests of the case."""


@dataclass(frozen=True)
class OrderTests:
    """All tests of a case, by method, measure and length."""

    tests: tuple[OrderTest, ...]
    length: int
    """Domains of an order."""

    @property
    def tried(self) -> list[OrderTest]:
        """Those that something was tried in: not refused, and orders differ at all."""
        return [test for test in self.tests if test.effect.chance is not None]

    @property
    def hopeless(self) -> str:
        """That no result could have been told apart; empty where one could.

        The smallest probability that the design can give, times the number of tests, is the least
        that Holm's correction leaves of any.
        """
        tried = self.tried
        if not tried:
            return ""
        best = min((test.effect for test in tried), key=lambda effect: effect.least)
        if best.least * len(tried) <= SIGNIFICANCE:
            return ""
        return (
            f"With {best.sample.replace(', ', ' and ')}, no result could be told apart after the "
            f"correction for {counted(len(tried), 'test')}: the smallest p they can give is "
            f"{best.least:.3f}, {len(tried)} times that is more than {SIGNIFICANCE:g}. It needs "
            "more orders or seeds."
        )

    def sentence(self, method: str) -> str:
        """Whether order matters to what a method forgets: at the end, and after fewer domains."""
        own = {
            test.row.stages: test.effect
            for test in self.tests
            if test.row.setting.method == method and test.measure is FORGETTING
        }
        if self.length not in own:
            return ""
        parts = [own.pop(self.length).sentence(f"to what {method} forgets")]
        shorter = [
            f"after {k} p = {effect.probability:.3f}"
            for k, effect in own.items()
            if effect.probability is not None
        ]
        if shorter:
            parts.append(
                f"Of fewer domains, which are not the same in all orders: {', '.join(shorter)}."
            )
        return " ".join(part for part in (*parts, self.hopeless) if part)


def order_tests(summary: SequenceSummary) -> OrderTests:
    """Every method that is compared, after 2, 3, ... domains; after 1 where orders have no more."""
    found = list(_each(summary))
    chances = holm_of_known([test.effect.chance for test in found])
    count = sum(chance is not None for chance in chances)
    tests = (
        replace(test, effect=replace(test.effect, corrected=chance, num_tests=count))
        for test, chance in zip(found, chances, strict=True)
    )
    return OrderTests(tuple(tests), summary.case.length)


def _each(summary: SequenceSummary) -> Iterator[OrderTest]:
    length = summary.case.length
    at_lengths = [summary.by_length[k] for k in range(min(2, length), length + 1)]
    for method in summary.best:
        rows = [own.best[method] for own in at_lengths if method in own.best]
        for measure in TESTED:
            for row in rows:
                effect = order_effect(_by_prefix(row, measure))
                if effect is not None:
                    yield OrderTest(row, measure, effect)


def _by_prefix(row: SettingRow, measure: Measure) -> dict[Unit, float]:
    """Orders that begin alike are one until they part: their rows are the same, no further draw."""
    values: dict[Unit, list[float]] = defaultdict(list)
    for (order, seed), value in row.values(measure).items():
        values[order[: row.stages], seed].append(value)
    return {unit: float(np.mean(own)) for unit, own in values.items()}
