"""Gain against adapter size, and the learning/forgetting plane, for each domain."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from interfero.analysis.capacity_table import signed
from interfero.analysis.cells import Cells
from interfero.analysis.charts.data import (
    NOT_KNOWN,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Variant,
    faces_of,
    name_of,
    seed_lines,
    seeds_sentence,
    span,
)
from interfero.analysis.charts.files import file_part
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import (
    CellSetting,
    Choice,
    choose_learning_rates,
    methods_of,
    missing_settings,
    seed_of,
    setting_of,
)
from interfero.analysis.diverged import diverged_sentence
from interfero.analysis.focus import longest
from interfero.analysis.grouping import grouped
from interfero.analysis.parts import grey_domains, without_grey
from interfero.analysis.shared_block import SharedBlock, answer_lambda
from interfero.metrics.names import FRACTION, GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

WORDS = (
    (GAIN, "gain"),
    (ROUTED, "forgetting, routed"),
    (UNROUTED, "forgetting, unrouted"),
)


def capacity_figure(
    records: Sequence[CellRecord], runs: RunLinks, first: SharedBlock | None = None
) -> Figure | None:
    """A variant a case; None where no cell finished.

    Args:
        records: All cells of a sweep.
        runs: Of the cells.
        first: Where this figure shows the answer, the block that the answer is of: means of its cases are
            over its seeds.
    """
    every = choose_learning_rates(records)
    if not every:
        return None
    by_case = grouped(every, lambda choice: choice.setting.without_method)
    gaps, grey = gaps_of(records), grey_domains(records)
    cases = sorted(gaps, key=lambda case: case.order)
    seen: Counter[str] = Counter()
    variants = []
    for case in cases:
        choice = case.domain, case_text(case, cases)
        block = first if first is not None and case in first.cases else None
        more = gaps[case] + " The domain is grey." * (case.domain in grey)
        file = file_part("capacity", case.domain, index=seen[case.domain])
        variants.append(_variant(choice, case, by_case.get(case, []), runs, block, more, file))
        seen[case.domain] += 1
    shown = longest(without_grey(Cells(records)))
    focus = int(shown[0].params["num_steps"]), answer_lambda(records)

    def interest(index: int) -> tuple[bool, int, int, int]:
        """First what all else is about: the longest training, the answer's lambda; then the most images."""
        case = cases[index]
        methods = {c.setting.method for c in by_case.get(case, [])}
        return (case.num_steps, case.rd_lambda) == focus, len(methods), case.num_images, -index

    start = max(range(len(cases)), key=interest)
    return Figure(
        start=start,
        name="capacity",
        title="What each method gains on the target, and what the source loses",
        selectors=("domain", *(("at",) if len({c.choice[1] for c in variants}) > 1 else ())),
        variants=_without_single_choices(tuple(variants)),
        note="Solid marks have the learning rate that validation chose in each seed; faint ones are single "
        "cells of the whole grid. Numbers beside marks are adapter sizes. Of forgetting, filled marks are "
        "routed and hollow ones are unrouted.",
    )


def gaps_of(records: Iterable[CellRecord]) -> dict[CellSetting, str]:
    """Of each case ` 3 of 15 cells failed. There is no result of cawf 2.`; empty if nothing is missing."""
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
        parts += [f"There is no result of {', '.join(empty[case])}"] if empty[case] else []
        found[case] = "".join(f" {part}." for part in parts)
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
    return tuple(replace(v, choice=v.choice[:1]) for v in variants)


