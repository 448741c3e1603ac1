"""Marks on an option: its group in `--help`, and whether a resumed sweep may change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class OptionGroup:
    """A heading of `--help`."""

    title: str


@dataclass(frozen=True)
class Free:
    """The option does not affect results: `--resume` may change it."""


@dataclass(frozen=True)
class Hidden:
    """The option is accepted but not in `--help`: tools pass it to every sweep, also to those without it."""


@dataclass(frozen=True)
class Unset:
    """What `--help` says is the default of an option that a sweep leaves empty."""

    words: str


FREE: Final = Free()
HIDDEN: Final = Hidden()
QUESTION: Final = OptionGroup("question")
TRAINING: Final = OptionGroup("training")
SEARCH: Final = OptionGroup("search")
KEPT: Final = OptionGroup("storage")
PLAN: Final = OptionGroup("planning")
MACHINE: Final = OptionGroup("machine")
