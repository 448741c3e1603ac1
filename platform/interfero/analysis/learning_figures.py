"""Figures of a learning sweep: mean IoU against rate, and the parts of the drop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfero.analysis.figure_style import DOTS_PER_INCH, figure_style
from interfero.analysis.learning import Line, Score, Summary

COLOURS = {
    "OO": "#000000", "CC": "#0072B2", "CO": "#D55E00", "OC": "#CC79A7", "RO": "#009E73",
    "RR": "#56B4E9", "MO": "#E69F00",
}  # fmt: skip
"""Of Okabe and Ito's palette."""
DASHES = {"regression": "--", "gan": "-", "none": "-"}


def write_learning_figures(summary: Summary, folder: Path) -> list[Path]:
    """A figure of mean IoU against the rate reached, a domain, a panel a codec.

    Returns:
        The paths; none where no codec took part.
    """
    paths = []
    with figure_style():
        for domain in sorted({s.line.domain for s in summary.scores}):
            scores = [s for s in summary.scores if s.line.domain == domain]
            figure = _curves(domain, scores)
            if figure is not None:
                path = folder / f"miou_{domain}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                figure.savefig(path, dpi=DOTS_PER_INCH, bbox_inches="tight")
                paths.append(path)
    return paths


def _curves(domain: str, scores: Sequence[Score]) -> Figure | None:
    codecs = sorted({s.line.codec for s in scores} - {"original"})
    if not codecs:
        return None
    figure = Figure(figsize=(3.6 * len(codecs), 3.0), layout="constrained")
    axes = figure.subplots(1, len(codecs), sharey=True, squeeze=False)[0]
    original = next((s for s in scores if s.line.configuration == "OO"), None)
    for axis, codec in zip(axes, codecs, strict=True):
        _panel(axis, [s for s in scores if s.line.codec == codec], original)
        axis.set_title(codec)
        axis.set_xlabel("rate reached, bits per pixel")
    axes[0].set_ylabel("mean IoU on test images")
    axes[-1].legend(loc="best", frameon=False)
    seeds = max(len(s.values) for s in scores)
    told = (
        "n = 1 seed: an illustration"
        if seeds == 1
        else f"bands: lowest to highest of {seeds} seeds"
    )
    figure.suptitle(f"{domain}: trained on, tested on ({told})")
    return figure


def _panel(axis: Axes, scores: Sequence[Score], original: Score | None) -> None:
    if original is not None:
        low, high = original.span
        axis.axhline(original.mean, color=COLOURS["OO"], label="OO")
        axis.axhspan(low, high, color=COLOURS["OO"], alpha=0.12, linewidth=0)
    lines: dict[Line, list[Score]] = defaultdict(list)
    for score in scores:
        line = score.line
        key = Line(line.domain, line.codec, 0.0, line.configuration, line.restoration,
                   line.restoration_split)  # fmt: skip
        lines[key].append(score)
    for line, points in lines.items():
        points.sort(key=lambda s: s.line.rate_bpp)
        rates = [s.bpp if s.bpp is not None else s.line.rate_bpp for s in points]
        colour = COLOURS.get(line.configuration, "#888888")
        style = ":" if line.restoration_split == "same" else DASHES.get(line.restoration, "-")
        axis.plot(
            rates, [s.mean for s in points], style, marker="o", color=colour, label=line.label
        )
        spans = [s.span for s in points]
        axis.fill_between(rates, [a for a, _ in spans], [b for _, b in spans], color=colour,
                          alpha=0.15, linewidth=0)  # fmt: skip
