"""Figures of a sequence: growth with its length, matrices, stages, measures, storage, old streams."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np

from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import (
    Figure,
    MapPanel,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Scale,
    Series,
    Tile,
    Variant,
    span,
)
from interfero.analysis.charts.files import file_name
from interfero.analysis.charts.laws import law_figure
from interfero.analysis.charts.style import domain_style, interval_series, method_style
from interfero.analysis.grouping import grouped
from interfero.analysis.sequence.archive import OldStreams, old_streams
from interfero.analysis.sequence.chains import (
    Chain,
    FloatArray,
    Order,
    bd_matrices,
    free_of_lambda,
)
from interfero.analysis.sequence.findings import SequenceFindings, size_text
from interfero.analysis.sequence.measures import (
    AVERAGE,
    FORGETTING,
    MEASURES,
    Measure,
    SequenceSummary,
    SettingRow,
    learned_gain,
)
from interfero.analysis.sequence.orders import SequenceMean, mean_of

MEAN_ORDER = "mean of the orders, by place"
QUANTITIES = {
    "loss": "Loss (% of the source codec's)", "rate": "Rate (% of the source codec's)",
    "PSNR": "PSNR lost (dB)", "BD-rate": "BD-rate (%)",
}  # fmt: skip
_GROWTH = (FORGETTING, AVERAGE, Measure("gain", "learned gain", learned_gain))
MAX_HOVER_CHAINS = 6


def sequence_figures(found: SequenceFindings, runs: RunLinks | None = None) -> list[Figure]:
    """Those that the rows can fill, the one that answers first."""
    cases = [summary for summary in found.cases if summary.rows]
    if not cases:
        return []
    links = runs or RunLinks()
    made = [
        _growth_figure(cases), _measures_figure(cases), _matrix_figure(cases[0], found, links),
        _stages_figure(cases[0], links), _storage_figure(cases), _archive_figure(cases[0]),
        law_figure(found.laws),
    ]  # fmt: skip
    return [figure for figure in made if figure is not None]


def _point(x: float, mean: SequenceMean, what: str, said: str = "") -> PlotPoint:
    return PlotPoint(x, mean.value, (what, said or mean.text()), y_range=mean.span)


def _growth_figure(cases: Sequence[SequenceSummary]) -> Figure:
    """Forgetting, loss and gain after so many domains, a line a method."""
    variants = []
    for summary in cases:
        lengths = range(1, summary.case.length + 1)
        axis = PlotAxis("domains met", ticks=tuple((float(k), str(k)) for k in lengths))
        panels = []
        for measure in _GROWTH:
            series = []
            for method in summary.best:
                own = {k: s.best[method] for k, s in summary.by_length.items() if method in s.best}
                points = [
                    _point(k, mean, f"{row.setting.text}, after {k}")
                    for k, row in own.items()
                    if (mean := mean_of(row.values(measure))) is not None
                ]
                series.append(method_style(method).series(method, points, line=True))
            title = f"{measure.title.capitalize()} over domains met"
            panels.append(Panel(title, axis, _axis_of(measure), tuple(series)))
        variants.append(_variant_of(summary, panels, "sequence_growth"))
    return Figure(
        "growth", "How interference grows with the number of domains met", ("at",), tuple(variants),
        "Values are percent of the source codec's loss on the same test images. Forgetting is how much "
        "worse a domain is than at its best, a mean over domains met before. The average loss is over all "
        "domains met, source included. Each method has the setting and learning rates that validation chose "
        "for that length.",
    )  # fmt: skip


def _axis_of(measure: Measure) -> PlotAxis:
    return PlotAxis(f"{measure.title} (%)", "percent")


def _variant_of(
    summary: SequenceSummary, panels: Iterable[Panel], file: str, *more: str
) -> Variant:
    """Of a case, and of what else is chosen; the caption says what the case is, and what bars are."""
    case = summary.case.text
    caption = f"The cells are at {case}. Bars are 95 % intervals over orders and seeds."
    return Variant((case, *more), tuple(panels), caption, file_name(file))


def _measures_figure(cases: Sequence[SequenceSummary]) -> Figure:
    """A row a method, a panel a measure, with intervals."""
    variants = []
    for summary in cases:
        panels = []
        for measure in MEASURES[:4]:
            rows = [r for r in summary.best.values() if measure.name in r.means]
            names = tuple(reversed([row.setting.text for row in rows]))
            marks = []
            for row in rows:
                mean, name = row.means[measure.name], row.setting.text
                lines = (name, f"{measure.title} {mean.text()}")
                place = float(names.index(name))
                point = PlotPoint(mean.value, place, lines, x_range=mean.span)
                marks.append((bool(mean.sign), point))
            series = interval_series(marks)
            empty = "" if series else "needs orders of two domains or more"
            axes = _axis_of(measure), PlotAxis("", "names", names)
            panels.append(Panel(measure.title.capitalize(), *axes, series, empty=empty))
        # Two rows of two: four panels side by side have no room for the names of methods.
        for half, pair in (("loss and forgetting", panels[:2]), ("transfer", panels[2:])):
            variants.append(_variant_of(summary, pair, "sequence_measures", half))
    return Figure(
        "measures", "Measures after the last domain", ("at", "of"), tuple(variants),
        "Lower is better of loss and forgetting. Transfer is as arXiv:1706.08840 defines it: positive is "
        "good.",
    )  # fmt: skip


def _matrix_figure(summary: SequenceSummary, found: SequenceFindings, runs: RunLinks) -> Figure:
    """R of every method: a row a stage, a column a domain."""
    several_lambdas = len({c.setting.case.rd_lambda for c in found.chains.chosen}) > 1
    names = [name for name in QUANTITIES if name != "BD-rate" or several_lambdas]
    curves = bd_matrices(found.chains) if several_lambdas else {}
    variants = []
    for method, row in summary.best.items():
        by_order = grouped(row.chains, lambda chain: chain.order)
        for name in names:
            values = {
                order: _mean_matrix(own, name)
                if name != "BD-rate"
                else curves.get(free_of_lambda(row.setting, order), "no curve")
                for order, own in by_order.items()
            }
            for order, own in _with_mean(by_order).items():
                chosen = [values[o] for o in dict.fromkeys(c.order for c in own)]
                words = own[0].names
                if not order:
                    words = (words[0], *(f"domain {k}" for k in range(1, len(words))))
                where = " > ".join(order) if order else MEAN_ORDER
                kept = name == "loss" and (not order or len(by_order) == 1)
                variants.append(
                    Variant(
                        (method, name, where),
                        (_matrix_panel(name, chosen, words, own, runs),),
                        f"This is {row.setting.text}{f' in the order {where}' if order else ''}, at "
                        f"{summary.case.text}. Values are means of {counted(len(own), 'chain')}"
                        f"{'' if order else f' in {_orders_text(by_order)}, by place'}.",
                        file_name("matrix", method) if kept else "",
                    )
                )
    return Figure(
        "matrix", "What each stage makes of each domain", ("method", "of", "order"), tuple(variants),
        "Row i is the codec after stage i, stage 0 the source codec. Blue is better than the source codec, "
        "orange is worse. Right of the diagonal stand domains that are still to come.",
    )  # fmt: skip


def _orders_text(orders: Collection[Order]) -> str:
    """`3 orders`, or `all 6 orders` where no order of their domains is missing."""
    domains = {frozenset(order) for order in orders}
    every = len(domains) == 1 and len(orders) == math.factorial(len(next(iter(orders))))
    return f"{'all ' * every}{counted(len(orders), 'order')}"


def _with_mean(by_order: dict[Order, list[Chain]]) -> dict[Order, list[Chain]]:
    """Under the empty order all of them; one order is its own mean."""
    if len(by_order) == 1:
        return by_order
    return {(): [chain for own in by_order.values() for chain in own], **by_order}


def _mean_matrix(chains: Iterable[Chain], name: str) -> FloatArray | str:
    found = [_quantity(chain, name) for chain in chains]
    known = [values for values in found if values is not None]
    return np.asarray(np.mean(known, axis=0)) if len(known) == len(found) else "not measured"


def _quantity(chain: Chain, name: str) -> FloatArray | None:
    """(stages, domains) in the unit of `QUANTITIES`; None where a stage has not measured it."""
    if name == "loss":
        return chain.percent
    values = chain.matrix("bpp" if name == "rate" else "psnr_db")
    if values is None:
        return None
    return np.asarray(100 * (values / values[0] - 1) if name == "rate" else values[0] - values)


def _matrix_panel(
    name: str, matrices: Sequence[FloatArray | str], words: Sequence[str], chains: Sequence[Chain],
    runs: RunLinks,
) -> MapPanel:  # fmt: skip
    reasons = [m for m in matrices if isinstance(m, str)]
    stages = tuple(reversed([words[0], *(f"+ {word}" for word in words[1:])]))
    x, y = PlotAxis("test images of", "names", tuple(words)), PlotAxis("after", "names", stages)
    if reasons:
        return MapPanel(QUANTITIES[name], x, y, (), empty=reasons[0])
    mean = np.mean([m for m in matrices if not isinstance(m, str)], axis=0)
    tiles = []
    for i, j in np.ndindex(mean.shape):
        cells = [_cell_text(c, i, runs) for c in chains[:MAX_HOVER_CHAINS]]
        lines = (f"stage {i} on {words[j]}", f"{mean[i, j]:+.3f}", *cells)
        place = len(stages) - 1 - i
        tiles.append(Tile(j, place, float(mean[i, j]), f"{mean[i, j]:+.1f}", lines))
    unit = "dB" if name == "PSNR" else "%"
    return MapPanel(QUANTITIES[name], x, y, tuple(tiles), diverging=True, unit=unit)


def _stages_figure(summary: SequenceSummary, runs: RunLinks) -> Figure:
    """Every domain's loss over the stages of an order: before it is learned, then, and after."""
    variants = []
    for method, row in summary.best.items():
        for order, own in sorted(grouped(row.chains, lambda chain: chain.order).items()):
            names = own[0].names
            ticks = tuple((float(i), name) for i, name in enumerate(names))
            panel = Panel(
                row.setting.text, PlotAxis("stage, by the domain learned in it", ticks=ticks),
                PlotAxis("loss (% of the source codec's)", "percent"),
                tuple(_stage_series(own, j, name, runs) for j, name in enumerate(names)),
            )  # fmt: skip
            where = " > ".join(order)
            caption = (
                f"The order is {where}. Marks are means of {counted(len(own), 'chain')}; bars reach from the "
                "lowest to the highest."
            )
            variants.append(Variant((method, where), (panel,), caption))
    return Figure(
        "stages", "Each domain over the stages", ("method", "order"), tuple(variants),
        "A larger mark is where a domain is learned.",
    )  # fmt: skip


