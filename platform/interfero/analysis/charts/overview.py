"""The one figure that shows the answer: what each method gains and forgets, domain by domain.

Its means are of the cells that the answer and the table under it have (`first_block`). What is left out is
named; of it only cells that diverged are drawn, at the frame.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from interfero.analysis.capacity_table import signed
from interfero.analysis.cells import Cells, has_diverged
from interfero.analysis.charts.capacity import WORDS
from interfero.analysis.charts.data import (
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
from interfero.analysis.charts.style import method_label, method_style
from interfero.analysis.choices import CellSetting, Choice, methods_of
from interfero.analysis.diverged import diverged_sentence
from interfero.analysis.focus import central_lambda, lambdas, longest
from interfero.analysis.parts import grey_text, without_grey
from interfero.analysis.shared_block import FirstBlock, first_block
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

MAX_DOMAINS = 24
"""Rows of one figure; the table has all."""
MARK_HEIGHT = 9
"""Pixels of each method in a row of many."""


def overview_figure(records: Sequence[CellRecord], runs: RunLinks) -> Figure | None:
    """A variant a lambda, a row a domain at its central image count and the longest training.

    None where no cell finished.
    """
    every = Cells(records)
    shown = longest(without_grey(every))
    values, central = lambdas(shown), central_lambda(shown)
    drawn = {value: _Drawn(first_block(every, value), runs) for value in values}
    values = [value for value in values if drawn[value].cases]
    if not values:
        return None
    several = len({r.params["domain"] for r in every}) > 1
    grey = grey_text(every)
    return Figure(
        name="overview",
        title="What each method gains on the target, and what the source loses",
        selectors=("lambda",),
        variants=tuple(drawn[v].variant("overview" if several else "") for v in values),
        note="Domains and seeds are the answer's. Methods have the adapter size with the best validation "
        "result, and compare within a row. Of source forgetting, filled marks are routed (in the mode that a "
        "deployment would use) and hollow ones unrouted; where both are the same, only the filled one is "
        "drawn." + (f" {grey}" if grey else ""),
        start=values.index(central) if central in values else 0,
    )


@dataclass(frozen=True)
class _Drawn:
    """What is drawn at one lambda."""

    first: FirstBlock
    runs: RunLinks

    @property
    def means(self) -> tuple[Choice, ...]:
        """What is compared."""
        return self.first.block.choices

    @property
    def astray(self) -> list[Choice]:
        """Chosen cells that diverged, in the order of the methods."""
        return [c for c in self.first.best if c.diverged]

    @property
    def cases(self) -> list[CellSetting]:
        """Rows from the top: those that are compared, then others in which a cell diverged."""
        compared = sorted(self.first.block.cases, key=lambda case: case.order)
        others = {c.setting.without_method for c in self.astray} - set(compared)
        return [*compared, *sorted(others, key=lambda case: case.order)][:MAX_DOMAINS]

    @property
    def methods(self) -> list[str]:
        """All that have a mark."""
        own = {c.setting.method for c in (*self.means, *self.astray)}
        return [m for m in methods_of(self.first.best) if m in own]

    def variant(self, file: str) -> Variant:
        """Two panels, and what they are of."""
        panels = (
            self._panel("Target gain (%)", ((GAIN, False),)),
            self._panel("Source forgetting (%)", ((UNROUTED, True), (ROUTED, False))),
        )
        value = f"{self.cases[0].rd_lambda:g}"
        return Variant(
            choice=(value,),
            panels=panels,
            caption=self._caption(),
            file=file,
            faces=faces_of(panels, "routed", "unrouted"),
        )

    def _caption(self) -> str:
        counts = {case.num_images_text for case in self.cases}
        images = f"{counts.pop()} each" if len(counts) == 1 else "as many images as each row says"
        first = self.cases[0]
        text = f"Lambda is {first.rd_lambda:g}, with {first.num_steps} steps and {images}."
        text += seeds_sentence(len(c.kept) for c in self.means) + self.first.block.left_out_sentence
        compared = {c.setting.method for c in self.means}
        lacking = [
            m
            for m in methods_of(self.first.best)
            if m not in compared and m not in {c.setting.method for c in self.astray}
        ]
        if lacking:
            verb = "is not drawn: it lacks" if len(lacking) == 1 else "are not drawn: they lack"
            text += f" Of the methods, {', '.join(lacking)} {verb} some of these results."
        more = len(self.first.block.cases) - MAX_DOMAINS
        text += f" The table has {more} domains more." if more > 0 else ""
        return text + diverged_sentence(self.first.best)

    def _names(self) -> list[str]:
        """The domains; below each its number of images where they differ, and whether it is left out."""
        counted = len({case.num_images_text for case in self.cases}) > 1
        names = []
        for case in self.cases:
            below = [case.num_images_text] if counted else []
            below += [] if case in self.first.block.cases else ["left out"]
            names.append(f"{case.domain}\n{', '.join(below)}" if below else case.domain)
        return names

    def _panel(self, title: str, metrics: Sequence[tuple[str, bool]]) -> Panel:
        rows = {case: len(self.cases) - 1 - index for index, case in enumerate(self.cases)}
        series = []
        for place, method in enumerate(self.methods):
            look = method_style(method)
            # Methods of a row lie one below the other, so that their bars can be told apart.
            count = len(self.methods)
            offset = (0.5 if count < 8 else 0.75) * ((count - 1) / 2 - place) / max(count - 1, 1)
            at = {case: row + offset for case, row in rows.items()}
            for metric, hollow in metrics:
                own = [c for c in self.means if c.setting.method == method]
                own = [c for c in own if not (hollow and c.values(UNROUTED) == c.values(ROUTED))]
                points = [
                    PlotPoint(
                        mean, at[c.setting.without_method], seed_lines(c, WORDS, self.runs),
                        x_range=span(c.values(metric)),
                    )
                    for c in own
                    if c.setting.without_method in at and (mean := c.mean(metric)) is not None
                ]  # fmt: skip
                gone = [c for c in self.astray if c.setting.method == method]
                points += [
                    PlotPoint(cell.metrics[metric], at[c.setting.without_method], lines, faint=True)
                    for c in gone
                    for cell, lines in astray_cells(c, self.runs)
                    # Within the frame a mark of it would look like a result.
                    if c.setting.without_method in at and has_diverged(cell.metrics.get(metric, 0.0))
                    and not (hollow and cell.metrics.get(ROUTED) == cell.metrics[metric])
                ]  # fmt: skip
                series.append(look.series(method_label(method), points, hollow=hollow))
        height = max(PlotAxis("").row_height, MARK_HEIGHT * len(self.methods))
        axis = PlotAxis("", "names", tuple(reversed(self._names())), row_height=height)
        return Panel(title, PlotAxis(title, "percent"), axis, tuple(series))


def astray_cells(choice: Choice, runs: RunLinks) -> list[tuple[CellRecord, tuple[str, ...]]]:
    """The chosen cells that diverged, each with what its mark says."""
    found = []
    for pick in choice.picks:
        cell = pick.cell
        if cell.key in choice.diverged:
            values = [f"{w} {signed(cell.metrics[m])} %" for m, w in WORDS if m in cell.metrics]
            seed = f"seed {cell.params['data_seed']}/{cell.params['init_seed']}"
            told = f"{seed}: diverged, in no mean; {runs.text(cell)}"
            found.append((cell, (f"{name_of(choice.setting)}, one cell", *values, told)))
    return found
