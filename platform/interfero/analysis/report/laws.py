"""Laws with their intervals, predictions of left-out domains, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interfero.analysis.axes import AXES
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.view import (
    MEAN_OF_OTHERS,
    domain_laws,
    domain_look,
    errors_text,
    law_text,
    left_out_domains,
    main_axis,
    measured,
    nothing_left_out,
    others_text,
    plain_name,
)
from interfero.analysis.report.figure_data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Scale,
    Series,
    Variant,
)

BLACK = "#000000"


@dataclass(frozen=True)
class LawRow:
    """One line of the table of laws."""

    subject: str
    response: str
    law: str
    """Its name, or that there is none."""
    detail: str
    """Exponents with their intervals, or why there is none."""
    evidence: str
    """AICc below the null model's, and the held-out error of both."""


def law_rows(results: Sequence[Scaling | Refusal]) -> list[LawRow]:
    """Fits first come as they are sorted; refusals stand in their places."""
    return [_fit_row(r) if isinstance(r, Scaling) else _refusal_row(r) for r in results]


def _fit_row(scaling: Scaling) -> LawRow:
    return LawRow(
        scaling.subject.text,
        scaling.response.title,
        scaling.chosen.law.name.replace("_", " ") if scaling.beats_null else "none beats the mean",
        law_text(scaling),
        _evidence(scaling),
    )


def _evidence(scaling: Scaling) -> str:
    """What speaks for the chosen law, or how near the best of the others came."""
    null = scaling.null
    others = [c for c in scaling.tried[1:] if c.aicc is not None]
    best = scaling.chosen if scaling.beats_null else min(others, key=_aicc, default=None)
    if best is None or null.aicc is None or best.aicc is None:
        return "nothing else could be fitted"
    who = "" if scaling.beats_null else f"{best.law.name.replace('_', ' ')}: "
    text = f"{who}AICc {best.aicc - null.aicc:+.1f} against the mean"
    if best.extrapolation is not None and null.extrapolation is not None:
        text += f"; held out {_error(best.extrapolation)}, the mean {_error(null.extrapolation)}"
        text += " (log)" if scaling.space == "log" else " %"
    return text


def _aicc(candidate: object) -> float:
    return float(getattr(candidate, "aicc", None) or 0.0)


def _error(value: float) -> str:
    return f"{value:.3g}"


def _refusal_row(refusal: Refusal) -> LawRow:
    return LawRow(refusal.subject.text, refusal.response.title, "refused", refusal.reason, "")


def law_lines(results: Sequence[Scaling | Refusal]) -> list[str]:
    """The laws in sentences; one whose parameters could be anything is no law, however well it fits."""
    fits = [r for r in results if isinstance(r, Scaling) and r.beats_null]
    lines = [_law_line(fit) for fit in fits if is_determined(fit)]
    vague = [fit for fit in fits if not is_determined(fit)]
    if vague:
        which = ", ".join(f"{_what(fit)} ({_form(fit)})" for fit in vague)
        lines.append(
            f"In {len(vague)} of {len(results)} combinations of method and response a law fits better than "
            f"a constant for each domain, but the seeds leave its parameters open: {which}."
        )
    silent = [r for r in results if isinstance(r, Scaling) and not r.beats_null]
    if silent:
        lines.append(
            f"No law beats a constant for each domain in {len(silent)} of {len(results)} combinations "
            "of method and response."
        )
    refused = [r for r in results if isinstance(r, Refusal) and r.constant is None]
    if refused:
        reasons = list(dict.fromkeys(r.reason for r in refused))
        lines.append(
            f"No law was fitted in {len(refused)} of {len(results)} combinations of method and "
            f"response: {'; '.join(reasons[:3])}."
        )
    return lines


def is_determined(scaling: Scaling) -> bool:
    """Whether an interval says how the response changes along an axis.

    An exponent's or a slope's must leave out 0; that of where a saturating law reaches half must lie within
    what was measured.
    """
    shapes = scaling.parameters()[: len(scaling.chosen.law.shape_names)]
    along = scaling.design.u
    for parameter in shapes:
        if parameter.name == "log_half":
            if along[:, 0].min() < parameter.low and parameter.high < along[:, 0].max():
                return True
        elif parameter.name != "shift" and parameter.low * parameter.high > 0:
            return True
    return False


def _law_line(scaling: Scaling) -> str:
    shapes = scaling.parameters()[: len(scaling.chosen.law.shape_names)]
    parts = [f"{plain_name(p.name)} {p.value:.2f} ({p.low:.2f} to {p.high:.2f})" for p in shapes]
    return (
        f"{_capital(_what(scaling))} follows a {_form(scaling)} law: {', '.join(parts)}; 95 % intervals "
        f"over {scaling.covers}."
    )


