"""What compression costs a model of any task, in parts, and what restoration wins back.

OO - CC is lost information; CC - CO is covariate shift, for a model deployed on originals; RO - CO is what
restoration gains, OO - RO what is left, and (RO - CO) / (OO - CO) the share of the drop that is recovered
(arXiv:2004.10497). MO, originals and compressed mixed, is a control: its share stands beside RO's, and so
does RO - MO. An adversary is judged by what it adds to plain regression.

OO - OC is what a deployed model loses on compressed images. FC is that model, fine-tuned on a few of them:
(FC - OC) / (OO - OC) is the share it recovers, and OO - FO what it then loses on originals. AO and AC are of
one model, trained on copies at all rates of a sweep: AO is compared at each of them. OT is the model of OO on
images of a codec that was adapted for it: its rate moves too, so it is compared with OC at the rate that it
reached (see `interfero.analysis.restoration.equal_rate`), and so is its share.

Intervals are of a paired bootstrap: the same seeds and the same source images in both configurations (see
`interfero.analysis.restoration.bootstrap`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from interfero.analysis.capacity_table import counted
from interfero.analysis.choices import seed_of
from interfero.analysis.grouping import grouped
from interfero.analysis.restoration.bootstrap import Drawn, estimate, restorer_of
from interfero.analysis.restoration.equal_rate import (
    FloatArray,
    Level,
    OutOfRange,
    level_at,
    level_of,
    rate_of_test_images,
)
from interfero.metrics.tasks import SEGMENTATION, task_of
from interfero.records import CellRecord

SHARE, SHARE_COMPRESSED = "share recovered", "share recovered on compressed images"
SHARES = (SHARE, SHARE_COMPRESSED)
DEPLOYED = {SHARE: "CO", SHARE_COMPRESSED: "OC"}
"""What stands where nothing is done: OO less it is the drop."""
REMEDIES = {
    "RO": SHARE, "MO": SHARE, "AO": SHARE, "CC": SHARE_COMPRESSED, "AC": SHARE_COMPRESSED,
    "RR": SHARE_COMPRESSED, "FC": SHARE_COMPRESSED, "OT": SHARE_COMPRESSED,
}  # fmt: skip
"""Of which drop a configuration wins back a share."""
REGRESSION = "regression"
RESTORERS = {"gan": "adversary adds", "nafnet": "stronger network adds"}
"""What is said of restorers less plain regression."""
OWN_CODEC = "own codec's restorer over another's"
ADAPTED_GAINS = "adapted codec gains at equal rate"
TASK_ADDS = "the task adds to the codec's adaptation at equal rate"
_TASK, NO_TASK = " task ", " task 0"
"""In the variants of OT: the weight of the task's loss, and the adaptation without it."""
DIFFERENCES = (
    ("lost information", "OO", "CC"), ("covariate shift", "CC", "CO"), ("whole drop", "OO", "CO"),
    ("tested compressed", "OO", "OC"), ("restoration gains", "RO", "CO"), ("still left", "OO", "RO"),
    ("restored on both sides", "RR", "CC"), ("mixing gains", "MO", "CO"),
    ("restored over mixed", "RO", "MO"), ("fine-tuning gains", "FC", "OC"),
    ("fine-tuned over trained anew", "FC", "CC"), ("fine-tuning costs on originals", "OO", "FO"),
    ("several rates gain", "AO", "CO"), ("several rates over one", "AC", "CC"),
    ("several rates gain on compressed images", "AC", "OC"), ("restored over several rates", "RO", "AO"),
)  # fmt: skip
"""Name, and the two configurations whose difference it is."""


@dataclass(frozen=True, order=True)
class Line:
    """One configuration on one domain at one rate of one codec."""

    domain: str
    codec: str
    rate_bpp: float
    """Asked for; 0 where no codec takes part, or all rates do."""
    configuration: str
    restoration: str = "none"
    restoration_split: str = "none"
    variant: str = "none"
    """What else tells it from others: `8 images`."""

    @property
    def label(self) -> str:
        """The configuration, how its restorer was trained, and its variant."""
        more: tuple[str, ...] = (self.restoration, self.restoration_split, self.variant)
        parts = [p for p in more if p != "none"]
        return " ".join([self.configuration, *parts])

    @property
    def rate_text(self) -> str:
        """The rate that was asked for, as tables have it."""
        if self.rate_bpp:
            return f"{self.rate_bpp:g}"
        return "" if self.codec == "original" else "all"


