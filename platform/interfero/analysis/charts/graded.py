"""Gain and forgetting against a shift that is known: the severity of corruptions, the share of a domain."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Variant,
    seeds_sentence,
)
from interfero.analysis.charts.files import file_part
from interfero.analysis.charts.style import DOMAIN_STYLES, MethodStyle, method_label
from interfero.analysis.charts.trends import QUANTITIES, astray_sentence, response_points
from interfero.analysis.choices import CONTROL
from interfero.analysis.graded import GradedFamily, graded_families
from interfero.analysis.trends import DomainShift
from interfero.domains.graded_names import CORRUPTION_GROUPS

MAX_ROWS = 4
"""Of one picture."""
_ALONG = {True: "severity", False: "share of the second domain's images (%)"}
"""By whether a family is a corruption."""


def graded_figure(shifts: Sequence[DomainShift], rd_lambda: float | None = None) -> Figure | None:
    """A variant a method, lambda and kind of shift; None without domains of known shift.

    Args:
        shifts: Of all methods.
        rd_lambda: That it opens at, the answer's, where there is a variant of it.
    """
    variants, settings = [], []
    # Each kind has pictures of its own: rows of one picture share a legend.
    for along, name in ((True, "graded_shift"), (False, "graded_shift_mixtures")):
        rows = [
            (shift, members)
            for shift in shifts
            if shift.method != CONTROL
            if (members := [f for f in graded_families(shift) if f.is_corruption == along])
        ]
        variants += [
            _variant(shift, along, members, file_part(name, index=i, rows=MAX_ROWS))
            for i, (shift, members) in enumerate(rows)
        ]
        settings += [shift.setting for shift, _ in rows]
    if not variants:
        return None
    return Figure(
        name="graded_shift",
        title="Gain and forgetting along a known shift",
        selectors=("method", "along", "at"),
        variants=tuple(variants),
        note="Corruptions of one colour are of one kind: noise, blur, weather, digital. All domains have the "
        "same image count, lambda, steps and seeds.",
        start=next((i for i, s in enumerate(settings) if s.rd_lambda == rd_lambda), 0),
    )


def _variant(
    shift: DomainShift, along: bool, families: Sequence[GradedFamily], file: str
) -> Variant:
    counts = {len(p.point.gains) for p in shift.points}
    at = f"lambda {shift.setting.rd_lambda:g}, {shift.setting.num_steps} steps"
    bases = " and ".join(dict.fromkeys(f.base for f in families))
    what = f"corruptions of {bases}" if along else f"mixtures with {bases}"
    return Variant(
        choice=(method_label(shift.method), _ALONG[along].split(" ")[0], at),
        panels=tuple(_panel(shift, families, along, number) for number in range(len(QUANTITIES))),
        caption=f"This is {method_label(shift.method)} on {what}, at {at} and with "
        f"{shift.setting.num_images} training images.{seeds_sentence(counts)}{astray_sentence([shift])}",
        file=file,
    )


def _panel(shift: DomainShift, families: Sequence[GradedFamily], along: bool, number: int) -> Panel:
    series = tuple(
        _look(family, i).series(family.label, _points(shift, family, number), line=True)
        for i, family in enumerate(families)
    )
    levels = sorted({level for family in families for level in family.levels})
    axis = PlotAxis(_ALONG[along], ticks=tuple((level, str(level)) for level in levels))
    title = QUANTITIES[number][0]
    return Panel(title, axis, PlotAxis(title, "percent"), series)


def _points(shift: DomainShift, family: GradedFamily, number: int) -> list[PlotPoint]:
    """By level; cells of the family that diverged too, while others of their level did not."""
    levels = {p.domain: float(x) for x, p in zip(family.levels, family.points, strict=True)}
    known = [(levels[p.domain], p.point, [f"{shift.method} on {p.domain}"]) for p in family.points]
    return response_points(shift, number, known, lambda cell: levels.get(cell.domain))


def _look(family: GradedFamily, index: int) -> MethodStyle:
    """The colour of a corruption's kind, and a marker of its own."""
    for look, names in zip(DOMAIN_STYLES, CORRUPTION_GROUPS.values(), strict=False):
        if family.name in names:
            return MethodStyle(look.colour, DOMAIN_STYLES[names.index(family.name)].marker)
    # Mixtures: what corruptions leave over.
    rest = DOMAIN_STYLES[len(CORRUPTION_GROUPS) :]
    return rest[index % len(rest)]
