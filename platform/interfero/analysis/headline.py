"""The answer in at most three sentences, each with number, interval and sample, and how sure it is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from interfero.adaptation.table import trains
from interfero.analysis.capacity_table import counted, signed, value_range
from interfero.analysis.cells import Cells
from interfero.analysis.choices import CONTROL, Choice, by_method, first_method, methods_of, seed_of
from interfero.analysis.diverged import diverged_of_methods
from interfero.analysis.focus import centre_text
from interfero.analysis.paired import PairedDifference, differences
from interfero.analysis.parts import grey_text, without_grey
from interfero.analysis.seed_means import SeedMean, in_db, mean_of, means, tested_text
from interfero.analysis.shared_block import FirstBlock, first_block
from interfero.analysis.single_domains import (
    DomainResult,
    domain_line,
    outlier_lines,
    rate_line,
    single_domains,
)
from interfero.metrics.names import GAIN, ROUTED, UNROUTED, VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord

MAX_SENTENCES = 3
MAX_NAMED = 3
"""Domains that a sentence names; others are counted."""


@dataclass(frozen=True)
class Headline:
    """What is said first."""

    sentences: tuple[str, ...]
    """At most three."""
    notes: tuple[str, ...] = ()
    """How sure they are: single domains, the paired difference, how a method was chosen."""
    left_out: tuple[str, ...] = ()
    """What is in none of the means, with the reason; the note of the table says it too."""
    domains: tuple[DomainResult, ...] = ()
    """Each domain by itself, of the methods that the sentences are of; none where there is one domain."""
    tabled: tuple[str, ...] = ()
    """Those of the notes that say no more than the tables of a page."""

    @property
    def lines(self) -> list[str]:
        """All of it, for a terminal."""
        return [*self.sentences, *self.how_sure]

    @property
    def how_sure(self) -> list[str]:
        """All but the sentences."""
        return [*self.notes, *filter(None, [domain_line(self.domains)]), *self.left_out]


def headline(records: Iterable[CellRecord], own: Sequence[str] = ()) -> Headline:
    """The answer, and how sure it is.

    Args:
        records: All cells of a sweep.
        own: What answers the sweep's own question, most important first; at most two of these are taken.
    """
    records = Cells(records)
    shown = without_grey(records)
    # The table and the first figure have the same block.
    first = first_block(records)
    tried = [c for c in first.best if c.setting.method != CONTROL]
    if not tried:
        what = f"Only the control ({CONTROL})" if first.best else "No cell"
        return Headline((f"{what} finished: nothing can be said about gain or forgetting.",))
    asked = {str(r.params["domain"]) for r in shown}
    found = _Compared(first, tried, centre_text(shown), asked)
    cost, rival = found.cost_lines(), found.rival()
    lines = [*own[:2], *cost, *([rival.sentence] if rival else [])]
    astray = diverged_of_methods(tried)
    if not lines:
        why = "Cells finished, but none has both gain and forgetting: the table says what there is."
        if all(c.all_diverged for c in tried):
            why = "Nothing can be said about gain or forgetting, for every chosen cell diverged: "
            why += f"{'; '.join(astray)}."
        return Headline((why,))
    sentences = lines[:MAX_SENTENCES]
    sentences[-1] += _sample_note(found.best)
    singly = (
        single_domains(found.first, rival.method if rival else None, found.best) if cost else ()
    )
    several = len({one.domain for one in singly}) > 1
    ranges = found.single_lines() if cost else []
    notes = [*outlier_lines(singly), *filter(None, [rate_line(singly)]), *ranges]
    notes += rival.notes if rival and rival.sentence in lines[:MAX_SENTENCES] else ()
    notes += _spread_lines(found.best)
    gone = sorted(asked - {c.setting.domain for c in tried})
    left_out = [
        f"No result on {', '.join(gone)}" if gone else "",
        first.block.left_out_text.replace("left out", "Left out", 1),
        *astray,
        grey_text(records).replace("left out", "left out, of trends and curves too", 1),
    ]
    return Headline(
        tuple(sentences),
        tuple(notes),
        # With a full stop; the name of a method at its start stays as it is written.
        tuple(f"{text.removesuffix('.')}." for text in left_out if text),
        singly if several else (),
        tuple(ranges) if several else (),
    )


def _sample_note(best: Sequence[Choice]) -> str:
    """That there are no intervals; empty where there are."""
    seeds = {method: max(c.num_seeds for c in own) for method, own in by_method(best).items()}
    if max(seeds.values()) == 1:
        domain = "One domain, one" if len({c.setting.domain for c in best}) == 1 else "One"
        return f" {domain} seed: an illustration, without intervals."
    single = [method for method, count in seeds.items() if count == 1]
    return f" One seed of {', '.join(single)}: an illustration." if single else ""


def _spread_lines(best: Sequence[Choice]) -> list[str]:
    """What intervals over seeds do not speak for."""
    if max(c.num_seeds for c in best) == 1:
        return []
    if len({c.setting.domain for c in best}) == 1:
        return ["One domain: the intervals are over seeds and say nothing of other domains."]
    first = first_method(methods_of(best))
    mean = mean_of(first, best, GAIN)
    if mean is None or mean.low is None or mean.high is None:
        return []
    if all(mean.low <= case <= mean.high for case in mean.cases):
        return []
    return [f"The gain of {first} differs between domains by more than its interval over seeds."]


@dataclass(frozen=True)
class _Rival:
    """The method that is set against the first one."""

    method: str
    sentence: str
    notes: tuple[str, ...]


_Beside = tuple[SeedMean, SeedMean, SeedMean]
"""Gain of a method and of the first one, and what it forgets routed, over what both have."""


@dataclass(frozen=True)
class _Compared:
    """What the sentences are made of."""

    shown: FirstBlock
    tried: Sequence[Choice]
    """Every method's but the control's, whether in the block or not."""
    where: str
    """Lambda, images and steps, where a sweep has several."""
    asked: set[str]
    """Domains."""

    @cached_property
    def best(self) -> Sequence[Choice]:
        """Of the block, without the control."""
        return [c for c in self.shown.block.choices if c.setting.method != CONTROL] or self.tried

    @cached_property
    def records(self) -> Cells:
        """Those of the block."""
        return self.shown.block.of(self.shown.cells)

    @cached_property
    def first(self) -> str:
        """Fine-tuning, or what there is."""
        return first_method(methods_of(self.best))

    def mean(self, metric: str) -> SeedMean | None:
        """Of the first method."""
        return mean_of(self.first, self.best, metric)

    def cost_lines(self) -> list[str]:
        """What the first method gains, and what the source then costs; empty where one is not known."""
        gain, lost, routed = (self.mean(m) for m in (GAIN, UNROUTED, ROUTED))
        if gain is None or lost is None:
            return []
        how = ""
        if routed is not None and routed.cases != lost.cases:
            how = f" unrouted, and {routed.text} routed"
        cost = f"{lost.text} more" if lost.value >= 0 else f"{lost.opposite('change')} less"
        on = tested_text(by_method(self.best)[self.first], "source_unrouted")
        coded = f"Source images ({on})" if on else "Source images"
        at = f", {self.where}" if self.where else ""
        return [
            f"{self.first} {_gains(gain)} of rate-distortion loss on {self._over(gain)}{at}{gain.made_by}.",
            f"{coded} then cost {cost}{how}{lost.made_by}.",
        ]

    def _over(self, gain: SeedMean) -> str:
        """`histology (6 test images)`, `average over 2 domains (without text) of 6 test images each`."""
        tested = tested_text(by_method(self.best)[self.first], "target")
        if len(gain.cases) == 1:
            return f"{gain.domains[0]}{f' ({tested})' if tested else ''}{self._without(gain)}"
        each = f" of {tested} each" if tested else ""
        return f"average over {gain.places}{self._without(gain)}{each}"

    def _without(self, gain: SeedMean) -> str:
        """` (without text and data seed 1)`; empty where all that was asked for is there."""
        gone = sorted(self.asked - set(gain.domains))
        each = [f"{domain}{self._astray_in(domain)}" for domain in gone]
        named = ", ".join(each) if len(gone) <= MAX_NAMED else counted(len(gone), "domain")
        block = self.shown.block
        tried = (
            {seed_of(p.cell)[0] for c in self.tried for p in c.picks} if block.left_out else set()
        )
        seeds = ", ".join(f"data seed {seed}" for seed in sorted(tried - block.seeds))
        text = " and ".join(part for part in (named, seeds) if part)
        return f" (without {text})" if text else ""

    def _astray_in(self, domain: str) -> str:
        """`, where lora diverged`; empty where nothing did."""
        found = [c.setting.method for c in self.tried if c.setting.domain == domain and c.diverged]
        return f", where {', '.join(dict.fromkeys(found))} diverged" if found else ""

    def single_lines(self) -> list[str]:
        """What the means are of, and in dB."""
        gain, lost = self.mean(GAIN), self.mean(UNROUTED)
        if gain is None or lost is None:
            return []
        parts = [
            self._single(gain, "gain", "target"),
            self._single(lost, "cost", "source_unrouted"),
        ]
        of = f" in single {_single(gain)}" if len(gain.cases) > 1 else ""
        return [f"{self.first}{of}: {'; '.join(parts)}."] if any(parts) else []

    def _single(self, mean: SeedMean, name: str, role: str) -> str:
        """`gain +0.77 to +2.77 % (median +2.42), on average +0.18 dB at equal rate`."""
        db = mean_of(self.first, self.best, in_db(self.records, role))
        lost = "" if name == "gain" else " lost"
        in_all = "" if db is None else f"{db.value:+.2f} dB{lost} at equal rate"
        if len(mean.cases) == 1:
            return f"{name} {signed(mean.value)} %, {in_all}" if in_all else ""
        median = signed(statistics.median(mean.cases))
        spread = f"{name} {value_range(mean.cases, signed)} % (median {median})"
        return f"{spread}, on average {in_all}" if in_all else spread

    def rival(self) -> _Rival | None:
        """The method that keeps the source best, by validation; None where none can be compared."""
        others = [m for m in methods_of(self.best) if m != self.first]
        found = {m: beside for m in others if (beside := self._beside(m)) is not None}
        if not found:
            return None
        # Without an adapter there is nothing to ship: such a method is a control, unless there is no other.
        rivals = [m for m in found if trains(m)] or list(found)
        ranks = {method: _validation_rank(method, self.best) for method in rivals}
        chosen = min(rivals, key=lambda method: ranks[method])
        gone = {m: "trains nothing" for m in found if m not in rivals}
        for method, own in by_method(self.tried).items():
            if method not in (self.first, *found):
                every = all(c.all_diverged for c in own)
                gone[method] = (
                    "diverged everywhere" if every else "lacks results that the others have"
                )
        picked = _chosen_text(ranks, chosen, gone) + _better_text(ranks, chosen, self.best)
        difference = next(
            (
                d
                for d in differences(self.records)
                if d.response.metric == GAIN and (d.method, d.other) == (chosen, self.first)
            ),
            None,
        )
        notes = [_against_note(chosen, found[chosen], difference), picked.strip()]
        sentence = _against(chosen, found[chosen], difference)
        return _Rival(chosen, sentence, tuple(note for note in notes if note))

    def _beside(self, method: str) -> _Beside | None:
        """None where the two have nothing in common."""
        pair = [method, self.first]
        gains, routed = (means(pair, self.best, metric) for metric in (GAIN, ROUTED))
        if set(pair) - gains.keys() or method not in routed:
            return None
        return gains[method], gains[self.first], routed[method]


def _against(method: str, beside: _Beside, difference: PairedDifference | None) -> str:
    """The method's gain beside the first one's, and what it forgets."""
    own, other, lost = beside
    share = "" if difference is None else f", {_apart(difference, own.value, other.value)}"
    # One that changes the codec itself has no source mode.
    cost = f"forgets {lost.text} when routed"
    if set(lost.cases) == {0.0}:
        cost = "forgets nothing where source images are coded in source mode"
    return f"{method} {_gains(own)}{share}; it {cost}."


def _against_note(method: str, beside: _Beside, difference: PairedDifference | None) -> str:
    """The method's single domains, and the median of paired differences, whose interval is known."""
    if difference is None:
        return ""
    own, other, _ = beside
    parts = []
    if len(own.cases) > 1:
        parts.append(f"gain {value_range(own.cases, signed)} % in single {_single(own)}")
    if difference.verdict != "equal":
        parts.append(_paired(difference, _points(own.value, other.value)))
    return f"{method}: {'; '.join(parts)}." if parts else ""


