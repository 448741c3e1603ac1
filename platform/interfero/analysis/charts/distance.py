"""Domain distance, measured before adapting, against what is forgotten and gained."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from interfero.analysis.axes import AXES, level
from interfero.analysis.cells import Cells
from interfero.analysis.charts.data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Series,
    Variant,
)
from interfero.analysis.charts.files import file_name
from interfero.analysis.charts.laws import place_lines
from interfero.analysis.charts.style import MethodStyle, styles_by_name
from interfero.analysis.comparable import comparable
from interfero.analysis.focus import focus_text, in_focus
from interfero.analysis.laws.observations import RESPONSES, Observations, observations
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.view import MEAN_OF_OTHERS, left_out_domains
from interfero.analysis.parts import grey_domains, without_grey
from interfero.records import CellRecord

MIN_DOMAINS = 3
"""Two domains have a distance each and say nothing about distance."""


def distance_figure(
    records: Sequence[CellRecord], results: Sequence[Scaling | Refusal]
) -> Figure | None:
    """Every method's response over each measure of distance; None with fewer than three domains.

    Points are domains, means over their settings. Diamonds and crosses are what the law says of a domain
    when it is left out of the fit: with the mean of the other domains, and by the distance that predicts
    best.
    """
    laws = {(r.subject, r.response.name): r for r in results if isinstance(r, Scaling)}
    why = {(r.subject, r.response.name): r.reason for r in results if isinstance(r, Refusal)}
    every = Cells(records)
    coloured = without_grey(every)  # Whose budget and lambda are the answer's.
    where, focus = focus_text(coloured), _levels(in_focus(coloured))
    where = f", {where}" if where else ""
    variants = []
    # Once for all, as every domain has one look in all of the figure.
    data_of = {response: observations(every, response) for response in RESPONSES.values()}
    names = {n for own in data_of.values() for data in own.values() for n in data.domain_names}
    looks = styles_by_name(sorted(names))
    for response, own in data_of.items():
        for subject, data in own.items():
            rows = _in_focus(data, focus)
            found = {data.domains[i] for i in rows}
            if len(found) < MIN_DOMAINS or not np.nanstd(data.values):
                continue
            key = subject, response.name
            shared = shared_rows(data, rows)
            panels = tuple(
                _panel(data, name, laws.get(key), rows, shared, looks) for name in data.distances
            )
            if panels:
                variants.append(
                    Variant(
                        choice=(subject.text, response.title),
                        panels=panels,
                        caption=f"This is {response.title} of {subject.text} over the distance of a domain "
                        f"from the source{where}. {_law_note(laws.get(key), why.get(key, ''))}",
                        file=file_name("distance", subject.method),
                    )
                )
    if not variants:
        return None
    grey = sorted(grey_domains(every) & looks.keys())
    return Figure(
        name="distance",
        title="Domain distance and what it predicts",
        selectors=("method", "of"),
        variants=tuple(
            sorted(variants, key=lambda v: ("unrouted" not in v.choice[1], v.choice[0]))
        ),
        note="Filled marks are measured, and means over the settings that the domains share; faint ones are "
        "single settings, means over seeds. Hollow diamonds and crosses are what the law predicts for a "
        "left-out domain." + (f" Grey domains are among them: {', '.join(grey)}." if grey else ""),
    )


def _law_note(scaling: Scaling | None, reason: str) -> str:
    if scaling is None:
        return f"There is no law, and so there are no predictions: {reason or 'none was fitted'}."
    if not left_out_domains(scaling):
        return (
            "Too few settings are left when a domain is left out, and so there are no predictions."
        )
    return "Predictions are those of the law when the domain is left out."


def _levels(records: Iterable[CellRecord]) -> dict[str, set[float]]:
    """Steps and lambda of the cells that are shown."""
    own = list(records)
    return {
        name: {level(float(r.params[name])) for r in own} for name in ("num_steps", "rd_lambda")
    }


def _in_focus(data: Observations, focus: Mapping[str, set[float]]) -> list[int]:
    """Points of one budget and one lambda: a mean over others would be of several losses."""
    kept = list(range(len(data.domains)))
    for name, levels in focus.items():
        if name in data.axes:
            column = data.column(name).tolist()
            kept = [i for i in kept if level(column[i]) in levels]
    return kept


def _panel(
    data: Observations, name: str, scaling: Scaling | None, rows: Sequence[int],
    shared: Sequence[int], looks: Mapping[str, MethodStyle],
) -> Panel:  # fmt: skip
    axis = AXES[name]
    x = data.column(name).tolist()
    series = []
    for domain in data.domain_names:
        own = [i for i in rows if data.domains[i] == domain]
        points = [_measured(data, i, x[i], faint=len(own) > 1) for i in own]
        same = [i for i in shared if data.domains[i] == domain]
        if same and len(points) > 1:
            means = [(x[i], _mean_percent(data, i)) for i in same]
            points.append(_mean(f"{domain}, measured", means))
        series.append(looks[domain].series(domain, points))
    if scaling is not None and scaling.data.domains == data.domains:
        series += _predictions(scaling, x, shared)
    whole = [p.y for s in series for p in s.points]
    log = scaling is not None and scaling.space == "log" and min(whole) > 0
    return Panel(
        title=f"By {axis.word}",
        x=PlotAxis(axis.title, "log" if max(x) > 5 * min(x) else "linear"),
        y=PlotAxis(data.response.title, "log" if log else "linear"),
        series=tuple(series),
    )


def shared_rows(data: Observations, rows: Sequence[int]) -> list[int]:
    """Of some points those of the settings that most domains share: else a mean would compare settings."""
    settings = list(zip(*(data.column(name).tolist() for name in data.own_axes), strict=True))
    settings = [tuple(map(level, setting)) for setting in settings] or [()] * len(data.domains)
    coverage: dict[tuple[float, ...], set[str]] = defaultdict(set)
    for i in rows:
        coverage[settings[i]].add(data.domains[i])
    units, domains = comparable(coverage, lambda places: len(places) >= MIN_DOMAINS)
    return [i for i in rows if settings[i] in units and data.domains[i] in domains]


def _mean(what: str, at: Sequence[tuple[float, float]]) -> PlotPoint:
    """Of a domain's settings: each domain has the same ones."""
    xs, ys = [x for x, _ in at], [y for _, y in at]
    x, y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    lines = (
        what,
        f"mean over {len(at)} settings {y:+.2f} %",
        f"settings {min(ys):+.2f} to {max(ys):+.2f} %",
    )
    return PlotPoint(x, y, lines)


