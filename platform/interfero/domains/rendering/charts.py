"""Charts: what people plot, drawn whole with matplotlib's Agg renderer in varied styles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from interfero.domains.rendering import words
from interfero.domains.rendering.dice import Dice

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Matplotlib takes a second to import, and every sweep knows of this domain: it is imported to draw.

Style = dict[Any, Any]
"""Entries of matplotlib's rcParams."""

PALETTES = (
    ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b"),
    ("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3", "#937860"),
    ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"),
    ("#264653", "#2a9d8f", "#e9c46a", "#f4a261", "#e76f51", "#8ab17d"),
    ("#4285f4", "#ea4335", "#fbbc04", "#34a853", "#ff6d01", "#46bdc6"),
    ("#003f5c", "#58508d", "#bc5090", "#ff6361", "#ffa600", "#2f4b7c"),
    ("#111111", "#555555", "#888888", "#aaaaaa", "#333333", "#cccccc"),
)
BRIGHT = ("#8dd3c7", "#feffb3", "#bfbbd9", "#fa8174", "#81b1d2", "#fdb462")
COLOUR_MAPS = ("viridis", "magma", "cividis", "Blues", "RdBu_r", "coolwarm", "YlGnBu", "inferno")
CLASSES = (
    "cat", "dog", "car", "ship", "bird", "tree", "road", "sky", "boat", "lake",
    "wall", "bus", "horse", "deer", "frog", "train",
)  # fmt: skip

GROUNDS: tuple[Style, ...] = (
    {},
    {"axes.spines.top": False, "axes.spines.right": False},
    {"axes.grid": True, "grid.alpha": 0.4, "axes.axisbelow": True},
    {"axes.grid": True, "axes.grid.axis": "y", "grid.linestyle": "--", "axes.axisbelow": True},
    {
        "axes.facecolor": "#eaeaf2",
        "axes.edgecolor": "white",
        "axes.grid": True,
        "grid.color": "white",
        "axes.axisbelow": True,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
    },
    {"axes.facecolor": "#e5e5e5", "axes.grid": True, "grid.color": "white", "axes.axisbelow": True},
    {"figure.facecolor": "#fdf6e3", "axes.facecolor": "#eee8d5", "text.color": "#586e75"},
    {"figure.facecolor": "#f6f6f4", "axes.facecolor": "#f6f6f4", "axes.grid": True},
    {
        "figure.facecolor": "#1c1f26",
        "axes.facecolor": "#1c1f26",
        "axes.edgecolor": "#9aa0a6",
        "axes.labelcolor": "#e8eaed",
        "text.color": "#e8eaed",
        "xtick.color": "#bdc1c6",
        "ytick.color": "#bdc1c6",
        "axes.grid": True,
        "grid.color": "#3c4043",
        "axes.axisbelow": True,
    },
)


def draw_chart(random: np.random.Generator, side: int) -> Image.Image:
    """One chart, `side` pixels wide and high."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    dice = Dice(random)
    dpi = dice.pick((72, 80, 90, 100))
    style = _style(dice, dpi)
    with _only(style):
        figure = Figure(figsize=(side / dpi, side / dpi), dpi=dpi)
        canvas = FigureCanvasAgg(figure)
        rows = dice.pick((1, 1, 1, 1, 2))
        axes = figure.subplots(rows, 1, squeeze=False)[:, 0]
        for axis in axes:
            dice.pick(KINDS if rows == 1 else SMALL_KINDS)(axis, dice)
            legend = axis.get_legend()
            if rows > 1 and legend is not None and len(legend.get_texts()) > 2:
                legend.remove()
        figure.tight_layout(pad=dice.real(0.3, 0.9))
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    return Image.fromarray(np.ascontiguousarray(pixels))


@contextmanager
def _only(style: Style) -> Iterator[None]:
    """Matplotlib's own defaults and `style`, whatever the user's matplotlibrc says."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def _style(dice: Dice, dpi: int) -> Style:
    from cycler import cycler

    ground = dice.pick(GROUNDS)
    dark = str(ground.get("axes.facecolor", "")).startswith("#1")
    colours = dice.several(BRIGHT if dark else dice.pick(PALETTES), 6)
    points = 72 / dpi
    return {
        "axes.prop_cycle": cycler(color=colours),
        # Shipped with matplotlib and complete: a font without the minus sign (STIX) would be
        # mixed with a second one.
        "font.family": dice.pick(("DejaVu Sans", "DejaVu Sans", "DejaVu Serif")),
        "font.size": dice.pick((9, 10, 10, 11)) * points,
        "axes.titlesize": dice.pick((11, 12, 13)) * points,
        "legend.fontsize": dice.pick((8, 9)) * points,
        "axes.titleweight": dice.pick(("normal", "normal", "bold")),
        "axes.titlelocation": dice.pick(("center", "center", "left")),
        "lines.linewidth": dice.pick((1.0, 1.5, 2.0, 2.5)) * points,
        "lines.markersize": dice.pick((3, 4, 6)) * points,
        "axes.linewidth": 0.8,
        "legend.framealpha": dice.pick((0.8, 1.0)),
        "legend.frameon": dice.chance(0.7),
        "axes.labelpad": 2,
        "axes.titlepad": 4,
        "mathtext.fontset": "dejavusans",
        **ground,
    }