@dataclass(frozen=True)
class Score:
    """The score of a line over its seeds."""

    line: Line
    values: Mapping[tuple[int, int, int], float]
    """By (data seed, init seed, seed of the restorer)."""
    bpp: float | None
    """Rate that was reached on the images that a codec made, training images first."""
    psnr_gain_db: float | None
    """What restoration did to the training images, nearer to the originals is more."""
    test_psnr_db: float | None = None
    """Of the test images that the model is shown; None where they are originals."""

    @property
    def mean(self) -> float:
        """Over data seeds, of the mean over the init seeds of each."""
        by_data_seed = grouped(self.values, lambda seeds: seeds[0]).values()
        return float(np.mean([np.mean([self.values[s] for s in own]) for own in by_data_seed]))

    @property
    def seeds_text(self) -> str:
        """`3`, or `2 (6 models)`: models of one data seed share what it draws."""
        data, models = len({data_seed for data_seed, *_ in self.values}), len(self.values)
        seeds = data if data > 1 else len({init_seed for _, init_seed, _ in self.values})
        return (
            str(seeds) if data == 1 and seeds == models else f"{seeds} ({counted(models, 'model')})"
        )

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
    """In the task's score, or a share; None if refused."""
    half_width: float | None
    """Of the 95 % interval; None where it cannot be known."""
    drawn: Drawn
    refusal: str = ""
    bpp: float | None = None
    """Rate that was reached on training images, or on test images where those alone were coded."""
    wanted_bpp: float | None = None
    """Refused for want of a point at another rate: one to add."""

    @property
    def form(self) -> str:
        """How its numbers are written: shares in percent."""
        return "{:+.0%}" if self.name in SHARES else "{:+.3f}"

    @property
    def ends(self) -> str:
        """Its interval; empty where it cannot be known."""
        if self.low is None or self.high is None:
            return ""
        return f"{self.form.format(self.low)} to {self.form.format(self.high)}"

    @property
    def low(self) -> float | None:
        """Lower end of the interval."""
        return self._end(-1)

    @property
    def high(self) -> float | None:
        """Upper end of the interval."""
        return self._end(1)

    def _end(self, sign: int) -> float | None:
        if self.value is None or self.half_width is None:
            return None
        return self.value + sign * self.half_width


@dataclass(frozen=True)
class Summary:
    """All scores and differences of a sweep."""

    scores: tuple[Score, ...]
    differences: tuple[Difference, ...]
    title: str = SEGMENTATION.title
    """What scores are called."""

    @property
    def sentences(self) -> list[str]:
        """What can be said, a line each."""
        return [*_one_setting(self.scores), *(sentence(d) for d in self.differences)]


def line_of(record: CellRecord) -> Line:
    """The line that a cell lies on."""
    p = record.params
    rate = p["rate_bpp"]
    return Line(
        str(p["domain"]), str(p["codec"]), 0.0 if isinstance(rate, str) else float(rate),
        str(p["configuration"]), str(p["restoration"]), str(p["restoration_split"]),
        str(p.get("variant", "none")),
    )  # fmt: skip


def score_of(record: CellRecord) -> float | None:
    """The score of a cell's task; None where it has none."""
    return record.metrics.get(task_of(record.params).metric)


def title_of(records: Iterable[CellRecord]) -> str:
    """What the scores of cells are called: `mean IoU`; of several tasks, all of them."""
    titles = dict.fromkeys(task_of(record.params).title for record in records)
    return " or ".join(titles) or SEGMENTATION.title


def summarise(records: Sequence[CellRecord]) -> Summary:
    """Scores of every line, and the differences between them."""
    finished = [r for r in records if r.status == "finished" and score_of(r) is not None]
    by_line = grouped(finished, line_of)
    scores = tuple(_score(line, cells) for line, cells in sorted(by_line.items()))
    return Summary(scores, tuple(_differences(_at_each_rate(by_line))), title_of(finished))


def _at_each_rate(by_line: Mapping[Line, list[CellRecord]]) -> dict[Line, list[CellRecord]]:
    """Cells that are of all rates of a codec stand at each rate that others of it have."""
    found = {line: cells for line, cells in by_line.items() if line.rate_text != "all"}
    for line in by_line.keys() - found.keys():
        rates = {x.rate_bpp for x in found if (x.domain, x.codec) == (line.domain, line.codec)}
        found |= {replace(line, rate_bpp=rate): by_line[line] for rate in rates}
    return found


