"""What may be averaged and compared: results that share everything but what is compared.

Domains differ more than anything that is swept. A mean over the domains that happen to have 20 training
images next to one over those that have 51 is a comparison of domains.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from itertools import combinations
from typing import TypeVar

Unit = TypeVar("Unit", bound=Hashable)
Place = TypeVar("Place", bound=Hashable)

MAX_PATTERNS = 80
"""Different sets of places whose intersections are tried: designs have a handful."""


def comparable(
    coverage: Mapping[Unit, Collection[Place]],
    allowed: Callable[[frozenset[Place]], bool] = lambda places: len(places) > 1,
) -> tuple[frozenset[Unit], frozenset[Place]]:
    """The largest block of units and places in which every unit has a result at every place.

    Means over these units can be compared between these places, and no others.

    Args:
        coverage: Where each unit has results; a unit is all that two compared results share, such as a
            domain, a lambda and a seed.
        allowed: Whether places are worth comparing; two of them, if not told otherwise.

    Returns:
        Units and places; both empty where nothing can be compared.
    """
    patterns = {unit: frozenset(places) for unit, places in coverage.items()}
    distinct = sorted(dict.fromkeys(patterns.values()), key=len, reverse=True)
    few = distinct[:MAX_PATTERNS]
    tried = dict.fromkeys([*distinct, *(a & b for a, b in combinations(few, 2))])
    best: tuple[frozenset[Unit], frozenset[Place]] = frozenset(), frozenset()
    for places in tried:
        if not allowed(places):
            continue
        units = frozenset(u for u, own in patterns.items() if places <= own)
        if (_size(units, places), len(places)) > (_size(*best), len(best[1])):
            best = units, places
    return best


def covered(pairs: Iterable[tuple[Unit, Place]]) -> tuple[frozenset[Unit], frozenset[Place]]:
    """The same of each unit with each place that it has a result at; one place is enough."""
    coverage: dict[Unit, set[Place]] = defaultdict(set)
    for unit, place in pairs:
        coverage[unit].add(place)
    return comparable(coverage, bool)


def _size(units: Collection[object], places: Collection[object]) -> int:
    return len(units) * len(places)
