"""A restoration sweep: mean IoU (or the score of another task) against rate, and the parts of the drop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    Range,
    RunLinks,
    Series,
    Variant,
)
from interfero.analysis.charts.files import file_name
from interfero.analysis.charts.style import interval_series
from interfero.analysis.grouping import grouped
from interfero.analysis.restoration.headline import largest_drop
from interfero.analysis.restoration.losses import (
    DEPLOYED,
    DIFFERENCES,
    NO_TASK,
    REGRESSION,
    RESTORERS,
    SHARES,
    Difference,
    Line,
    Score,
    Summary,
    line_of,
    score_of,
    title_of,
)
from interfero.records import CellRecord

COLOURS = {
    "OO": INK, "CC": "#0072B2", "CO": "#D55E00", "OC": "#CC79A7", "RO": "#009E73",
    "RR": "#56B4E9", "MO": "#E69F00", "FC": "#882255", "FO": "#AA4499",
    "AO": "#332288", "AC": "#44AA99", "OT": "#117733",
}  # fmt: skip
"""Of Okabe and Ito's palette, and of Tol's where that has no more."""
RATES_FILE, PARTS_FILE, SHARES_FILE = "miou", "decomposition", "remedies"
RESTORERS_FILE, GAIN = "restorers", "restorer_val_gain_db"
PICTURES_FILE = "pictures"
"""Files are called so, then the domain; those of remedies also by the drop."""
_WEIGHTED = ("#117733", "#999933", "#661100", "#6699CC", "#882255")
"""Of codecs adapted for a model, by the weight of the task's loss from the lowest on."""
_MARKERS = {"gan": "o", "regression": "s", "nafnet": "^", "none": "o",
            "lora": "o", "bias_gain": "s", "cawf_two_way": "^", "residual_adapter": "D"}  # fmt: skip


_RATE = "rate reached (bits per pixel)"


_T = TypeVar("_T", Score, Difference)


def restoration_figures(
    records: Sequence[CellRecord], summary: Summary, runs: RunLinks | None = None
) -> list[Figure]:
    """Those that the cells can fill."""
    figures = (
        _rates_figure(records, summary, runs or RunLinks()), _parts_figure(summary),
        _shares_figure(summary), _restorers_figure(records), _pictures_figure(summary),
    )  # fmt: skip
    return [figure for figure in figures if figure.variants]


def _by_codec(found: Iterable[_T], panel: Callable[[str, list[_T]], Panel]) -> tuple[Panel, ...]:
    """A panel a codec, from its name and what there is of it."""
    by_codec = sorted(grouped(found, lambda one: one.line.codec).items())
    return tuple(panel(codec, own) for codec, own in by_codec)


def _lines(found: Sequence[_T], mark: Callable[[_T], PlotPoint]) -> tuple[Series, ...]:
    """A line a label, through a mark of each."""
    colours = _weight_colours(one.line for one in found)
    return tuple(
        _line_series(label, own[0].line, map(mark, own), colours.get(own[0].line.variant))
        for label, own in grouped(found, lambda one: one.line.label).items()
    )


def _rates_figure(records: Sequence[CellRecord], summary: Summary, runs: RunLinks) -> Figure:
    """A variant a domain, a panel a codec, a line a configuration."""
    cells = grouped((r for r in records if r.metrics), line_of)
    by_domain = sorted(grouped(summary.scores, lambda score: score.line.domain).items())
    variants = [_rates_variant(domain, scores, cells, runs) for domain, scores in by_domain]
    title = f"{summary.title[0].upper()}{summary.title[1:]} against rate"
    return Figure("rates", title, ("domain",), tuple(v for v in variants if v.panels))


def _rates_variant(
    domain: str, scores: Sequence[Score], cells: Mapping[Line, Sequence[CellRecord]], runs: RunLinks
) -> Variant:
    title = title_of(cell for s in scores for cell in cells.get(s.line, ()))
    axes = PlotAxis(_RATE), PlotAxis(f"{title} on test images")
    originals = [s for s in scores if s.line.codec == "original"]

    def mark(score: Score) -> PlotPoint:
        hover = _score_lines(score, cells.get(score.line, ()), runs)
        return PlotPoint(_rate_of(score), score.mean, hover, y_range=score.span)

    def panel(codec: str, own: Sequence[Score]) -> Panel:
        at_rates = [s for s in own if s.line.rate_bpp]
        rates = [_rate_of(s) for s in at_rates] or [0.0, 1.0]
        series = list(_lines(at_rates, mark))
        for s in sorted((*own, *originals), key=lambda s: s.line):
            if not s.line.rate_bpp:
                level = tuple(replace(mark(s), x=rate) for rate in sorted({min(rates), max(rates)}))
                colour = COLOURS.get(s.line.configuration, "#888888")
                series.append(Series(s.line.label, colour, "", level, line=True))
        return Panel(codec, *axes, tuple(series))

    models = max(len(s.values) for s in scores)
    told = (
        "There is one seed: an illustration."
        if models == 1
        else f"Marks are means over up to {models} models, and bars reach from the lowest to the highest."
    )
    caption = (
        f"Shown is {title} of all test images together, against the rate reached on training images "
        f"(on test images for OC, OT and AC). {told} What has no rate is a level line."
    )
    panels = _by_codec((s for s in scores if s.line.codec != "original"), panel)
    return Variant((domain,), panels, caption, file_name(RATES_FILE, domain))