def _score(line: Line, cells: Sequence[CellRecord]) -> Score:
    def mean_of(name: str) -> float | None:
        found = [c.metrics[name] for c in cells if name in c.metrics]
        return float(np.mean(found)) if found else None

    after, before = mean_of("restoration/psnr_db"), mean_of("restoration/psnr_db_compressed")
    gain = after - before if after is not None and before is not None else None
    values = {(*seed_of(c), restorer_of(c)): c.metrics[task_of(c.params).metric] for c in cells}
    return Score(line, values, _rate_reached(cells), gain, mean_of("rate/test_psnr_db"))


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
            more, less = (cells if c == own else _partner(by_line, line, c) for c in (upper, lower))
            if more and less:
                yield _difference(name, line, more, level_of(less), _rate_reached([*more, *less]))
        share = REMEDIES.get(line.configuration)
        if share is not None and line.configuration != "OT":
            original, deployed = (_partner(by_line, line, c) for c in ("OO", DEPLOYED[share]))
            if original and deployed:
                yield recovered_share(line, cells, original, level_of(deployed), share)
        if line.configuration == "RO":
            yield from _of_restorers(by_line, line, cells)
        if line.configuration == "OT":
            yield from _of_adapted(by_line, line, cells)


def _of_adapted(
    by_line: Mapping[Line, list[CellRecord]], line: Line, cells: list[CellRecord]
) -> Iterator[Difference]:
    """What it gains over its source codec at the same rate, and over its adaptation without the task."""
    bpp = rate_of_test_images(cells)
    source = _curve(by_line, replace(line, configuration="OC", variant="none"))
    if bpp is None or not source:
        return
    own, reached = "the source codec", _rate_reached(cells)
    deployed = level_at(source, bpp)
    yield _difference(ADAPTED_GAINS, line, cells, deployed, reached, own)
    original = _partner(by_line, line, "OO")
    if original:
        if isinstance(deployed, OutOfRange):
            yield _out_of_range(SHARE_COMPRESSED, line, deployed, own)
        else:
            yield recovered_share(line, cells, original, deployed, SHARE_COMPRESSED)
    if not line.variant.endswith(NO_TASK):
        method = line.variant.rpartition(_TASK)[0]
        without = _curve(by_line, replace(line, variant=method + NO_TASK))
        if without:
            level = level_at(without, bpp)
            yield _difference(
                TASK_ADDS, line, cells, level, reached, "the adaptation without a task"
            )


def _curve(by_line: Mapping[Line, list[CellRecord]], line: Line) -> list[list[CellRecord]]:
    """Cells of a line at all of its rates, of test images that were coded."""
    return [
        cells
        for other, cells in by_line.items()
        if replace(other, rate_bpp=line.rate_bpp) == line and rate_of_test_images(cells) is not None
    ]


def _difference(
    name: str, line: Line, upper: Sequence[CellRecord], lower: Level | OutOfRange,
    bpp: float | None, what: str = "",
) -> Difference:  # fmt: skip
    """Scores of cells less those of a configuration at one rate.

    Args:
        name: Of `DIFFERENCES`, or another.
        line: That is asked about.
        upper: The cells.
        lower: What is subtracted.
        bpp: The rate that was reached.
        what: What is subtracted, in words; needed where it may be out of range.
    """
    if isinstance(lower, OutOfRange):
        return _out_of_range(name, line, lower, what)
    found = estimate([upper, *lower.groups], lambda m: float(m[0] - lower.score(m[1:])))
    return Difference(name, line, found.value, found.half_width, found.drawn, bpp=bpp)


def _out_of_range(name: str, line: Line, level: OutOfRange, what: str) -> Difference:
    refusal, nothing = level.text(what), Drawn(0, 0, 0, 0)
    return Difference(
        name, line, None, None, nothing, refusal, level.rate_bpp, wanted_bpp=level.wanted_bpp
    )


def _of_restorers(
    by_line: Mapping[Line, list[CellRecord]], line: Line, cells: list[CellRecord]
) -> Iterator[Difference]:
    """What a restorer has over plain regression, and the own codec's over another codec's."""
    plain = by_line.get(replace(line, restoration=REGRESSION), [])
    name = RESTORERS.get(line.restoration)
    if name is not None and plain:
        yield _difference(name, line, cells, level_of(plain), _rate_reached([*cells, *plain]))
    own = by_line.get(replace(line, variant="none"), [])
    if line.variant != "none" and own:
        yield _difference(OWN_CODEC, line, own, level_of(cells), _rate_reached([*own, *cells]))


