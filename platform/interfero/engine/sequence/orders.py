"""The orders that a sweep takes: few enough to be trained, and all of one length.

Apart from `strategies`, which is part of the training code: a rule about orders changes no cell's key.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from interfero.engine.sequence.strategies import WORDS, orders_of
from interfero.errors import ConfigError

MAX_ORDERS: Final = 1_000
"""Orders that `all` may stand for: six domains have 720, seven 5,040."""
_LONGEST_COUNT: Final = 10**15
"""Larger counts are rounded to a power of ten: Python refuses to print thousands of digits."""


def list_orders(names: Sequence[str], asked: Sequence[str], length: int) -> list[tuple[str, ...]]:
    """The orders in which a sweep meets domains, each once.

    Args:
        names: All domains.
        asked: Each of them a word of `WORDS`, or an order such as `text>charts`.
        length: Domains of every order, at most all; 0 is as many as an order spells out, else all.

    Raises:
        ConfigError: there are too many orders, or they differ in length; see also `orders_of`.
    """
    most = length or len(names)
    if "all" in asked:
        _refuse_many(len(names), most)
    found = orders_of(names, asked, most)
    if length:
        _refuse_other_length(found, length)
    _refuse_unequal(found)
    return found


def _refuse_many(num_domains: int, length: int) -> None:
    """Counted without making any: thirteen domains have six billion orders."""
    count = math.perm(num_domains, length)
    if count > MAX_ORDERS:
        raise ConfigError(
            f"--orders all: {num_domains} domains in sequences of {length} are {_count_text(count)} orders, "
            f"and a sweep takes at most {MAX_ORDERS:,}; take latin or balanced, or a shorter --length"
        )


def _count_text(count: int) -> str:
    return f"{count:,}" if count < _LONGEST_COUNT else f"about 10^{math.log10(count):.0f}"


def _refuse_other_length(orders: Sequence[tuple[str, ...]], length: int) -> None:
    for order in orders:
        if len(order) != length:
            raise ConfigError(
                f"--length {length} with --orders {_typed(order)}, whose length is {len(order)}: an order "
                f"that is spelled out has its own; leave --length out, or spell out orders of {length}"
            )


def _refuse_unequal(orders: Sequence[tuple[str, ...]]) -> None:
    """Analysis compares chains after their last stage, and would leave out the shorter ones."""
    longest, shortest = (pick(orders, key=len, default=()) for pick in (max, min))
    if len(shortest) < len(longest):
        raise ConfigError(
            f"--orders {_typed(longest)} and {_typed(shortest)} meet {len(longest)} domains and "
            f"{len(shortest)}: all orders of a sweep have one length, for they are compared after their last "
            f"stage; spell out as many domains in each (--length shortens {', '.join(WORDS)}), or run a "
            "sweep for each length"
        )


def _typed(order: Sequence[str]) -> str:
    return repr(">".join(order))
