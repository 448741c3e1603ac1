"""Gain and forgetting of each method over any two axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from interfero.analysis.axes import AXES
from interfero.analysis.charts.data import Figure, MapPanel, PlotAxis, Tile, Variant
from interfero.analysis.charts.files import file_name
from interfero.analysis.choices import CONTROL
from interfero.analysis.focus import LAMBDAS_NOTE
from interfero.analysis.maps import Map, Place, cell_table, default_axes, maps_of
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

TITLES = {
    GAIN: "Target gain (%)",
    ROUTED: "Source forgetting, routed (%)",
    UNROUTED: "Source forgetting, unrouted (%)",
}
MAX_MAPS = 400
"""Of one report: a page of that many still opens at once."""


def map_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method has two axes that vary."""
    table = cell_table(records)
    variants: list[Variant] = []
    for method, cells in table.groupby("method") if len(table) else ():
        if method == CONTROL:
            continue
        first = default_axes(cells)
        # Two measures of one distance: a domain has one place in each, and the map is a diagonal.
        pairs = [
            p for p in combinations(_varying(cells), 2) if not all(AXES[n].by_domain for n in p)
        ]
        pairs.sort(key=lambda pair: (pair != first, pair))
        for pair in pairs:
            maps = maps_of(cells, str(method), pair)
            # In a design that is no grid, an axis may vary at other budgets or lambdas alone.
            varies = maps and min(len(maps[0].x_names), len(maps[0].y_names)) > 1
            if varies and len(variants) < MAX_MAPS:
                file = file_name("map", method) if pair == first else ""
                variants.append(_variant(str(method), pair, maps, file))
    if not variants:
        return None
    return Figure(
        name="maps",
        title="Gain and forgetting over two axes",
        selectors=("method", "axes"),
        variants=tuple(variants),
        note="Grey, -: no result. Grey, ≠: only results of other domains, settings or seeds than the rest of "
        "the map has, which would be no comparison.",
    )


def _varying(cells: pd.DataFrame) -> list[str]:
    """Axes of which the cells have several levels, in the order of `AXES`."""
    found = [name for name in AXES if cells[f"axis:{name}"].nunique() > 1]
    # One adapter size has one share of parameters: the map of both would be a diagonal.
    return [name for name in found if name != "adapter_size" or "adapter_fraction" not in found]


def _variant(method: str, pair: tuple[str, str], maps: Sequence[Map], file: str) -> Variant:
    first = maps[0]
    shown = [m for m in maps if m.refused or not _is_constant(m)] or list(maps)
    same = [f"{TITLES[m.metric]} is 0 everywhere" for m in maps if m not in shown]
    facts = [f"{method} over {first.x.word} and {first.y.word}", first.rest, first.left_out, *same]
    facts += [LAMBDAS_NOTE] if "rd_lambda" in pair else []
    if first.refused:
        shown = [first]
    return Variant(
        choice=(method, f"{AXES[pair[0]].word} and {AXES[pair[1]].word}"),
        panels=tuple(_panel(m) for m in shown),
        caption="; ".join(fact for fact in facts if fact) + ".",
        file=file,
    )


def _is_constant(drawn: Map) -> bool:
    """Whether all it has to say is zero: routed forgetting of what detaches."""
    return all(p.value == 0 for row in drawn.places for p in row if p.value is not None)


def _panel(drawn: Map) -> MapPanel:
    return MapPanel(
        title=TITLES[drawn.metric],
        x=PlotAxis(drawn.x.title, "names", drawn.x_names),
        y=PlotAxis(drawn.y.title, "names", drawn.y_names),
        tiles=tuple(
            _tile(drawn, x, y, place)
            for y, row in enumerate(drawn.places)
            for x, place in enumerate(row)
        ),
        empty=drawn.refused,
    )


def _tile(drawn: Map, x: int, y: int, place: Place) -> Tile:
    names = (name.replace("\n", " ") for name in (drawn.x_names[x], drawn.y_names[y]))
    where = f"{drawn.x.word} {next(names)}, {drawn.y.word} {next(names)}"
    if place.value is None and place.num_cells:
        why = (
            f"{place.num_cells} results, of other domains, settings or seeds than the other places"
        )
        return Tile(x, y, None, "≠", (where, why))
    if place.value is None:
        return Tile(x, y, None, "-", (where, "no result"))
    text = (where, f"{place.value:+.2f} %", drawn.rest)
    return Tile(x, y, place.value, _number(place.value), text)


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value:+.{digits}f}"
