"""Interactive figures as plain data: what `report.js` draws, and nothing that it would have to compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from interfero.analysis.capacity_table import signed
from interfero.analysis.choices import CellSetting, Choice, Pick
from interfero.records import CellRecord

Scale = Literal["linear", "log", "symlog", "names"]
Range = tuple[float, float]

SPREAD_LIMIT = 30
"""Percent: a forgetting axis that goes beyond is logarithmic beyond one percent."""
MAX_HOVER_LINES = 8
INK = "ink"
"""The page's own colour of text: black on white, white on black."""


@dataclass(frozen=True)
class PlotAxis:
    """How positions are read."""

    label: str
    """With its unit."""
    scale: Scale = "linear"
    names: tuple[str, ...] = ()
    """Of scale `names`: what stands at 0, 1, 2, ..."""
    ticks: tuple[tuple[float, str], ...] = ()
    """Where they are not to be found by the page."""
    factor: float = 1.0
    """What a number of a tick is multiplied by: 100 shows shares as percent."""


@dataclass(frozen=True)
class PlotPoint:
    """One mark."""

    x: float
    y: float
    hover: tuple[str, ...]
    """Lines; the first one names it."""
    x_range: Range | None = None
    y_range: Range | None = None
    """Ends of a bar, both in the axis' unit."""
    faint: bool = False
    note: str = ""
    """Written beside it."""


@dataclass(frozen=True)
class Series:
    """Points of one look."""

    label: str
    colour: str
    marker: str
    """As Matplotlib's, empty for none."""
    points: tuple[PlotPoint, ...]
    hollow: bool = False
    line: bool = False
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes."""

    title: str
    x: PlotAxis
    y: PlotAxis
    series: tuple[Series, ...]
    diagonal: bool = False
    """Whether the line of equal values helps."""
    empty: str = ""
    """What is said in place of points."""


@dataclass(frozen=True)
class Tile:
    """One place of a map."""

    x: int
    y: int
    value: float | None
    text: str
    hover: tuple[str, ...]
    partial: bool = False


@dataclass(frozen=True)
class MapPanel:
    """A map."""

    title: str
    x: PlotAxis
    y: PlotAxis
    unit: str
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Variant:
    """What a figure shows at one choice of its selectors."""

    choice: tuple[str, ...]
    panels: tuple[Panel | MapPanel, ...]
    caption: str
    files: tuple[str, ...] = ()
    """Static pictures of the same, beside the report."""


@dataclass(frozen=True)
class Figure:
    """A figure, one variant at a time."""

    name: str
    title: str
    selectors: tuple[str, ...]
    """What a reader chooses, in the order of `Variant.choice`."""
    variants: tuple[Variant, ...]
    note: str = ""
    """What holds for all variants."""
    start: int = 0
    """The variant that is shown first."""


def as_json(figures: Sequence[Figure]) -> dict[str, Any]:
    """Plain values: the figures, and the texts that their points name by number.

    A cell is a point of several panels and maps: its lines are kept once.
    """
    texts: dict[tuple[str, ...], int] = {}

    def compact(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        kept = _compact(pairs)
        if "hover" in kept:
            kept["hover"] = texts.setdefault(tuple(kept["hover"]), len(texts))
        return kept

    drawn = [asdict(figure, dict_factory=compact) for figure in figures]
    return {"figures": drawn, "texts": [list(lines) for lines in texts]}


def _compact(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Without what is empty, and with no more digits than a screen has."""
    # By identity: 0 is a value, and equals False.
    return {
        name: _rounded(v) for name, v in pairs if not (v is None or v is False or v in ((), ""))
    }


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else None
    if isinstance(value, (tuple, list)):
        return [_rounded(v) for v in value]
    return value


@dataclass(frozen=True)
class RunLinks:
    """What a reader finds a cell by."""

    names: dict[str, str] = field(default_factory=dict)
    """Cell key to run id on the tracking server; empty where the cells come from a file."""

    def text(self, record: CellRecord) -> str:
        """`cell 0123..., run 89ab...`."""
        run = self.names.get(record.key)
        return f"cell {record.key}" + (f", run {run[:8]}" if run else "")


def seed_lines(
    choice: Choice, metrics: Sequence[tuple[str, str]], runs: RunLinks
) -> tuple[str, ...]:
    """Means with their spread, then a line a seed: values, learning rate, cell and run.

    Args:
        choice: A setting.
        metrics: MLflow names, each with the word a line calls it.
        runs: Of its cells.
    """
    lines = [name_of(choice.setting)]
    for metric, word in metrics:
        values = choice.values(metric)
        if values:
            lines.append(f"{word} {spread_text(values)}")
    for pick in choice.picks[:MAX_HOVER_LINES]:
        lines.append(_seed_line(pick, metrics, runs))
    if len(choice.picks) > MAX_HOVER_LINES:
        lines.append(f"and {len(choice.picks) - MAX_HOVER_LINES} more seeds")
    return tuple(lines)


def _seed_line(pick: Pick, metrics: Sequence[tuple[str, str]], runs: RunLinks) -> str:
    cell = pick.cell
    values = [signed(cell.metrics[name]) for name, _ in metrics if name in cell.metrics]
    seed = f"seed {cell.params['data_seed']}/{cell.params['init_seed']}"
    return f"{seed}: {', '.join(values)}; lr {pick.learning_rate:g}; {runs.text(cell)}"


def spread_text(values: Sequence[float]) -> str:
    """`+4.21 % (3 seeds, +3.90 to +4.50)`."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return f"{signed(mean)} % (1 seed)"
    return f"{signed(mean)} % ({len(values)} seeds, {signed(min(values))} to {signed(max(values))})"


def name_of(setting: CellSetting) -> str:
    """`cawf 8 on histology`."""
    parts = [setting.method]
    parts += [str(setting.adapter_size)] if setting.adapter_size else []
    parts += [f"strength {setting.strength:g}"] if setting.strength else []
    return f"{' '.join(parts)} on {setting.domain}"


def span(values: Sequence[float]) -> Range | None:
    """A bar from the least to the greatest; None with fewer than two."""
    return (min(values), max(values)) if len(values) > 1 else None


def percent_axis(label: str, values: Sequence[float]) -> PlotAxis:
    """Logarithmic beyond one percent where the largest would hide the small ones."""
    if values and max(map(abs, values)) > SPREAD_LIMIT:
        return PlotAxis(f"{label}, log beyond 1", "symlog")
    return PlotAxis(label)
