"""Gain against adapter size, and the learning/forgetting plane, for each domain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from interfero.analysis.capacity_table import seeds_text, signed
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
    name_of,
    seed_lines,
    span,
)
from interfero.analysis.charts.files import file_part
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import (
    CellSetting,
    Choice,
    choose_learning_rates,
    missing_settings,
    setting_of,
)
from interfero.analysis.focus import central_lambda, longest
from interfero.analysis.parts import grey_domains
from interfero.metrics.names import FRACTION, GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

WORDS = (
    (GAIN, "gain"),
    (ROUTED, "forgetting, routed"),
    (UNROUTED, "forgetting, unrouted"),
)


def capacity_figure(records: Sequence[CellRecord], runs: RunLinks) -> Figure | None:
    """None where no cell finished."""
    choices = choose_learning_rates(records)
    if not choices:
        return None
    by_case: dict[CellSetting, list[Choice]] = defaultdict(list)
    for choice in choices:
        by_case[choice.setting.without_method].append(choice)
    gaps, grey = gaps_of(records), grey_domains(records)
    cases = sorted(gaps, key=lambda case: case.order)
    seen: Counter[str] = Counter()
    variants = []
    for case in cases:
        what = "; grey" + gaps[case] if case.domain in grey else gaps[case]
        variants.append(_variant(case, cases, by_case[case], runs, what, seen[case.domain]))
        seen[case.domain] += 1
    shown = longest(records)
    focus = int(shown[0].params["num_steps"]), central_lambda(shown)

    def interest(index: int) -> tuple[bool, int, int, int]:
        """First what all else is about: the longest training, the central lambda; then the most images."""
        case = cases[index]
        methods = {c.setting.method for c in by_case[case]}
        return (case.num_steps, case.rd_lambda) == focus, len(methods), case.num_images, -index

    start = max(range(len(cases)), key=interest)
    return Figure(
        start=start,
        name="capacity",
        title="What each method gains on the target, and what the source loses",
        selectors=("domain", *(("at",) if len({c.choice[1] for c in variants}) > 1 else ())),
        variants=_without_single_choices(tuple(variants)),
        note="Solid: the learning rate that validation chose in each seed, mean over seeds; bars from "
        "the least to the greatest seed. Faint: single cells of the whole grid. Numbers on the left: "
        "adapter size. On the right, filled is routed, hollow is unrouted.",
    )


def gaps_of(records: Iterable[CellRecord]) -> dict[CellSetting, str]:
    """Of each case `; 3 of 15 cells failed; no result: cawf 2`; empty where nothing is missing."""
    counts: dict[CellSetting, Counter[str]] = defaultdict(Counter)
    for record in records:
        counts[setting_of(record).without_method][record.status] += 1
    empty: dict[CellSetting, dict[str, None]] = defaultdict(dict)
    for missing in missing_settings(records):
        s = missing.setting
        empty[s.without_method][f"{s.method} {s.adapter_size or ''}".strip()] = None
    found = {}
    for case, status in counts.items():
        failed = status["failed"]
        parts = [f"{failed} of {status.total()} cells failed"] if failed else []
        parts += [f"no result: {', '.join(empty[case])}"] if empty[case] else []
        found[case] = "".join(f"; {part}" for part in parts)
    return found


def case_text(case: CellSetting, cases: Iterable[CellSetting]) -> str:
    """`lambda 0.013, 51 images`, and whatever else tells the cases apart."""
    every = list(cases)
    parts = [f"lambda {case.rd_lambda:g}", case.num_images_text]
    if len({c.num_steps for c in every}) > 1:
        parts.append(f"{case.num_steps} steps")
    if len({c.codec for c in every}) > 1:
        parts.append(case.codec)
    return ", ".join(parts)


def _without_single_choices(variants: tuple[Variant, ...]) -> tuple[Variant, ...]:
    """A selector with one entry is no choice: what it would say stands in the caption."""
    if len({v.choice[1] for v in variants}) > 1:
        return variants
    return tuple(Variant(v.choice[:1], v.panels, v.caption, v.file) for v in variants)


def _variant(
    case: CellSetting, cases: Sequence[CellSetting], choices: Sequence[Choice], runs: RunLinks,
    gaps: str, index: int,
) -> Variant:  # fmt: skip
    where = case_text(case, cases)
    empty = Panel("", PlotAxis(""), PlotAxis(""), (), empty="no cell finished")
    return Variant(
        choice=(case.domain, where),
        panels=(_gain_panel(choices, runs), _plane_panel(choices, runs)) if choices else (empty,),
        caption=f"{case.domain}, lambda {case.rd_lambda:g}, {case.num_images_text}, {case.num_steps} steps, "
        f"{case.codec}; {seeds_text(choices)}{gaps}.",
        file=file_part("capacity", case.domain, index=index),
    )


def _gain_panel(choices: Sequence[Choice], runs: RunLinks) -> Panel:
    series = []
    for method in _methods(choices):
        own = [c for c in choices if c.setting.method == method]
        points = [p for c in own if (p := _point(c, FRACTION, GAIN, runs)) and p.x > 0]
        faint = [p for c in own for p in _faint(c, FRACTION, GAIN, runs) if p.x > 0]
        series.append(
            Series(
                method_label(method),
                method_style(method).colour,
                method_style(method).marker,
                (*faint, *points),
                line=len(points) > 1,
            )
        )
    return Panel(
        title="Target gain against adapter size",
        x=PlotAxis("trained parameters (% of the source codec's; numbers: adapter size)", "log"),
        y=_gain_axis(choices),
        series=tuple(series),
    )


def _plane_panel(choices: Sequence[Choice], runs: RunLinks) -> Panel:
    series = []
    for method in _methods(choices):
        own = [c for c in choices if c.setting.method == method]
        for metric, hollow in ((ROUTED, False), (UNROUTED, True)):
            points = [p for c in own if (p := _point(c, GAIN, metric, runs))]
            routed = [_point(c, GAIN, ROUTED, runs) for c in own]
            if hollow and [(p.x, p.y) for p in points] == [(p.x, p.y) for p in routed if p]:
                continue
            faint = [p for c in own for p in _faint(c, GAIN, metric, runs)]
            look = method_label(method), method_style(method).colour, method_style(method).marker
            series.append(Series(*look, (*faint, *points), hollow))
    return Panel(
        title="Learning and forgetting",
        x=_gain_axis(choices),
        y=PlotAxis("source forgetting (%)", "percent"),
        series=tuple(series),
    )


def _gain_axis(choices: Sequence[Choice]) -> PlotAxis:
    """It says what is averaged: crops of a few pictures are no independent images."""
    unit = choices[0].setting.image_unit
    return PlotAxis(f"target gain (%), test {unit}", "percent")


def _methods(choices: Sequence[Choice]) -> list[str]:
    return list(dict.fromkeys(c.setting.method for c in choices))


def _point(choice: Choice, x: str, y: str, runs: RunLinks) -> PlotPoint | None:
    """Mean over seeds with the seeds' spread; None where a metric is missing."""
    at = choice.mean(x), choice.mean(y)
    if at[0] is None or at[1] is None:
        return None
    size = choice.setting.adapter_size
    return PlotPoint(
        x=_shown(x, at[0]),
        y=at[1],
        hover=seed_lines(choice, WORDS, runs),
        x_range=None if x == FRACTION else span(choice.values(x)),
        y_range=span(choice.values(y)),
        note=str(size) if size and x == FRACTION else "",
    )


def _faint(choice: Choice, x: str, y: str, runs: RunLinks) -> list[PlotPoint]:
    """The cells of the whole grid, but for one that is its own mean."""
    cells = [
        cell
        for point in choice.grid
        for cell in point.cells
        if (choice.num_seeds > 1 or cell is not choice.picks[0].cell)
        and {x, y} <= cell.metrics.keys()
    ]
    return [
        PlotPoint(_shown(x, c.metrics[x]), c.metrics[y], _cell_lines(choice, c, runs), faint=True)
        for c in cells
    ]


def _shown(metric: str, value: float) -> float:
    """Shares of parameters in percent."""
    return 100 * value if metric == FRACTION else value


def _cell_lines(choice: Choice, cell: CellRecord, runs: RunLinks) -> tuple[str, ...]:
    values = [f"{word} {signed(cell.metrics[m])} %" for m, word in WORDS if m in cell.metrics]
    p = cell.params
    return (
        f"{name_of(choice.setting)}, one cell",
        *values,
        f"seed {p['data_seed']}/{p['init_seed']}; lr {float(p['learning_rate']):g}",
        runs.text(cell),
    )
