"""The one figure that shows the answer: what each method gains and forgets, domain by domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from interfero.analysis.capacity_table import seeds_text
from interfero.analysis.charts.capacity import WORDS
from interfero.analysis.charts.data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
    seed_lines,
    span,
)
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import CellSetting, Choice, best_sizes, choose_learning_rates
from interfero.analysis.diverged import diverged_of_methods
from interfero.analysis.focus import central_images, central_lambda, longest
from interfero.analysis.parts import grey_domains
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

MAX_DOMAINS = 24
"""Rows of one figure; the table has all."""


def overview_figure(records: Sequence[CellRecord], runs: RunLinks) -> Figure | None:
    """A variant a lambda, a row a domain at its central image count and the longest training.

    None where no cell finished.
    """
    shown = longest(records)
    best = best_sizes(choose_learning_rates(shown))
    values = sorted({c.setting.rd_lambda for c in best})
    central, counts = central_lambda(shown), central_images(shown)
    grey = grey_domains(shown)
    variants = []
    for value in values:
        cases = _cases(
            [c.setting.without_method for c in best if c.setting.rd_lambda == value], counts
        )
        choices = [c for c in best if c.setting.without_method in cases]
        variants.append(_variant(value, cases, choices, runs, grey))
    if not variants:
        return None
    return Figure(
        name="overview",
        title="What each method gains on the target, and what the source loses",
        selectors=("lambda",),
        variants=tuple(variants),
        note="Of each method the adapter size with the best validation result. Compare methods within a row. "
        "On the right, filled is routed (source images in the mode that a deployment would use), hollow is "
        "unrouted."
        + (
            " Grey domains show no colour: means over domains leave them out where others are."
            if grey
            else ""
        ),
        start=values.index(central) if central in values else 0,
    )


def _cases(cases: Sequence[CellSetting], counts: Mapping[str, int]) -> list[CellSetting]:
    """Of each domain the one with its central image count; where that has no result, with most images."""
    chosen: dict[str, CellSetting] = {}
    for case in sorted(cases, key=lambda c: (c.num_images == counts.get(c.domain), c.num_images)):
        chosen[case.domain] = case
    return [chosen[domain] for domain in sorted(chosen)][:MAX_DOMAINS]


def _variant(
    value: float, cases: Sequence[CellSetting], choices: Sequence[Choice], runs: RunLinks,
    grey: frozenset[str],
) -> Variant:  # fmt: skip
    counts = {case.num_images_text for case in cases}
    names = [_row_name(case, grey=case.domain in grey, counted=len(counts) > 1) for case in cases]
    shared = f"{counts.pop()} each" if len(counts) == 1 else "training images as each row says"
    gain = _panel("Target gain (%)", cases, names, choices, ((GAIN, False),), runs)
    lost = _panel(
        "Source forgetting (%)", cases, names, choices, ((UNROUTED, True), (ROUTED, False)), runs
    )
    bars = (
        "; bars from the lowest to the highest seed"
        if any(c.num_seeds > 1 for c in choices)
        else ""
    )
    astray = "".join(f" {line}." for line in diverged_of_methods(choices))
    return Variant(
        choice=(f"{value:g}",),
        panels=(gain, lost),
        caption=f"Lambda {value:g}, {shared}, {cases[0].num_steps} steps; {seeds_text(choices)}{bars}."
        f"{astray}",
        file="overview" if len(cases) > 1 else "",
    )


def _row_name(case: CellSetting, *, grey: bool, counted: bool) -> str:
    """The domain; below it whether it is grey, and its number of images where domains differ in it."""
    below = ["grey"] if grey else []
    below += [case.num_images_text] if counted else []
    return f"{case.domain}\n{', '.join(below)}" if below else case.domain


def _panel(
    title: str, cases: Sequence[CellSetting], names: Sequence[str], choices: Sequence[Choice],
    metrics: Sequence[tuple[str, bool]], runs: RunLinks,
) -> Panel:  # fmt: skip
    rows = {case: len(cases) - 1 - index for index, case in enumerate(cases)}
    methods = list(dict.fromkeys(c.setting.method for c in choices))
    series = []
    for place, method in enumerate(methods):
        look = method_style(method)
        # Methods of a row lie one below the other, so that their bars can be told apart.
        offset = 0.5 * ((len(methods) - 1) / 2 - place) / max(len(methods) - 1, 1)
        for metric, hollow in metrics:
            points = tuple(
                PlotPoint(
                    mean, rows[c.setting.without_method] + offset, seed_lines(c, WORDS, runs),
                    x_range=span(c.values(metric)),
                )
                for c in choices
                if c.setting.method == method and (mean := c.mean(metric)) is not None
                and not (hollow and c.values(UNROUTED) == c.values(ROUTED))
            )  # fmt: skip
            series.append(Series(method_label(method), look.colour, look.marker, points, hollow))
    axis = PlotAxis("", "names", tuple(reversed(names)))
    return Panel(title, PlotAxis(title, "percent"), axis, tuple(series))
