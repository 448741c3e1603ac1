"""The Pareto front of each case: gain against forgetting, marks as large as their parameters."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from interfero.analysis.capacity_table import signed
from interfero.analysis.charts.capacity import case_text
from interfero.analysis.charts.data import Figure, Panel, PlotAxis, PlotPoint, Series, Variant
from interfero.analysis.charts.files import file_part
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import CellSetting, setting_of
from interfero.analysis.grouping import grouped
from interfero.analysis.pareto import Front
from interfero.metrics.names import (
    GAIN,
    NUM_PARAMS,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord

PANELS = (
    ("Validation: what fronts are made of", VALIDATION_GAIN, VALIDATION_UNROUTED),
    ("Test: the same cells", GAIN, UNROUTED),
)
DIAMETERS = (0.6, 1.8)
"""For the fewest and for the most parameters; between them it grows with their logarithm."""
FRONT = "front, whatever the parameters"


def front_figure(fronts: Sequence[Front]) -> Figure | None:
    """What target gain costs on the source, among cells that no other beats in everything.

    Left on validation, which decides; right the same cells on test. A variant a case but for the data
    seed, with one front a data seed. The line is the front in gain and forgetting alone: a member off the
    line has fewer parameters than those on it.
    """
    # Cases are in order, and so are the rows.
    rows = grouped(fronts, lambda front: setting_of(front.cells[0]).without_method)
    if not rows:
        return None
    sizes = [cell.metrics[NUM_PARAMS] for front in fronts for cell in front.cells]
    diameter = _diameters(sizes)
    seen: Counter[str] = Counter()
    variants = []
    for case, here in rows.items():
        variants.append(
            Variant(
                choice=(case.domain, case_text(case, rows)),
                panels=tuple(_panel(here, *panel, diameter) for panel in PANELS),
                caption=_caption(case, here),
                file=file_part("pareto", case.domain, index=seen[case.domain]),
            )
        )
        seen[case.domain] += 1
    return Figure(
        name="pareto",
        title="Pareto fronts of gain, unrouted forgetting and parameters",
        selectors=("domain", "at"),
        variants=tuple(variants),
        note="Faint marks are cells on no front. Marks grow with the trained parameters, "
        f"{_count(min(sizes))} "
        f"to {_count(max(sizes))}.",
    )


def _panel(
    fronts: Sequence[Front], title: str, gain: str, forgetting: str,
    diameter: Callable[[CellRecord], float],
) -> Panel:  # fmt: skip
    points: dict[str, list[PlotPoint]] = defaultdict(list)
    series = []
    for front in fronts:
        members = {member.key for member in front.members}
        for cell in front.cells:
            if {gain, forgetting} <= cell.metrics.keys():
                on_front = cell.key in members
                point = _point(cell, gain, forgetting, diameter(cell), on_front=on_front)
                points[str(cell.params["method"])].append(point)
        if gain == VALIDATION_GAIN:
            outline = tuple(
                PlotPoint(c.metrics[gain], c.metrics[forgetting], ("front",)) for c in front.outline
            )
            series.append(Series(FRONT, "@soft", "", outline, line=True, steps=True))
    for method, own in sorted(points.items()):
        series.append(method_style(method).series(method_label(method), own))
    return Panel(
        title,
        PlotAxis("target RD gain (%)", "percent"),
        PlotAxis("unrouted source forgetting (%)", "percent"),
        tuple(series),
    )


def _point(
    cell: CellRecord, gain: str, forgetting: str, size: float, *, on_front: bool
) -> PlotPoint:
    p = cell.params
    lines = (
        f"{p['method']} {p['adapter_size'] or ''}".strip() + f" on {p['domain']}",
        f"gain {signed(cell.metrics[gain])} %, forgetting {signed(cell.metrics[forgetting])} %",
        f"{_count(cell.metrics[NUM_PARAMS])}; seed {p['data_seed']}/{p['init_seed']}; cell {cell.key}",
    )
    return PlotPoint(
        cell.metrics[gain], cell.metrics[forgetting], lines, faint=not on_front, size=size
    )


def _diameters(counts: Sequence[float]) -> Callable[[CellRecord], float]:
    """The mark of a cell by its live trained parameters."""
    logs = [math.log(max(1.0, count)) for count in counts]
    low, high = min(logs), max(logs)
    small, large = DIAMETERS

    def diameter(cell: CellRecord) -> float:
        if high == low:
            return (small + large) / 2
        share = (math.log(max(1.0, cell.metrics[NUM_PARAMS])) - low) / (high - low)
        return small + share * (large - small)

    return diameter


def _caption(case: CellSetting, fronts: Sequence[Front]) -> str:
    members = sum(len(front.members) for front in fronts)
    cells = sum(len(front.cells) for front in fronts)
    where = f"lambda {case.rd_lambda:g}, with {case.num_images_text} and {case.num_steps} steps"
    text = f"On {case.domain} at {where}, {members} of {cells} finished cells are on a front"
    text += f", one for each of {len(fronts)} data seeds" if len(fronts) > 1 else ""
    limit = fronts[0].max_forgetting
    return text + ("." if limit is None else f"; each forgets {limit:g} % at most when routed.")


def _count(count: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit} parameters"
    return f"{count:.0f} parameters"
