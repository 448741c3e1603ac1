"""The base of every configuration."""

from functools import cached_property

import pytest
from pydantic import ValidationError

from interfero.config import Config


class Square(Config):
    side: int
    name: str = "square"

    @cached_property
    def area(self) -> int:
        return self.side**2


def test_a_changed_copy_computes_anew_what_was_remembered():
    square = Square(side=3)
    assert square.area == 9
    changed = square.model_copy(update={"side": 4})
    assert (changed.side, changed.area, changed.name) == (4, 16, "square")
    assert (square.side, square.area) == (3, 9)


def test_a_copy_is_equal_and_hashes_alike_whatever_was_remembered():
    square = Square(side=3)
    assert square.area == 9
    copy = square.model_copy()
    assert copy == square == Square(side=3)
    assert len({copy, square, Square(side=3)}) == 1
    assert copy.area == 9


def test_a_configuration_is_frozen_and_takes_no_other_field():
    with pytest.raises(ValidationError):
        Square(side=3).side = 4
    with pytest.raises(ValidationError):
        Square(side=3, colour="red")
