"""One method less fine-tuning at one and the same gain: what each forgets there, paired, with an interval.

Both are subtracted within each domain, lambda, image count and data seed in which both reach a share of
fine-tuning's best validation gain (`matched_gain`). Which cells are interpolated, and
how, is validation's choice and is kept; data seeds, and test images, are drawn again, the same for both
(`laws.resampling`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from interfero.analysis.capacity_table import places_text
from interfero.analysis.cells import Cells, FloatArray, once_for_cells
from interfero.analysis.choices import NAIVE, Case
from interfero.analysis.comparable import covered
from interfero.analysis.focus import in_focus
from interfero.analysis.laws.observations import RESPONSES, Response, sums_by_image
from interfero.analysis.matched_gain import Matched, MatchedRow, at_share, matched_rows
from interfero.analysis.paired import (
    PairedDifference,
    Scores,
    Strata,
    corrected,
    difference_sentence,
    of_seeds_only,
    with_interval,
)
from interfero.analysis.parts import without_grey
from interfero.records import CellRecord

FORGETTING = ("forgetting", "forgetting_unrouted")
"""Responses that are compared; `Matched` has them by these names."""
_Pair = tuple[Matched, Matched]
"""The method, and fine-tuning."""


@once_for_cells
def matched_differences(records: Iterable[CellRecord], share: float) -> list[PairedDifference]:
    """Every method less fine-tuning in forgetting, at a share of fine-tuning's best validation gain.

    Methods that nowhere reach that gain together with fine-tuning are left out. Verdicts are corrected over
    the others (Holm).

    Args:
        records: Finished cells.
        share: Of fine-tuning's best validation gain in the same case.
    """
    rows = {row.method: row for row in matched_rows(records, (share,))}
    naive = rows.pop(NAIVE, None)
    if naive is None:
        return []
    found: list[PairedDifference] = []
    for name in FORGETTING:
        each = (_difference(row, naive, RESPONSES[name]) for row in rows.values())
        found += corrected([one for one in each if one is not None])
    return found


def matched_difference_lines(records: Iterable[CellRecord], share: float = 0.5) -> list[str]:
    """A sentence for each method that reaches the share together with fine-tuning."""
    found = matched_differences(in_focus(without_grey(Cells(records))), share)
    methods = dict.fromkeys(d.method for d in found)
    where = f", both {at_share(share)[0].lower()}{at_share(share)[1:]}"
    return [
        difference_sentence([d for d in found if d.method == method], len(methods), where)
        for method in methods
    ]


def _difference(row: MatchedRow, naive: MatchedRow, response: Response) -> PairedDifference | None:
    of_naive = dict(naive.found)
    pairs = {case: (own, of_naive[case]) for case, own in row.found if case in of_naive}
    cases, seeds = covered((_setting(case), case.data_seed) for case in pairs)
    if not cases:
        return None
    order = sorted(cases), sorted(seeds)
    block = [[pairs[replace(c, data_seed=seed)] for seed in order[1]] for c in order[0]]
    plain = np.array([[_less(pair, response) for pair in line] for line in block])
    scores, strata = _scores(block, [case.domain for case in order[0]], response, plain)
    places = places_text(order[0])
    return with_interval(row.method, NAIVE, response, plain, scores, strata, places)


def _setting(case: Case) -> Case:
    """A case of any seed."""
    return replace(case, data_seed=0)


def _less(pair: _Pair, response: Response) -> float:
    own, other = (float(getattr(side, response.name)) for side in pair)
    return own - other


def _scores(
    block: Sequence[Sequence[_Pair]], domains: Sequence[str], response: Response, plain: FloatArray
) -> tuple[Scores, Strata]:
    """Differences as (draws, cases, seeds) of how often each test image counts; and the images' domains."""
    joined: list[tuple[tuple[int, int, int], float]] = []
    cells: list[tuple[tuple[int, ...], str, CellRecord]] = []
    for case, (line, domain) in enumerate(zip(block, domains, strict=True)):
        for seed, pair in enumerate(line):
            for side, matched in enumerate(pair):
                for cell, weight in matched.parts:
                    cells.append(((len(joined),), domain, cell))
                    joined.append(((side, case, seed), weight))
    sums = sums_by_image(cells, (len(joined),), response)
    if sums is None:
        # Records of an earlier version lack the images: seeds alone are drawn.
        return of_seeds_only(plain)
    losses, names, _ = sums
    # (sides x cases x seeds, cells): logarithms of losses are joined by validation's weights.
    joins = np.zeros((2 * plain.size, len(joined)))
    for column, (place, weight) in enumerate(joined):
        joins[np.ravel_multi_index(place, (2, *plain.shape)), column] = weight

    def scores(weights: FloatArray) -> FloatArray:
        drawn = losses @ weights.T
        percents: FloatArray = 100.0 * response.sign * (drawn[:, 1] / drawn[:, 0] - 1.0)
        percent = response.percent(joins @ response.log_points(percents)).reshape(
            2, *plain.shape, len(weights)
        )
        return np.moveaxis(percent[0] - percent[1], -1, 0)

    return scores, np.unique(names, return_inverse=True)[1]
