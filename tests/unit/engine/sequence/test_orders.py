"""Orders in which domains are met."""

import itertools
from collections import Counter

import pytest

from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.sequence.strategies import STRATEGIES, balanced_square, orders_of
from interfero.errors import ConfigError

FIVE = ("a", "b", "c", "d", "e")


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (2, 2), (3, 6), (4, 4), (5, 10)])
def test_a_square_is_balanced(count, rows):
    square = balanced_square(FIVE[:count])
    assert len(square) == rows
    places = Counter((place, name) for row in square for place, name in enumerate(row))
    assert len(places) == count**2
    assert len(set(places.values())) == 1
    followed = Counter(pair for row in square for pair in itertools.pairwise(row))
    assert len(followed) == count * (count - 1)
    assert len(set(followed.values())) <= 1


def test_orders_are_all_a_square_one_or_spelled_out():
    assert len(orders_of(FIVE[:3], ("all",), 3)) == 6
    assert len(orders_of(FIVE, ("all",), 2)) == 20
    assert len(orders_of(FIVE, ("balanced",), 5)) == 10
    square = orders_of(FIVE, ("latin",), 5)
    assert {(place, name) for row in square for place, name in enumerate(row)} == set(
        itertools.product(range(5), FIVE)
    )
    assert len(square) == 5
    assert orders_of(FIVE, ("given",), 3) == [("a", "b", "c")]
    assert orders_of(FIVE, ("c > a", "given", "c,a"), 2) == [("c", "a"), ("a", "b")]


@pytest.mark.parametrize(
    ("word", "said"), [("a>x", "'x' is no domain"), ("a>b>a", "meets one domain twice")]
)
def test_orders_that_cannot_be(word, said):
    with pytest.raises(ConfigError, match=said):
        orders_of(FIVE, (word,), 3)


def test_strategies_adapt_by_methods_that_there_are():
    assert {s.method for s in STRATEGIES.values()} <= set(METHOD_TABLE)
    assert {n for n, s in STRATEGIES.items() if s.rehearses} == {
        n for n, s in STRATEGIES.items() if METHOD_TABLE[s.method].trains_on == "both"
    }
