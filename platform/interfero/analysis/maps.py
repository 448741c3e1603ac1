"""Maps: a metric over any two axes, each place a mean over the same domains, settings and seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import pandas as pd

from interfero.analysis.axes import AXES, Axis, find_axis, level
from interfero.analysis.cells import Cells
from interfero.analysis.choices import choose_learning_rates, setting_of
from interfero.analysis.comparable import comparable
from interfero.analysis.focus import in_focus
from interfero.errors import ConfigError
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

SHOWN = (GAIN, UNROUTED, ROUTED)
"""Metrics of every map."""
RATE = "learning_rate"
_OTHERS = ("domain", "rd_lambda", "num_images", "num_steps", "adapter_size", "strength", "codec")
_SEEDS = ("data_seed", "init_seed")
_WORDS = {
    "domain": "domain", "rd_lambda": "lambda", "num_images": "image count", "num_steps": "step count",
    "adapter_size": "adapter size", "strength": "strength", "codec": "codec",
    "data_seed": "data seed", "init_seed": "init seed",
}  # fmt: skip
_PARAM_OF = {"adapter_fraction": "adapter_size"}
"""Axes that stand for a param."""
_PREFERRED = ("num_images", "adapter_fraction", "rd_lambda", "num_steps", "feature_sd")
"""Axes of the default map, the first two that vary."""


_Place = tuple[float, float]
_Unit = tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """One place of a map."""

    value: float | None
    """Mean in percent; None where there is nothing that the map's other places can be compared with."""
    num_cells: int
    """Results behind it, or those that are left out."""


@dataclass(frozen=True)
class Map:
    """A metric of one method over two axes."""

    method: str
    metric: str
    x: Axis
    y: Axis
    x_names: tuple[str, ...]
    """What each level is called: its value, with the domain where it belongs to one."""
    y_names: tuple[str, ...]
    places: tuple[tuple[Place, ...], ...]
    """[y][x]"""
    rest: str
    """What all places share, and what each is a mean over."""
    left_out: str = ""
    """Results that could not be compared with the others."""
    refused: str = ""
    """Why no two places along an axis can be compared."""


def cell_table(records: Iterable[CellRecord]) -> pd.DataFrame:
    """One row a finished cell: params, axes, metrics, and whether validation chose its learning rate.

    `focus:num_steps` and `focus:rd_lambda` mark what a map without that axis shows.
    """
    every = Cells(records)
    focus = {name: {r.params[name] for r in in_focus(every)} for name in ("num_steps", "rd_lambda")}
    chosen = {p.cell.key for c in choose_learning_rates(every) for p in c.picks}
    rows: list[dict[str, Any]] = []
    for record in every:
        if record.status != "finished":
            continue
        setting = setting_of(record)
        rows.append(
            {
                "method": setting.method,
                **{name: getattr(setting, name) for name in _OTHERS},
                **{name: int(record.params[name]) for name in _SEEDS},
                **{f"axis:{name}": axis.value(record) for name, axis in AXES.items()},
                **{metric: record.metrics.get(metric) for metric in SHOWN},
                **{f"focus:{name}": record.params[name] in own for name, own in focus.items()},
                "chosen": record.key in chosen,
            }
        )
    table = pd.DataFrame(rows)
    for axis in AXES.values() if rows else ():
        column = f"axis:{axis.name}"
        table[column] = pd.to_numeric(table[column])
        if axis.by_domain:
            # A domain has one distance, though seeds and lambdas each measure it a little differently.
            table[column] = table.groupby("domain")[column].transform("mean")
        table[column] = table[column].map(level)
    return table


def interference_map(
    records: Iterable[CellRecord], method: str, metric: str, x: str, y: str
) -> Map:
    """A metric of one method over two axes.

    Cells count at the learning rate that validation chose in each seed, unless the learning rate is
    an axis: then all count. Without an axis of steps or of lambda it is of one budget or lambda (`focus`).
    Every place is a mean over the same domains, settings and seeds; results that would make it one over
    others are left out, and named.

    Args:
        records: All cells of a sweep.
        method: The method's name.
        metric: One of `SHOWN`.
        x: An axis of `AXES`.
        y: Another.

    Raises:
        ConfigError: the axes are unknown or the same, or no finished cell has them.
    """
    if find_axis(x) == find_axis(y):
        raise ConfigError(f"a map needs two different axes, got {x!r} twice")
    table = cell_table(records)
    own = table[table.method == method] if len(table) else table
    maps = maps_of(own, method, (x, y), (metric,)) if len(own) else []
    if not maps:
        raise ConfigError(
            f"no finished cell of {method!r} has {metric!r}, {x!r} and {y!r}: "
            f"known axes are {', '.join(AXES)}"
        )
    return maps[0]


