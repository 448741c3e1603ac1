"""What each kind of question is answered with: which sentences come first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from interfero.analysis.cells import Cells
from interfero.analysis.focus import budget_text, longest
from interfero.analysis.graded import graded_lines
from interfero.analysis.laws.scaling import Refusal, Scaling, fit_scaling
from interfero.analysis.laws.words import law_lines
from interfero.analysis.matched_gain import matched_lines
from interfero.analysis.parts import without_grey
from interfero.analysis.rd_curves import curve_lines
from interfero.analysis.trend_sentences import domain_lines, enough_lines, trend_lines
from interfero.analysis.trends import DomainShift, Trend, domain_shifts, trends
from interfero.records import CellRecord


class Findings:
    """What is computed from a sweep's cells, each once: laws take seconds."""

    def __init__(self, records: Sequence[CellRecord]) -> None:
        """Keep them.

        Args:
            records: All cells of a sweep, failed ones too.
        """
        self.records = Cells(records)

    @cached_property
    def laws(self) -> list[Scaling | Refusal]:
        """Of every method and response."""
        return fit_scaling(self.records)

    @property
    def _coloured(self) -> Cells:
        """What ranges are of, as means are: without grey domains."""
        return without_grey(self.records)

    @cached_property
    def by_images(self) -> list[Trend]:
        """Along image counts, of one budget."""
        return trends(longest(self._coloured), "num_images")

    @cached_property
    def by_lambda(self) -> list[Trend]:
        """Along lambdas, of one budget."""
        return trends(longest(self._coloured), "rd_lambda")

    @cached_property
    def by_steps(self) -> list[Trend]:
        """Along budgets."""
        return trends(self._coloured, "num_steps")

    @cached_property
    def by_domain(self) -> list[DomainShift]:
        """Over domains, of one budget."""
        return domain_shifts(longest(self.records))

    @cached_property
    def after(self) -> str:
        """`, after 1000 steps`, for what is of one budget; empty where there is no other."""
        text = budget_text(self.records)
        return f", {text}" if text else ""


@dataclass(frozen=True)
class Answer:
    """How one kind of question is answered."""

    sentences: Callable[[Findings], list[str]]
    """Come before those that every sweep prints; every number in them is computed from the cells."""
    figures: tuple[str, ...] = ()
    """Names of the figures that answer it, the first one first; others than the overview."""


def _image_sentences(found: Findings) -> list[str]:
    return [
        *trend_lines(found.by_images, found.after),
        *enough_lines(found.by_images, found.after),
        *trend_lines(found.by_steps),
    ]


def _map_sentences(found: Findings) -> list[str]:
    return [
        *law_lines(found.laws),
        *matched_lines(found.records),
        *trend_lines(found.by_images, found.after),
        *trend_lines(found.by_lambda, found.after),
        *trend_lines(found.by_steps),
        *(curve_lines(found.records) if found.by_lambda else []),
    ]


CAPACITY = Answer(lambda found: [])
"""Gain against adapter size: the sentences of every sweep answer it."""
DOMAIN_SHIFT = Answer(lambda f: domain_lines(f.by_domain, f.after), ("domain_shift",))
GRADED_SHIFT = Answer(
    lambda f: graded_lines(f.by_domain, f.after), ("graded_shift", "domain_shift")
)
IMAGE_COUNT = Answer(_image_sentences, ("image_count",))
TRAINING_BUDGET = Answer(
    lambda f: [*trend_lines(f.by_steps), *enough_lines(f.by_steps)], ("training_budget",)
)
BITRATE = Answer(
    lambda f: [*trend_lines(f.by_lambda, f.after), *curve_lines(f.records)], ("bitrate",)
)
INTERFERENCE_MAP = Answer(_map_sentences, ("image_count", "bitrate", "domain_shift"))

AnswerName = Literal[
    "capacity",
    "domain_shift",
    "graded_shift",
    "image_count",
    "training_budget",
    "bitrate",
    "interference_map",
]
ANSWERS: dict[AnswerName, Answer] = {
    "capacity": CAPACITY,
    "domain_shift": DOMAIN_SHIFT,
    "graded_shift": GRADED_SHIFT,
    "image_count": IMAGE_COUNT,
    "training_budget": TRAINING_BUDGET,
    "bitrate": BITRATE,
    "interference_map": INTERFERENCE_MAP,
}
"""By the name that a sweep gives."""


def answer_of(kind: str) -> Answer:
    """By the kind of an experiment, such as `image-count`; others have that of capacity."""
    return {name.replace("_", "-"): answer for name, answer in ANSWERS.items()}.get(kind, CAPACITY)
