"""One method less another, paired: over the same cases, data seeds and test images, with an interval.

A difference of two means whose intervals overlap may be certain, and one whose intervals do not may be the
domains that each happened to have. So methods are subtracted within each domain, lambda, image count and data
seed, and what varies in a difference is drawn again: data seeds, and test images, the same for both methods
(`laws.resampling`). A difference is decided if its probability, corrected over all methods that are compared
with the same other one (Holm, 1979), is below 5 %; else the answer is "undecided".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from interfero.analysis.capacity_table import places_text, signed
from interfero.analysis.cells import once_for_cells
from interfero.analysis.choices import (
    CONTROL,
    NAIVE,
    CellSetting,
    Choice,
    best_sizes,
    by_data_seed,
    choose_learning_rates,
    methods_of,
    seed_of,
)
from interfero.analysis.comparable import covered
from interfero.analysis.laws.observations import RESPONSES, Response, sums_by_image
from interfero.analysis.laws.resampling import (
    LEVEL,
    half_width,
    holm_of_known,
    probability,
    score_parts,
)
from interfero.metrics.names import SOURCE_BYTES
from interfero.records import CellRecord

FloatArray = npt.NDArray[np.float64]
Strata = npt.NDArray[np.int64]
Scores = Callable[[FloatArray], FloatArray]
"""From (draws, groups), how often each source image counts, to (draws, cases, seeds) differences."""
_Unit = tuple[CellSetting, int]
"""A case and a data seed."""


@dataclass(frozen=True)
class PairedDifference:
    """A method less another."""

    method: str
    other: str
    response: Response
    value: float
    """Median over cases, percentage points of the loss before: one that went astray is not all there is."""
    half_width: float | None
    """Of the 95 % interval; None with one data seed."""
    probability: float | None
    """That chance gives as much, corrected over methods."""
    num_cases: int
    num_seeds: int
    over: str
    """What the interval is over."""
    places: str = ""
    """What the cases are, counted."""
    num_compared: int = 1
    """Methods that are compared with the same other one, for which the probability is corrected."""
    at_its_rate: bool = False
    """Whether the control is that at the method's own learning rates, not at the one that harms least."""

    @property
    def why_undecided(self) -> str:
        """` by Holm's correction`, where the interval by itself leaves zero out; else empty."""
        zero_outside = self.half_width is not None and abs(self.value) > self.half_width
        if self.verdict != "undecided" or not zero_outside:
            return ""
        return " by Holm's correction"

    @property
    def verdict(self) -> Literal["more", "less", "equal", "undecided"]:
        """`equal` only where both are the same in every cell."""
        if self.value == 0 and self.half_width == 0:
            return "equal"
        if self.probability is None or self.probability > 1 - LEVEL:
            return "undecided"
        return "more" if self.value > 0 else "less"

    @property
    def text(self) -> str:
        """`-1.31 (-2.20 to -0.42): less`."""
        if self.half_width is None:
            return f"{signed(self.value)}: undecided (one seed)"
        low, high = self.value - self.half_width, self.value + self.half_width
        return f"{signed(self.value)} ({signed(low)} to {signed(high)}): {self.verdict}{self.why_undecided}"


@once_for_cells
def differences(records: Iterable[CellRecord]) -> list[PairedDifference]:
    """Every method less fine-tuning and less the control, in gain and forgetting, where there are pairs.

    A method has the size and strength that validation chose in each case. One that trains the codec's own
    parameters is set against the control at its own learning rate, which decides how much such training
    forgets; one that keeps them, against the control at the rate that harms least.
    """
    best = best_sizes(choose_learning_rates(records))
    methods = [m for m in methods_of(best) if m != CONTROL]
    found: list[PairedDifference] = []
    for response in RESPONSES.values():
        for other in (NAIVE, CONTROL):
            each = (_difference(m, other, best, response) for m in methods if m != other)
            found += corrected([pair for pair in each if pair is not None])
    return found


def difference_lines(records: Iterable[CellRecord], method: str) -> list[str]:
    """A sentence for each that a method is compared with."""
    found = differences(records)
    lines = []
    for other in dict.fromkeys(d.other for d in found if d.method == method):
        own = [d for d in found if (d.method, d.other) == (method, other)]
        family = len({d.method for d in found if d.other == other})
        lines.append(difference_sentence(own, family))
    return lines


def difference_sentence(own: Sequence[PairedDifference], family: int, where: str = "") -> str:
    """What a method and another differ in.

    Args:
        own: Of these two, a response each.
        family: Methods that are compared with the same other one.
        where: What else both have in common.
    """
    parts = [f"{d.response.title.removesuffix(' (%)')} {d.text}" for d in own]
    over = f"{own[0].num_seeds} seeds, intervals over {intervals_over(own)}"
    if own[0].num_seeds == 1:
        over = "one seed"
    corrected_over = f"; verdicts corrected over {family} methods" if family > 1 else ""
    places = f"median over {own[0].places}" if own[0].num_cases > 1 else f"in {own[0].places}"
    at = " at the same learning rate" if own[0].at_its_rate else where
    return (
        f"{own[0].method} minus {own[0].other}{at}, in percentage points, paired, {places} "
        f"({over}{corrected_over}): {'; '.join(parts)}."
    )


def intervals_over(found: Sequence[PairedDifference]) -> str:
    """What intervals are over: said once, or of each response where they differ; empty without intervals."""
    titles: dict[str, list[str]] = {}
    for difference in found:
        if difference.over:
            titles.setdefault(difference.over, []).append(
                difference.response.title.removesuffix(" (%)")
            )
    if len(titles) < 2:
        return next(iter(titles), "")
    return "; ".join(f"{over} ({' and '.join(own)})" for over, own in titles.items())


