"""Figures as plain data: points with what they say when pointed at, before anything is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from interfero.analysis.capacity_table import signed, value_range
from interfero.analysis.choices import CellSetting, Choice, Pick
from interfero.records import CellRecord

Scale = Literal["linear", "log", "percent", "names"]
"""`percent` is linear, or logarithmic beyond one percent where the largest would hide the small ones."""
Range = tuple[float, float]

MAX_HOVER_LINES = 8
NOT_KNOWN = "-"
"""Where a cell has no value: what follows it stays in its place."""
INK = "@ink"
"""The page's own colour of text: black on white, white on black."""


@dataclass(frozen=True, slots=True)
class PlotAxis:
    """How positions are read."""

    label: str
    """With its unit."""
    scale: Scale = "linear"
    names: tuple[str, ...] = ()
    """Of scale `names`: what stands at 0, 1, 2, ..."""
    ticks: tuple[tuple[float, str], ...] = ()
    """Where the usual ones would not do."""
    row_height: int = 52
    """Pixels of a row, of scale `names`."""


@dataclass(frozen=True, slots=True)
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
    """Written next to it."""
    size: float = 1.0
    """Diameter, of the usual one."""


@dataclass(frozen=True, slots=True)
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
    steps: bool = False
    """Whether the line rises before a point, not between two."""


@dataclass(frozen=True, slots=True)
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


@dataclass(frozen=True, slots=True)
class Tile:
    """One place of a map."""

    x: int
    y: int
    value: float | None
    text: str
    hover: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MapPanel:
    """A map."""

    title: str
    x: PlotAxis
    y: PlotAxis
    tiles: tuple[Tile, ...]
    empty: str = ""
    """What is said in place of tiles."""
    diverging: bool = False
    """Whether colours part at zero: blue below, orange above."""
    unit: str = "%"
    """Of the values."""


@dataclass(frozen=True, slots=True)
class Variant:
    """What a figure shows at one choice of its selectors."""

    choice: tuple[str, ...]
    panels: tuple[Panel | MapPanel, ...]
    caption: str
    file: str = ""
    """Name of the PNG and the SVG; variants of one name are the rows of one picture."""
    faces: tuple[str, ...] = ()
    """What filled and what hollow marks of one label are, where it has both."""


@dataclass(frozen=True, slots=True)
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


def faces_of(panels: Sequence[Panel | MapPanel], filled: str, hollow: str) -> tuple[str, ...]:
    """The two entries that a legend needs beside the labels; none where no mark is hollow.

    Args:
        panels: Of a variant.
        filled: What filled marks are.
        hollow: What hollow ones are.
    """
    series = [s for panel in panels if isinstance(panel, Panel) for s in panel.series if s.points]
    if not any(s.hollow for s in series):
        return ()
    return f"filled: {filled}", f"hollow: {hollow}"


def without_files(figure: Figure) -> Figure:
    """For the page alone."""
    return replace(figure, variants=tuple(replace(v, file="") for v in figure.variants))


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

    What is not known has a dash, and a cell that diverged says so: it is in no mean.

    Args:
        choice: A setting.
        metrics: MLflow names, each with the word a line calls it.
        runs: Of its cells.
    """
    lines = [name_of(choice.setting)]
    for metric, word in metrics:
        values = choice.values(metric)
        lines.append(f"{word} {spread_text(values) if values else NOT_KNOWN}")
    for pick in choice.picks[:MAX_HOVER_LINES]:
        astray = " (diverged, in no mean)" if pick.cell.key in choice.diverged else ""
        lines.append(f"{_seed_line(pick, metrics, runs)}{astray}")
    if len(choice.picks) > MAX_HOVER_LINES:
        lines.append(f"and {len(choice.picks) - MAX_HOVER_LINES} more seeds")
    return tuple(lines)


def _seed_line(pick: Pick, metrics: Sequence[tuple[str, str]], runs: RunLinks) -> str:
    cell = pick.cell
    known = cell.metrics
    values = [signed(known[name]) if name in known else NOT_KNOWN for name, _ in metrics]
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


def seeds_sentence(counts: Iterable[int]) -> str:
    """` Marks are means over 3 seeds; bars reach ...`, or that one seed is an illustration.

    Args:
        counts: Seeds of each mark; none where there is no mark.
    """
    known = [float(count) for count in counts]
    if not known:
        return ""
    if max(known) == 1:
        return " There is one seed: an illustration."
    number = value_range(known, "{:.0f}".format)
    return f" Marks are means over {number} seeds; bars reach from the lowest to the highest seed."
