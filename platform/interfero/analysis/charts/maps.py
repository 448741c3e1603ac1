"""Gain and forgetting of each method over any two axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import pandas as pd

from interfero.analysis.axes import AXES
from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import (
    MAX_HOVER_LINES,
    Figure,
    MapPanel,
    PlotAxis,
    Tile,
    Variant,
)
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
_DIVERGED = ("diverged", "div.")
"""What stands in a place whose results all diverged: the word, or its beginning where places are narrow."""
MAX_WORDS = 4
"""Places of a row that have room for the word."""
MAX_MAPS = 400
"""Of one report: a page of that many still opens at once."""


def map_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method has two axes that vary; the first map is one that can be compared, if any can."""
    table = cell_table(records)
    variants: list[Variant] = []
    for method, cells in table.groupby("method") if len(table) else ():
        if method != CONTROL:
            variants += _variants(str(method), cells)[: MAX_MAPS - len(variants)]
    if not variants:
        return None
    note = (
        "Grey, -: no result. Grey, ≠: only results of other domains, settings or seeds than the rest of "
        "the map has, which would be no comparison."
    )
    texts = {t.text for v in variants for p in v.panels if isinstance(p, MapPanel) for t in p.tiles}
    words = " or ".join(word for word in _DIVERGED if word in texts)
    return Figure(
        name="maps",
        title="Gain and forgetting over two axes",
        selectors=("method", "axes"),
        variants=tuple(variants),
        note=note + (f" Grey, {words}: every result diverged." if words else ""),
        start=next((i for i, v in enumerate(variants) if not any(p.empty for p in v.panels)), 0),
    )


def _variants(method: str, cells: pd.DataFrame) -> list[Variant]:
    """Of each pair of axes; those that can be compared first, of these the usual one."""
    first = default_axes(cells)
    # Two measures of one distance: a domain has one place in each, and the map is a diagonal.
    pairs = [p for p in combinations(_varying(cells), 2) if not all(AXES[n].by_domain for n in p)]
    found = [(pair, maps) for pair in pairs if (maps := maps_of(cells, method, pair))]
    # In a design that is no grid, an axis may vary at other budgets or lambdas alone.
    found = [(p, maps) for p, maps in found if min(len(maps[0].x_names), len(maps[0].y_names)) > 1]
    found.sort(key=lambda own: (bool(own[1][0].refused), own[0] != first, own[0]))
    file = file_name("map", method) if first else ""
    return [_variant(method, *own, "" if index else file) for index, own in enumerate(found)]


def _varying(cells: pd.DataFrame) -> list[str]:
    """Axes of which the cells have several levels, in the order of `AXES`."""
    found = [name for name in AXES if cells[f"axis:{name}"].nunique() > 1]
    # One adapter size has one share of parameters: the map of both would be a diagonal.
    return [name for name in found if name != "adapter_size" or "adapter_fraction" not in found]


def _variant(method: str, pair: tuple[str, str], maps: Sequence[Map], file: str) -> Variant:
    first = maps[0]
    shown = [m for m in maps if m.refused or not _is_constant(m)] or list(maps)
    facts = [f"{method} over {first.x.word} and {first.y.word}", first.rest, first.left_out]
    said = ["; ".join(fact for fact in facts if fact)]
    said += [first.astray] if first.astray else []
    said += [f"{TITLES[m.metric]} is 0 everywhere" for m in maps if m not in shown]
    said += [LAMBDAS_NOTE] if "rd_lambda" in pair and not first.refused else []
    if first.refused:
        shown, file = [first], ""  # A picture of words alone is none.
    return Variant(
        choice=(method, f"{AXES[pair[0]].word} and {AXES[pair[1]].word}"),
        panels=tuple(_panel(m) for m in shown),
        caption=". ".join(said) + ".",
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
    if place.all_diverged:
        each = ", ".join(f"{value:+.2f}" for value in place.diverged[:MAX_HOVER_LINES])
        word = _DIVERGED[len(drawn.x_names) > MAX_WORDS]
        return Tile(x, y, None, word, (where, f"{_results(place)}, all diverged", f"{each} %"))
    if place.value is None and place.num_cells:
        why = f"{_results(place)}, of other domains, settings or seeds than the other places"
        return Tile(x, y, None, "≠", (where, why))
    if place.value is None:
        return Tile(x, y, None, "-", (where, "no result"))
    astray = (_results(place),) if place.diverged else ()
    text = (where, f"{place.value:+.2f} %", drawn.rest, *astray)
    return Tile(x, y, place.value, _number(place.value), text)


def _results(place: Place) -> str:
    """`3 results, 1 of them diverged`."""
    text, astray = counted(place.num_cells, "result"), len(place.diverged)
    return f"{text}, {astray} of them diverged" if 0 < astray < place.num_cells else text


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value:+.{digits}f}"