def _titles(axis: Axes, dice: Dice, x: str = "", y: str = "") -> None:
    if dice.chance(0.85):
        axis.set_title(_title(dice))
    axis.set_xlabel(x or _quantity(dice))
    if dice.chance(0.8):
        axis.set_ylabel(y or _quantity(dice))


def _title(dice: Dice) -> str:
    text = words.title(dice)
    return text if len(text) < 27 else dice.pick(words.NOUNS).title()


def _readable_on(colour: Any) -> str:
    """Black or white, whichever stands out (Rec. 601 luma)."""
    red, green, blue = colour[:3]
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else "black"


def _quantity(dice: Dice) -> str:
    unit = dice.pick(("m", "s", "km", "%", "kg", "°C", "Hz", "MB", "€", "days"))
    noun = dice.pick(("time", "distance", "load", "price", "rate", "height", "speed", "share",
                      "error", "signal", "cost", "depth", "growth", "yield", "loss"))  # fmt: skip
    return f"{noun} ({unit})" if dice.chance(0.5) else noun


def _names(dice: Dice, count: int, most: int = 9) -> list[str]:
    short = [n for n in words.NOUNS if len(n) <= most]
    return [n.title() for n in dice.several(short, count)]


def _walk(dice: Dice, count: int) -> Any:
    """A smooth random curve: a random walk, a trend with noise, a decay or an oscillation."""
    t = np.linspace(0, 1, count)
    noise = dice.random.normal(size=count)
    return dice.pick(
        (
            np.cumsum(noise),
            3 * dice.real(-1, 1) * t + 0.25 * noise,
            np.exp(-t * dice.real(2, 7)) + 0.02 * noise,
            np.sin(t * dice.real(4, 25) + dice.real(0, 6)) + 0.1 * noise,
            t ** dice.real(0.3, 3) + 0.01 * np.cumsum(noise),
        )
    ) * 10 ** dice.between(0, 3)


def lines(axis: Axes, dice: Dice) -> None:
    """One to four curves, with markers, bands and a legend."""
    count = dice.pick((8, 12, 30, 120, 400))
    x = np.linspace(0, dice.pick((1, 10, 24, 100, 365)), count)
    marker = dice.pick(("", "o", "s", "^")) if count <= 30 else ""
    series = dice.between(1, 4)
    first = _walk(dice, count)
    for i, name in enumerate(_names(dice, series)):
        y = first * dice.real(0.5, 1.3) + _walk(dice, count) * 0.3 if i else first
        axis.plot(x, y, marker=marker, linestyle=dice.pick(("-", "-", "-", "--", ":")), label=name)
        if dice.chance(0.25):
            spread = 0.08 * np.ptp(y)
            axis.fill_between(x, y - spread, y + spread, alpha=0.2, linewidth=0)
    if series > 1:
        axis.legend(loc=dice.pick(("upper left", "upper right", "lower right", "best")))
    if dice.chance(0.15) and bool(np.all(first > 0)):
        axis.set_yscale("log")
    _titles(axis, dice)


