"""Maps: a metric over any two axes, each place a mean over the same domains, settings and seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

import pandas as pd

from interfero.analysis.axes import AXES, Axis, find_axis, level
from interfero.analysis.cells import DIVERGED, Cells, cell_diverged
from interfero.analysis.choices import choose_learning_rates, setting_of
from interfero.analysis.comparable import comparable
from interfero.analysis.focus import in_focus
from interfero.analysis.parts import grey_domains
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
ALL_DIVERGED = "Every result here diverged."
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
    diverged: tuple[float, ...] = ()
    """Results among these that diverged, in percent: no mean has them."""

    @property
    def all_diverged(self) -> bool:
        """Whether there is a result, and none that could be averaged."""
        return 0 < len(self.diverged) == self.num_cells


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
    astray: str = ""
    """How many results diverged."""
    refused: str = ""
    """Why no two places along an axis can be compared."""
    grey: str = ""
    """Grey domains that no mean has."""


def cell_table(records: Iterable[CellRecord]) -> pd.DataFrame:
    """One row a finished cell: params, axes, metrics, whether it was chosen, diverged, is of a grey domain.

    `focus:num_steps` and `focus:rd_lambda` mark what a map without that axis shows.
    """
    every = Cells(records)
    focus = {name: {r.params[name] for r in in_focus(every)} for name in ("num_steps", "rd_lambda")}
    chosen = {p.cell.key for c in choose_learning_rates(every) for p in c.picks}
    grey = grey_domains(every)
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
                "diverged": cell_diverged(record.metrics),
                "grey": setting.domain in grey,
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
    others are left out, and named, and so are those that diverged and, where places are means over domains
    of which others have colour, grey domains. Places are connected, each by a row or a
    column that it shares with another: else both axes differ at once, and nothing is compared.

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
    grey: list[str] = []
    # As in all means over domains; along a distance each domain has places of its own.
    if not domain_axis and not located.grey.all():
        grey = sorted(set(located.domain[located.grey]))
        located = located[~located.grey]
    for name in ("num_steps", "rd_lambda"):
        if name not in used:
            located = located[located[f"focus:{name}"]]
    shared = [name for name in (*_OTHERS, *_SEEDS) if name not in used]
    # Which places can be compared does not hang on the metric, where all cells have all of them.
    grounds: dict[bytes, _Ground] = {}
    found = []
    for metric in metrics:
        has = located[metric].notna()
        if has.any():
            mark = has.to_numpy().tobytes()
            if mark not in grounds:
                grounds[mark] = _ground(located[has], method, pair, shared, ", ".join(grey))
            found.append(grounds[mark].map_of(metric))
    return found


@dataclass(frozen=True)
class _Ground:
    """What maps of several metrics over the same cells have in common."""

    cells: pd.DataFrame
    units: Sequence[_Unit]
    """Of each cell: what it shares with those that it is compared with."""
    places: Sequence[_Place]
    """Of each cell."""
    kept_units: frozenset[_Unit]
    kept_places: frozenset[_Place]
    levels: Sequence[Sequence[float]]
    blank: Map
    """Without a metric and without places."""

    def map_of(self, metric: str) -> Map:
        values: dict[_Place, dict[_Unit, list[float]]] = defaultdict(lambda: defaultdict(list))
        astray: dict[_Place, list[float]] = defaultdict(list)
        numbers, diverged = self.cells[metric].tolist(), self.cells.diverged.tolist()
        for unit, place, value, gone in zip(
            self.units, self.places, numbers, diverged, strict=True
        ):
            if gone:
                astray[place].append(value)
            else:
                values[place][unit].append(value)
        counts = Counter(self.places)

        def mean(place: _Place) -> float | None:
            """A unit counts once a place, however many cells it has there."""
            if place not in self.kept_places:
                return None
            return fmean(fmean(values[place][unit]) for unit in self.kept_units)

        across, down = self.levels
        rows = tuple(
            tuple(Place(mean(p), counts[p], tuple(astray[p])) for a in across if (p := (a, b)))
            for b in down
        )
        return replace(self.blank, metric=metric, places=rows)


def _ground(
    cells: pd.DataFrame, method: str, pair: tuple[str, str], shared: Sequence[str], grey: str
) -> _Ground:
    x, y = (AXES[name] for name in pair)
    units = list(zip(*(cells[name].tolist() for name in shared), strict=True))
    places = list(zip(*(cells[f"axis:{name}"].tolist() for name in pair), strict=True))
    coverage: dict[_Unit, set[_Place]] = defaultdict(set)
    for unit, place, diverged in zip(units, places, cells.diverged.tolist(), strict=True):
        if not diverged:
            coverage[unit].add(place)
    levels = [sorted({place[i] for place in places}) for i in (0, 1)]
    kept_units, kept_places, confounded = _block(coverage, [len(own) for own in levels])
    sound = cells[~cells.diverged]
    inside = [u in kept_units and p in kept_places for u, p in zip(units, places, strict=True)]
    kept = cells[inside][~cells.diverged[inside]]
    blank = Map(
        method=method, metric="", x=x, y=y, places=(),
        x_names=_names(x, levels[0], cells), y_names=_names(y, levels[1], cells),
        rest=_rest_text(kept, shared) if len(kept) else "",
        left_out=_left_out(sound, kept) if len(kept) else "",
        astray=_astray(cells, len(sound)),
        refused="" if len(kept) else _refused(x, y, shared, sound, confounded=confounded),
        grey=grey,
    )  # fmt: skip
    return _Ground(cells, units, places, kept_units, kept_places, levels, blank)


def _block(
    coverage: Mapping[_Unit, set[_Place]], num_levels: Sequence[int]
) -> tuple[frozenset[_Unit], frozenset[_Place], bool]:
    """Units and places that a map can compare; and whether, where there are none, both axes differ at once.

    Units have the places of each of their connected parts apart: between two parts that share neither a row
    nor a column both axes differ, and what the one does cannot be told from what the other does.
    """

    def spans(block: frozenset[_Place]) -> bool:
        """Two levels on every axis that has them."""
        return all(len({p[i] for p in block}) >= min(2, num_levels[i]) for i in (0, 1))

    patterns = {unit: frozenset(places) for unit, places in coverage.items()}
    parts_of = {pattern: connected_parts(pattern) for pattern in set(patterns.values())}
    parts = {(unit, part): part for unit, own in patterns.items() for part in parts_of[own]}
    kept, places = comparable(
        parts, lambda block: spans(block) and len(connected_parts(block)) == 1
    )
    confounded = not places and bool(comparable(coverage, spans)[1])
    return frozenset(unit for unit, _ in kept), places, confounded


def connected_parts(places: Collection[_Place]) -> list[frozenset[_Place]]:
    """Places by what is connected by rows and columns that they share.

    `[(6, 1), (51, 2)]` has two parts: to compare them is to change both axes at once.
    """
    parts: list[set[_Place]] = []
    for place in sorted(places):
        near = [part for part in parts if any(place[0] == p[0] or place[1] == p[1] for p in part)]
        parts = [part for part in parts if part not in near] + [{place}.union(*near)]
    return [frozenset(part) for part in parts]


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
            word = {"num_steps": "steps", "num_images": "images"}.get(name, _WORDS[name])
            fixed.append(f"{word} {values[0]:g}")
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


def _astray(cells: pd.DataFrame, num_sound: int) -> str:
    gone = len(cells) - num_sound
    return (
        f"{gone} of {len(cells)} results diverged and {'is' if gone == 1 else 'are'} in no mean ({DIVERGED})"
        if gone
        else ""
    )


def _refused(
    x: Axis, y: Axis, shared: Sequence[str], sound: pd.DataFrame, *, confounded: bool
) -> str:
    if not len(sound):
        return ALL_DIVERGED
    if confounded:
        return (
            f"Cannot be compared: {x.word} and {y.word} change together, so that what one does cannot be "
            "told from what the other does."
        )
    words = ", ".join(
        _WORDS[name] for name in shared if name in ("domain", "rd_lambda", "num_images")
    )
    return (
        f"Cannot be compared: no results that share {words or 'their setting'} and seed stand at two "
        f"levels of {x.word} and two of {y.word}."
    )
