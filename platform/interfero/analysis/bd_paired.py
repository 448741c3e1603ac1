"""One method's BD-rate less fine-tuning's, paired: over the same domains, image counts and data seeds.

Each side of a difference is the BD-rate of its adapted codecs against the source codecs, on the same test
images (`rd_curves`), at the size and strength that validation chose in each case. Data seeds are drawn again;
test images are not: intervals are over seeds only.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from interfero.analysis.capacity_table import places_text
from interfero.analysis.cells import Cells, once_for_cells
from interfero.analysis.choices import CONTROL, NAIVE, CellSetting, method_rank
from interfero.analysis.comparable import covered
from interfero.analysis.focus import longest
from interfero.analysis.laws.observations import Response
from interfero.analysis.paired import (
    PairedDifference,
    corrected,
    difference_sentence,
    of_seeds_only,
    with_interval,
)
from interfero.analysis.parts import without_grey
from interfero.analysis.rd_curves import SIDE_TITLES, SIDES, RdCurve, Side, chosen_curves, rd_curves
from interfero.metrics.bd_rate import BjontegaardDelta
from interfero.records import CellRecord

COMPARED: dict[Side, Response] = {
    side: Response(f"bd_rate_{side}", f"BD-rate, {SIDE_TITLES[side]} (%)", "", side, 1)
    for side in SIDES
}
_Unit = tuple[CellSetting, int]
"""A case and a data seed."""


@once_for_cells
def curve_differences(records: Iterable[CellRecord]) -> list[PairedDifference]:
    """Every method less fine-tuning in BD-rate on each side, where both have one; below 0 is better.

    Verdicts are corrected over methods (Holm), each side by itself.

    Args:
        records: Finished cells of one budget, without grey domains.
    """
    rates = _rates(chosen_curves(rd_curves(records)))
    methods = sorted({method for method, _ in rates} - {NAIVE, CONTROL}, key=method_rank)
    found: list[PairedDifference] = []
    for side, response in COMPARED.items():
        naive = rates.get((NAIVE, side), {})
        each = (_difference(m, rates.get((m, side), {}), naive, response) for m in methods)
        found += corrected([one for one in each if one is not None])
    return found


def curve_difference_lines(records: Iterable[CellRecord]) -> list[str]:
    """A sentence for each method that has BD-rates beside fine-tuning's."""
    found = curve_differences(longest(without_grey(Cells(records))))
    methods = dict.fromkeys(d.method for d in found)
    return [
        difference_sentence([d for d in found if d.method == method], len(methods))
        for method in methods
    ]


def _rates(curves: Sequence[RdCurve]) -> dict[tuple[str, Side], dict[_Unit, float]]:
    """BD-rates of the best size of each case, by method and side; initial seeds are averaged."""
    merits: dict[CellSetting, list[tuple[int, float]]] = defaultdict(list)
    values: dict[tuple[CellSetting, Side, int], list[float]] = defaultdict(list)
    for curve in curves:
        setting, (data_seed, _) = curve.key.setting, curve.key.seed
        if curve.side == "target" and curve.validation is not None:
            merits[setting].append((len(curve.points), curve.validation))
        if isinstance(curve.bd_rate, BjontegaardDelta):
            values[setting, curve.side, data_seed].append(curve.bd_rate.value)
    best: dict[tuple[CellSetting, str], CellSetting] = {}
    for setting, own in merits.items():
        case = setting.without_method, setting.method
        # A mean over other lambdas compares nothing: curves with more of them go first. A tie goes to the
        # smaller size, which comes first.
        if case not in best or _merit(own) > _merit(merits[best[case]]):
            best[case] = setting
    chosen = set(best.values())
    found: dict[tuple[str, Side], dict[_Unit, float]] = defaultdict(dict)
    for (setting, side, seed), rates in values.items():
        if setting in chosen:
            found[setting.method, side][setting.without_method, seed] = statistics.fmean(rates)
    return found


def _merit(own: Sequence[tuple[int, float]]) -> tuple[int, float]:
    """Points of the longest curve over seeds, and the mean validation of curves."""
    return max(points for points, _ in own), statistics.fmean(value for _, value in own)


def _difference(
    method: str, own: Mapping[_Unit, float], naive: Mapping[_Unit, float], response: Response
) -> PairedDifference | None:
    cases, seeds = covered(own.keys() & naive.keys())
    if not cases:
        return None
    order = sorted(cases, key=lambda case: case.order), sorted(seeds)
    plain = np.array([[own[c, s] - naive[c, s] for s in order[1]] for c in order[0]])
    places = places_text(order[0])
    return with_interval(method, NAIVE, response, plain, *of_seeds_only(plain), places)