def _what(scaling: Scaling) -> str:
    title = scaling.response.title.removesuffix(" (%)")
    return f"{title[0].lower()}{title[1:]} of {scaling.subject.text}"


def _form(scaling: Scaling) -> str:
    return scaling.chosen.law.name.replace("_", " ")


def law_figure(results: Sequence[Scaling | Refusal]) -> Figure | None:
    """None where nothing could be fitted."""
    fits = [r for r in results if isinstance(r, Scaling)]
    if not fits:
        return None
    variants = []
    for scaling in fits:
        name = f"law_{scaling.subject.method}_{scaling.response.name}"
        variants.append(
            Variant(
                choice=(scaling.subject.text, scaling.response.title),
                panels=(_law_panel(scaling), _left_out_panel(scaling)),
                caption=f"{scaling.subject.text}, {scaling.response.title}: {law_text(scaling)}.",
                files=(f"{name}.png", f"{name}.svg"),
            )
        )
    return Figure(
        name="laws",
        title="Laws",
        selectors=("method", "of"),
        variants=tuple(variants),
        note="Left: settings moved along the law to the mean of its other axes; bars reach one standard "
        "deviation of seeds. Right: each domain predicted from the others alone; hollow by the mean of "
        "the others, filled by distance.",
    )


def _law_panel(scaling: Scaling) -> Panel:
    main = main_axis(scaling)
    axis = AXES[main]
    series = []
    for index, one in enumerate(domain_laws(scaling)):
        colour, marker = look(index)
        line = zip(one.line_x.tolist(), one.line_y.tolist(), strict=True)
        fitted = tuple(PlotPoint(x, y, (f"{one.domain}, the law", f"{y:+.2f} %")) for x, y in line)
        series.append(Series(one.domain, colour, "", fitted, line=True))
        columns = (one.x, one.y, one.low, one.high)
        points = tuple(
            PlotPoint(
                x, y,
                (
                    f"{scaling.subject.text} on {one.domain}",
                    *_place_lines(scaling, row),
                    f"at the reference {y:+.2f} %, one s.d. of seeds {low:+.2f} to {high:+.2f}",
                    _seeds_line(scaling, row),
                ),
                y_range=(low, high),
            )
            for row, x, y, low, high in zip(
                one.rows, *(c.tolist() for c in columns), strict=True
            )
        )  # fmt: skip
        series.append(Series(one.domain, colour, marker, points))
    others = others_text(scaling)
    levels = tuple((v, axis.text(v)) for v in scaling.data.levels(main))
    return Panel(
        title=f"The law{', ' if others else ''}{others}",
        x=PlotAxis(axis.title, "log", ticks=levels),
        y=PlotAxis(scaling.response.title, "log" if scaling.space == "log" else "linear"),
        series=tuple(series),
    )


def _place_lines(scaling: Scaling, row: int) -> list[str]:
    data = scaling.data
    return [f"{AXES[a].word} {AXES[a].text(float(data.column(a)[row]))}" for a in data.axes]


def _seeds_line(scaling: Scaling, row: int) -> str:
    values = scaling.data.values[row].tolist()
    return f"seeds: {', '.join(f'{v:+.2f}' for v in values if v == v)} %"


def look(index: int) -> tuple[str, str]:
    """As in the static figure, with the page's own black."""
    colour, marker = domain_look(index)
    return (INK if colour == BLACK else colour), marker


def _left_out_panel(scaling: Scaling) -> Panel:
    data, y = scaling.data, measured(scaling)
    scale: Scale = "log" if scaling.space == "log" else "linear"
    series = []
    for way in left_out_domains(scaling):
        hollow = way.kind == MEAN_OF_OTHERS
        for index, name in enumerate(data.domain_names):
            colour, marker = look(index)
            rows = [i for i, domain in enumerate(data.domains) if domain == name]
            points = tuple(
                PlotPoint(
                    float(way.predicted[i]), float(y[i]),
                    (
                        f"{name}, predicted {way.kind}" if not hollow
                        else f"{name}, predicted by the {way.kind}",
                        *_place_lines(scaling, i),
                        f"predicted {way.predicted[i]:+.2f} %, measured {y[i]:+.2f} %",
                    ),
                )
                for i in rows
            )  # fmt: skip
            series.append(Series(name, colour, marker, points, hollow=hollow))
    return Panel(
        title=_capital(errors_text(scaling).replace("\n", " ")) if series else "Left-out domains",
        x=PlotAxis("predicted from the other domains (%)", scale),
        y=PlotAxis("measured (%)", scale),
        series=tuple(series),
        diagonal=True,
        empty="" if series else nothing_left_out(scaling),
    )


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