def _partner(
    by_line: Mapping[Line, list[CellRecord]], line: Line, configuration: str
) -> list[CellRecord]:
    """Cells of a configuration without a restorer where a line lies; none where several lines have it."""
    place = (line.domain, line.codec, line.rate_bpp)
    if configuration == "OO":
        place = (line.domain, "original", 0.0)
    found = [
        cells
        for other, cells in by_line.items()
        if (other.domain, other.codec, other.rate_bpp, other.configuration)
        == (*place, configuration)
        and other.restoration == "none"
    ]
    return found[0] if len(found) == 1 else []


def _rate_reached(cells: Sequence[CellRecord]) -> float | None:
    """Mean over cells, on training images, or on test images where those alone were coded.

    A model that was trained on several rates is at that of its test images, if they have one.
    """
    for side in ("train", "test"):
        rates = [
            r.metrics[f"rate/{side}_bpp"]
            for r in cells
            if f"rate/{side}_bpp" in r.metrics
            and (side == "test" or not str(r.params["configuration"]).startswith("A"))
        ]
        if rates:
            return float(np.mean(rates))
    return None


def recovered_share(
    line: Line, restored: Sequence[CellRecord], original: Sequence[CellRecord], deployed: Level,
    name: str = SHARE,
) -> Difference:  # fmt: skip
    """(RO - CO) / (OO - CO), refused where there may be no drop to recover.

    Args:
        line: That of the restored cells.
        restored: RO, or another of `REMEDIES` in its place.
        original: OO.
        deployed: CO, or what the remedy has in `DEPLOYED`; at the rate of the remedy where it has its own.
        name: One of `SHARES`.
    """
    drop = estimate([original, *deployed.groups], lambda m: float(m[0] - deployed.score(m[1:])))
    own_rate = line.configuration == "OT"
    bpp = _rate_reached(restored if own_rate else [*restored, *deployed.groups[0]])
    said = f"OO - {DEPLOYED[name]}{' at that rate' * own_rate} is {drop.value:+.3f}"
    if drop.half_width is None:
        refusal = f"{said}, and has no interval with n = {counted(drop.drawn.seeds, 'seed')}"
        return Difference(name, line, None, None, drop.drawn, refusal, bpp)
    low, high = drop.value - drop.half_width, drop.value + drop.half_width
    if low <= 0:
        refusal = (
            f"{said}, its 95 % interval {low:+.3f} to {high:+.3f} ({drop.drawn.text}) includes zero"
            if high >= 0
            else f"{said}: there is no drop to recover"
        )
        return Difference(name, line, None, None, drop.drawn, refusal, bpp)
    groups = [restored, original, *deployed.groups]

    def share(scores: FloatArray) -> float:
        lost = deployed.score(scores[2:])
        return float((scores[0] - lost) / (scores[1] - lost))

    found = estimate(groups, share)
    return Difference(name, line, found.value, found.half_width, found.drawn, bpp=bpp)


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


def sentence(d: Difference) -> str:
    """One difference with its interval and its sample, or why it is refused."""
    line = d.line
    reached = "" if d.bpp is None else f" (reached {d.bpp:.3f})"
    place = f"{line.domain}, {line.codec} at {line.rate_bpp:g} bpp{reached}"
    plain = line.configuration in ("CC", "CO", "OC") and d.name != SHARE_COMPRESSED
    restored = "" if plain else f", {line.label}"
    if d.value is None:
        return f"{place}{restored}: {d.name} refused, {d.refusal}"
    note = f"95 % {d.ends}, {d.drawn.text}"
    if not d.ends:
        note = f"no interval, n = {counted(d.drawn.seeds, 'seed')}"
    return f"{place}{restored}: {d.name} {d.form.format(d.value)} ({note})"


def summary_markdown(summary: Summary) -> str:
    """Two tables: scores, and differences."""
    lines = ["| domain | codec | bpp asked | bpp reached | trained, tested | "
             f"{summary.title} | seeds | PSNR gain | test PSNR |",
             "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for s in summary.scores:
        low, high = s.span
        bpp = "" if s.bpp is None else f"{s.bpp:.3f}"
        gain = "" if s.psnr_gain_db is None else f"{s.psnr_gain_db:+.2f} dB"
        shown = "" if s.test_psnr_db is None else f"{s.test_psnr_db:.2f} dB"
        place = f"| {s.line.domain} | {s.line.codec} | {s.line.rate_text} | {bpp} | {s.line.label}"
        lines.append(
            f"{place} | {s.mean:.3f} ({low:.3f} to {high:.3f}) | {s.seeds_text} | {gain} | {shown} |"
        )
    return "\n".join([*lines, "", *(f"- {sentence}" for sentence in summary.sentences), ""])
