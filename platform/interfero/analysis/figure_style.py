"""How figures look: the same colours, markers and letters in every one, whatever the process set."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure

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


def rendered(figure: Figure, suffix: str) -> bytes:
    """The figure as a file's bytes; `suffix` is `png` or `svg`."""
    buffer = io.BytesIO()
    # No date: the same records give the same bytes.
    metadata: dict[str, Any] = {"Date": None} if suffix == "svg" else {}
    with figure_style():
        figure.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata)
    return buffer.getvalue()
