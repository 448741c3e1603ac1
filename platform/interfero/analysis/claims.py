"""The claims about adapting codecs that a study can see or refute, each with what its cells say.

They are those of domain adaptation without forgetting (Katakol et al., arXiv:2104.09370). A verdict is of the
cells alone: `seen` or `refuted` where a paired difference is decided (`paired`), where exactness was checked,
and by most domains or cells where a claim is about how many; else `undecided`. `not measured` where the cells
for it are missing.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from interfero.analysis.capacity_table import counted
from interfero.analysis.cells import Cells
from interfero.analysis.choices import (
    CONTROL,
    NAIVE,
    Choice,
    best_sizes,
    choose_learning_rates,
    methods_of,
)
from interfero.analysis.focus import in_focus
from interfero.analysis.paired import PairedDifference, differences
from interfero.analysis.parts import without_grey
from interfero.metrics.names import (
    FRACTION,
    GAIN,
    OLD_DROP,
    OLD_PIXELS,
    ROUTED,
    SOURCE_BYTES,
    SOURCE_PIXELS,
)
from interfero.records import CellRecord

Verdict = Literal["seen", "refuted", "undecided", "not measured"]
FEW_IMAGES = 20
"""Training images that are called few."""
REFUTED_BY = "a difference from the control below 0 that is decided after Holm's correction"
ENOUGH = 0.5
"""Share of the gain with all images that few images have to give."""
_PROMISE = {SOURCE_BYTES: 1.0, SOURCE_PIXELS: 1.0, OLD_PIXELS: 1.0, ROUTED: 0.0}
"""What every cell of a method that keeps the source codec has to measure."""


@dataclass(frozen=True)
class Claim:
    """A claim about a method, and what was measured."""

    claim: str
    method: str
    measured: str
    verdict: Verdict
    refuted_by: str
    """What would refute it."""


def claims_of(records: Iterable[CellRecord]) -> list[Claim]:
    """Every claim that the methods of some cells are about.

    Gains and forgetting are of colour domains, one budget and one lambda (`focus`), at the settings that
    validation chose; exactness is of all finished cells, because it has no exceptions.

    Args:
        records: Of a study.
    """
    every = Cells(r for r in records if r.status == "finished")
    shown = in_focus(without_grey(every))
    best = best_sizes(choose_learning_rates(shown))
    found = {(d.method, d.other, d.response.name): d for d in differences(shown)}
    tried = set(methods_of(best))
    claims: list[Claim] = []
    if NAIVE in tried:
        claims += [
            _more(
                "A codec adapts to a new domain, by more than further training gives",
                found.get((NAIVE, CONTROL, "gain")),
                NAIVE,
                REFUTED_BY,
            ),
            _few_images(best),
            _more(
                "Naive adaptation forgets the source domain, by more than further training on it does",
                found.get((NAIVE, CONTROL, "forgetting_unrouted")),
                NAIVE,
                REFUTED_BY,
            ),
            _breaks_streams(best),
        ]
    for method in methods_of(best):
        own = [r for r in every if r.params["method"] == method and SOURCE_BYTES in r.metrics]
        if own:
            claims += [
                _keeps(method, own),
                _more(
                    "It gains on the target nevertheless",
                    found.get((method, CONTROL, "gain")),
                    method,
                    REFUTED_BY,
                ),
                _small(method, best, found.get((method, NAIVE, "gain"))),
            ]
    return claims


def claim_rows(records: Iterable[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """The same as a table."""
    header = ["claim", "method", "measured", "verdict", "would be refuted by"]
    rows = [
        [c.claim, f"`{c.method}`", c.measured, c.verdict, c.refuted_by] for c in claims_of(records)
    ]
    return header, rows


def _more(claim: str, found: PairedDifference | None, method: str, refuted_by: str) -> Claim:
    """Seen where a paired difference is decided and above 0."""
    if found is None:
        missing = "no cells of both in the same places"
        return Claim(claim, method, missing, "not measured", refuted_by)
    verdict: Verdict = "undecided"
    if found.verdict in ("more", "less"):
        verdict = "seen" if found.verdict == "more" else "refuted"
    return Claim(claim, method, _difference_text(found), verdict, refuted_by)


def _difference_text(found: PairedDifference) -> str:
    """`target gain minus finetune's: -1.30 (-2.19 to -0.40): less; 3 domains, 3 seeds`."""
    over = f", {found.num_seeds} seeds" if found.num_seeds > 1 else ""
    title = found.response.title.removesuffix(" (%)")
    return f"{title} minus {found.other}'s: {found.text}; {found.places}{over}"


def _few_images(best: Sequence[Choice]) -> Claim:
    """Fine-tuning's gain with few images over that with most, domain by domain."""
    claim = f"Few target images are enough: {FEW_IMAGES} or fewer give half of the gain of all"
    refuted_by = f"most domains in which {FEW_IMAGES} images give less than half"
    gains: dict[str, dict[int, float]] = {}
    for choice in best:
        gain = choice.mean(GAIN)
        if choice.setting.method == NAIVE and gain is not None:
            gains.setdefault(choice.setting.domain, {})[choice.setting.num_images] = gain
    shares: dict[int, list[float]] = {}
    own: list[float] = []
    for by_count in gains.values():
        few, most = [n for n in by_count if n <= FEW_IMAGES], max(by_count)
        if few and most > FEW_IMAGES and by_count[most] > 0:
            for count in few:
                shares.setdefault(count, []).append(by_count[count] / by_count[most])
            own.append(by_count[max(few)] / by_count[most])
    if not shares:
        return Claim(claim, NAIVE, "no domain with few and with many", "not measured", refuted_by)
    texts = [
        f"{counted(count, 'image')}: {100 * statistics.median(those):.0f} % of it in the median "
        f"({100 * min(those):.0f} to {100 * max(those):.0f} over {counted(len(those), 'domain')})"
        for count, those in sorted(shares.items())
    ]
    enough = sum(share >= ENOUGH for share in own)
    verdict: Verdict = "undecided"
    if 2 * enough != len(own):
        verdict = "seen" if 2 * enough > len(own) else "refuted"
    return Claim(claim, NAIVE, "; ".join(texts), verdict, refuted_by)


