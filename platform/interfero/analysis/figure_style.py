"""How figures look: the same colours, markers and letters in every one, whatever the process set."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from interfero.analysis.choices import CONTROL

DOTS_PER_INCH = 200
FONT_POINTS = 8.5

_STYLE: dict[Any, Any] = {
    "font.size": FONT_POINTS,
    "axes.titlesize": FONT_POINTS,
    "axes.labelsize": FONT_POINTS,
    "xtick.labelsize": FONT_POINTS,
    "ytick.labelsize": FONT_POINTS,
    "legend.fontsize": FONT_POINTS,
    "figure.titlesize": FONT_POINTS + 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "lines.markersize": 6,
    "svg.hashsalt": "interfero",
}


@dataclass(frozen=True)
class MethodStyle:
    """How a method looks in every figure."""

    colour: str
    """Of Okabe and Ito's palette, which colour-blind readers can tell apart."""
    marker: str


STYLES: dict[str, MethodStyle] = {
    "finetune": MethodStyle("#D55E00", "s"),
    "cawf": MethodStyle("#0072B2", "o"),
    CONTROL: MethodStyle("#000000", "D"),
    "cawf_two_way": MethodStyle("#56B4E9", "P"),
    "lora": MethodStyle("#009E73", "^"),
    "replay": MethodStyle("#E69F00", "v"),
    "ewc": MethodStyle("#CC79A7", "X"),
}
_OTHERS = tuple(MethodStyle(colour, ">") for colour in ("#CC79A7", "#009E73", "#E69F00", "#56B4E9"))


def method_style(method: str) -> MethodStyle:
    """A method's colour and marker; one this table does not know gets a triangle."""
    return STYLES.get(method) or _OTHERS[sum(method.encode()) % len(_OTHERS)]


@contextmanager
def figure_style() -> Iterator[None]:
    """Matplotlib's defaults and ours, whatever the process has set."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def settle(figure: Figure) -> None:
    """Lay a figure out, once for all its files; under the style that it was made with."""
    engine = figure.get_layout_engine()
    if engine is not None:
        engine.execute(figure)


def rendered(figure: Figure, suffix: str) -> bytes:
    """The figure as a file's bytes; `suffix` is `png` or `svg`."""
    buffer = io.BytesIO()
    # No date: the same records give the same bytes.
    metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {}
    with figure_style():
        # The layout was settled when the figure was made. Any engine, even a placeholder, makes `savefig`
        # draw the whole figure once more for nothing.
        figure.set_layout_engine(None)
        figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()


def symlog(axes: Axes, which: Literal["x", "y"], linear_until: float) -> None:
    """Linear up to a value in both directions, logarithmic beyond; the axis says so."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    set_scale = axes.set_xscale if which == "x" else axes.set_yscale
    set_scale("symlog", linthresh=linear_until, linscale=1.0)
    # Margins are a share of the scale: those set while it was linear hide points or half the axis.
    axes.autoscale_view(scalex=which == "x", scaley=which == "y")
    low, high = axis.get_view_interval()
    steps = [linear_until * f for f in (0.5, 1, 3, 10, 30, 100, 300, 1000, 1e4, 1e5)]
    if linear_until == 1:
        steps.remove(0.5)
    ticks = sorted({0.0, *steps, *(-s for s in steps)})
    axis.set_major_locator(FixedLocator([t for t in ticks if low <= t <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_label_text(f"{axis.get_label_text()}, log beyond {linear_until:g}")
