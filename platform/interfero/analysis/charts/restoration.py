"""A restoration sweep: mean IoU (or the score of another task) against rate, and the parts of the drop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from interfero.analysis.capacity_table import counted
from interfero.analysis.charts.data import (
    INK,
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
)
from interfero.analysis.charts.files import file_name
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


_LABELS = {True: "interval apart from zero (filled)", False: "may be zero (hollow)"}


def restoration_figures(
    records: Sequence[CellRecord], summary: Summary, runs: RunLinks | None = None
) -> list[Figure]:
    """Those that the cells can fill."""
    rates = _rates_figure(records, summary, runs or RunLinks())
    found = (
        rates,
        _parts_figure(summary),
        _shares_figure(summary),
        _restorers_figure(records),
        _pictures_figure(summary),
    )
    return [figure for figure in found if figure is not None]


def _rates_figure(records: Sequence[CellRecord], summary: Summary, runs: RunLinks) -> Figure | None:
    """A variant a domain, a panel a codec, a line a configuration; None without a codec."""
    cells: dict[Line, list[CellRecord]] = defaultdict(list)
    for record in records:
        if record.metrics:
            cells[line_of(record)].append(record)
    hover = {s.line: _score_lines(s, cells[s.line], runs) for s in summary.scores}
    variants = []
    for domain in sorted({s.line.domain for s in summary.scores}):
        scores = [s for s in summary.scores if s.line.domain == domain]
        codecs = sorted({s.line.codec for s in scores} - {"original"})
        title = title_of(cell for s in scores for cell in cells[s.line])
        panels = tuple(_rate_panel(scores, codec, hover, title) for codec in codecs)
        if panels:
            models = max(len(s.values) for s in scores)
            told = (
                "There is one seed: an illustration."
                if models == 1
                else f"Marks are means over up to {models} models, and bars reach from the lowest to the "
                "highest."
            )
            caption = (
                f"Shown is {title} of all test images together, against the rate reached on training images "
                f"(on test images for OC, OT and AC). {told} What has no rate is a level line."
            )
            variants.append(Variant((domain,), panels, caption, file_name(RATES_FILE, domain)))
    if not variants:
        return None
    title = f"{summary.title[0].upper()}{summary.title[1:]}"
    return Figure("rates", f"{title} against rate", ("domain",), tuple(variants))


def _rate_panel(
    scores: Sequence[Score], codec: str, hover: dict[Line, tuple[str, ...]], title: str
) -> Panel:
    at_rates = [s for s in scores if s.line.codec == codec and s.line.rate_bpp]
    lines: dict[str, list[Score]] = defaultdict(list)
    for score in at_rates:
        lines[score.line.label].append(score)
    series = []
    colours = _weight_colours(s.line for s in at_rates)
    for label, points in lines.items():
        line = points[0].line
        ordered = sorted(points, key=lambda s: (_rate_of(s), s.line.rate_bpp))
        marks = [PlotPoint(_rate_of(s), s.mean, hover[s.line], y_range=s.span) for s in ordered]
        series.append(_line_series(label, line, marks, colours.get(line.variant)))
    rates = [_rate_of(s) for s in at_rates] or [0.0, 1.0]
    level_of = [s for s in scores if not s.line.rate_bpp and s.line.codec in (codec, "original")]
    for score in level_of:
        ends = sorted({min(rates), max(rates)})
        level = tuple(
            PlotPoint(rate, score.mean, hover[score.line], y_range=score.span) for rate in ends
        )
        colour = COLOURS.get(score.line.configuration, "#888888")
        series.append(Series(score.line.label, colour, "", level, line=True))
    return Panel(
        codec,
        PlotAxis("rate reached (bits per pixel)"),
        PlotAxis(f"{title} on test images"),
        tuple(series),
    )


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


def _shares_figure(summary: Summary) -> Figure | None:
    """Each remedy's share of the drop against rate, a panel a codec; None where no share is known."""
    known = [d for d in summary.differences if d.name in SHARES and d.value is not None]
    variants = []
    for domain, name in sorted({(d.line.domain, d.name) for d in known}):
        own = [d for d in known if (d.line.domain, d.name) == (domain, name)]
        panels = tuple(
            _shares_panel(codec, [d for d in own if d.line.codec == codec])
            for codec in sorted({d.line.codec for d in own})
        )
        drop = f"OO - {DEPLOYED[name]}"
        over = ", or ".join(dict.fromkeys(d.drawn.over for d in own))
        caption = (
            f"Shown is the share of the drop {drop} that each remedy wins back: 0 is {DEPLOYED[name]}, 100 % "
            f"is OO. Bars are 95 % intervals by a paired bootstrap over {over}. What is left out has a "
            f"{drop} that may be zero."
        )
        # A picture each: rows of one picture share a legend, and these have other lines.
        file = file_name(SHARES_FILE, f"OO-{DEPLOYED[name]}", domain)
        variants.append(Variant((domain, drop), panels, caption, file))
    if not variants:
        return None
    return Figure("remedies", "What each remedy wins back", ("domain", "drop"), tuple(variants))


