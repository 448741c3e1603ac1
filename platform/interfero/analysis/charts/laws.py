"""Fitted laws, and each domain predicted from the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from interfero.analysis.axes import AXES
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Scale,
    Series,
    Variant,
    faces_of,
)
from interfero.analysis.charts.files import file_name
from interfero.analysis.charts.style import MethodStyle, styles_by_name
from interfero.analysis.laws.observations import Observations
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.view import (
    MEAN_OF_OTHERS,
    domain_laws,
    errors_text,
    law_sentences,
    left_out_domains,
    main_axis,
    measured,
    nothing_left_out,
    others_text,
)
from interfero.analysis.laws.words import claim, holds_text


def law_figure(results: Sequence[Scaling | Refusal], grey: Collection[str] = ()) -> Figure | None:
    """None where nothing could be fitted.

    Args:
        results: Of `fit_scaling`.
        grey: Domains without colour: fits have all domains, and the figure says so.
    """
    fits = [r for r in results if isinstance(r, Scaling)]
    if not fits:
        return None
    held = [place for place, fit in enumerate(fits) if fit.beats_null and claim(fit) is not None]
    first = "" if held else "No law holds here. "
    # Domains before orders of them, each with one look in all methods and measures.
    ordered = sorted(fits, key=lambda fit: fit.data.drawn_one != "domain")
    looks = styles_by_name(name for fit in ordered for name in fit.data.domain_names)
    drawn = [(fit, (_law_panel(fit, looks), _left_out_panel(fit, looks))) for fit in fits]
    variants = tuple(
        Variant(
            choice=(fit.subject.text, fit.response.title),
            panels=panels,
            caption=f"{first}This is {fit.response.title} of {fit.subject.text}. {_law_sentences(fit)}",
            file=file_name("law", fit.subject.method),
            faces=faces_of(panels, _filled_text(panels[1]), "by the mean of the others"),
        )
        for fit, panels in drawn
    )
    among = {name for fit in fits for name in fit.data.domain_names} & set(grey)
    ones = " or ".join(dict.fromkeys(fit.data.drawn_one for fit in fits))
    return Figure(
        name="laws",
        title="Laws",
        selectors=("method", "of"),
        variants=variants,
        note="Settings are moved along the law to the mean of its other axes, bars reach one standard "
        f"deviation of seeds, and a line ends where the measurements of its {ones} do. In the panel of what "
        f"is left out, each {ones} is predicted only from the others: hollow marks by their mean, filled "
        "ones, where there are any, by distance."
        + (f" Grey domains are among them: {', '.join(sorted(among))}." if among else ""),
        start=min(held, key=lambda place: claim(fits[place]) != "across", default=0),
    )


def _filled_text(right: Panel) -> str:
    """What filled marks are, of which only some figures have predictions by distance."""
    by_distance = any(not s.hollow for s in right.series)
    return "measured, or by distance" if by_distance else "measured"


def _law_sentences(scaling: Scaling) -> str:
    """Whether the law holds comes before exponents that a reader would take for those of one that does."""
    verb = "is" if claim(scaling) is None else "holds"
    return law_sentences(scaling, f"{verb} {holds_text(scaling)}")


def _law_panel(scaling: Scaling, looks: Mapping[str, MethodStyle]) -> Panel:
    main, data = main_axis(scaling), scaling.data
    axis = AXES[main]
    percent, series = scaling.response.percent, []
    for one in domain_laws(scaling):
        look = looks[one.domain]
        line = zip(one.line_x.tolist(), one.line_y.tolist(), strict=True)
        fitted = tuple(PlotPoint(x, y, (f"{one.domain}, the law", f"{y:+.2f} %")) for x, y in line)
        series.append(Series(one.domain, look.colour, "", fitted, line=True))
        columns = (one.x, one.y, one.low, one.high)
        points = tuple(
            PlotPoint(
                x, y,
                (
                    f"{scaling.subject.text} on {one.domain}",
                    *place_lines(data, row),
                    f"at the reference {y:+.2f} %, one s.d. of seeds {low:+.2f} to {high:+.2f}",
                    f"seeds: {', '.join(f'{v:+.2f}' for v in percent(data.values[row]) if v == v)} %",
                ),
                y_range=(low, high),
            )
            for row, x, y, low, high in zip(
                one.rows, *(c.tolist() for c in columns), strict=True
            )
        )  # fmt: skip
        series.append(look.series(one.domain, points))
    others = others_text(scaling)
    levels = tuple((v, axis.text(v)) for v in data.levels(main))
    return Panel(
        title=f"The law{', ' if others else ''}{others}",
        x=PlotAxis(axis.title, "log", ticks=levels),
        y=PlotAxis(scaling.response.title, "log" if scaling.space == "log" else "linear"),
        series=tuple(series),
    )


def place_lines(data: Observations, row: int) -> list[str]:
    """`lambda 0.013`, and so on: where a point of observations lies."""
    return [f"{AXES[a].word} {AXES[a].text(float(data.column(a)[row]))}" for a in data.axes]


def _left_out_panel(scaling: Scaling, looks: Mapping[str, MethodStyle]) -> Panel:
    data, y = scaling.data, measured(scaling)
    scale: Scale = "log" if scaling.space == "log" else "linear"
    series = []
    for way in left_out_domains(scaling):
        hollow = way.kind == MEAN_OF_OTHERS
        for name in data.domain_names:
            rows = [i for i, domain in enumerate(data.domains) if domain == name]
            points = tuple(
                PlotPoint(
                    float(way.predicted[i]), float(y[i]),
                    (
                        f"{name}, predicted {'by the ' * hollow}{way.kind}",
                        *place_lines(data, i),
                        f"predicted {way.predicted[i]:+.2f} %, measured {y[i]:+.2f} %",
                    ),
                )
                for i in rows
            )  # fmt: skip
            series.append(looks[name].series(name, points, hollow=hollow))
    errors = errors_text(scaling).replace("\n", " ")
    title = f"{errors[0].upper()}{errors[1:]}" if series else f"Left-out {data.drawn}"
    return Panel(
        title=title,
        x=PlotAxis(f"predicted from the other {data.drawn} (%)", scale),
        y=PlotAxis("measured (%)", scale),
        series=tuple(series),
        diagonal=True,
        empty="" if series else nothing_left_out(scaling),
    )
