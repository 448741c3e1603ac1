"""Methods at matched gain."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.capacity_table import signed
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Series,
    Variant,
)
from interfero.analysis.charts.style import method_style
from interfero.analysis.choices import NAIVE, Case
from interfero.analysis.matched_gain import Matched, MatchedRow, matched_rows
from interfero.records import CellRecord

_WAYS = (("forgetting", "routed", -0.14), ("forgetting_unrouted", "unrouted", 0.14))


def matched_figure(records: Sequence[CellRecord]) -> Figure | None:
    """None where no method can be compared at fine-tuning's gain."""
    rows = matched_rows(records)
    if not any(row.found for row in rows):
        return None
    methods = list(dict.fromkeys(row.method for row in rows))
    shares = sorted({row.share for row in rows})
    cases = {case for row in rows for case, _ in (*row.found, *row.refused)}
    panels = tuple(
        _panel([r for r in rows if r.share == share], methods, share) for share in shares
    )
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
        note="Large: mean over cases; faint: single cases. Filled is routed, hollow is unrouted.",
    )


def _panel(rows: Sequence[MatchedRow], methods: Sequence[str], share: float) -> Panel:
    order = list(reversed(methods))
    series = []
    for row in rows:
        style, at = method_style(row.method), order.index(row.method)
        for name, word, offset in _WAYS:
            faint = [_case_point(row, case, m, name, at + offset) for case, m in row.found]
            mean = row.mean(name)
            points = [
                *faint,
                *([_mean_point(row, name, word, mean, at + offset)] if mean is not None else []),
            ]
            series.append(
                Series(
                    row.method, style.colour, style.marker, tuple(points),
                    hollow=word == "unrouted",
                )
            )  # fmt: skip
    names = tuple(f"{m}\n{_reached(next(r for r in rows if r.method == m))}" for m in order)
    return Panel(
        title=f"At {share:.0%} of {NAIVE}'s gain".replace("%", " %"),
        x=PlotAxis("source forgetting (%)", "percent"),
        y=PlotAxis("", "names", names),
        series=tuple(series),
        empty="" if any(s.points for s in series) else "no method reaches this gain in any case",
    )


def _reached(row: MatchedRow) -> str:
    return f"{_counts(row)} cases"


def _counts(row: MatchedRow) -> str:
    return f"{len(row.found)} of {len(row.found) + len(row.refused)}"


def _mean_point(row: MatchedRow, name: str, word: str, mean: float, y: float) -> PlotPoint:
    values = [getattr(m, name) for _, m in row.found]
    lines = (
        f"{row.method}, {word}",
        f"mean {mean:+.2f} % over {len(values)} cases",
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


def matched_lines(records: Sequence[CellRecord]) -> list[str]:
    """Forgetting at half of fine-tuning's gain, in a sentence."""
    every = matched_rows(records, (0.5,))
    naive = next((r for r in every if r.method == NAIVE), None)
    rows = [r for r in every if r.method != NAIVE]
    parts = []
    for row in rows:
        means = [row.mean(name) for name, _, _ in _WAYS]
        if row.found and means[0] is not None and means[1] is not None:
            parts.append(
                f"{row.method} forgets {signed(means[0])} % routed and {signed(means[1])} % unrouted "
                f"({_counts(row)} pairs of case and data seed{_beside(naive, row)})"
            )
    return [f"At half of {NAIVE}'s gain, {'; '.join(parts)}."] if parts else []


def _beside(naive: MatchedRow | None, row: MatchedRow) -> str:
    """What fine-tuning forgets in the cases of another method: means over others would be no comparison."""
    shared = row.cases & naive.cases if naive is not None else frozenset()
    if naive is None or not shared:
        return ""
    lost, routed, unrouted = (
        signed(of.mean(name, shared) or 0.0)
        for of, name in ((naive, "forgetting"), (row, "forgetting"), (row, "forgetting_unrouted"))
    )
    if shared == row.cases:
        return f", where {NAIVE} forgets {lost} %"
    return (
        f"; in the {len(shared)} of them where {NAIVE} has a value too, it forgets {lost} % and "
        f"{row.method} {routed} % routed, {unrouted} % unrouted"
    )