def _points(own: float, other: float) -> float:
    """Of the printed numbers, so that they subtract."""
    return round(round(own, 2) - round(other, 2), 2)


def _chosen_text(
    ranks: Mapping[str, tuple[float, float]], chosen: str, left_out: Mapping[str, str]
) -> str:
    """By which rule a method is the one that is set against fine-tuning; empty where there is no other."""
    if len(ranks) == 1:
        return ""
    reasons = {
        why: ", ".join(m for m in left_out if left_out[m] == why) for why in left_out.values()
    }
    gone = ", and ".join(f"{names}, which {why}" for why, names in reasons.items())
    without = f" (without {gone})" if gone else ""
    least = ranks[chosen][0]
    level = sum(lost == least for lost, _ in ranks.values())
    why = "it forgets least when routed"
    if level > 1:
        what = "nothing" if least == 0 else "as little"
        alike = [m for m, rank in ranks.items() if rank == ranks[chosen] and m != chosen]
        most = "it gains most"
        if alike:
            most = f"{', '.join(['it', *alike[:-1]])} and {alike[-1]} gain most"
        why = f"{level} forget {what} when routed, and of these {most}"
    return f"Validation chose {chosen} of {len(ranks)} methods{without}: {why} there."


def _better_text(
    ranks: Mapping[str, tuple[float, float]], chosen: str, best: Sequence[Choice]
) -> str:
    """Which of those that forget as little gain more on test images, where validation chose another.

    It is said and not followed: the best of several on the test images would gain less on others.
    """
    level = [m for m, (lost, _) in ranks.items() if lost == ranks[chosen][0]]
    gains = {m: mean.value for m in level if (mean := mean_of(m, best, GAIN)) is not None}
    least = gains.get(chosen, math.inf)
    more = [m for m in sorted(gains, key=lambda m: -gains[m]) if gains[m] > least]
    if not more:
        return ""
    named = ", ".join(f"{m} ({signed(gains[m])} %)" for m in more)
    return f" Of these, {named} gain{'s' if len(more) == 1 else ''} more on the test images."


