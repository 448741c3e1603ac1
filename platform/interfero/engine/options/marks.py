"""Marks on an option: its group in `--help`, and whether a resumed sweep may change it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Group:
    """A heading of `--help`."""

    title: str


@dataclass(frozen=True)
class Free:
    """The option decides no number: `--resume` may change it."""


FREE: Final = Free()
QUESTION: Final = Group("question")
TRAINING: Final = Group("training")
SEARCH: Final = Group("search")
KEPT: Final = Group("storage")
PLAN: Final = Group("planning")
MACHINE: Final = Group("machine")