def _variant(
    choice: tuple[str, str], case: CellSetting, choices: Sequence[Choice], runs: RunLinks,
    block: SharedBlock | None, more: str, file: str,
) -> Variant:  # fmt: skip
    """What a case shows.

    Args:
        choice: Its domain, and what tells it from others of the domain.
        case: What is drawn.
        choices: Of the case.
        runs: Of the cells.
        block: What its means are of, if they are of less than all that the case has.
        more: What the caption says beside its results.
        file: Of the picture.
    """
    means = choices if block is None else _within(block, choices)
    panels: tuple[Panel, ...] = (
        Panel("", PlotAxis(""), PlotAxis(""), (), empty="No cell finished."),
    )
    if choices:
        panels = _gain_panel(choices, means, runs), _plane_panel(choices, means, runs)
    text = (
        f"Here {case.codec} is adapted to {case.domain} at lambda {case.rd_lambda:g}, with "
        f"{case.num_images_text} and {case.num_steps} steps."
    )
    text += seeds_sentence(len(c.kept) for c in means) + more
    text += "" if block is None else block.left_out_sentence
    return Variant(
        choice=choice,
        panels=panels,
        caption=text + diverged_sentence(choices),
        file=file,
        faces=faces_of(panels, "routed", "unrouted"),
    )


def _within(block: SharedBlock, choices: Iterable[Choice]) -> list[Choice]:
    """Those that have every seed of the block, over these seeds."""
    found = []
    for choice in choices:
        picks = [
            pick
            for pick in choice.picks
            if seed_of(pick.cell)[0] in block.seeds and pick.cell.key not in choice.diverged
        ]
        if {seed_of(pick.cell)[0] for pick in picks} >= block.seeds:
            found.append(replace(choice, picks=tuple(picks)))
    return found


def _gain_panel(choices: Sequence[Choice], means: Sequence[Choice], runs: RunLinks) -> Panel:
    series = []
    for method in methods_of(choices):
        points, faint = _points(method, choices, means, (FRACTION, GAIN), runs)
        # Of no parameters there is no place on a logarithmic axis.
        points, faint = ([p for p in own if p.x > 0] for own in (points, faint))
        look, label = method_style(method), method_label(method)
        series.append(look.series(label, (*faint, *points), line=len(points) > 1))
    return Panel(
        title="Target gain against adapter size",
        x=PlotAxis("trained parameters (% of the source codec's; numbers: adapter size)", "log"),
        y=_gain_axis(choices),
        series=tuple(series),
    )


def _plane_panel(choices: Sequence[Choice], means: Sequence[Choice], runs: RunLinks) -> Panel:
    series = []
    for method in methods_of(choices):
        look, label = method_style(method), method_label(method)
        routed, faint = _points(method, choices, means, (GAIN, ROUTED), runs)
        series.append(look.series(label, (*faint, *routed)))
        points, faint = _points(method, choices, means, (GAIN, UNROUTED), runs)
        if [(p.x, p.y) for p in points] != [(p.x, p.y) for p in routed]:
            series.append(look.series(label, (*faint, *points), hollow=True))
    return Panel(
        title="Learning and forgetting",
        x=_gain_axis(choices),
        y=PlotAxis("source forgetting (%)", "percent"),
        series=tuple(series),
    )


def _points(
    method: str, choices: Sequence[Choice], means: Sequence[Choice], metrics: tuple[str, str],
    runs: RunLinks,
) -> tuple[list[PlotPoint], list[PlotPoint]]:  # fmt: skip
    """The means of a method, and its single cells."""
    kept = [p for c in means if c.setting.method == method if (p := _point(c, *metrics, runs))]
    faint = [p for c in choices if c.setting.method == method for p in _faint(c, *metrics, runs)]
    return kept, faint


def _gain_axis(choices: Sequence[Choice]) -> PlotAxis:
    """It says what is averaged: crops of a few pictures are no independent images."""
    unit = choices[0].setting.image_unit
    return PlotAxis(f"target gain (%), test {unit}", "percent")


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
    known = cell.metrics
    values = [f"{w} {f'{signed(known[m])} %' if m in known else NOT_KNOWN}" for m, w in WORDS]
    p = cell.params
    return (
        f"{name_of(choice.setting)}, one cell",
        *values,
        f"seed {p['data_seed']}/{p['init_seed']}: lr {float(p['learning_rate']):g}",
        runs.text(cell),
    )