def _rate_of(score: Score) -> float:
    return score.line.rate_bpp if score.bpp is None else score.bpp


def _score_lines(score: Score, cells: Sequence[CellRecord], runs: RunLinks) -> tuple[str, ...]:
    low, high = score.span
    asked = f", {score.line.rate_text} bpp asked" if score.line.rate_text else ""
    return (
        f"{score.line.label} on {score.line.domain}{asked}",
        f"{title_of(cells)} {score.mean:.3f}, {low:.3f} to {high:.3f} "
        f"({counted(len(score.values), 'model')})",
        *(
            f"seed {r.params['data_seed']}/{r.params['init_seed']}: "
            f"{score_of(r) or 0.0:.3f}, {runs.text(r)}"
            for r in cells[:6]
        ),
    )


def _shares_figure(summary: Summary) -> Figure:
    """Each remedy's share of the drop against rate, a panel a codec."""
    known = [d for d in summary.differences if d.name in SHARES and d.value is not None]
    axes = PlotAxis(_RATE), PlotAxis("share recovered (%)")
    variants = []
    by_drop = grouped(known, lambda d: (d.line.domain, d.name))
    for (domain, name), own in sorted(by_drop.items()):
        drop = f"OO - {DEPLOYED[name]}"
        caption = (
            f"Shown is the share of the drop {drop} that each remedy wins back: 0 is {DEPLOYED[name]}, 100 % "
            f"is OO. Bars are 95 % intervals by a paired bootstrap over {_drawn_over(own)}. What is left out "
            f"has a {drop} that may be zero."
        )
        panels = _by_codec(own, lambda codec, ds: Panel(codec, *axes, _lines(ds, _share_point)))
        # A picture each: rows of one picture share a legend, and these have other lines.
        file = file_name(SHARES_FILE, f"OO-{DEPLOYED[name]}", domain)
        variants.append(Variant((domain, drop), panels, caption, file))
    return Figure("remedies", "What each remedy wins back", ("domain", "drop"), tuple(variants))


def _drawn_over(own: Sequence[Difference]) -> str:
    return ", or ".join(dict.fromkeys(d.drawn.over for d in own))


