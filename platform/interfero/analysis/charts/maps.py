"""Gain and forgetting of each method over any two axes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
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
from interfero.analysis.maps import ALL_DIVERGED, Map, Place, cell_table, default_axes, maps_of
from interfero.analysis.next_command import joined, options_of, texts, tried_rates
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

TITLES = {
    GAIN: "Target gain (%)",
    ROUTED: "Source forgetting, routed (%)",
    UNROUTED: "Source forgetting, unrouted (%)",
}
_DIVERGED = ("diverged", "div.")
"""What stands in a place whose results all diverged: the word, or its beginning where places are narrow."""
NO_RESULT, OTHERS, STAR = "-", "≠", "*"
"""In a place without a number, and beside one."""
REFUSED = "No map can be drawn."
MAX_WORDS = 4
"""Places of a row that have room for the word."""
MAX_LEVELS = 60
"""Places of an axis that can still be told apart: along more, trends and laws say more than a map."""
MAX_MAPS = 400
"""Of one report: a page of that many still opens at once."""


def map_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method has two axes that vary; the first map is one that can be compared, if any can."""
    table = cell_table(records)
    variants: list[Variant] = []
    for method, cells in table.groupby("method") if len(table) else ():
        if method != CONTROL:
            remedy = _Remedy(records, str(method))
            variants += _variants(str(method), cells, remedy)[: MAX_MAPS - len(variants)]
    if not variants:
        return None
    return Figure(
        name="maps",
        title="Gain and forgetting over two axes",
        selectors=("method", "axes"),
        variants=tuple(variants),
        note=_crowded_text(table),
        start=next((i for i, v in enumerate(variants) if not any(p.empty for p in v.panels)), 0),
    )


def _variants(method: str, cells: pd.DataFrame, remedy: _Remedy) -> list[Variant]:
    """Of each pair of axes; those that can be compared first, of these the usual one."""
    first = default_axes(cells)
    # Two measures of one distance: a domain has one place in each, and the map is a diagonal.
    pairs = [p for p in combinations(_varying(cells), 2) if not all(AXES[n].by_domain for n in p)]
    found = [(pair, maps) for pair in pairs if (maps := maps_of(cells, method, pair))]
    # In a design that is no grid, an axis may vary at other budgets or lambdas alone.
    found = [(p, maps) for p, maps in found if min(len(maps[0].x_names), len(maps[0].y_names)) > 1]
    found.sort(key=lambda own: (bool(own[1][0].refused), own[0] != first, own[0]))
    file = file_name("map", method) if first else ""
    return [
        _refusal(pair, maps[0], remedy)
        if maps[0].refused
        else _variant(method, pair, maps, "" if index else file)
        for index, (pair, maps) in enumerate(found)
    ]


def _crowded_text(table: pd.DataFrame) -> str:
    """Which axes have more places than a map shows; empty if none has."""
    words = [
        axis.word
        for name, axis in AXES.items()
        if any(own[f"axis:{name}"].nunique() > MAX_LEVELS for _, own in table.groupby("method"))
    ]
    if not words:
        return ""
    return f"Maps have no axis with more than {MAX_LEVELS} values: {', '.join(words)}."


def _varying(cells: pd.DataFrame) -> list[str]:
    """Axes of which the cells have several levels, no more than a map shows, in the order of `AXES`."""
    found = [name for name in AXES if 1 < cells[f"axis:{name}"].nunique() <= MAX_LEVELS]
    # One adapter size has one share of parameters: the map of both would be a diagonal.
    return [name for name in found if name != "adapter_size" or "adapter_fraction" not in found]


def _refusal(pair: tuple[str, str], drawn: Map, remedy: _Remedy) -> Variant:
    """Words in place of a map: why there is none, and what would make one."""
    if drawn.refused == ALL_DIVERGED:
        remedy_text = f"Smaller learning rates may make one: {remedy.slower}"
    else:
        remedy_text = (
            "A sweep that crosses both for the same domains and seeds makes one: "
            f"{remedy.command(pair)}"
        )
    over = f"{drawn.x.word} and {drawn.y.word}"
    return Variant(
        choice=(drawn.method, _pair_text(pair)),
        panels=(MapPanel(over.capitalize(), PlotAxis(""), PlotAxis(""), (), empty=REFUSED),),
        caption=f"A map of {drawn.method} over {over} is refused. {drawn.refused} {remedy_text}",
    )


