"""Maps: a metric over any two axes, the rest fixed or averaged and named, missing cells kept as missing."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from interfero.analysis.axes import AXES, Axis, find_axis, level
from interfero.analysis.choices import CONTROL, choose_learning_rates, setting_of
from interfero.errors import ConfigError
from interfero.metrics.names import GAIN, UNROUTED
from interfero.records import CellRecord

_OTHERS = ("domain", "rd_lambda", "num_images", "num_steps", "adapter_size", "strength", "codec")
"""What is fixed or averaged where it is no axis; learning rates are chosen and seeds averaged."""
_WORDS = {
    "domain": "domains",
    "rd_lambda": "lambdas",
    "num_images": "image counts",
    "num_steps": "step counts",
    "adapter_size": "adapter sizes",
    "strength": "strengths",
    "codec": "codecs",
    "data_seed": "data seeds",
    "init_seed": "init seeds",
    "learning_rate": "learning rates",
}
_PARAM_OF = {"adapter_fraction": "adapter_size"}
"""Axes that stand for a param."""
_PREFERRED = ("num_images", "adapter_fraction", "rd_lambda", "num_steps", "feature_sd")
"""Axes of the default maps, the first two that vary."""


@dataclass(frozen=True)
class Place:
    """One cell of a map."""

    value: float | None
    """Mean in percent; None where nothing was run or nothing finished."""
    num_cells: int
    num_settings: int
    """Settings that are averaged here; fewer than the map has are marked."""


@dataclass(frozen=True)
class Map:
    """A metric of one method over two axes."""

    method: str
    metric: str
    x: Axis
    y: Axis
    x_levels: tuple[float, ...]
    y_levels: tuple[float, ...]
    x_names: tuple[str, ...]
    """What each level is called: its value, with the domain where it belongs to one."""
    y_names: tuple[str, ...]
    places: tuple[tuple[Place, ...], ...]
    """[y][x]"""
    rest: str
    """What is fixed, and what is averaged over."""
    num_settings: int
    """Settings that a whole place averages."""

    @property
    def num_missing(self) -> int:
        """Places without a value."""
        return sum(place.value is None for row in self.places for place in row)


def interference_map(
    records: Iterable[CellRecord], method: str, metric: str, x: str, y: str
) -> Map:
    """A metric of one method over two axes.

    Cells count at the learning rate that validation chose in each seed, unless the learning rate is
    an axis: then all count. Places are means over what the axes leave open; one that lacks some of
    the settings the others average over says so.

    Args:
        records: All cells of a sweep.
        method: The method's name.
        metric: An MLflow name in percent.
        x: An axis of `AXES`.
        y: Another.

    Raises:
        ConfigError: the axes are unknown or the same, or no finished cell has them.
    """
    across, up = find_axis(x), find_axis(y)
    if across == up:
        raise ConfigError(f"a map needs two different axes, got {x!r} twice")
    cells = _cells(records, method, metric, by_rate="learning_rate" in (x, y))
    located = [
        (level(a), level(b), cell)
        for cell in cells
        if (a := across.value(cell)) is not None and (b := up.value(cell)) is not None
    ]
    if not located:
        raise ConfigError(
            f"no finished cell of {method!r} has {metric!r}, {x!r} and {y!r}: "
            f"known axes are {', '.join(AXES)}"
        )
    groups: dict[tuple[float, float], list[CellRecord]] = defaultdict(list)
    for a, b, cell in located:
        groups[a, b].append(cell)
    used = {_PARAM_OF.get(axis.name, axis.name) for axis in (across, up)}
    if across.by_domain or up.by_domain:
        used.add("domain")
    open_names = [name for name in _OTHERS if name not in used]
    whole = len({_rest_of(cell, open_names) for _, _, cell in located})
    x_levels = tuple(sorted({a for a, _, _ in located}))
    y_levels = tuple(sorted({b for _, b, _ in located}))
    return Map(
        method=method,
        metric=metric,
        x=across,
        y=up,
        x_levels=x_levels,
        y_levels=y_levels,
        x_names=_names(across, x_levels, [(a, cell) for a, _, cell in located]),
        y_names=_names(up, y_levels, [(b, cell) for _, b, cell in located]),
        places=tuple(
            tuple(_place(groups.get((a, b), []), metric, open_names) for a in x_levels)
            for b in y_levels
        ),
        rest=_rest_text([cell for _, _, cell in located], used),
        num_settings=whole,
    )


def default_axes(records: Sequence[CellRecord], method: str) -> tuple[str, str] | None:
    """The first two of the preferred axes that vary within a method; None if fewer do."""
    cells = [r for r in records if r.status == "finished" and r.params["method"] == method]
    varying = []
    for name in _PREFERRED:
        values = [AXES[name].value(cell) for cell in cells]
        if None not in values and len({level(v) for v in values if v is not None}) > 1:
            varying.append(name)
    return (varying[0], varying[1]) if len(varying) > 1 else None


def default_maps(records: Sequence[CellRecord]) -> list[tuple[Map, Map]]:
    """Gain and unrouted forgetting of each method over its default axes."""
    methods = sorted({str(r.params["method"]) for r in records} - {CONTROL})
    found = []
    for method in methods:
        axes = default_axes(records, method)
        if axes is not None:
            gain, lost = (interference_map(records, method, m, *axes) for m in (GAIN, UNROUTED))
            found.append((gain, lost))
    return found


def _cells(
    records: Iterable[CellRecord], method: str, metric: str, *, by_rate: bool
) -> list[CellRecord]:
    if by_rate:
        cells = [r for r in records if r.status == "finished"]
    else:
        cells = [pick.cell for c in choose_learning_rates(records) for pick in c.picks]
    return [c for c in cells if c.params["method"] == method and metric in c.metrics]


def _place(cells: Sequence[CellRecord], metric: str, open_names: Sequence[str]) -> Place:
    """Mean over settings of the means over seeds: a setting with more seeds counts no more."""
    settings: dict[tuple[object, ...], list[float]] = defaultdict(list)
    for cell in cells:
        settings[_rest_of(cell, open_names)].append(cell.metrics[metric])
    if not settings:
        return Place(None, 0, 0)
    means = [math.fsum(values) / len(values) for values in settings.values()]
    return Place(math.fsum(means) / len(means), len(cells), len(settings))


def _rest_of(cell: CellRecord, open_names: Sequence[str]) -> tuple[object, ...]:
    setting = setting_of(cell)
    return tuple(getattr(setting, name) for name in open_names)


def _names(
    axis: Axis, levels: Sequence[float], located: Sequence[tuple[float, CellRecord]]
) -> tuple[str, ...]:
    domains: dict[float, set[str]] = defaultdict(set)
    for value, cell in located:
        domains[value].add(str(cell.params["domain"]))
    return tuple(
        f"{', '.join(sorted(domains[v]))}\n{axis.text(v)}" if axis.by_domain else axis.text(v)
        for v in levels
    )


def _rest_text(cells: Sequence[CellRecord], used: set[str]) -> str:
    """`lambda 0.013; mean over 3 domains, 3 data seeds`."""
    fixed, averaged = [], []
    names = (*_OTHERS, "data_seed", "init_seed")
    for name in names:
        if name in used:
            continue
        values = sorted({cell.params.get(name, 0) for cell in cells})
        if len(values) > 1:
            averaged.append(f"{len(values)} {_WORDS[name]}")
        elif name in ("domain", "codec"):
            fixed.append(str(values[0]))
        elif values[0]:
            fixed.append(f"{_singular(name)} {values[0]:g}")
    text = ", ".join(fixed)
    if averaged:
        text += f"{'; ' if text else ''}mean over {', '.join(averaged)}"
    return text


def _singular(name: str) -> str:
    return {"num_steps": "steps", "num_images": "images"}.get(name, _WORDS[name].removesuffix("s"))