def _shares_panel(codec: str, shares: Sequence[Difference]) -> Panel:
    lines: dict[str, list[Difference]] = defaultdict(list)
    for d in shares:
        lines[d.line.label].append(d)
    colours = _weight_colours(d.line for d in shares)  # As where scores are drawn.
    series = []
    for label, own in lines.items():
        marks = [_share_point(d) for d in own]
        series.append(_line_series(label, own[0].line, marks, colours.get(own[0].line.variant)))
    axes = PlotAxis("rate reached (bits per pixel)"), PlotAxis("share recovered (%)")
    return Panel(codec, *axes, tuple(series))


def _restorers_figure(records: Sequence[CellRecord]) -> Figure | None:
    """What restorers do to held-out images while they train; None where none was scored."""
    curves: dict[Line, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for record in records:
        line = line_of(record)
        for step, values in record.curve if line.configuration == "RO" else ():
            if GAIN in values:
                curves[line][step].append(values[GAIN])
    variants = []
    for domain, rate in sorted({(line.domain, line.rate_bpp) for line in curves}):
        own = {x: c for x, c in curves.items() if (x.domain, x.rate_bpp) == (domain, rate)}
        panels = tuple(
            Panel(
                codec, PlotAxis("steps"), PlotAxis("PSNR gain on held-out images (dB)"),
                tuple(_restorer_series(line, own[line]) for line in own if line.codec == codec),
            )
            for codec in sorted({line.codec for line in own})
        )  # fmt: skip
        caption = (
            "Shown is the PSNR of restored images that the restorer did not learn from, less that of the "
            "compressed ones. A line that still rises at its end has not converged. Bars reach from the "
            "lowest to the highest restorer."
        )
        place = domain, f"{rate:g} bpp"
        variants.append(Variant(place, panels, caption, file_name(RESTORERS_FILE, domain)))
    if not variants:
        return None
    return Figure("restorers", "Restorers while they train", ("domain", "rate"), tuple(variants))


def _pictures_figure(summary: Summary) -> Figure | None:
    """What people are shown: PSNR against rate; None where no codec was adapted for a model."""
    shown = [
        s for s in summary.scores
        if s.line.configuration in ("OC", "OT") and s.test_psnr_db is not None
    ]  # fmt: skip
    variants = []
    for domain in sorted({s.line.domain for s in shown if s.line.configuration == "OT"}):
        own = [s for s in shown if s.line.domain == domain]
        panels = tuple(
            _pictures_panel(codec, [s for s in own if s.line.codec == codec])
            for codec in sorted({s.line.codec for s in own})
        )
        caption = (
            "Drawn is the PSNR of the test images that the model is shown, a mean over images, against "
            "their rate. OC is by the source codec, and OT by the codec adapted for the model, with the "
            "weight of the task's loss; 0 adapts to the images alone. What lies below OC's line is what "
            "people lose."
        )
        variants.append(Variant((domain,), panels, caption, file_name(PICTURES_FILE, domain)))
    if not variants:
        return None
    return Figure("pictures", "What people are shown", ("domain",), tuple(variants))


def _pictures_panel(codec: str, scores: Sequence[Score]) -> Panel:
    lines: dict[str, list[Score]] = defaultdict(list)
    for score in sorted(scores, key=_rate_of):
        lines[score.line.label].append(score)
    series = []
    colours = _weight_colours(s.line for s in scores)
    for label, own in lines.items():
        marks = [
            PlotPoint(_rate_of(s), s.test_psnr_db, (label, f"{s.test_psnr_db:.2f} dB, {s.mean:.3f}"))
            for s in own if s.test_psnr_db is not None
        ]  # fmt: skip
        series.append(_line_series(label, own[0].line, marks, colours.get(own[0].line.variant)))
    axes = PlotAxis("rate reached (bits per pixel)"), PlotAxis("PSNR of test images (dB)")
    return Panel(codec, *axes, tuple(series))


def _restorer_series(line: Line, curve: Mapping[int, Sequence[float]]) -> Series:
    points = []
    for step, gains in sorted(curve.items()):
        mean = sum(gains) / len(gains)
        told = (line.label.removeprefix("RO "), f"{mean:+.2f} dB at step {step}")
        points.append(PlotPoint(step, mean, told, y_range=(min(gains), max(gains))))
    return _line_series(told[0], line, points)


def _share_point(d: Difference) -> PlotPoint:
    assert d.value is not None
    span = None if d.low is None or d.high is None else (100 * d.low, 100 * d.high)
    told = (f"{d.line.label}: {d.form.format(d.value)}", d.ends and f"95 % {d.ends}",
            d.drawn.text)  # fmt: skip
    x = d.line.rate_bpp if d.bpp is None else d.bpp
    return PlotPoint(x, 100 * d.value, tuple(filter(None, told)), y_range=span)


def _weight_colours(lines: Iterable[Line]) -> dict[str, str]:
    """Colours of variants of OT: one for each weight, whatever the method."""
    variants = {line.variant for line in lines if line.configuration == "OT"}
    weights = sorted({float(v.split()[-1]) for v in variants})
    return {v: _WEIGHTED[weights.index(float(v.split()[-1])) % len(_WEIGHTED)] for v in variants}


def _line_series(
    label: str, line: Line, points: Sequence[PlotPoint], colour: str | None = None
) -> Series:
    """A line's points from the lowest rate on; restorers and their splits have looks of their own."""
    return Series(
        label, colour or COLOURS.get(line.configuration, "#888888"),
        _MARKERS.get(line.restoration if line.configuration != "OT" else line.variant.split()[0], "o"),
        tuple(sorted(points, key=lambda p: p.x)), line=True,
        dashed=line.restoration == "regression" or line.variant.endswith(NO_TASK),
        hollow=line.restoration_split == "same" or line.variant.endswith(NO_TASK),
    )  # fmt: skip


def _parts_figure(summary: Summary) -> Figure | None:
    """Each difference with its interval, a panel a codec; None where there is none."""
    places = sorted({(d.line.domain, d.line.rate_bpp) for d in summary.differences})
    variants = []
    for domain, rate in places:
        own = [d for d in summary.differences if (d.line.domain, d.line.rate_bpp) == (domain, rate)]
        codecs = sorted({d.line.codec for d in own})
        panels = tuple(
            _parts_panel(codec, [d for d in own if d.line.codec == codec], summary.title)
            for codec in codecs
        )
        over = ", or ".join(dict.fromkeys(d.drawn.over for d in own))
        caption = (
            f"Shown are differences of {summary.title} with their 95 % intervals by a paired bootstrap over "
            f"{over}. Marks are hollow where the interval includes zero or is not known."
        )
        place = domain, f"{rate:g} bpp"
        variants.append(Variant(place, panels, caption, file_name(PARTS_FILE, domain)))
    if not variants:
        return None
    drop = largest_drop(summary)
    start = 0 if drop is None else places.index((drop.line.domain, drop.line.rate_bpp))
    return Figure(
        "parts", "Where the drop comes from", ("domain", "rate"), tuple(variants), start=start
    )


def _parts_panel(codec: str, differences: Sequence[Difference], title: str) -> Panel:
    told = [d for d in differences if d.name not in SHARES and d.value is not None]
    names = list(dict.fromkeys(part_name(d) for d in told))
    order = list(reversed(names))
    sure = {True: [], False: []}  # type: dict[bool, list[PlotPoint]]
    for d in told:
        assert d.value is not None
        span = None if d.low is None or d.high is None else (d.low, d.high)
        known = span is not None and not span[0] <= 0 <= span[1]
        ends = f"95 % {d.ends}" if d.ends else "no interval"
        lines = (part_name(d).replace("\n", " "), f"{d.value:+.3f}, {ends}",
                 d.drawn.text)  # fmt: skip
        sure[known].append(PlotPoint(d.value, order.index(part_name(d)), lines, x_range=span))
    series = tuple(
        Series(_LABELS[known], COLOURS["CC"], "o",
               tuple(points), hollow=not known)
        for known, points in sure.items() if points
    )  # fmt: skip
    return Panel(
        codec, PlotAxis(f"difference of {title}"), PlotAxis("", "names", tuple(order)), series
    )


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
