"""Gain and forgetting of each method over any two axes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from interfero.analysis.axes import AXES, level
from interfero.analysis.choices import CONTROL, choose_learning_rates
from interfero.analysis.map_figures import TITLES
from interfero.analysis.maps import Map, Place, default_axes, interference_map
from interfero.analysis.report.figure_data import Figure, MapPanel, PlotAxis, Tile, Variant
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

SHOWN = (GAIN, UNROUTED, ROUTED)
MAX_MAPS = 400
"""Of one report: a page of that many still opens at once."""
RATE = "learning_rate"


def map_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method has two axes that vary."""
    variants: list[Variant] = []
    chosen = [pick.cell for c in choose_learning_rates(records) for pick in c.picks]
    methods = sorted({str(r.params["method"]) for r in chosen} - {CONTROL})
    for method in methods:
        every = [r for r in records if r.params["method"] == method and r.status == "finished"]
        picked = [r for r in chosen if r.params["method"] == method]
        first = default_axes(records, method)
        # Two measures of one distance: a domain has one place in each, and the map is a diagonal.
        pairs = [
            p for p in combinations(_varying(every), 2) if not all(AXES[n].by_domain for n in p)
        ]
        pairs.sort(key=lambda pair: (pair != first, pair))
        for pair in pairs:
            cells = every if RATE in pair else picked
            maps = [m for metric in SHOWN if (m := _map(cells, method, metric, pair))]
            if maps and len(variants) < MAX_MAPS:
                files = (f"map_{method}.png", f"map_{method}.svg") if pair == first else ()
                variants.append(_variant(method, pair, maps, files))
    if not variants:
        return None
    return Figure(
        name="maps",
        title="Maps of gain and forgetting",
        selectors=("method", "axes"),
        variants=tuple(variants),
        note="Hatched: no result. Dotted frame: a mean over fewer settings than the other places have.",
    )


def _varying(cells: Sequence[CellRecord]) -> list[str]:
    """Axes of which the cells have several levels, in the order of `AXES`."""
    found = []
    for name, axis in AXES.items():
        values = {axis.value(cell) for cell in cells} - {None}
        if len({level(v) for v in values if v is not None}) > 1:
            found.append(name)
    # One adapter size has one share of parameters: the map of both would be a diagonal.
    return [name for name in found if name != "adapter_size" or "adapter_fraction" not in found]


def _map(
    cells: Sequence[CellRecord], method: str, metric: str, pair: tuple[str, str]
) -> Map | None:
    x, y = (AXES[name] for name in pair)
    located = [
        c for c in cells
        if metric in c.metrics and x.value(c) is not None and y.value(c) is not None
    ]  # fmt: skip
    return interference_map(located, method, metric, *pair) if located else None


def _variant(
    method: str, pair: tuple[str, str], maps: Sequence[Map], files: tuple[str, ...]
) -> Variant:
    first = maps[0]
    shown = [m for m in maps if not _is_constant(m)]
    same = [TITLES[m.metric] for m in maps if _is_constant(m)]
    notes = [f"{title} is 0 everywhere" for title in same]
    return Variant(
        choice=(method, f"{AXES[pair[0]].word} and {AXES[pair[1]].word}"),
        panels=tuple(_panel(m) for m in shown),
        caption="; ".join([f"{method} over {first.x.word} and {first.y.word}", first.rest, *notes])
        + ".",
        files=files,
    )


def _is_constant(drawn: Map) -> bool:
    """Whether all it has to say is zero: routed forgetting of what detaches."""
    return all(p.value == 0 for row in drawn.places for p in row if p.value is not None)


def _panel(drawn: Map) -> MapPanel:
    return MapPanel(
        title=_capital(TITLES.get(drawn.metric, drawn.metric)),
        x=PlotAxis(drawn.x.title, "names", drawn.x_names),
        y=PlotAxis(drawn.y.title, "names", drawn.y_names),
        unit="%",
        tiles=tuple(
            _tile(drawn, x, y, place)
            for y, row in enumerate(drawn.places)
            for x, place in enumerate(row)
        ),
    )


def _tile(drawn: Map, x: int, y: int, place: Place) -> Tile:
    where = f"{drawn.x.word} {_flat(drawn.x_names[x])}, {drawn.y.word} {_flat(drawn.y_names[y])}"
    if place.value is None:
        return Tile(x, y, None, "", (where, "no result"))
    partial = place.num_settings < drawn.num_settings
    counts = f"mean of {place.num_cells} cells, {place.num_settings} settings"
    return Tile(
        x, y, place.value, _number(place.value),
        (where, f"{place.value:+.2f} %", counts + (f" of {drawn.num_settings}" if partial else "")),
        partial,
    )  # fmt: skip


def _number(value: float) -> str:
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    return f"{value:+.{digits}f}"


def _flat(name: str) -> str:
    return name.replace("\n", " ")


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
