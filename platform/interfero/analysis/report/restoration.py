"""`report.html` of a sweep about learning from compressed images: the same page, other figures and words."""

from __future__ import annotations

import base64
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from interfero.analysis.about import About
from interfero.analysis.report.figure_data import (
    Figure,
    Panel,
    PlotAxis,
    PlotPoint,
    RunLinks,
    Series,
    Variant,
)
from interfero.analysis.report.sections import (
    escape,
    facts_list,
    failures_section,
    paragraphs,
    reproduce_section,
    table,
)
from interfero.analysis.report.shell import Section, page_html
from interfero.analysis.restoration.bootstrap import counted
from interfero.analysis.restoration.figures import COLOURS, PARTS_FILE, RATES_FILE
from interfero.analysis.restoration.losses import (
    DIFFERENCES,
    SHARE,
    Difference,
    Line,
    Score,
    Summary,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic

MAX_STRIPS = 12
_MARKERS = {"gan": "o", "regression": "s", "none": "o"}
_CONFIGURATIONS = tuple(COLOURS)


@dataclass(frozen=True)
class RestorationReport:
    """What a report is made from."""

    title: str
    records: Sequence[CellRecord]
    summary: Summary
    about: About | None = None
    runs: RunLinks = field(default_factory=RunLinks)
    strips: Mapping[str, Path] = field(default_factory=dict)
    """Pictures of cells that are at hand, by key."""
    remarks: Sequence[str] = ()
    """What a reader has to know of where the cells come from."""


def write_restoration_report(report: RestorationReport, folder: Path) -> Path:
    """Write `report.html`.

    Raises:
        StorageError: the folder is not writable.
    """
    path = folder / "report.html"
    write_atomic(path, restoration_html(report).encode())
    return path


def restoration_html(report: RestorationReport) -> str:
    """The page."""
    figures = [f for f in (_rates_figure(report), _parts_figure(report.summary)) if f is not None]
    drawn = {f.name: f'<figure id="figure-{f.name}"></figure>' for f in figures}
    summary = report.summary
    abouts = [report.about] if report.about else []
    sections = [
        Section("answer", "In words", paragraphs(summary.sentences) if summary.sentences else ""),
        Section("rates", "Mean IoU against rate", drawn.get("rates", "") + _scores(summary)),
        Section("parts", "Where the drop comes from", drawn.get("parts", "") + _parts(summary)),
        Section("pictures", "Pictures", _pictures(report)),
        Section("reproduce", "Run it again", reproduce_section(abouts, []) + _steps(report)),
    ]
    questions = [about.question for about in abouts if about.question]
    head = facts_list(_facts(report)) + "".join(
        f'<p class="warning">{escape(remark)}</p>' for remark in report.remarks
    )
    return page_html(
        report.title, questions, head, sections, figures, failures_section(report.records)
    )


def _facts(report: RestorationReport) -> list[tuple[str, str]]:
    finished = [r for r in report.records if r.status == "finished"]
    counts = f"{len(finished)} finished"
    if len(finished) < len(report.records):
        counts += f", {len(report.records) - len(finished)} failed"
    params = [r.params for r in report.records]

    def every(name: str) -> str:
        return ", ".join(
            dict.fromkeys(str(p[name]) for p in params if p.get(name, "original") != "original")
        )

    names = ("domain", "configuration", "codec", "rate_bpp", "num_steps", "architecture", "encoder")
    seeds = sorted({(p["data_seed"], p["init_seed"]) for p in params})
    num_data = len({data for data, _ in seeds})
    pairs = ", ".join(f"{data}/{init}" for data, init in seeds)
    n = f"{num_data} data seeds, {len(seeds)} models a line" if num_data > 1 else str(len(seeds))
    told = "n = 1: an illustration" if len(seeds) == 1 else f"n = {n}: {pairs} (data/init)"
    listed = [
        (name.replace("_bpp", " asked, bpp").replace("_", " "), every(name)) for name in names
    ]
    return [("cells", counts), *((name, text) for name, text in listed if text), ("seeds", told)]


def _rates_figure(report: RestorationReport) -> Figure | None:
    """A variant a domain, a panel a codec, a line a configuration; None without a codec."""
    variants = []
    for domain in sorted({s.line.domain for s in report.summary.scores}):
        scores = [s for s in report.summary.scores if s.line.domain == domain]
        codecs = sorted({s.line.codec for s in scores} - {"original"})
        panels = tuple(_rate_panel(report, scores, codec) for codec in codecs)
        if panels:
            caption = (
                "Mean IoU of all test pixels together, against the rate reached on training images (on test "
                "images for OC). Bars: lowest to highest seed. OO has no rate: its line is level."
            )
            files = tuple(f"{RATES_FILE}_{domain}{s}" for s in (".png", ".svg"))
            variants.append(Variant((domain,), panels, caption, files))
    if not variants:
        return None
    return Figure("rates", "Mean IoU against rate", ("domain",), tuple(variants))


def _rate_panel(report: RestorationReport, scores: Sequence[Score], codec: str) -> Panel:
    own = [s for s in scores if s.line.codec == codec]
    lines: dict[str, list[Score]] = defaultdict(list)
    for score in own:
        lines[score.line.label].append(score)
    series = []
    for label, points in lines.items():
        line = points[0].line
        ordered = sorted(points, key=lambda s: (_rate_of(s), s.line.rate_bpp))
        series.append(
            Series(
                label, COLOURS.get(line.configuration, "#888888"),
                _MARKERS.get(line.restoration, "o"),
                tuple(_score_point(report, s, _rate_of(s)) for s in ordered),
                line=True, dashed=line.restoration == "regression",
                hollow=line.restoration_split == "same",
            )
        )  # fmt: skip
    rates = [_rate_of(s) for s in own]
    for score in (s for s in scores if s.line.configuration == "OO"):
        ends = [_score_point(report, score, rate) for rate in sorted({min(rates), max(rates)})]
        series.append(Series("OO", COLOURS["OO"], "", tuple(ends), line=True))
    return Panel(
        codec,
        PlotAxis("rate reached (bits per pixel)"),
        PlotAxis("mean IoU on test images"),
        tuple(series),
    )


def _rate_of(score: Score) -> float:
    return score.line.rate_bpp if score.bpp is None else score.bpp


def _score_point(report: RestorationReport, score: Score, rate: float) -> PlotPoint:
    low, high = score.span
    asked = "" if score.line.codec == "original" else f", {score.line.rate_bpp:g} bpp asked"
    cells = [r for r in report.records if r.metrics and _belongs(r, score.line)]
    lines = (
        f"{score.line.label} on {score.line.domain}{asked}",
        f"mean IoU {score.mean:.3f}, {low:.3f} to {high:.3f} ({counted(len(score.values), 'model')})",
        *(
            f"seed {r.params['data_seed']}/{r.params['init_seed']}: "
            f"{r.metrics['segmentation/miou']:.3f}, {report.runs.text(r)}"
            for r in cells[:6]
        ),
    )
    return PlotPoint(rate, score.mean, lines, y_range=(low, high))


def _belongs(record: CellRecord, line: Line) -> bool:
    p = record.params
    return (p["domain"], p["codec"], p["configuration"], p["restoration"], p["restoration_split"]) == (
        line.domain, line.codec, line.configuration, line.restoration, line.restoration_split,
    ) and (line.codec == "original" or p["rate_bpp"] == line.rate_bpp)  # fmt: skip


def _parts_figure(summary: Summary) -> Figure | None:
    """Each difference with its interval, a panel a codec; None where there is none."""
    places = sorted({(d.line.domain, d.line.rate_bpp) for d in summary.differences})
    variants = []
    for domain, rate in places:
        own = [d for d in summary.differences if (d.line.domain, d.line.rate_bpp) == (domain, rate)]
        codecs = sorted({d.line.codec for d in own})
        panels = tuple(
            _parts_panel(codec, [d for d in own if d.line.codec == codec]) for codec in codecs
        )
        over = ", or ".join(dict.fromkeys(d.drawn.over for d in own))
        caption = (
            f"Differences of mean IoU, and their 95 % intervals by a paired bootstrap over {over}; hollow "
            "where the interval includes zero or is not known."
        )
        files = tuple(f"{PARTS_FILE}_{domain}{s}" for s in (".png", ".svg"))
        variants.append(Variant((domain, f"{rate:g} bpp"), panels, caption, files))
    if not variants:
        return None
    return Figure("parts", "Where the drop comes from", ("domain", "rate"), tuple(variants))


def _parts_panel(codec: str, differences: Sequence[Difference]) -> Panel:
    told = [d for d in differences if d.name != SHARE and d.value is not None]
    names = list(dict.fromkeys(part_name(d) for d in told))
    order = list(reversed(names))
    sure = {True: [], False: []}  # type: dict[bool, list[PlotPoint]]
    for d in told:
        assert d.value is not None
        span = None if d.low is None or d.high is None else (d.low, d.high)
        known = span is not None and not span[0] <= 0 <= span[1]
        ends = "no interval" if span is None else f"95 % {span[0]:+.3f} to {span[1]:+.3f}"
        lines = (part_name(d).replace("\n", " "), f"{d.value:+.3f}, {ends}",
                 d.drawn.text(d.restorers))  # fmt: skip
        sure[known].append(PlotPoint(d.value, order.index(part_name(d)), lines, x_range=span))
    series = tuple(
        Series("interval apart from zero" if known else "may be zero", COLOURS["CC"], "o",
               tuple(points), hollow=not known)
        for known, points in sure.items() if points
    )  # fmt: skip
    return Panel(
        codec, PlotAxis("difference of mean IoU"), PlotAxis("", "names", tuple(order)), series
    )


def part_name(d: Difference) -> str:
    """`covariate shift`, and what is subtracted from what."""
    pair = next((f"{a} - {b}" for name, a, b in DIFFERENCES if name == d.name), "gan - regression")
    kind = f" {d.line.restoration}" if d.line.restoration not in ("none", "gan") else ""
    split = " same" if d.line.restoration_split == "same" else ""
    return f"{d.name}\n{pair}{kind}{split}"


def _scores(summary: Summary) -> str:
    rows = []
    for s in summary.scores:
        low, high = s.span
        gain = "" if s.psnr_gain_db is None else f"{s.psnr_gain_db:+.2f}"
        asked = "" if s.line.codec == "original" else f"{s.line.rate_bpp:g}"
        reached = "" if s.bpp is None else f"{s.bpp:.3f}"
        rows.append([s.line.domain, s.line.codec, s.line.label, asked, reached, f"{s.mean:.3f}",
                     f"{low:.3f} to {high:.3f}", s.seeds_text, gain])  # fmt: skip
    header = ["domain", "codec", "trained, tested", "bpp asked", "reached", "mean IoU", "seeds' range",
              "seeds", "PSNR gain (dB)"]  # fmt: skip
    return table(header, rows, 3) if rows else ""


def _parts(summary: Summary) -> str:
    rows = []
    for d in summary.differences:
        form = "{:+.0%}" if d.name == SHARE else "{:+.3f}"
        value = "refused" if d.value is None else form.format(d.value)
        known = d.low is not None and d.high is not None
        ends = f"{form.format(d.low)} to {form.format(d.high)}" if known else d.refusal or "none"
        rows.append([d.line.domain, d.line.codec, d.name, d.line.label, f"{d.line.rate_bpp:g}", value,
                     ends, d.drawn.text(d.restorers)])  # fmt: skip
    header = ["domain", "codec", "difference", "of", "bpp asked", "value", "95 % interval", "drawn"]
    return table(header, rows, 4, long=6) if rows else ""


def _pictures(report: RestorationReport) -> str:
    """One strip a line: of the seed in the middle."""
    parts: list[str] = []
    for score in report.summary.scores:
        cells = sorted(
            (r for r in report.records if r.key in report.strips and _belongs(r, score.line)),
            key=lambda r: r.metrics.get("segmentation/miou", 0.0),
        )
        if not cells or len(parts) == MAX_STRIPS:
            continue
        middle = cells[(len(cells) - 1) // 2]
        data = base64.b64encode(report.strips[middle.key].read_bytes()).decode()
        rate = (
            ""
            if score.line.codec == "original"
            else f", {score.line.codec} at {score.line.rate_bpp:g} bpp"
        )
        name = escape(f"{score.line.label} on {score.line.domain}{rate}")
        parts.append(
            f"<p>{name}; {escape(report.runs.text(middle))}</p>"
            f'<div class="wide"><img src="data:image/png;base64,{data}" alt="{name}"></div>'
        )
    if not parts:
        return ""
    note = (
        "First row: a training image, original, compressed, restored, as far as the model's was. Second "
        "row: a test image, original, as the model got it, its labels, the prediction; void is black. The "
        "first image of each portion, of the seed with the middle score: none was chosen by its looks."
    )
    return f'<p class="soft">{escape(note)}</p>' + "".join(parts)


def _steps(report: RestorationReport) -> str:
    """Keys of the steps behind the cells: what is shared has one key."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for record in report.records:
        for kind in ("compress", "restoration", "restore", "segmentation"):
            for key in record.provenance.get(kind, "").split():
                counts[kind, key] += 1
    if not counts:
        return ""
    rows = [[kind, key, str(n)] for (kind, key), n in sorted(counts.items())]
    return "<h3>Steps behind the cells</h3>" + table(["step", "key", "cells"], rows, 2)