def _stage_series(chains: Sequence[Chain], j: int, name: str, runs: RunLinks) -> Series:
    """One domain over the stages, mean of chains of one order."""
    points = []
    for i in range(len(chains[0].rows)):
        values = [float(chain.percent[i, j]) for chain in chains]
        mean = float(np.mean(values))
        each = [
            f"{v:+.2f} %, {_cell_text(c, i, runs)}" for v, c in zip(values, chains, strict=True)
        ]
        lines = (f"{name} after stage {i}", f"{mean:+.2f} %", *each[:MAX_HOVER_CHAINS])
        size = 1.5 if i == j else 1.0
        points.append(PlotPoint(float(i), mean, lines, y_range=span(values), size=size))
    return domain_style(j).series(name, points, line=True)


def _cell_text(chain: Chain, stage: int, runs: RunLinks) -> str:
    return f"seed {chain.seed[0]}/{chain.seed[1]}: {runs.text(chain.rows[stage])}"


def _storage_figure(cases: Sequence[SequenceSummary]) -> Figure | None:
    """Forgetting and loss against what has to be kept, settings in orders that all have."""
    variants = []
    for summary in cases:
        rows = [row for row in summary.alike if row.num_bytes is not None]
        if not rows:
            continue
        sizes = [row.num_bytes or 0.0 for row in rows]
        scale: Scale = "log" if max(sizes) > 10 * min(sizes) else "linear"
        panels = tuple(
            Panel(
                f"{measure.title.capitalize()} against storage",
                PlotAxis("stored for each domain (kB)", scale),
                _axis_of(measure),
                _stored_series(rows, measure, summary.case.length),
            )
            for measure in (FORGETTING, AVERAGE)
        )
        variants.append(_variant_of(summary, panels, "sequence_storage"))
    if not variants:
        return None
    return Figure(
        "storage", "What is kept, and what it buys", ("at",), tuple(variants),
        "Stored is all that has to be kept after the last stage to decode and to go on (adapters, codecs, "
        "memory), divided by the number of domains met. Joint training keeps all images, and is not "
        "shown.",
    )  # fmt: skip