def _validation_rank(method: str, best: Sequence[Choice]) -> tuple[float, float]:
    """The method that forgets least when routed comes first; of several, the one that gains most.

    On validation images: the best of several on the test images would gain less on others. Cells of early
    builds have no forgetting there, and are told by that on test images.
    """

    def mean(*metrics: str) -> float:
        found = (mean_of(method, best, metric) for metric in metrics)
        return next((m.value for m in found if m is not None), math.inf)

    return max(mean(VALIDATION_ROUTED, ROUTED), 0.0), -mean(VALIDATION_GAIN)


def _single(mean: SeedMean) -> str:
    return "combinations" if "combinations" in mean.places else mean.places.partition(" ")[2]


def _gains(gain: SeedMean) -> str:
    return f"gains {gain.text}" if gain.value >= 0 else f"loses {gain.opposite('gain')}"


def _apart(difference: PairedDifference, own: float, other: float) -> str:
    """`1.18 points less than finetune (median of paired differences, 95 % interval ...; undecided)`.

    Args:
        difference: Of gains: its interval and its verdict are of the median over cases.
        own: Mean gain of the method in percent, which says whether `less` is less of a gain or of a loss.
        other: That of the other one.
    """
    if difference.verdict == "equal":
        return f"in every cell as much as {difference.other}"
    value, half = difference.value, difference.half_width
    what = "paired difference" if difference.num_cases == 1 else "median of paired differences"
    ends = "one seed"
    if half is not None:
        ends = f"95 % interval {signed(value - half)} to {signed(value + half)}"
    undecided = difference.verdict == "undecided"
    decided = f"undecided{difference.why_undecided}" if undecided else "decided"
    means = _points(own, other)
    against = f"; the means are {signed(means)} apart" if means * value < 0 else ""
    sure = f"({what}, {ends}; {decided}{against})"
    if own < 0:
        where = "below" if value < 0 else "above"
        return f"its gain {abs(value):.2f} points {where} that of {difference.other} {sure}"
    more = "less" if value < 0 else "more"
    return f"{abs(value):.2f} points {more} than {difference.other} {sure}"


def _paired(difference: PairedDifference, apart: float) -> str:
    """What the sentence's difference stands on.

    `mean of paired differences -1.18 points, their median -1.07 (interval over seeds and test images),
    undecided by Holm's correction for 4 methods`.

    Args:
        difference: Of gains.
        apart: Mean of the paired differences: what the means of the two methods are apart.
    """
    median = signed(difference.value)
    if difference.num_cases == 1:
        what = f"paired difference {median} points"
    elif signed(apart) == signed(difference.value):
        what = f"mean and median of paired differences {signed(apart)} points"
    else:
        what = f"mean of paired differences {signed(apart)} points, their median {median}"
        what += ", of the other sign" * (apart * difference.value < 0)
    one_seed = difference.half_width is None
    what += " (one seed)" if one_seed else f" (interval over {difference.over})"
    why = difference.why_undecided
    return what + (f", undecided{why} for {difference.num_compared} methods" if why else "")
