"""What compression costs a segmentation model, in parts, and what restoration wins back.

OO - CC is lost information; CC - CO is covariate shift, for a model deployed on originals; RO - CO is what
restoration gains, OO - RO what is left, and (RO - CO) / (OO - CO) the share of the drop that is recovered
(arXiv:2004.10497). MO, originals and compressed mixed, is a control: its share stands beside RO's, and so
does RO - MO. An adversary is judged by what it adds to plain regression.

Intervals are of a paired bootstrap: the same seeds and the same test images in both configurations (see
`interfero.analysis.resampling`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from interfero.analysis.resampling import Part, half_width, seed_draws
from interfero.engine.cells import CellRecord
from interfero.metrics.segmentation import mean_iou

FloatArray = npt.NDArray[np.float64]

MIOU = "segmentation/miou"
IMAGE_DRAWS = 400
SHARE = "share recovered"
REGRESSION = "regression"
DIFFERENCES = (
    ("lost information", "OO", "CC"), ("covariate shift", "CC", "CO"), ("whole drop", "OO", "CO"),
    ("tested compressed", "OO", "OC"), ("restoration gains", "RO", "CO"), ("still left", "OO", "RO"),
    ("restored on both sides", "RR", "CC"), ("mixing gains", "MO", "CO"),
    ("restored over mixed", "RO", "MO"),
)  # fmt: skip
"""Name, and the two configurations whose difference it is."""


@dataclass(frozen=True, order=True)
class Line:
    """One configuration on one domain at one rate of one codec."""

    domain: str
    codec: str
    rate_bpp: float
    """Asked for; 0 where no codec takes part."""
    configuration: str
    restoration: str = "none"
    restoration_split: str = "none"

    @property
    def label(self) -> str:
        """The configuration, and how its restorer was trained."""
        parts = [p for p in (self.restoration, self.restoration_split) if p != "none"]
        return " ".join([self.configuration, *parts])


@dataclass(frozen=True)
class Score:
    """Mean IoU of a line over its seeds."""

    line: Line
    values: Mapping[tuple[int, int], float]
    """By (data seed, init seed)."""
    bpp: float | None
    """Rate that was reached on the images that a codec made, training images first."""
    psnr_gain_db: float | None
    """What restoration did to the training images, nearer to the originals is more."""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(list(self.values.values())))

    @property
    def span(self) -> tuple[float, float]:
        """Lowest and highest seed."""
        return min(self.values.values()), max(self.values.values())


@dataclass(frozen=True)
class Difference:
    """A difference of two lines, or the recovered share, with its interval."""

    name: str
    line: Line
    """The line that is asked about: of a codec, a rate and a restoration."""
    value: float | None
    """In mean IoU, or a share; None if refused."""
    half_width: float | None
    """Of the 95 % interval; None where it cannot be known."""
    seeds: int
    images: int
    refusal: str = ""
    bpp: float | None = None
    """Rate that was reached on training images, or on test images where those alone were coded."""
    restorers: int = 0
    """Different ones behind the restored images: seeds of models draw no other restorer."""

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        known = self.value is not None and self.half_width is not None
        return self.value - self.half_width if known else None  # type: ignore[operator]

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        known = self.value is not None and self.half_width is not None
        return self.value + self.half_width if known else None  # type: ignore[operator]


@dataclass(frozen=True)
class Summary:
    """All scores and differences of a sweep."""

    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]

    @property
    def sentences(self) -> list[str]:
        """What can be said, a line each."""
        return [*_one_setting(self.scores), *(_sentence(d) for d in self.differences)]


def line_of(record: CellRecord) -> Line:
    """The line that a cell lies on."""
    p = record.params
    rate = p["rate_bpp"]
    return Line(
        str(p["domain"]), str(p["codec"]), 0.0 if isinstance(rate, str) else float(rate),
        str(p["configuration"]), str(p["restoration"]), str(p["restoration_split"]),
    )  # fmt: skip


def summarise(records: Sequence[CellRecord]) -> Summary:
    """Scores of every line, and the differences between them."""
    finished = [r for r in records if r.status == "finished" and MIOU in r.metrics]
    by_line: dict[Line, list[CellRecord]] = defaultdict(list)
    for record in finished:
        by_line[line_of(record)].append(record)
    scores = tuple(_score(line, cells) for line, cells in sorted(by_line.items()))
    return Summary(scores, tuple(_differences(by_line)))


def _score(line: Line, cells: Sequence[CellRecord]) -> Score:
    def mean_of(name: str) -> float | None:
        found = [c.metrics[name] for c in cells if name in c.metrics]
        return float(np.mean(found)) if found else None

    bpp = mean_of("rate/train_bpp")
    after, before = mean_of("restoration/psnr_db"), mean_of("restoration/psnr_db_compressed")
    gain = after - before if after is not None and before is not None else None
    values = {_seeds(c): c.metrics[MIOU] for c in cells}
    return Score(line, values, mean_of("rate/test_bpp") if bpp is None else bpp, gain)


def _seeds(record: CellRecord) -> tuple[int, int]:
    return int(record.params["data_seed"]), int(record.params["init_seed"])


def _differences(by_line: Mapping[Line, list[CellRecord]]) -> Iterator[Difference]:
    """Of every codec and rate, and of every restoration there."""
    for line, cells in sorted(by_line.items()):
        if line.codec == "original":
            continue
        for name, upper, lower in DIFFERENCES:
            # Asked from the configuration that has a codec, and a restoration if one has.
            own = lower if upper == "OO" else upper
            if line.configuration != own:
                continue
            pair = [
                cells if c == own else by_line.get(_partner(line, c), []) for c in (upper, lower)
            ]
            if all(pair):
                yield _difference(name, line, *pair)
        if line.configuration in ("RO", "MO"):
            parts = [by_line.get(_partner(line, c), []) for c in ("OO", "CO")]
            if all(parts):
                yield recovered_share(line, cells, *parts)
        if line.configuration == "RO" and line.restoration != REGRESSION:
            plain = by_line.get(replace(line, restoration=REGRESSION), [])
            if plain:
                yield _difference("adversary adds", line, cells, plain)


def _partner(line: Line, configuration: str) -> Line:
    if configuration == "OO":
        return Line(line.domain, "original", 0.0, "OO")
    return Line(line.domain, line.codec, line.rate_bpp, configuration)


def _difference(
    name: str, line: Line, upper: Sequence[CellRecord], lower: Sequence[CellRecord]
) -> Difference:
    value, width, seeds, images = _bootstrap([upper, lower], lambda m: m[0] - m[1])
    return Difference(name, line, value, width, seeds, images, **_behind(line, [*upper, *lower]))


class _Behind(TypedDict):
    bpp: float | None
    restorers: int


def _behind(line: Line, cells: Sequence[CellRecord]) -> _Behind:
    """The rate reached, and how many restorers there are, by data seed."""
    for side in ("train", "test"):
        rates = [r.metrics[f"rate/{side}_bpp"] for r in cells if f"rate/{side}_bpp" in r.metrics]
        if rates:
            break
    seeds = {r.params["data_seed"] for r in cells}
    return {
        "bpp": float(np.mean(rates)) if rates else None,
        "restorers": len(seeds) if line.restoration != "none" else 0,
    }


def recovered_share(
    line: Line, restored: Sequence[CellRecord], original: Sequence[CellRecord],
    compressed: Sequence[CellRecord],
) -> Difference:  # fmt: skip
    """(RO - CO) / (OO - CO), refused where there may be no drop to recover.

    Args:
        line: That of the restored cells.
        restored: RO, or MO in its place.
        original: OO.
        compressed: CO.
    """
    drop, width, seeds, images = _bootstrap([original, compressed], lambda m: m[0] - m[1])
    name, behind = SHARE, _behind(line, [*restored, *compressed])
    if width is None or drop - width <= 0:
        if width is None:
            refusal = f"OO - CO is {drop:+.3f}, and has no interval with n = {seeds} seed"
        else:
            low, high = drop - width, drop + width
            refusal = (
                f"OO - CO is {drop:+.3f}, its 95 % interval {low:+.3f} to {high:+.3f} includes zero"
                if high >= 0
                else f"OO - CO is {drop:+.3f}: there is no drop to recover"
            )
        return Difference(name, line, None, None, seeds, images, refusal, **behind)
    value, width, seeds, images = _bootstrap(
        [restored, original, compressed], lambda m: (m[0] - m[2]) / (m[1] - m[2])
    )
    return Difference(name, line, value, width, seeds, images, **behind)


def _bootstrap(
    groups: Sequence[Sequence[CellRecord]], statistic: Callable[[FloatArray], float]
) -> tuple[float, float | None, int, int]:
    """A statistic of the groups' mean IoUs over the seeds that all have, and its half-width.

    Returns:
        The statistic, the half-width of its 95 % interval (None with one seed or one image: nothing
        then says how much the score varies), the number of seeds and of images.
    """
    by_seed = [{_seeds(r): r for r in group} for group in groups]
    seeds = sorted(set.intersection(*(set(g) for g in by_seed)))
    if not seeds:
        return float("nan"), None, 0, 0
    counts = np.array([[_counts(g[s]) for s in seeds] for g in by_seed])
    names = [tuple(i.group for i in g[s].segmented) for g in by_seed for s in seeds]
    assert len(set(names)) == 1, "cells of one domain are tested on the same images"
    members = np.array([sorted(set(names[0])).index(n) for n in names[0]])
    num_groups = int(members.max()) + 1

    def scores(weights: FloatArray) -> FloatArray:
        """(groups, seeds) mean IoU with images that count so often."""
        total = np.tensordot(counts, weights[members], axes=(4, 0)).round().astype(np.int64)
        return mean_iou(total[:, :, 0], total[:, :, 1], total[:, :, 2])

    whole = scores(np.ones(num_groups))
    value = float(statistic(whole.mean(axis=1)))
    if len(seeds) < 2 or num_groups < 2:
        return value, None, len(seeds), num_groups
    rng = np.random.default_rng(0)
    drawn, chances = seed_draws(len(seeds), rng)
    seed_part = Part(np.array([whole @ d / len(seeds) for d in drawn]), chances, len(seeds) - 1)
    even = np.full(num_groups, 1 / num_groups)
    draws = rng.multinomial(num_groups, even, size=IMAGE_DRAWS).astype(float)
    means = np.array([scores(weights).mean(axis=1) for weights in draws])
    image_part = Part(means, np.full(IMAGE_DRAWS, 1 / IMAGE_DRAWS), num_groups - 1)
    variances = [(p.variance(statistic), p.degrees) for p in (seed_part, image_part)]
    return value, half_width(variances), len(seeds), num_groups


def _counts(record: CellRecord) -> FloatArray:
    """(3, classes, images) hits, labelled, predicted."""
    rows = [(i.hits, i.labelled, i.predicted) for i in record.segmented]
    return np.array(rows, dtype=float).transpose(1, 2, 0)


def _one_setting(scores: Sequence[Score]) -> list[str]:
    """Asked rates that are one: a learned codec has few, and the nearest to two of them may be the same."""
    found: dict[tuple[str, str, float], dict[float, None]] = defaultdict(dict)
    for score in scores:
        if score.bpp is not None:
            place = (score.line.domain, score.line.codec, score.bpp)
            found[place].setdefault(score.line.rate_bpp)
    sets = {
        (domain, codec, tuple(sorted(asked)))
        for (domain, codec, _), asked in found.items()
        if len(asked) > 1
    }
    return [
        f"{domain}, {codec}: {' and '.join(f'{rate:g}' for rate in asked)} bpp asked are one setting of "
        "the codec, and one point: ask for rates further apart"
        for domain, codec, asked in sorted(sets)
    ]


def _sentence(d: Difference) -> str:
    line = d.line
    reached = "" if d.bpp is None else f" (reached {d.bpp:.3f})"
    place = f"{line.domain}, {line.codec} at {line.rate_bpp:g} bpp{reached}"
    restored = f", {line.label}" if line.configuration in ("RO", "RR", "MO") else ""
    if d.value is None:
        return f"{place}{restored}: {d.name} refused, {d.refusal}"
    form = "{:+.0%}" if d.name == SHARE else "{:+.3f}"
    said = form.format(d.value)
    drawn = f" of {d.restorers} restorer{'s' * (d.restorers > 1)}" if d.restorers else ""
    if d.low is None or d.high is None:
        note = f"no interval, n = {d.seeds} seed{'s' * (d.seeds > 1)}"
    else:
        ends = f"{form.format(d.low)} to {form.format(d.high)}"
        note = f"95 % {ends}, n = {d.seeds} seeds{drawn}, {d.images} images"
    return f"{place}{restored}: {d.name} {said} ({note})"


def summary_markdown(summary: Summary) -> str:
    """Two tables: scores, and differences."""
    lines = ["| domain | codec | bpp asked | bpp reached | trained, tested | mIoU | seeds | PSNR gain |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for s in summary.scores:
        low, high = s.span
        bpp = "" if s.bpp is None else f"{s.bpp:.3f}"
        gain = "" if s.psnr_gain_db is None else f"{s.psnr_gain_db:+.2f} dB"
        asked = "" if s.line.codec == "original" else f"{s.line.rate_bpp:g}"
        lines.append(
            f"| {s.line.domain} | {s.line.codec} | {asked} | {bpp} | {s.line.label} | {s.mean:.3f} "
            f"({low:.3f} to {high:.3f}) | {len(s.values)} | {gain} |"
        )
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in summary.sentences), ""])
