"""Figures of a restoration sweep: mean IoU against rate, and the parts of the drop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from interfero.analysis.figure_style import figure_style, rendered, settle
from interfero.analysis.restoration.losses import Difference, Line, Score, Summary
from interfero.store.files import write_atomic

COLOURS = {
    "OO": "#000000", "CC": "#0072B2", "CO": "#D55E00", "OC": "#CC79A7", "RO": "#009E73",
    "RR": "#56B4E9", "MO": "#E69F00",
}  # fmt: skip
"""Of Okabe and Ito's palette."""
RATES_FILE, PARTS_FILE = "miou", "decomposition"
"""Files are called so, then the domain."""
DASHES = {"regression": "--", "gan": "-", "none": "-"}


_DRAWN = ("lost information", "covariate shift", "restoration gains", "mixing gains")


def write_restoration_figures(summary: Summary, folder: Path) -> list[Path]:
    """Mean IoU against the rate reached, and the parts of the drop: two figures a domain, PNG and SVG.

    Returns:
        The paths; none where no codec took part.

    Raises:
        StorageError: the folder is not writable.
    """
    paths = []
    with figure_style():
        for domain in sorted({s.line.domain for s in summary.scores}):
            scores = [s for s in summary.scores if s.line.domain == domain]
            parts = [d for d in summary.differences if d.line.domain == domain]
            made = {RATES_FILE: _curves(domain, scores), PARTS_FILE: _parts(domain, parts)}
            for name, figure in made.items():
                if figure is None:
                    continue
                settle(figure)
                for suffix in ("png", "svg"):
                    path = folder / f"{name}_{domain}.{suffix}"
                    write_atomic(path, rendered(figure, suffix))
                    paths.append(path)
    return paths


def _parts(domain: str, differences: Sequence[Difference]) -> Figure | None:
    """What the drop is made of, a panel a codec, a bar a rate with its 95 % interval."""
    told = [d for d in differences if d.value is not None and d.name in _DRAWN]
    codecs = sorted({d.line.codec for d in told})
    if not codecs:
        return None
    figure = Figure(figsize=(3.6 * len(codecs), 3.0), layout="constrained")
    axes = figure.subplots(1, len(codecs), sharey=True, squeeze=False)[0]
    for axis, codec in zip(axes, codecs, strict=True):
        own = [d for d in told if d.line.codec == codec]
        names = [n for n in _DRAWN if any(d.name == n for d in own)]
        rates = sorted({d.line.rate_bpp for d in own})
        for d in own:
            assert d.value is not None
            plain = d.line.restoration == "regression"
            slot = 2 * rates.index(d.line.rate_bpp) + plain + 0.5
            at = names.index(d.name) + 0.7 * (slot / (2 * len(rates)) - 0.5)
            known = d.half_width is not None and abs(d.value) > d.half_width
            axis.errorbar(
                at, d.value, d.half_width, fmt="s" if plain else "o", color=COLOURS["CC"],
                capsize=2, markersize=4, fillstyle="full" if known else "none",
            )  # fmt: skip
        axis.axhline(0, color="#888888", linewidth=0.8)
        axis.set_xlim(-0.5, len(names) - 0.5)
        axis.set_xticks(range(len(names)), [n.replace(" ", "\n") for n in names])
        axis.set_title(f"{codec} at {', '.join(f'{r:g}' for r in rates)} bpp")
    axes[0].set_ylabel("difference of mean IoU")
    over = ", or ".join(dict.fromkeys(d.drawn.over for d in told))
    figure.suptitle(
        f"{domain}: parts of the drop, 95 % intervals\nover {over}\n(squares: plain regression)"
    )
    return figure


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
    models = max(len(s.values) for s in scores)
    told = (
        "n = 1 seed: an illustration"
        if models == 1
        else f"bands: lowest to highest of {models} models"
    )
    figure.suptitle(f"{domain}: trained on, tested on\n({told})")
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