def _pair_text(pair: tuple[str, str]) -> str:
    return " and ".join(AXES[name].word for name in pair)


@dataclass(frozen=True)
class _Remedy:
    """The sweep that would make the maps of a method that are refused."""

    records: Sequence[CellRecord]
    method: str

    def command(self, pair: tuple[str, str]) -> str:
        """As it is typed."""
        options = dict(self._options)
        if "num_images" in pair:
            options["--num-images"] = self._counts
        if "learning_rate" in pair:
            rates = tried_rates(self._own)[self.method]
            options["--learning-rates"] = texts(rates)
        return joined(options)

    @property
    def slower(self) -> str:
        """The same sweep at rates below those that were tried."""
        least = tried_rates(self._own)[self.method][0]
        return joined({**self._options, "--learning-rates": texts((least / 100, least / 10))})

    @cached_property
    def _own(self) -> list[CellRecord]:
        return [r for r in self.records if r.params["method"] == self.method]

    @cached_property
    def _options(self) -> dict[str, list[str]]:
        return options_of(self._own, {})

    @cached_property
    def _counts(self) -> list[str]:
        """Two numbers of images or more that every domain has, as far as it is known."""
        counts: dict[str, set[int]] = defaultdict(set)
        for record in self._own:
            counts[str(record.params["domain"])].add(int(record.params["num_images"]))
        most = min(max(own) for own in counts.values())
        within = sorted(n for n in set().union(*counts.values()) if n <= most)
        return [str(n) for n in (within if len(within) > 1 else {max(1, most // 4), most})]


def _variant(method: str, pair: tuple[str, str], maps: Sequence[Map], file: str) -> Variant:
    first = maps[0]
    # Routed forgetting of what detaches is zero in every place.
    shown = [m for m in maps if any(p.value for row in m.places for p in row)] or list(maps)
    fixed, _, averaged = first.rest.partition("every place")
    at = f", at {fixed.rstrip('; ')}" if fixed else ""
    said = [f"Shown is {method} over {first.x.word} and {first.y.word}{at}"]
    said += [f"Every place{averaged}"] if averaged else []
    said += [f"Grey domains are left out: {first.grey}"] if first.grey else []
    said += [text for text in (first.left_out, first.astray) if text]
    said += [f"{TITLES[m.metric]} is 0 everywhere" for m in maps if m not in shown]
    said += [LAMBDAS_NOTE] if "rd_lambda" in pair else []
    panels = tuple(_panel(m) for m in shown)
    return Variant(
        choice=(method, _pair_text(pair)),
        panels=panels,
        caption=". ".join([*said, *_marks(panels)]) + ".",
        file=file,
    )


def _marks(panels: Sequence[MapPanel]) -> list[str]:
    """What stands in places without a number, and a star beside one; each only where it is."""
    texts = {tile.text for panel in panels for tile in panel.tiles}
    said = ["Where a dash stands there is no result"] if NO_RESULT in texts else []
    if OTHERS in texts:
        said.append(
            f"Where {OTHERS} stands there are only results of other domains, settings or seeds than the rest "
            "of the map has, which would be no comparison"
        )
    words = " or ".join(word for word in _DIVERGED if word in texts)
    said += [f"Where {words} stands every result diverged"] if words else []
    star = any(text.endswith(STAR) for text in texts)
    return said + ([f"A star {STAR} marks places of which some result diverged"] if star else [])


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
        return Tile(x, y, None, OTHERS, (where, why))
    if place.value is None:
        return Tile(x, y, None, NO_RESULT, (where, "no result"))
    astray = (_results(place),) if place.diverged else ()
    text = (where, f"{place.value:+.2f} %", drawn.rest, *astray)
    star = STAR if place.diverged else ""
    return Tile(x, y, place.value, _number(place.value) + star, text)


def _results(place: Place) -> str:
    """`3 results, 1 of them diverged`."""
    text, astray = counted(place.num_cells, "result"), len(place.diverged)
    return f"{text}, {astray} of them diverged" if 0 < astray < place.num_cells else text


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value:+.{digits}f}"
