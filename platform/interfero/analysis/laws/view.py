"""What a figure of a law shows, before anything is drawn: points, lines, predictions of left-out domains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from interfero.analysis.axes import AXES, GROWTH_AXES
from interfero.analysis.capacity_table import counted
from interfero.analysis.laws.forms import Design
from interfero.analysis.laws.observations import setting_means
from interfero.analysis.laws.robust_fit import predicted
from interfero.analysis.laws.scaling import Scaling

FloatArray = npt.NDArray[np.float64]

MEAN_OF_OTHERS = "mean of the others"
BY_DISTANCE = "by distance"


@dataclass(frozen=True)
class DomainLaw:
    """One domain's settings and line along the law's main axis."""

    domain: str
    rows: tuple[int, ...]
    """Of the observations, in the order of the points."""
    x: FloatArray
    """(points,)"""
    y: FloatArray
    """(points,) in percent: settings moved along the law to the other axes' geometric means (partial
    residuals), so that what is left is scatter about the law."""
    low: FloatArray
    """(points,) one standard deviation of seeds below."""
    high: FloatArray
    line_x: FloatArray
    """(60,)"""
    line_y: FloatArray


@dataclass(frozen=True)
class LeftOut:
    """Each domain predicted from the others alone."""

    kind: str
    """`MEAN_OF_OTHERS` or `BY_DISTANCE`."""
    predicted: FloatArray
    """(points,) in percent."""


def main_axis(scaling: Scaling) -> str:
    """The axis a law is drawn along: of those it has, the growth axis with most levels."""
    own = [a for a in scaling.chosen.law.axes if a in scaling.data.own_axes]
    axes = own or list(scaling.data.own_axes)
    return max(axes, key=lambda a: (a in GROWTH_AXES, len(scaling.data.levels(a))))


def measured(scaling: Scaling) -> FloatArray:
    """(points,) means over seeds, in percent."""
    return scaling.percent(setting_means(scaling.data, scaling.space))


def domain_laws(scaling: Scaling) -> list[DomainLaw]:
    """By domain, in the order of their names."""
    data, law, design = scaling.data, scaling.chosen.law, scaling.design
    main = main_axis(scaling)
    x = data.column(main)
    fitted = predicted(law, scaling.fit.params, design, scaling.space)
    # Axes other than the main one at their references; distances stay, for they are the domain's.
    kept = [float(axis == main or AXES[axis].by_domain) for axis in law.axes]
    at_reference = Design(design.u * np.array(kept), design.z)
    partial = predicted(law, scaling.fit.params, at_reference, scaling.space)
    y = setting_means(data, scaling.space)
    found = []
    for name in data.domain_names:
        inside = np.array(data.domains) == name
        points = partial[inside] + y[inside] - fitted[inside]
        low, middle, high = (
            scaling.percent(points + shift) for shift in (-scaling.seed_sd, 0.0, scaling.seed_sd)
        )
        # No further than the domain itself was measured.
        grid = np.geomspace(x[inside].min(), x[inside].max(), 60)
        z = np.tile(design.z[inside][0], (len(grid), 1))
        line = Design(_along(scaling, main, grid, design.u[inside].mean(axis=0)), z)
        values = scaling.data.response.percent(law.values(scaling.fit.params, line))
        rows = tuple(int(i) for i in np.flatnonzero(inside))
        found.append(DomainLaw(name, rows, x[inside], middle, low, high, grid, values))
    return found


def left_out_domains(scaling: Scaling) -> list[LeftOut]:
    """By the mean of the others, then by the distance that predicts best, where these can be tried."""
    found = []
    ways = [(scaling.chosen, MEAN_OF_OTHERS), (scaling.nearest_distance, BY_DISTANCE)]
    for candidate, kind in ways:
        if candidate is not None and candidate.predictions is not None:
            found.append(LeftOut(kind, scaling.percent(candidate.predictions)))
    return found


def nothing_left_out(scaling: Scaling) -> str:
    """Why there is no prediction of a left-out domain."""
    data = scaling.data
    return f"{counted(len(data.domain_names), data.drawn_one)}: none can be left out"


def errors_text(scaling: Scaling) -> str:
    """How far predictions of left-out domains are off."""
    text = f"each {scaling.data.drawn_one} left out: off by {scaling.error_text(scaling.chosen)}"
    if scaling.beats_null:
        text += f", {scaling.error_text(scaling.null)} by a constant"
    best = scaling.nearest_distance
    if best is None:
        return text
    return f"{text},\n{scaling.error_text(best)} by {AXES[best.law.axes[-1]].word}"


def end_text(value: float) -> str:
    """To two digits; more where these would hide on which side of zero it is: `-0.003` and not `-0.00`."""
    text = f"{value:.2f}"
    return f"{value:.1g}" if float(text) == 0 and value else text


def law_text(scaling: Scaling) -> str:
    """The law, its exponents with their intervals, and what it stands on."""
    if not scaling.beats_null:
        return f"no law beats a constant for each {scaling.data.drawn_one} ({_basis(scaling)})"
    return (
        f"{scaling.form} law, 95 % intervals: {', '.join(_exponents(scaling, ' '))}; {_basis(scaling)}; "
        f"intervals over {_covers(scaling)}"
    )


def law_sentences(scaling: Scaling, holds: str) -> str:
    """The same in sentences, which say first where the law holds.

    Args:
        scaling: A fitted law.
        holds: `holds across domains`, `is not determined`.
    """
    if not scaling.beats_null:
        text = law_text(scaling)
        return f"{text[0].upper()}{text[1:]}."
    shapes = ", and ".join(f"its {text}" for text in _exponents(scaling, " is "))
    return (
        f"A {scaling.form} law {holds}{': ' if shapes else ''}{shapes}. It stands on {_basis(scaling)}; "
        f"in parentheses are 95 % intervals over {_covers(scaling)}."
    )


def _basis(scaling: Scaling) -> str:
    data = scaling.data
    basis = f"{len(data.domains)} settings, n = {len(data.seeds)} seeds"
    if "num_steps" in data.axes and "num_steps" not in scaling.chosen.law.axes:
        # The points of all budgets lie on one line: a reader has to know which.
        basis += f", {', '.join(map(AXES['num_steps'].text, data.levels('num_steps')))} steps"
    return basis


def _exponents(scaling: Scaling, between: str) -> list[str]:
    """`exponent of images 0.40 (0.25 to 0.54)`, with what stands between name and value."""
    return [
        f"{plain_name(p.name)}{between}{p.value:.2f} ({end_text(p.low)} to {end_text(p.high)})"
        for p in scaling.shape
    ]


def _covers(scaling: Scaling) -> str:
    only = "" if scaling.across_domains else f", for these {scaling.data.drawn} only"
    return f"{scaling.covers}{only}"


def others_text(scaling: Scaling) -> str:
    """At which values the points of `domain_laws` stand; empty if the law has one axis."""
    main = main_axis(scaling)
    others = [AXES[a].word for a in scaling.chosen.law.axes if a != main]
    return f"at the mean of {', '.join(others)}" if others else ""


def plain_name(name: str) -> str:
    """`exponent of images` for `exponent:num_images`."""
    kind, _, axis = name.partition(":")
    return f"{kind} of {AXES[axis].word}" if axis else kind.replace("_", " ")


def _along(scaling: Scaling, main: str, grid: FloatArray, mean_u: FloatArray) -> FloatArray:
    """(60, axes): the main axis along the grid, distances as they are, the others at their references."""
    axes = scaling.chosen.law.axes
    kept = [u if AXES[axis].by_domain else 0.0 for axis, u in zip(axes, mean_u, strict=True)]
    found = np.tile(kept, (len(grid), 1))
    if main in axes:
        found[:, axes.index(main)] = np.log(grid) - np.log(scaling.data.column(main)).mean()
    return found
