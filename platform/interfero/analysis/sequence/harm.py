"""What learning each domain does to those met before it, and which domains never stood last.

Measures after the last stage do not say which domain did the harm. What the last domain of an order
did is in them in full, for nothing came after it: of a domain that never stood last it is missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from interfero.analysis.sequence.chains import Chain
from interfero.analysis.sequence.measures import SequenceSummary, SettingRow
from interfero.analysis.sequence.orders import (
    SequenceMean,
    Unit,
    corrected,
    mean_of_all,
    tried_text,
)
from interfero.metrics.continual import stage_harm


@dataclass(frozen=True)
class DomainHarm:
    """What the stage that learns a domain does to the domains met before it, source included."""

    domain: str
    values: Mapping[Unit, float]
    """By order and seed, in percent of the source codec's loss; positive is harm."""
    mean: SequenceMean
    places: tuple[int, ...]
    """At which it stood, the first after the source being 1."""

    @property
    def where(self) -> str:
        """`1, 3, 5`."""
        return ", ".join(map(str, self.places))

    def less(self, other: DomainHarm) -> SequenceMean | None:
        """Paired over the chains that learn both domains."""
        units = self.values.keys() & other.values.keys()
        return mean_of_all({unit: self.values[unit] - other.values[unit] for unit in units})


def domain_harms(chains: Iterable[Chain]) -> list[DomainHarm]:
    """Of each domain that chains of one setting learn, the most harmful first."""
    values: dict[str, dict[Unit, float]] = defaultdict(dict)
    places: dict[str, set[int]] = defaultdict(set)
    for chain in chains:
        harms = stage_harm(chain.percent)
        for place, (domain, harm) in enumerate(zip(chain.order, harms, strict=True), 1):
            values[domain][chain.order, chain.seed] = float(harm)
            places[domain].add(place)
    found = []
    for domain, own in sorted(values.items()):
        mean = mean_of_all(own)
        assert mean is not None
        found.append(DomainHarm(domain, own, mean, tuple(sorted(places[domain]))))
    return sorted(found, key=lambda harm: -harm.mean.value)


def harm_lines(summary: SequenceSummary) -> list[str]:
    """Which domain does most harm, of each method with one codec, against the next one.

    It is not corrected for how many domains there are: the two highest of several that are alike
    lie nearer to each other than any two named beforehand. It is for how many methods there are.
    """
    found = [(row, domain_harms(row.chains)) for row in summary.one_codec]
    found = [(row, harms) for row, harms in found if len(harms) > 1]
    each = corrected([harms[0].less(harms[1]) for _, harms in found])
    tried = tried_text(each, "methods")
    return [
        _line(row, harms[0], harms[1], difference, tried)
        for (row, harms), difference in zip(found, each, strict=True)
    ]


def _line(
    row: SettingRow,
    most: DomainHarm,
    second: DomainHarm,
    difference: SequenceMean | None,
    tried: str,
) -> str:
    name = row.setting.text
    if most.mean.value <= 0:
        return (
            f"{name}: on average the stage of no domain harms the domains met before it; nearest "
            f"to that is {most.domain}, {most.mean.text()}."
        )
    if difference is None:
        against = f"no chain learns both it and {second.domain}, the next one"
    else:
        against = (
            f"that of {second.domain}, the next one, is less by {difference.short} %, paired"
            f"{difference.doubt}{tried}"
        )
    known = difference is not None and difference.sign > 0
    does = (
        f"learning {most.domain} does most harm to the domains met before it,"
        if known
        else "which domain does most harm to those met before it is undecided: learning "
        f"{most.domain} does"
    )
    other = (
        f"; {most.domain} stood at {_place(most)}, {second.domain} at {_place(second)}, and the "
        "place may be the reason"
        if most.places != second.places
        else ""
    )
    return f"{name}: {does} {most.mean.text()}; {against}{other}."


def _place(harm: DomainHarm) -> str:
    return f"place{'s' * (len(harm.places) > 1)} {harm.where}"


def never_last(summary: SequenceSummary) -> list[str]:
    """Domains that are last in no order of the methods with one codec."""
    orders = {chain.order for row in summary.one_codec for chain in row.chains}
    domains = {domain for order in orders for domain in order}
    return sorted(domains - {order[-1] for order in orders})


def never_last_line(summary: SequenceSummary) -> str:
    """A warning that averages at the end depend on who stood there; empty where all domains did."""
    names = never_last(summary)
    if not names:
        return ""
    several = len(names) > 1
    listed = f"{', '.join(names[:-1])} and {names[-1]}" if several else names[0]
    return (
        f"{listed} {'are' if several else 'is'} never last in these orders: averages at the end do "
        f"not contain what {'each of them does' if several else 'it does'} as the last one."
    )