def _stored_series(rows: Sequence[SettingRow], measure: Measure, length: int) -> tuple[Series, ...]:
    def point(row: SettingRow) -> PlotPoint:
        size = row.num_bytes or 0.0
        what = f"{row.setting.text}, {size_text(size)}"
        return _point(size / length / 1e3, row.means[measure.name], what)

    by_method = grouped(rows, lambda row: row.setting.method)
    return tuple(method_style(m).series(m, map(point, own)) for m, own in by_method.items())


def _archive_figure(summary: SequenceSummary) -> Figure | None:
    """Age against loss."""
    streams = {method: old_streams(row) for method, row in summary.best.items()}
    if not any(streams.values()):
        return None
    ticks = tuple((float(k), str(k)) for k in range(summary.case.length + 1))
    x = PlotAxis("age of the streams (stages)", ticks=ticks)
    panels = []
    for title, axis, read, said in _ARCHIVE:
        series = []
        for method, own in streams.items():
            points = [
                _point(s.age, read(s), f"{method}, {s.age} stages old", said(read(s))) for s in own
            ]
            series.append(method_style(method).series(method, points, line=True))
        panels.append(Panel(title, x, PlotAxis(axis), tuple(series)))
    caption = f"Streams of every stage are decoded after the last one, at {summary.case.text}."
    variant = Variant((summary.case.text,), tuple(panels), caption, file_name("sequence_archive"))
    return Figure(
        "archive", "What the archive loses with age", ("at",), (variant,),
        "A stream that does not decode counts with the whole PSNR that it had. Bars are 95 % intervals over "
        "orders and seeds.",
    )  # fmt: skip


_Said = Callable[[SequenceMean], str]
_ARCHIVE: tuple[tuple[str, str, Callable[[OldStreams], SequenceMean], _Said], ...] = (
    ("PSNR lost", "PSNR drop (dB)", lambda s: s.psnr_drop_db, lambda m: m.text(" dB")),
    ("Streams that decode to the same pixels", "pixel-exact (%)", lambda s: s.pixels_exact,
     lambda m: f"{m.share} %; {m.sample}"),
)  # fmt: skip
