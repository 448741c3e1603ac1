"""Methods at matched gain."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.charts.data import Figure, Panel, PlotAxis, PlotPoint, Series, Variant
from interfero.analysis.charts.style import method_style
from interfero.analysis.choices import NAIVE, Case
from interfero.analysis.matched_gain import Matched, MatchedRow, matched_rows, shared_cases
from interfero.records import CellRecord

_WAYS = (("forgetting", "routed", -0.14), ("forgetting_unrouted", "unrouted", 0.14))


def matched_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method can be compared at fine-tuning's gain."""
    rows = matched_rows(records)
    if not any(row.found for row in rows):
        return None
    methods = list(dict.fromkeys(row.method for row in rows))
    cases = {case for row in rows for case, _ in (*row.found, *row.refused)}
    shares = sorted({row.share for row in rows})
    panels = tuple(_panel([r for r in rows if r.share == s], methods, s) for s in shares)
    caption = (
        f"Forgetting where a method gains as much as {NAIVE} does, over {len(cases)} cases (a domain, "
        "lambda, image count and data seed). Gain is matched on validation, results are from test images; "
        "where a method does not reach the gain it has no point."
    )
    return Figure(
        name="matched",
        title="Methods at matched gain",
        selectors=(),
        variants=(Variant((), panels, caption, "matched_gain"),),
        note="Large: mean over the cases that all methods with a large mark reach; faint: single cases. "
        "Filled is routed, hollow is unrouted.",
    )


def _panel(rows: Sequence[MatchedRow], methods: Sequence[str], share: float) -> Panel:
    order = list(reversed(methods))
    cases, compared = shared_cases(rows)
    series = []
    for row in rows:
        style, at = method_style(row.method), order.index(row.method)
        for name, word, offset in _WAYS:
            points = [_case_point(row, case, m, name, at + offset) for case, m in row.found]
            if row.method in compared:
                points.append(_mean_point(row, name, word, cases, at + offset))
            look = style.colour, style.marker
            series.append(Series(row.method, *look, tuple(points), hollow=word == "unrouted"))
    names = tuple(f"{m}\n{_reached(next(r for r in rows if r.method == m))}" for m in order)
    title = f"At {100 * share:.0f} % of {NAIVE}'s gain"
    return Panel(
        title=f"{title}: means over {len(cases)} shared cases" if cases else title,
        x=PlotAxis("source forgetting (%)", "percent"),
        y=PlotAxis("", "names", names),
        series=tuple(series),
        empty="" if any(s.points for s in series) else "no method reaches this gain in any case",
    )


def _reached(row: MatchedRow) -> str:
    return f"{len(row.found)} of {len(row.found) + len(row.refused)} cases"


def _mean_point(
    row: MatchedRow, name: str, word: str, cases: frozenset[Case], y: float
) -> PlotPoint:
    values = [getattr(m, name) for case, m in row.found if case in cases]
    mean = row.mean(name, cases) or 0.0
    lines = (
        f"{row.method}, {word}",
        f"mean {mean:+.2f} % over {len(values)} cases that all compared methods reach",
        f"{min(values):+.2f} to {max(values):+.2f} %",
        f"gain reached in {_reached(row)}",
    )
    return PlotPoint(mean, y, lines)


def _case_point(row: MatchedRow, case: Case, matched: Matched, name: str, y: float) -> PlotPoint:
    lines = (
        f"{row.method} on {case.domain}, one case",
        f"{getattr(matched, name):+.2f} % forgotten at {matched.target_gain:+.2f} % gain",
        f"lambda {case.rd_lambda:g}, {case.num_images} images, {case.num_steps} steps, {case.codec}, "
        f"data seed {case.data_seed}",
    )
    return PlotPoint(getattr(matched, name), y, lines, faint=True)