def _mean(cells: Sequence[CellRecord], response: Response) -> float:
    return float(np.mean([cell.metrics[response.metric] for cell in cells]))


def corrected(found: Sequence[PairedDifference]) -> list[PairedDifference]:
    """The same with probabilities corrected for how many there are (Holm)."""
    chances = holm_of_known([d.probability for d in found])
    count = sum(chance is not None for chance in chances)
    return [
        d if chance is None else replace(d, probability=chance, num_compared=count)
        for d, chance in zip(found, chances, strict=True)
    ]


def _difference(
    method: str, other: str, best: Sequence[Choice], response: Response
) -> PairedDifference | None:
    own = [c for c in best if c.setting.method == method]
    of_other = {c.setting.without_method: c for c in best if c.setting.method == other}
    pairs: dict[_Unit, tuple[list[CellRecord], list[CellRecord]]] = {}
    for choice in own:
        against = of_other.get(choice.setting.without_method)
        if against is not None:
            pairs |= _pairs(choice, against, response.metric)
    cases, seeds = covered(pairs)
    if not cases:
        return None
    order = sorted(cases, key=lambda c: c.order), sorted(seeds)
    block = [[pairs[case, seed] for seed in order[1]] for case in order[0]]
    found = _measured(method, other, block, [c.domain for c in order[0]], response)
    at_its_rate = other == CONTROL and not any(map(_keeps_source, own))
    return replace(found, places=places_text(order[0]), at_its_rate=at_its_rate)


def _keeps_source(choice: Choice) -> bool:
    """Whether the source codec's parameters stay what they are beside an adapter."""
    return any(SOURCE_BYTES in pick.cell.metrics for pick in choice.picks)


def _pairs(
    choice: Choice, against: Choice, metric: str
) -> dict[_Unit, tuple[list[CellRecord], list[CellRecord]]]:
    """Cells of both by data seed; initial seeds of one data seed share its images and are averaged."""
    # One that diverged would be all that a mean of differences tells; it is counted beside them.
    own, other = (
        by_data_seed(p.cell for p in one.picks if p.cell.key not in one.diverged)
        for one in (choice, against)
    )
    if against.setting.method == CONTROL and not _keeps_source(choice):
        rates = {seed: {c.params["learning_rate"] for c in cells} for seed, cells in own.items()}
        other = by_data_seed(
            cell
            for point in against.grid
            for cell in point.cells
            if point.learning_rate in rates.get(seed_of(cell)[0], ())
        )
    return {
        (choice.setting.without_method, seed): (cells, other[seed])
        for seed, cells in own.items()
        if other.get(seed) and all(metric in c.metrics for c in (*cells, *other[seed]))
    }


def _measured(
    method: str,
    other: str,
    block: Sequence[Sequence[tuple[list[CellRecord], list[CellRecord]]]],
    domains: Sequence[str],
    response: Response,
) -> PairedDifference:
    plain = np.array(
        [[_mean(pair[0], response) - _mean(pair[1], response) for pair in row] for row in block]
    )
    cells = (
        ((side, case, seed), domain, cell)
        for case, (row, domain) in enumerate(zip(block, domains, strict=True))
        for seed, pair in enumerate(row)
        for side, own in enumerate(pair)
        for cell in own
    )
    sums = sums_by_image(cells, (2, *plain.shape), response)
    losses, names, _ = sums if sums is not None else (np.zeros(0), [], True)
    strata = np.unique(names, return_inverse=True)[1]

    def scores(weights: FloatArray) -> FloatArray:
        if sums is None:
            return np.broadcast_to(plain, (len(weights), *plain.shape))
        return _scores(losses @ weights.T, response)

    return with_interval(method, other, response, plain, scores, strata)


def of_seeds_only(plain: FloatArray) -> tuple[Scores, Strata]:
    """Scores and strata of (cases, seeds) differences without images: none are drawn."""

    def scores(weights: FloatArray) -> FloatArray:
        return np.broadcast_to(plain, (len(weights), *plain.shape))

    return scores, np.zeros(0, dtype=np.int64)


def with_interval(
    method: str, other: str, response: Response, plain: FloatArray, scores: Scores, strata: Strata,
    places: str = "",
) -> PairedDifference:  # fmt: skip
    """The median over cases of the mean over seeds, with its interval and its uncorrected probability.

    Args:
        method: Less `other`.
        other: What is subtracted.
        response: Of what.
        plain: (cases, seeds) differences, percentage points.
        scores: The same where test images are drawn again.
        strata: (groups,): the domain of a source image.
        places: What the cases are, counted.
    """
    value, (num_cases, num_seeds) = float(np.median(plain.mean(axis=1))), plain.shape
    if num_seeds < 2:
        return PairedDifference(
            method, other, response, value, None, None, num_cases, 1, "", places
        )
    parts = score_parts(scores, strata)
    variances = [(part.variance_of(np.median(part.params, axis=1)), part.degrees) for part in parts]
    over = "seeds and test images" if len(parts) > 1 else "seeds only"
    half, chance = half_width(variances), probability(value, variances)
    return PairedDifference(
        method, other, response, value, half, chance, num_cases, num_seeds, over, places
    )


def _scores(losses: FloatArray, response: Response) -> FloatArray:
    """(draws, cases, seeds) differences from (sides, cases, seeds, before and after, draws) losses."""
    percent = 100 * response.sign * (losses[..., 1, :] / losses[..., 0, :] - 1)
    return np.moveaxis(percent[0] - percent[1], -1, 0)