def _measured(data: Observations, row: int, x: float, *, faint: bool) -> PlotPoint:
    values = [v for v in data.response.percent(data.values[row]).tolist() if math.isfinite(v)]
    mean = _mean_percent(data, row)
    return PlotPoint(
        x, mean,
        (
            f"{data.subject.text} on {data.domains[row]}",
            *place_lines(data, row),
            f"measured {mean:+.2f} %, seeds {', '.join(f'{v:+.2f}' for v in values)}",
        ),
        faint=faint,
    )  # fmt: skip


def _mean_percent(data: Observations, row: int) -> float:
    """Over seeds, in log points as laws are fitted."""
    return float(data.response.percent(np.nanmean(data.values[row])))


def _predictions(scaling: Scaling, x: Sequence[float], shared: Sequence[int]) -> list[Series]:
    """A point a domain and way: the mean over its settings, as measured domains are shown."""
    found = []
    domains = scaling.data.domains
    for way in left_out_domains(scaling):
        hollow = way.kind == MEAN_OF_OTHERS
        points = []
        for name in scaling.data.domain_names:
            at = [(x[i], float(way.predicted[i])) for i in shared if domains[i] == name]
            if at:
                points.append(_mean(f"{name}, left out and predicted: {way.kind}", at))
        label = f"left out, {way.kind}"
        found.append(Series(label, INK, "D" if hollow else "x", tuple(points), hollow=hollow))
    return found