def _restorers_figure(records: Sequence[CellRecord]) -> Figure:
    """What restorers do to held-out images while they train."""
    curves: dict[Line, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        line = line_of(record)
        for step, values in record.curve if line.configuration == "RO" else ():
            if GAIN in values:
                curves[line][step].append(values[GAIN])
    axes = PlotAxis("steps"), PlotAxis("PSNR gain on held-out images (dB)")
    caption = (
        "Shown is the PSNR of restored images that the restorer did not learn from, less that of the "
        "compressed ones. A line that still rises at its end has not converged. Bars reach from the "
        "lowest to the highest restorer."
    )
    variants = []
    for domain, rate in sorted({(line.domain, line.rate_bpp) for line in curves}):
        series: dict[str, list[Series]] = defaultdict(list)
        for line, curve in curves.items():
            if (line.domain, line.rate_bpp) == (domain, rate):
                series[line.codec].append(_restorer_series(line, curve))
        panels = tuple(Panel(codec, *axes, tuple(own)) for codec, own in sorted(series.items()))
        place = domain, f"{rate:g} bpp"
        variants.append(Variant(place, panels, caption, file_name(RESTORERS_FILE, domain)))
    return Figure("restorers", "Restorers while they train", ("domain", "rate"), tuple(variants))


def _pictures_figure(summary: Summary) -> Figure:
    """What people are shown where a codec was adapted for a model: PSNR against rate."""

    def mark(s: Score) -> PlotPoint:
        psnr_db = s.test_psnr_db or 0.0
        return PlotPoint(_rate_of(s), psnr_db, (s.line.label, f"{psnr_db:.2f} dB, {s.mean:.3f}"))

    shown = sorted((s for s in summary.scores if s.test_psnr_db is not None), key=_rate_of)
    axes = PlotAxis(_RATE), PlotAxis("PSNR of test images (dB)")
    caption = (
        "Drawn is the PSNR of the test images that the model is shown, a mean over images, against "
        "their rate. OC is by the source codec, and OT by the codec adapted for the model, with the "
        "weight of the task's loss; 0 adapts to the images alone. What lies below OC's line is what "
        "people lose."
    )
    variants = []
    for domain in sorted({s.line.domain for s in shown if s.line.configuration == "OT"}):
        own = (s for s in shown if s.line.domain == domain and s.line.configuration in ("OC", "OT"))
        panels = _by_codec(own, lambda codec, scores: Panel(codec, *axes, _lines(scores, mark)))
        variants.append(Variant((domain,), panels, caption, file_name(PICTURES_FILE, domain)))
    return Figure("pictures", "What people are shown", ("domain",), tuple(variants))


def _restorer_series(line: Line, curve: Mapping[int, Sequence[float]]) -> Series:
    label, points = line.label.removeprefix("RO "), []
    for step, gains in sorted(curve.items()):
        mean = sum(gains) / len(gains)
        told = (label, f"{mean:+.2f} dB at step {step}")
        points.append(PlotPoint(step, mean, told, y_range=(min(gains), max(gains))))
    return _line_series(label, line, points)


def _share_point(d: Difference) -> PlotPoint:
    value = d.value or 0.0
    told = (f"{d.line.label}: {d.form.format(value)}", d.ends and f"95 % {d.ends}", d.drawn.text)
    x = d.line.rate_bpp if d.bpp is None else d.bpp
    return PlotPoint(x, 100 * value, tuple(filter(None, told)), y_range=_interval(d, 100))


def _weight_colours(lines: Iterable[Line]) -> dict[str, str]:
    """Colours of variants of OT: one for each weight, whatever the method."""
    variants = {line.variant for line in lines if line.configuration == "OT"}
    weights = sorted({float(v.split()[-1]) for v in variants})
    return {v: _WEIGHTED[weights.index(float(v.split()[-1])) % len(_WEIGHTED)] for v in variants}


def _line_series(
    label: str, line: Line, points: Iterable[PlotPoint], colour: str | None = None
) -> Series:
    """A line's points from the lowest rate on; restorers and their splits have looks of their own."""
    return Series(
        label, colour or COLOURS.get(line.configuration, "#888888"),
        _MARKERS.get(line.restoration if line.configuration != "OT" else line.variant.split()[0], "o"),
        tuple(sorted(points, key=lambda p: p.x)), line=True,
        dashed=line.restoration == "regression" or line.variant.endswith(NO_TASK),
        hollow=line.restoration_split == "same" or line.variant.endswith(NO_TASK),
    )  # fmt: skip


def _parts_figure(summary: Summary) -> Figure:
    """Each difference with its interval, a panel a codec."""
    places = grouped(summary.differences, lambda d: (d.line.domain, d.line.rate_bpp))
    variants = []
    for (domain, rate), own in sorted(places.items()):
        caption = (
            f"Shown are differences of {summary.title} with their 95 % intervals by a paired bootstrap over "
            f"{_drawn_over(own)}. Marks are hollow where the interval includes zero or is not known."
        )
        panels = _by_codec(own, lambda codec, ds: _parts_panel(codec, ds, summary.title))
        place = domain, f"{rate:g} bpp"
        variants.append(Variant(place, panels, caption, file_name(PARTS_FILE, domain)))
    drop = largest_drop(summary)
    start = 0 if drop is None else sorted(places).index((drop.line.domain, drop.line.rate_bpp))
    title, selectors = "Where the drop comes from", ("domain", "rate")
    return Figure("parts", title, selectors, tuple(variants), start=start)


def _parts_panel(codec: str, differences: Sequence[Difference], title: str) -> Panel:
    told = [d for d in differences if d.name not in SHARES and d.value is not None]
    order = list(reversed(dict.fromkeys(part_name(d) for d in told)))
    marks = []
    for d in told:
        value, span = d.value or 0.0, _interval(d)
        apart = span is not None and not span[0] <= 0 <= span[1]
        ends = f"95 % {d.ends}" if d.ends else "no interval"
        lines = (part_name(d).replace("\n", " "), f"{value:+.3f}, {ends}", d.drawn.text)
        marks.append((apart, PlotPoint(value, order.index(part_name(d)), lines, x_range=span)))
    axes = PlotAxis(f"difference of {title}"), PlotAxis("", "names", tuple(order))
    return Panel(codec, *axes, interval_series(marks))


def _interval(d: Difference, factor: float = 1) -> Range | None:
    return None if d.low is None or d.high is None else (factor * d.low, factor * d.high)


def part_name(d: Difference) -> str:
    """`covariate shift`, and what is subtracted from what."""
    pairs = {name: f"{a} - {b}" for name, a, b in DIFFERENCES}
    pairs |= {name: f"{kind} - {REGRESSION}" for kind, name in RESTORERS.items()}
    pair = pairs.get(d.name, "RO - RO")
    told = d.name in RESTORERS.values() or d.line.restoration in ("none", "gan")
    kind = "" if told else f" {d.line.restoration}"
    split = " same" if d.line.restoration_split == "same" else ""
    variant = f", {d.line.variant}" if d.line.variant != "none" else ""
    return f"{d.name}\n{pair}{kind}{split}{variant}"
