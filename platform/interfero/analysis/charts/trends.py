"""Gain and forgetting along one axis, and over the distances of domains."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from math import nan
from typing import TypeVar

from interfero.analysis.axes import AXES
from interfero.analysis.capacity_table import signed
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Variant,
    seeds_sentence,
    span,
)
from interfero.analysis.charts.files import file_name, file_part
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import CellSetting, method_rank
from interfero.analysis.focus import LAMBDAS_NOTE
from interfero.analysis.grouping import grouped
from interfero.analysis.trends import Astray, DomainPoint, DomainShift, Point, Trend

MAX_ROWS = 4
"""Domains of one picture: more would not be readable on a page."""
_Line = TypeVar("_Line", Trend, DomainShift)
QUANTITIES: tuple[
    tuple[str, Callable[[Point], float], Callable[[Point], Collection[float]]], ...
] = (
    ("Target gain (%)", lambda p: p.gain, lambda p: p.gains.values()),
    ("Forgetting, unrouted (%)", lambda p: p.forgetting, lambda p: p.losses.values()),
)
"""A panel each: its title, and what is drawn of a point, the mean and the values of its seeds."""


def trend_figure(
    found: Sequence[Trend], name: str, rd_lambda: float | None = None
) -> Figure | None:
    """A variant a domain and lambda, a panel each for gain and forgetting; None without a line.

    Args:
        found: Lines along one axis.
        name: Of the figure and its files; of more than four domains the next ones are `NAME_2`.
        rd_lambda: That it opens at, the answer's; without it a lambda in the middle.
    """
    if not found:
        return None
    axis = AXES[found[0].axis]
    variants, settings = [], []
    by_domain = sorted(grouped(found, lambda trend: trend.setting.domain).items())
    for index, (domain, own) in enumerate(by_domain):
        for place, here in grouped(own, _place).items():
            counts = [len(p.gains) for t in here for p in t.points]
            settings.append(here[0].setting)
            variants.append(
                Variant(
                    choice=(domain, place),
                    panels=tuple(_trend_panel(here, row) for row in range(len(QUANTITIES))),
                    caption=f"This is {domain} along {axis.word}, at {place}."
                    f"{seeds_sentence(counts)}{_unlike_seeds(here)}{astray_sentence(here)}",
                    file=file_part(name, index=index, rows=MAX_ROWS),
                )
            )
    return Figure(
        name=name,
        title=f"Gain and forgetting along {axis.word}",
        selectors=("domain", "at"),
        variants=tuple(variants),
        note="Points of a line share everything but the axis, their seeds too. Of several adapter sizes each "
        "line has the one with the best mean validation gain."
        + (f" {LAMBDAS_NOTE}." if axis.name == "rd_lambda" else ""),
        start=_start(settings, rd_lambda),
    )


def _start(settings: Sequence[CellSetting], rd_lambda: float | None) -> int:
    """Of the first domain, the longest training at the lambda asked for, or in the middle."""
    values = sorted({s.rd_lambda for s in settings})
    place = values.index(rd_lambda) if rd_lambda in values else (len(values) - 1) // 2

    def rank(index: int) -> tuple[bool, int, int]:
        s = settings[index]
        away = abs(values.index(s.rd_lambda) - place)
        return s.domain == settings[0].domain, s.num_steps, -away

    return max(range(len(settings)), key=rank)


def _trend_panel(found: Sequence[Trend], number: int) -> Panel:
    title, axis = QUANTITIES[number][0], AXES[found[0].axis]
    series = []
    for trend in _in_order(found):
        who = f"{trend.method} on {trend.setting.domain}"
        known = [(p.x, p, (who, f"{axis.word} {axis.text(p.x)}")) for p in trend.points]
        points = response_points(trend, number, known, lambda cell: cell.x)
        label = method_label(trend.method)
        series.append(method_style(trend.method).series(label, points, line=True))
    levels = sorted({p.x for s in series for p in s.points})
    ticks = tuple((x, axis.text(x)) for x in levels)
    return Panel(
        title, PlotAxis(axis.title, "log", ticks=ticks), PlotAxis(title, "percent"), tuple(series)
    )


def domain_figure(shifts: Sequence[DomainShift], rd_lambda: float | None = None) -> Figure | None:
    """A variant a measure of distance and lambda; domains stand in its order, evenly, with its value.

    Args:
        shifts: Of all methods.
        rd_lambda: That it opens at, the answer's; without it a lambda in the middle.
    """
    known = [s for s in shifts if s.distances]
    by_place = grouped(known, lambda s: (-s.setting.num_steps, s.setting.rd_lambda))
    places = sorted(by_place)
    variants = []
    for steps, value in places:
        own = by_place[steps, value]
        at = f"lambda {value:g}, {-steps} steps"
        for name in dict.fromkeys(n for s in own for n in s.distances):
            members = [s for s in own if name in s.distances]
            counts = sorted({s.setting.num_images for s in members})
            caption = (
                f"Domains stand by {AXES[name].title}, measured before adapting, at {at} and with "
                f"{' and '.join(map(str, counts))} training images each."
            )
            caption += seeds_sentence(len(p.point.gains) for s in members for p in s.points)
            caption += _unlike_seeds(members) + _left_out_sentence(members)
            caption += astray_sentence(members)
            variants.append(
                Variant(
                    choice=(AXES[name].word, at),
                    panels=tuple(_domain_panel(members, name, r) for r in range(len(QUANTITIES))),
                    caption=caption,
                    file=file_name("domain_shift", *_told_apart(steps, value, places)),
                )
            )
    if not variants:
        return None
    values = [value for steps, value in places if steps == places[0][0]]
    opened = rd_lambda if rd_lambda in values else values[(len(values) - 1) // 2]
    first = f"lambda {opened:g}, {-places[0][0]} steps"
    return Figure(
        name="domain_shift",
        start=[v.choice[1] for v in variants].index(first),
        title="Gain and forgetting by domain",
        selectors=("by", "at"),
        variants=tuple(variants),
        note="Of a method all domains have the same image count, lambda, steps and seeds.",
    )


def _left_out_sentence(shifts: Sequence[DomainShift]) -> str:
    """` Left out are tissue of lora, which lacks a result there.`: of which method which domain."""
    gone = grouped((s for s in _in_order(shifts) if s.left_out), lambda s: s.left_out)
    parts = [
        f"{', '.join(domains)} of {', '.join(s.method for s in own)}"
        for domains, own in gone.items()
    ]
    return f" For lack of a result there, left out are {'; '.join(parts)}." if parts else ""


def _unlike_seeds(found: Sequence[_Line]) -> str:
    """Which data seeds each method has; empty where all have the same ones."""
    methods: dict[tuple[int, ...], list[str]] = {}
    for line in _in_order(found):
        points = [p.point if isinstance(p, DomainPoint) else p for p in line.points]
        seeds = tuple(sorted({seed for p in points for seed, _ in p.gains}))
        methods.setdefault(seeds, []).append(line.method)
    if len(methods) < 2:
        return ""
    parts = [f"{', '.join(map(str, seeds))} of {', '.join(who)}" for seeds, who in methods.items()]
    return f" Methods are to be compared where they have the same data seeds: {'; '.join(parts)}."


def astray_sentence(found: Sequence[_Line]) -> str:
    """` Chosen cells that diverged are in no mean: 1 of cawf.`; empty where none did."""
    counts = {line.method: len(line.astray) for line in _in_order(found) if line.astray}
    text = ", ".join(f"{count} of {method}" for method, count in counts.items())
    return f" Chosen cells that diverged are in no mean: {text}." if counts else ""


def response_points(
    line: Trend | DomainShift, number: int, known: Iterable[tuple[float, Point, Sequence[str]]],
    astray_at: Callable[[Astray], float | None],
) -> list[PlotPoint]:  # fmt: skip
    """Means over seeds, then the cells that diverged, faint.

    Args:
        line: Whose points.
        number: Of `QUANTITIES`.
        known: A place on the x axis, the results there, and what a mark says of them first.
        astray_at: Where a cell stands that diverged; None where it is not drawn.
    """
    title, mean, seeds = QUANTITIES[number]
    points = [
        PlotPoint(
            x, mean(p),
            (*first, f"{title.lower()} {signed(mean(p))}", *_seed_words(seeds(p))),
            y_range=span(tuple(seeds(p))),
        )
        for x, p, first in known
    ]  # fmt: skip
    for cell in line.astray:
        x, value = astray_at(cell), (cell.gain, cell.forgetting)[number]
        if x is not None and value is not None:
            lines = (
                f"{line.method} on {cell.domain}, one cell",
                f"{title.lower()} {signed(value)}",
                f"seed {cell.seed[0]}/{cell.seed[1]}: diverged, in no mean",
            )
            points.append(PlotPoint(x, value, lines, faint=True))
    return points


def _told_apart(steps: int, value: float, places: Collection[tuple[int, float]]) -> list[str]:
    """The lambda where there are several, and the steps of all but the longest training."""
    at_lambda = [f"{value:g}"] if len({v for _, v in places}) > 1 else []
    return at_lambda + ([] if steps == min(s for s, _ in places) else [f"{-steps}steps"])


def _domain_panel(shifts: Sequence[DomainShift], name: str, number: int) -> Panel:
    far = {a.domain: a.distances[name] for s in shifts for a in s.astray if name in a.distances}
    far |= {p.domain: p.distances[name] for s in shifts for p in s.points}
    order = sorted(far, key=lambda d: (-far[d], d))
    rows = {domain: float(row) for row, domain in enumerate(order)}
    series = []
    for shift in _in_order(shifts):
        known = [
            (
                rows[p.domain], p.point,
                (f"{shift.method} on {p.domain}", f"{AXES[name].word} {far[p.domain]:.3g}"),
            )
            for p in shift.points
        ]  # fmt: skip
        points = response_points(shift, number, known, lambda cell: rows.get(cell.domain, nan))
        # Domains are the rows, and values lie across.
        turned = [replace(p, x=p.y, y=p.x, x_range=p.y_range, y_range=None) for p in points]
        series.append(method_style(shift.method).series(method_label(shift.method), turned))
    title, names = QUANTITIES[number][0], tuple(f"{domain} {far[domain]:.3g}" for domain in order)
    return Panel(title, PlotAxis(title, "percent"), PlotAxis("", "names", names), tuple(series))


def _in_order(found: Sequence[_Line]) -> list[_Line]:
    return sorted(found, key=lambda t: method_rank(t.method))


def _place(trend: Trend) -> str:
    s = trend.setting
    parts = [] if trend.axis == "rd_lambda" else [f"lambda {s.rd_lambda:g}"]
    parts += [] if trend.axis == "num_images" else [s.num_images_text]
    parts += [] if trend.axis == "num_steps" else [f"{s.num_steps} steps"]
    return ", ".join(parts)


def _seed_words(values: Collection[float]) -> list[str]:
    """What a point says of its seeds."""
    if len(values) == 1:
        return ["1 seed"]
    return [f"{len(values)} seeds: {', '.join(signed(v) for v in values)}"]
