"""Orders in which domains are met."""

import itertools
from collections import Counter

import pytest

from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.sequence.orders import MAX_ORDERS, list_orders
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


@pytest.mark.parametrize(
    ("count", "length", "said"),
    [
        (7, 0, "7 domains in sequences of 7 are 5,040 orders"),
        (13, 0, "13 domains in sequences of 13 are 6,227,020,800 orders"),
        (13, 3, "13 domains in sequences of 3 are 1,716 orders"),
        # Too long a number for Python to print.
        (2000, 0, "2000 domains in sequences of 2000 are about 10^5736 orders"),
    ],
)
def test_more_orders_than_can_be_trained_are_counted_and_not_made(monkeypatch, count, length, said):
    def made(*_):
        raise AssertionError("permutations of all domains take gigabytes")

    monkeypatch.setattr(itertools, "permutations", made)
    names = tuple(f"d{k}" for k in range(count))
    with pytest.raises(ConfigError) as refused:
        list_orders(names, ("given", "all"), length)
    assert f"--orders all: {said}" in str(refused.value)
    assert f"at most {MAX_ORDERS:,}" in str(refused.value)
    assert "take latin or balanced, or a shorter --length" in str(refused.value)


def test_as_many_orders_as_are_allowed_are_made():
    six = ("a", "b", "c", "d", "e", "f")
    assert len(list_orders(six, ("all",), 0)) == 720
    assert len(list_orders((*six, "g"), ("all",), 4)) == 840
    assert len(list_orders((*six, *"ghijklm"), ("latin",), 0)) == 13


@pytest.mark.parametrize(
    ("words", "length", "said"),
    [
        (("a>b", "c"), 0, "--orders 'a>b' and 'c' meet 2 domains and 1"),
        (("c", "a > b", "d,e"), 0, "--orders 'a>b' and 'c' meet 2 domains and 1"),
        (("a>b", "given"), 0, "--orders 'a>b>c>d>e' and 'a>b' meet 5 domains and 2"),
        (("a>b>c", "given"), 2, "--length 2 with --orders 'a>b>c', whose length is 3"),
        (("a", "c>a>b"), 3, "--length 3 with --orders 'a', whose length is 1"),
        (("a>b",), 5, "--length 5 with --orders 'a>b', whose length is 2"),
    ],
)
def test_orders_of_unequal_length_are_refused(words, length, said):
    with pytest.raises(ConfigError) as refused:
        list_orders(FIVE, words, length)
    assert said in str(refused.value)


def test_orders_of_one_length_are_taken_however_they_are_written():
    assert list_orders(FIVE, ("c > a", "given"), 2) == [("c", "a"), ("a", "b")]
    assert list_orders(FIVE, ("c > a", "b,a"), 0) == [("c", "a"), ("b", "a")]


def test_strategies_adapt_by_methods_that_there_are():
    assert {s.method for s in STRATEGIES.values()} <= set(METHOD_TABLE)
    assert {n for n, s in STRATEGIES.items() if s.rehearses} == {
        n for n, s in STRATEGIES.items() if METHOD_TABLE[s.method].trains_on == "both"
    }