def bars(axis: Axes, dice: Dice) -> None:
    """Bars: plain, grouped or stacked, upright or lying."""
    count = dice.between(3, 7)
    years = range(start := dice.between(1990, 2018), start + count)
    labels = [str(y)[2:] for y in years] if dice.chance(0.5) else _names(dice, count, 6)
    series = dice.pick((1, 1, 2, 3))
    data = dice.random.gamma(4.0, dice.pick((1.0, 12.0, 300.0)), size=(series, count))
    at = np.arange(count)
    stacked, lying = dice.chance(0.4), dice.chance(0.3)
    wide = 0.75 if stacked or series == 1 else 0.8 / series
    base = np.zeros(count)
    for row, name in zip(data, _names(dice, series), strict=True):
        shift = 0.0 if stacked or series == 1 else wide * (np.flatnonzero(data[:, 0] == row[0])[0])
        if lying:
            axis.barh(at + shift, row, wide, left=base, label=name)
        else:
            axis.bar(at + shift, row, wide, bottom=base, label=name)
        base = base + row if stacked else base
    middle = at if stacked or series == 1 else at + wide * (series - 1) / 2
    if lying:
        axis.set_yticks(middle, [label[:6] for label in labels])
        _titles(axis, dice, y=" ")
    else:
        axis.set_xticks(middle, labels, rotation=0 if len(labels[0]) == 2 else dice.pick((30, 45)))
        _titles(axis, dice, x=" ")
    if series > 1:
        axis.legend()


def scatter(axis: Axes, dice: Dice) -> None:
    """Clouds of points, sometimes with a fitted line."""
    count = dice.pick((20, 60, 150, 400))
    groups = dice.between(1, 3)
    slope = dice.real(-2, 2)
    for name in _names(dice, groups):
        centre = dice.random.normal(size=2) * 2.5
        x = dice.random.normal(size=count) + centre[0]
        y = slope * x + dice.random.normal(size=count) * dice.real(0.3, 1.5) + centre[1]
        size = dice.random.gamma(2.0, 12.0, size=count) if dice.chance(0.2) else dice.pick((6, 14))
        marker = dice.pick(("o", "o", "x", "s", "+"))
        axis.scatter(x, y, s=size, marker=marker, alpha=dice.pick((0.5, 0.8, 1.0)), label=name)
        if groups == 1 and dice.chance(0.5):
            ends = np.array([x.min(), x.max()])
            axis.plot(ends, slope * ends + centre[1], color="C3", linestyle="--", label="fit")
    if groups > 1:
        axis.legend()
    _titles(axis, dice)


def heatmap(axis: Axes, dice: Dice) -> None:
    """A matrix in colours with its bar; small ones carry their numbers."""
    size, digits = dice.pick((4, 5, 6, 12, 40)), dice.between(1, 2)
    data = dice.random.normal(size=(size, size))
    for _ in range(dice.between(1, 3)) if size > 6 else ():
        data = data + np.roll(data, 1, 0) + np.roll(data, 1, 1)
    if size <= 6:
        data = np.round(np.corrcoef(data + dice.random.normal(size=(size, 1))), digits)
    image = axis.imshow(data, cmap=dice.pick(COLOUR_MAPS), aspect="auto")
    if size <= 6:
        names = dice.several(CLASSES, size)
        axis.set_xticks(range(size), names, rotation=45)
        axis.set_yticks(range(size), names)
        for i, j in np.ndindex(size, size):
            ink = _readable_on(image.to_rgba(data[i, j]))
            text = f"{data[i, j] + 0.0:.{digits}f}"
            axis.text(j, i, text, ha="center", va="center", color=ink)
    axis.grid(visible=False)
    if dice.chance(0.7) and axis.figure is not None:
        axis.figure.colorbar(image, ax=axis)
    axis.set_title(dice.pick(words.NOUNS).title())


def pie(axis: Axes, dice: Dice) -> None:
    """A pie or a ring with shares."""
    count = dice.between(3, 6)
    shares = dice.random.dirichlet(np.full(count, 3.0))
    ring = {"width": 0.45, "edgecolor": "white"} if dice.chance(0.4) else {}
    names = _names(dice, count, 7)
    legend = dice.chance(0.4)
    axis.pie(
        shares,
        labels=None if legend else names,
        autopct="%.0f%%" if not ring else None,
        startangle=dice.between(0, 359),
        explode=[0.08 if i == 0 and dice.chance(0.5) else 0.0 for i in range(count)],
        wedgeprops=ring,
    )
    percents = [t for t in axis.texts if t.get_text().endswith("%")]
    for wedge, text in zip(axis.patches, percents, strict=False):
        text.set_color(_readable_on(wedge.get_facecolor()))
    if legend:
        axis.legend(names, loc="center left", bbox_to_anchor=(0.9, 0.5))
    axis.set_title(_title(dice))