def maps_of(
    table: pd.DataFrame, method: str, pair: tuple[str, str], metrics: Sequence[str] = SHOWN
) -> list[Map]:
    """The maps of one method over a pair of axes, a metric each; empty where nothing has both axes.

    Args:
        table: Rows of `cell_table` of the method.
        method: Its name.
        pair: Axes.
        metrics: Those that are wanted; one that no cell has is left out.
    """
    names = [f"axis:{name}" for name in pair]
    located = table if RATE in pair else table[table.chosen]
    located = located.dropna(subset=names)
    domain_axis = any(AXES[name].by_domain for name in pair)
    used = {_PARAM_OF.get(name, name) for name in pair} | ({"domain"} if domain_axis else set())
    for name in ("num_steps", "rd_lambda"):
        if name not in used:
            located = located[located[f"focus:{name}"]]
    shared = [name for name in (*_OTHERS, *_SEEDS) if name not in used]
    found = []
    for metric in metrics:
        cells = located.dropna(subset=[metric])
        if len(cells):
            found.append(_map(cells, method, metric, pair, shared))
    return found


def _map(
    cells: pd.DataFrame, method: str, metric: str, pair: tuple[str, str], shared: Sequence[str]
) -> Map:
    x, y = (AXES[name] for name in pair)
    units = list(zip(*(cells[name].tolist() for name in shared), strict=True))
    places = list(zip(*(cells[f"axis:{name}"].tolist() for name in pair), strict=True))
    values: dict[_Place, dict[_Unit, list[float]]] = defaultdict(lambda: defaultdict(list))
    coverage: dict[_Unit, set[_Place]] = defaultdict(set)
    for unit, place, value in zip(units, places, cells[metric].tolist(), strict=True):
        values[place][unit].append(value)
        coverage[unit].add(place)
    counts = Counter(places)
    levels = [sorted({place[i] for place in places}) for i in (0, 1)]

    def is_map(block: frozenset[_Place]) -> bool:
        """Two levels on every axis that has them."""
        return all(len({p[i] for p in block}) >= min(2, len(levels[i])) for i in (0, 1))

    kept_units, kept_places = comparable(coverage, is_map)

    def mean(place: _Place) -> float | None:
        """A unit counts once a place, however many cells it has there."""
        if place not in kept_places:
            return None
        return fmean(fmean(values[place][unit]) for unit in kept_units)

    kept = cells[[u in kept_units and p in kept_places for u, p in zip(units, places, strict=True)]]
    return Map(
        method=method, metric=metric, x=x, y=y,
        places=tuple(
            tuple(Place(mean((a, b)), counts[a, b]) for a in levels[0]) for b in levels[1]
        ),
        x_names=_names(x, levels[0], cells), y_names=_names(y, levels[1], cells),
        rest=_rest_text(kept, shared) if len(kept) else "",
        left_out=_left_out(cells, kept) if len(kept) else "",
        refused="" if len(kept) else _refused(x, y, shared),
    )  # fmt: skip


def default_axes(table: pd.DataFrame) -> tuple[str, str] | None:
    """The first two of the preferred axes that vary within a method's cells; None if fewer do."""
    columns = {name: table[f"axis:{name}"] for name in _PREFERRED}
    varying = [n for n, c in columns.items() if not c.isna().any() and c.nunique() > 1]
    return (varying[0], varying[1]) if len(varying) > 1 else None


def _names(axis: Axis, levels: Sequence[float], cells: pd.DataFrame) -> tuple[str, ...]:
    if not axis.by_domain:
        return tuple(axis.text(v) for v in levels)
    domains = cells.groupby(f"axis:{axis.name}").domain.unique()
    return tuple(f"{', '.join(sorted(domains[v]))}\n{axis.text(v)}" for v in levels)


def _rest_text(cells: pd.DataFrame, shared: Sequence[str]) -> str:
    """`lambda 0.013; every place is a mean over the same 3 domains, 3 data seeds`."""
    fixed, averaged = [], []
    for name in shared:
        values = sorted(set(cells[name]))
        if len(values) > 1:
            averaged.append(f"{len(values)} {_WORDS[name]}s")
        elif name in ("domain", "codec"):
            fixed.append(str(values[0]))
        elif values[0]:
            fixed.append(f"{_singular(name)} {values[0]:g}")
    text = ", ".join(fixed)
    if averaged:
        same = "every place is a mean over the same"
        text += f"{'; ' if text else ''}{same} {', '.join(averaged)}"
    return text


def _left_out(cells: pd.DataFrame, kept: pd.DataFrame) -> str:
    if len(kept) == len(cells):
        return ""
    gone = sorted(set(cells.domain) - set(kept.domain))
    named = f", among them all of {', '.join(gone)}" if gone else ""
    return (
        f"{len(cells) - len(kept)} of {len(cells)} results have no counterpart at the other places and are "
        f"left out{named}"
    )


def _refused(x: Axis, y: Axis, shared: Sequence[str]) -> str:
    words = ", ".join(
        _WORDS[name] for name in shared if name in ("domain", "rd_lambda", "num_images")
    )
    return (
        f"Cannot be compared: no results that share {words or 'their setting'} and seed stand at two "
        f"levels of {x.word} and two of {y.word}."
    )


def _singular(name: str) -> str:
    return {"num_steps": "steps", "num_images": "images"}.get(name, _WORDS[name])