def _breaks_streams(best: Sequence[Choice]) -> Claim:
    claim = "Naive adaptation breaks compatibility with streams coded earlier"
    refuted_by = "streams that decode to the same pixels in most cells"
    cells = [p.cell for c in best if c.setting.method == NAIVE for p in c.picks]
    cells = [cell for cell in cells if {OLD_PIXELS, OLD_DROP} <= cell.metrics.keys()]
    if not cells:
        return Claim(claim, NAIVE, "no old stream was decoded", "not measured", refuted_by)
    broken = sum(cell.metrics[OLD_PIXELS] < 1 for cell in cells)
    drop = statistics.median(cell.metrics[OLD_DROP] for cell in cells)
    exact = statistics.mean(cell.metrics[OLD_PIXELS] for cell in cells)
    measured = (
        f"{100 * exact:.0f} % of old streams decode exactly, and PSNR drops by {drop:.1f} dB in the median; "
        f"streams break in {broken} of {counted(len(cells), 'cell')}"
    )
    return Claim(
        claim, NAIVE, measured, "seen" if 2 * broken > len(cells) else "refuted", refuted_by
    )


def _keeps(method: str, cells: Sequence[CellRecord]) -> Claim:
    """Whether the source codec is itself in source mode, in every cell."""
    claim = "Adapting without forgetting: in source mode bytes, pixels and old streams are the source codec's"
    kept = sum(
        all(name not in cell.metrics or cell.metrics[name] == v for name, v in _PROMISE.items())
        for cell in cells
    )
    measured = f"exactly so in {kept} of {counted(len(cells), 'cell')}"
    verdict: Verdict = "seen" if kept == len(cells) else "refuted"
    return Claim(claim, method, measured, verdict, "a single byte or pixel in a single cell")


def _small(method: str, best: Sequence[Choice], found: PairedDifference | None) -> Claim:
    """The share of parameters, and what fewer of them cost against fine-tuning."""
    claim = "A small number of parameters gains what fine-tuning gains"
    refuted_by = "a difference from fine-tuning below 0 that is decided after Holm's correction"
    own = [c.mean(FRACTION) for c in best if c.setting.method == method]
    sizes = [100 * share for share in own if share is not None]
    if found is None or not sizes:
        return Claim(
            claim, method, "no fine-tuned codec in the same places", "not measured", refuted_by
        )
    low, high = min(sizes), max(sizes)
    size = f"{low:.2g} %" if low == high else f"{low:.2g} to {high:.2g} %"
    measured = f"{size} of the codec's parameters; {_difference_text(found)}"
    if found.verdict in ("more", "equal"):
        return Claim(claim, method, measured, "seen", refuted_by)
    verdict: Verdict = "refuted" if found.verdict == "less" else "undecided"
    return Claim(claim, method, measured, verdict, refuted_by)
