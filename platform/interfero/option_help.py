"""How `--help` says what an option's default is: once, in words where no value says it."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeVar

import tyro

T = TypeVar("T")
SAID: Final[Any] = tyro.conf.arg(help_behavior_hint="")
"""A mark of options that are None or empty by default: their text says what that means."""


def default_in_words(words: str) -> Any:
    """A mark of an option that is None or empty by default: what that means, in place of the value."""
    return tyro.conf.arg(help_behavior_hint=f"(default: {words})")


Said = Annotated[T, SAID]
"""Type of such an option of a command."""