def histogram(axis: Axes, dice: Dice) -> None:
    """One or two distributions, a third of them with a curve."""
    bins = dice.pick((8, 15, 30, 60))
    for i, name in enumerate(_names(dice, dice.between(1, 2))):
        data = dice.random.normal(i * dice.real(0, 3), dice.real(0.6, 1.5), size=600)
        data = np.exp(data / 2) if dice.chance(0.3) else data
        edge = "black" if dice.chance(0.3) else "none"
        axis.hist(data, bins=bins, alpha=0.75, label=name, edgecolor=edge, linewidth=0.5)
    axis.legend()
    _titles(axis, dice, y="count")


def area(axis: Axes, dice: Dice) -> None:
    """Stacked areas over years."""
    count, series = dice.between(12, 40), dice.between(2, 5)
    x = dice.between(1950, 1990) + np.arange(count)
    data = np.abs(np.cumsum(dice.random.normal(size=(series, count)), axis=1)) + 1
    axis.stackplot(x, data, labels=_names(dice, series), alpha=dice.pick((0.7, 0.9, 1.0)))
    axis.set_xlim(x[0], x[-1])
    axis.legend(loc="upper left")
    _titles(axis, dice, x="year")


def boxes(axis: Axes, dice: Dice) -> None:
    """Box plots or violins of several groups."""
    count = dice.between(3, 6)
    data = [dice.random.normal(dice.real(-1, 2), dice.real(0.4, 1.2), 50) for _ in range(count)]
    if dice.chance(0.5):
        axis.boxplot(data, patch_artist=dice.chance(0.6), medianprops={"color": "C1"})
    else:
        axis.violinplot(data, showmedians=True)
    axis.set_xticks(range(1, count + 1), _names(dice, count, 6), rotation=30)
    _titles(axis, dice, x=" ")


def contours(axis: Axes, dice: Dice) -> None:
    """Levels of a smooth surface."""
    grid = np.linspace(-3, 3, 60)
    x, y = np.meshgrid(grid, grid)
    surface = np.zeros_like(x)
    for _ in range(dice.between(2, 4)):
        a, b, width = dice.real(-2, 2), dice.real(-2, 2), dice.real(0.5, 2)
        surface += dice.real(-1, 1) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / width)
    levels = dice.between(6, 14)
    if dice.chance(0.6):
        axis.contourf(x, y, surface, levels, cmap=dice.pick(COLOUR_MAPS))
    else:
        shown = axis.contour(x, y, surface, levels, cmap=dice.pick(COLOUR_MAPS), linewidths=1)
        axis.clabel(shown, fontsize=6)
    axis.grid(visible=False)
    _titles(axis, dice)


def steps(axis: Axes, dice: Dice) -> None:
    """Measurements with error bars, or a staircase."""
    count = dice.between(5, 14)
    x = np.arange(count)
    for name in _names(dice, dice.between(1, 3)):
        y = np.cumsum(dice.random.gamma(2.0, 1.0, count)) * dice.real(0.5, 1.5)
        if dice.chance(0.6):
            error = dice.random.gamma(3.0, 0.3, count)
            axis.errorbar(
                x, y, yerr=error, fmt=dice.pick(("o-", "s--", "o")), capsize=2, label=name
            )
        else:
            axis.step(x, y, where="mid", label=name)
    axis.legend(loc="upper left")
    _titles(axis, dice)


Kind = Callable[["Axes", Dice], None]

SMALL_KINDS: tuple[Kind, ...] = (lines, lines, histogram, area, steps)
"""Kinds that stay readable at half the height."""
KINDS: tuple[Kind, ...] = (
    lines, lines, lines, bars, bars, bars, scatter, scatter,
    heatmap, heatmap, pie, histogram, area, boxes, contours, steps,
)  # fmt: skip
