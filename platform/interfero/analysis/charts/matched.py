"""Methods at matched gain."""

from __future__ import annotations

from collections.abc import Sequence

from interfero.analysis.capacity_table import places_text
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Series,
    Variant,
    faces_of,
)
from interfero.analysis.charts.style import method_style
from interfero.analysis.choices import NAIVE, Case
from interfero.analysis.focus import at_lambda, central_lambda, lambdas, longest
from interfero.analysis.grouping import grouped
from interfero.analysis.matched_gain import (
    Matched,
    MatchedRow,
    at_share,
    compared_text,
    matched_rows,
    share_word,
    shared_cases,
)
from interfero.analysis.parts import grey_text, without_grey
from interfero.records import CellRecord

AT = 0.5
"""The share at which a caption gives reasons."""
_WAYS = (("forgetting", "routed", -0.14), ("forgetting_unrouted", "unrouted", 0.14))


def matched_figure(records: Sequence[CellRecord]) -> Figure | None:
    """A variant a lambda; None where no method can be compared at fine-tuning's gain."""
    every = longest(without_grey(records))
    values, central = lambdas(every), central_lambda(every)
    found = {value: matched_rows(at_lambda(every, value)) for value in values}
    shown = [value for value in values if any(row.found for row in found[value])]
    if not shown:
        return None
    start = shown.index(central) if central in shown else 0
    return Figure(
        name="matched",
        title="Methods at matched gain",
        selectors=("lambda",) if len(shown) > 1 else (),
        variants=tuple(
            _variant(
                found[value],
                (f"{value:g}",) if len(shown) > 1 else (),
                "matched_gain" if index == start else "",
            )
            for index, value in enumerate(shown)
        ),
        note="Gain is matched on validation, and results are from test images. Large marks are means over "
        "what all methods with a large mark reach; faint ones are single results. Filled marks are routed, "
        "hollow ones unrouted. Below its name stands in how many places a method reaches the gain. "
        f"{grey_text(records)}".rstrip(),
        start=start,
    )


def _variant(rows: Sequence[MatchedRow], choice: tuple[str, ...], file: str) -> Variant:
    """A panel a share at which some method has a value, a row a method that has one at any of them."""
    reached = {row.method for row in rows if row.found}
    methods = [m for m in dict.fromkeys(row.method for row in rows) if m in reached]
    shares = sorted({row.share for row in rows if row.found})
    places = {case for row in rows for case, _ in (*row.found, *row.refused)}
    panels = tuple(
        _panel([r for r in rows if r.share == share and r.method in methods], methods, share)
        for share in shares
    )
    one = next(iter(places))
    gains = f"{', '.join(map(share_word, shares[:-1]))} and {share_word(shares[-1])}"
    if len(shares) == 1:
        gains = share_word(shares[0])
    caption = (
        f"Methods are compared where they gain {gains} of what {NAIVE} does, over {places_text(places)}, at "
        f"lambda {one.rd_lambda:g} and {one.num_steps} steps."
    )
    return Variant(
        choice, panels, f"{caption}{_gone_text(rows, methods)}", file,
        faces=faces_of(panels, "routed", "unrouted"),
    )  # fmt: skip


def _gone_text(rows: Sequence[MatchedRow], methods: Sequence[str]) -> str:
    """Which shares no method has a value at, and which methods have none at all, with the reasons."""
    text = ""
    for share in sorted({row.share for row in rows}):
        own = [row for row in rows if row.share == share]
        if not any(row.found for row in own):
            text += f" {at_share(share)} no method has a value ({_reasons(own)})."
    gone = [row for row in rows if row.method not in methods and row.share == AT]
    count = len({row.method for row in gone})
    if count:
        verb = "method has" if count == 1 else "methods have"
        text += (
            f" {count} {verb} no value at any of these ({at_share(AT).lower()}, {_reasons(gone)})."
        )
    return text


def _reasons(rows: Sequence[MatchedRow]) -> str:
    """`cawf, lora: gains too little; replay: never gains so little`."""
    reasons = grouped(rows, lambda row: row.why or "nothing to match").items()
    return "; ".join(f"{', '.join(row.method for row in own)}: {why}" for why, own in reasons)


def _panel(rows: Sequence[MatchedRow], methods: Sequence[str], share: float) -> Panel:
    order = list(reversed(methods))
    cases, compared = shared_cases(rows)
    series = []
    for row in rows:
        style, at = method_style(row.method), order.index(row.method)
        for name, word, offset in _WAYS:
            points = [_case_point(row, case, m, (name, word), at + offset) for case, m in row.found]
            if row.method in compared:
                points.append(_mean_point(row, name, word, cases, at + offset))
            look = style.colour, style.marker
            series.append(Series(row.method, *look, tuple(points), hollow=word == "unrouted"))
    names = tuple(f"{m}\n{_below(next(r for r in rows if r.method == m))}" for m in order)
    title = at_share(share)
    return Panel(
        title=f"{title}: means over {compared_text(cases, rows)}" if cases else title,
        x=PlotAxis("source forgetting (%)", "percent"),
        y=PlotAxis("", "names", names),
        series=tuple(series),
    )


def _below(row: MatchedRow) -> str:
    """Under a method's name: where it reaches the gain; if nowhere, the reason that most have."""
    return row.reached if row.found else row.why.partition(",")[0].partition(" in ")[0]


def _mean_point(
    row: MatchedRow, name: str, word: str, cases: frozenset[Case], y: float
) -> PlotPoint:
    values = [getattr(m, name) for case, m in row.found if case in cases]
    mean = row.mean(name, cases) or 0.0
    lines = (
        f"{row.method}, {word}",
        f"forgets {mean:+.2f} % ({min(values):+.2f} to {max(values):+.2f} %)",
        f"mean over {places_text(cases)}, which all compared methods reach",
        f"gain reached in {row.reached}",
    )
    return PlotPoint(mean, y, lines)


def _case_point(
    row: MatchedRow, case: Case, matched: Matched, way: tuple[str, str], y: float
) -> PlotPoint:
    name, word = way
    lines = (
        f"{row.method} on {case.domain}, {word}",
        f"forgets {getattr(matched, name):+.2f} %",
        f"gains {matched.target_gain:+.2f} %",
        f"lambda {case.rd_lambda:g}, {case.num_images} images, {case.num_steps} steps, {case.codec}, "
        f"data seed {case.data_seed}",
    )
    return PlotPoint(getattr(matched, name), y, lines, faint=True)
