"""The answer in at most three sentences, each with number, interval and sample."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from scipy.special import stdtrit

from interfero.adaptation.table import trains
from interfero.analysis.capacity_table import (
    places_text,
    signed,
    value_range,
)
from interfero.analysis.cells import GROUP, ROLE, Cells, image_arrays
from interfero.analysis.choices import (
    CONTROL,
    NAIVE,
    CellSetting,
    Choice,
    Seed,
    best_sizes,
    choose_learning_rates,
    seed_of,
)
from interfero.analysis.comparable import comparable
from interfero.analysis.diverged import (
    diverged_of_methods,
    diverged_text,
)
from interfero.analysis.focus import (
    centre_text,
    in_centre,
)
from interfero.analysis.paired import PairedDifference, differences
from interfero.analysis.parts import grey_text, loss_parts, without_grey
from interfero.analysis.shared_block import SharedBlock, shared_block
from interfero.metrics.names import GAIN, ROUTED, UNROUTED, VALIDATION_GAIN, VALIDATION_ROUTED
from interfero.records import CellRecord

MAX_SENTENCES = 3
LEVEL = 0.95
MIN_CASES = 3
"""Of which one can be said to make their mean."""
NEAR = 0.015
"""In points: two numbers that differ by no more are printed as one, or look rounded."""
SAME = 1e-9
"""In percent: ends of an interval that are no further apart are one value."""
BySeed = Callable[[Choice], Mapping[Seed, float]]
"""The values of a choice, one for each seed; none where one of them is not known."""


@dataclass(frozen=True)
class SeedMean:
    """A mean over the same cases in each seed, and what it stands on."""

    value: float
    low: float | None
    """Of the 95 % interval over data seeds; None with one."""
    high: float | None
    cases: tuple[float, ...]
    """The mean of each case over its seeds."""
    num_seeds: int
    places: str = ""
    """What the cases are, counted."""
    domains: tuple[str, ...] = ()
    """Of each case."""

    @property
    def text(self) -> str:
        """`+5.70 % (95 % interval +4.90 to +6.50, 3 seeds)`."""
        if self.low is None or self.high is None:
            return f"{signed(self.value)} %"
        if self.no_seed_matters:
            return f"{signed(self.value)} % (the same with each of {self.num_seeds} seeds: no interval)"
        ends = f"{signed(self.low)} to {signed(self.high)}"
        return f"{signed(self.value)} % (95 % interval {ends}, {self.num_seeds} seeds)"

    @property
    def no_seed_matters(self) -> bool:
        """Whether all seeds gave one value, as where nothing is trained: no width can be told."""
        return self.low is not None and self.high is not None and self.high - self.low < SAME

    @property
    def made_by(self) -> str:
        """`; without screen +0.87`, where one of three cases or more is most of the mean; else empty."""
        if len(self.cases) < MIN_CASES:
            return ""
        middle = statistics.median(self.cases)
        far = max(range(len(self.cases)), key=lambda i: abs(self.cases[i] - middle))
        rest = statistics.fmean([v for i, v in enumerate(self.cases) if i != far])
        mean = statistics.fmean(self.cases)
        return (
            f"; mean without {self.domains[far]} {signed(rest)}"
            if abs(mean - rest) > abs(mean) / 2
            else ""
        )

    def opposite(self, name: str) -> str:
        """`5.70 % (95 % interval of the gain -6.50 to -4.90, 3 seeds)`, of a value below zero.

        Args:
            name: What the value is, whose interval is printed with its sign.
        """
        return self.text.replace(signed(self.value), f"{-self.value:.2f}", 1).replace(
            "95 % interval", f"95 % interval of the {name}", 1
        )

    @property
    def short(self) -> str:
        """`+5.70 (+4.90 to +6.50)`, under a heading that says what it is."""
        if self.low is None or self.high is None or self.no_seed_matters:
            return signed(self.value)
        return f"{signed(self.value)} ({signed(self.low)} to {signed(self.high)})"


def headline(records: Iterable[CellRecord], own: Sequence[str] = ()) -> list[str]:
    """The answer: at most three sentences.

    Args:
        records: All cells of a sweep.
        own: What answers the sweep's own question, most important first; at most two of these are taken.
    """
    records = Cells(records)
    shown, grey = without_grey(records), grey_text(records)
    where, records = centre_text(shown), in_centre(shown)
    chosen = best_sizes(choose_learning_rates(records))
    tried = [c for c in chosen if c.setting.method != CONTROL]
    if not tried:
        what = f"Only the control ({CONTROL})" if chosen else "No cell"
        return [f"{what} finished: nothing can be said about gain or forgetting."]
    # The table below has the same one.
    block = shared_block(chosen)
    best = [c for c in block.choices if c.setting.method != CONTROL] or tried
    lines = _method_lines(
        best, block.of(records), where, _Aside(tried, _left_out(shown, tried, block))
    )
    lines = [*own[:2], *lines][:MAX_SENTENCES]
    if not lines and all(len(c.diverged) == c.num_seeds for c in tried):
        texts = "; ".join(diverged_of_methods(tried))
        return [
            f"Nothing can be said about gain or forgetting, for every chosen cell diverged: {texts}."
        ]
    if not lines:
        return [
            "Cells finished, but none has both gain and forgetting: the table says what there is."
        ]
    lines[-1] += f" {grey}" if grey else ""
    return [*lines[:-1], f"{lines[-1]}{_sample_note(best)}"]


@dataclass(frozen=True)
class _Aside:
    """What stands beside the means."""

    tried: Sequence[Choice]
    """Every method's, whether in the block or not."""
    left_out: str

    def astray(self, method: str) -> str:
        """`; left out of the means: ...`; empty where nothing diverged."""
        text = diverged_text(c for c in self.tried if c.setting.method == method)
        return f"; {text}" if text else ""


def _left_out(shown: Iterable[CellRecord], tried: Iterable[Choice], block: SharedBlock) -> str:
    """Domains without any result, and what is not in the block: ` (no result on a; left out: ...)`."""
    asked = {str(r.params["domain"]) for r in shown}
    gone = sorted(asked - {c.setting.domain for c in tried})
    parts = [f"no result on {', '.join(gone)}"] if gone else []
    parts += [block.left_out_text] if block.left_out else []
    return f" ({'; '.join(parts)})" if parts else ""


def _sample_note(best: Sequence[Choice]) -> str:
    """That there are no intervals, or what those over seeds of one domain do not speak for; else empty."""
    parts = ["one domain"] if len({c.setting.domain for c in best}) == 1 else []
    if max(c.num_seeds for c in best) == 1:
        tested = tested_text(best, "target")
        text = ", ".join([*parts, "one seed", *([tested] if tested else [])])
        return f" {text[0].upper()}{text[1:]}: an illustration, without intervals."
    single = [
        method
        for method in dict.fromkeys(c.setting.method for c in best)
        if max(c.num_seeds for c in best if c.setting.method == method) == 1
    ]
    note = f" One seed of {', '.join(single)}: an illustration." if single else ""
    if parts:
        return f"{note} One domain: the intervals are over seeds and say nothing of other domains."
    return note + _differ_text(best)


def _differ_text(best: Sequence[Choice]) -> str:
    """That domains lie outside of the interval of the gain that the answer begins with; else empty."""
    methods = list(dict.fromkeys(c.setting.method for c in best))
    first = NAIVE if NAIVE in methods else methods[0]
    mean = means([first], best, GAIN).get(first)
    if mean is None or mean.low is None or mean.high is None:
        return ""
    if all(mean.low <= case <= mean.high for case in mean.cases):
        return ""
    return f" The gain of {first} differs between domains by more than its interval over seeds."


def tested_text(choices: Iterable[Choice], role: str) -> str:
    """`6 test images`, `4 to 6 test images`; empty where cells have no images.

    `4 crops of 1 picture as test images` where that is what they are: they are not independent.

    Args:
        choices: Whose cells.
        role: Of the images, as in `ImageRow`.
    """
    tested = [
        [word[GROUP] for word in image_arrays(pick.cell)[0] if word[ROLE] == role]
        for choice in choices
        for pick in choice.picks
    ]
    counts, pictures = [float(len(own)) for own in tested], [float(len(set(own))) for own in tested]
    if not any(counts):
        return ""
    number = value_range(counts, "{:.0f}".format)
    if counts != pictures:
        of = value_range(pictures, "{:.0f}".format)
        return f"{number} crops of {of} picture{'' if max(pictures) == 1 else 's'} as test images"
    return f"{number} test image{'' if max(counts) == 1 else 's'}"


def _method_lines(best: Sequence[Choice], records: Cells, where: str, aside: _Aside) -> list[str]:
    """Fine-tuning first, or what there is; then the method that keeps the source best."""
    methods = list(dict.fromkeys(c.setting.method for c in best))
    first = NAIVE if NAIVE in methods else methods[0]
    others = [m for m in methods if m != first]
    lines = _cost_lines(first, best, records, where, aside)
    gains = {(d.method, d.other): d for d in differences(records) if d.response.metric == GAIN}
    found = {
        other: line
        for other in others
        if (line := _against(other, first, best, gains.get((other, first)), aside)) is not None
    }
    if not found:
        return lines
    # Without an adapter there is nothing to ship: such a method is a control, as long as there are others.
    rivals = [m for m in found if trains(m)] or list(found)
    ranks = {method: _validation_rank(method, best) for method in rivals}
    chosen = min(rivals, key=lambda method: ranks[method])
    gone = [m for m in found if m not in rivals]
    return [
        *lines,
        found[chosen] + _chosen_text(ranks, chosen, gone) + _better_text(ranks, chosen, best),
    ]


def _chosen_text(
    ranks: Mapping[str, tuple[float, float]], chosen: str, left_out: Sequence[str]
) -> str:
    """By which rule a method is the one that is set against fine-tuning; empty where there is no other."""
    if len(ranks) == 1:
        return ""
    without = f" ({', '.join(left_out)}, which trains nothing, is none of them)" if left_out else ""
    least = ranks[chosen][0]
    level = sum(lost == least for lost, _ in ranks.values())
    why = "it forgets least when routed"
    if level > 1:
        what = "nothing" if least == 0 else "as little"
        alike = [m for m, rank in ranks.items() if rank == ranks[chosen] and m != chosen]
        most = (
            f"{', '.join(['it', *alike[:-1]])} and {alike[-1]} gain most"
            if alike
            else "it gains most"
        )
        why = f"{level} forget {what} when routed, and of these {most}"
    return f" Validation chose it of {len(ranks)} methods{without}: {why} there."


def _better_text(
    ranks: Mapping[str, tuple[float, float]], chosen: str, best: Sequence[Choice]
) -> str:
    """Which of those that forget as little gain more on test images, where validation chose another.

    It is said and not followed: the best of several on the test images would gain less on others.
    """
    level = [m for m, (lost, _) in ranks.items() if lost == ranks[chosen][0]]
    gains = {m: mean.value for m in level for mean in means([m], best, GAIN).values()}
    more = [
        m for m in sorted(gains, key=lambda m: -gains[m]) if gains[m] > gains.get(chosen, math.inf)
    ]
    if not more:
        return ""
    named = ", ".join(f"{m} {signed(gains[m])} %" for m in more)
    gain = "others gain" if len(more) > 1 else "one gains"
    return f" On these test images {gain} more: {named}."


def _validation_rank(method: str, best: Sequence[Choice]) -> tuple[float, float]:
    """The method that forgets least when routed comes first; of several, the one that gains most.

    On validation images: the best of several on the test images would gain less on others. Cells of early
    builds have no forgetting there, and are told by that on test images.
    """

    def mean(*metrics: str) -> float:
        found = (means([method], best, metric).get(method) for metric in metrics)
        return next((m.value for m in found if m is not None), math.inf)

    return max(mean(VALIDATION_ROUTED, ROUTED), 0.0), -mean(VALIDATION_GAIN)


def _cost_lines(
    method: str, best: Sequence[Choice], records: Cells, where: str, aside: _Aside
) -> list[str]:
    """What a method gains and forgets, and which domains and seeds are left out."""
    own = [c for c in best if c.setting.method == method]
    gain, lost, routed = (means([method], own, m).get(method) for m in (GAIN, UNROUTED, ROUTED))
    if gain is None or lost is None:
        return []
    each = [
        f" (median {signed(statistics.median(m.cases))}, {value_range(m.cases, signed)} % in single "
        f"{_single(m)}{m.made_by})"
        if len(m.cases) > 1
        else ""
        for m in (gain, lost)
    ]
    how = ""
    if routed is not None and routed.cases != lost.cases:
        how = f" unrouted, and {routed.text} routed"
    gained = _db_text(method, own, records, "target")
    forgot = _db_text(method, own, records, "source_unrouted")
    cost = f"{lost.text} more"
    if lost.value < 0:
        cost = f"{lost.opposite('change')} less"
    at = f", {where}" if where else ""
    tested = tested_text(own, "target")
    if len(gain.cases) > 1:
        over = f"on average over {gain.places}{f' of {tested} each' if tested else ''}"
    else:
        over = f"on {gain.domains[0]}{f' ({tested})' if tested else ''}"
    over += aside.left_out
    each[0] += aside.astray(method)
    on = tested_text(own, "source_unrouted")
    coded = f"Source images ({on})" if on else "Source images"
    return [
        f"{method} {_gains(gain)} on the target{gained}{at}, {over}{each[0]}.",
        f"{coded} then cost {cost}{forgot}{how}{each[1]}.",
    ]


def _single(mean: SeedMean) -> str:
    return "combinations" if "combinations" in mean.places else mean.places.partition(" ")[2]


def _gains(gain: SeedMean) -> str:
    return f"gains {gain.text}" if gain.value >= 0 else f"loses {gain.opposite('gain')}"


def _db_text(method: str, choices: Sequence[Choice], records: Cells, role: str) -> str:
    """`, +0.31 dB at equal rate`; empty where cells have no images."""
    mean = means([method], choices, in_db(records, role)).get(method)
    if mean is None:
        return ""
    return f", {mean.value:+.2f} dB{'' if role == 'target' else ' lost'} at equal rate"


def in_db(records: Cells, role: str) -> BySeed:
    """What a choice changes in each seed, in dB at equal rate; of the source what is lost, above zero.

    Args:
        records: All cells.
        role: Of the images.
    """
    parts, sign = loss_parts(records, role), 1 if role == "target" else -1

    def by_seed(choice: Choice) -> dict[Seed, float]:
        if any(pick.cell.key not in parts for pick in choice.picks):
            return {}
        return {
            seed_of(pick.cell): sign * parts[pick.cell.key].db
            for pick in choice.picks
            if pick.cell.key not in choice.diverged
        }

    return by_seed


def _against(
    method: str,
    first: str,
    best: Sequence[Choice],
    difference: PairedDifference | None,
    aside: _Aside,
) -> str | None:
    """A method set against another over the cases and seeds that both have."""
    gains, routed = (means([method, first], best, metric) for metric in (GAIN, ROUTED))
    if {method, first} - gains.keys() or method not in routed:
        return None
    own, lost = gains[method], routed[method]
    share = "" if difference is None else f", {_apart(difference, own.value, gains[first].value)}"
    cost = "forgets nothing" if set(lost.cases) == {0.0} else f"forgets {lost.text}"
    both = ""
    if len(own.cases) > 1:
        single = f"{value_range(own.cases, signed)} % in single {_single(own)}"
        both = f" ({own.places} that both have; it gains {single})"
    return f"{method} {_gains(own)}{share}; it {cost} when routed{both}{aside.astray(method)}."


def _apart(difference: PairedDifference, own: float, other: float) -> str:
    """How far two means are apart, and the median of paired differences, whose interval is known.

    `1.18 points less than finetune (mean and median of paired differences, 95 % interval ...; decided)`, or
    `1.18 points less than finetune (mean of paired differences; their median is -0.33, 95 % interval ...)`.

    Args:
        difference: Of gains.
        own: Mean gain of the method in percent, which says whether `less` is less of a gain or of a loss.
        other: That of the other one, over the same cases and seeds.
    """
    if difference.verdict == "equal":
        return f"in every cell as much as {difference.other}"
    # Of the printed numbers, so that they subtract.
    apart = round(own, 2) - round(other, 2)
    more = f"{abs(apart):.2f} points {'less' if apart < 0 else 'more'} than {difference.other}"
    if own < 0:
        where = "below" if apart < 0 else "above"
        more = f"its gain {abs(apart):.2f} points {where} that of {difference.other}"
    if difference.num_cases == 1:
        what = "paired difference"
    elif abs(apart - difference.value) < NEAR:
        what = "mean and median of paired differences"
    else:
        opposite = ", of the other sign" if apart * difference.value < 0 else ""
        what = f"mean of paired differences; their median is {signed(difference.value)}{opposite}"
    return f"{more} ({what}{_certain(difference)})"


def _certain(difference: PairedDifference) -> str:
    """`, 95 % interval -2.01 to -0.13; undecided by Holm's correction for 4 methods`."""
    if difference.half_width is None:
        return "; one seed: undecided"
    low, high = difference.value - difference.half_width, difference.value + difference.half_width
    decided = "decided"
    if difference.verdict == "undecided":
        why = difference.why_undecided
        decided = f"undecided{why} for {difference.num_compared} methods" if why else "undecided"
    return f", 95 % interval {signed(low)} to {signed(high)}; {decided}"


def means(
    methods: Sequence[str], choices: Iterable[Choice], metric: str | BySeed
) -> Mapping[str, SeedMean]:
    """The mean of each method over the cases and data seeds that all of them have.

    Args:
        methods: Those that are compared.
        choices: One a case and method.
        metric: An MLflow name, in percent, or what gives the values of a choice.
    """
    found: dict[tuple[CellSetting, Seed], dict[str, list[float]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for choice in choices:
        # One whose every seed diverged has values of its own, and none for a mean over others.
        astray = len(choice.diverged) == choice.num_seeds
        if choice.setting.method in methods and not astray:
            own = choice.by_seed(metric) if isinstance(metric, str) else metric(choice)
            for (data_seed, _), value in own.items():
                unit = choice.setting.without_method, (data_seed, 0)
                found[unit][choice.setting.method].append(value)
    units, compared = comparable(found, lambda places: len(places) > 0)
    return {
        method: _mean({u: statistics.fmean(own[method]) for u, own in found.items() if u in units})
        for method in compared
    }


def _mean(values: Mapping[tuple[CellSetting, Seed], float]) -> SeedMean:
    """Seeds are what is drawn; each counts with the cases that all seeds have."""
    coverage: dict[CellSetting, set[Seed]] = defaultdict(set)
    for case, seed in values:
        coverage[case].add(seed)
    cases, seeds = comparable(coverage, lambda places: len(places) > 0)
    ordered = sorted(cases, key=lambda case: case.order)
    each = [statistics.fmean(values[case, seed] for case in ordered) for seed in sorted(seeds)]
    mean = statistics.fmean(each)
    by_case = tuple(statistics.fmean(values[case, seed] for seed in seeds) for case in ordered)
    places, domains = places_text(ordered), tuple(case.domain for case in ordered)
    if len(each) == 1:
        return SeedMean(mean, None, None, by_case, 1, places, domains)
    quantile = float(stdtrit(len(each) - 1, (1 + LEVEL) / 2))
    half = quantile * statistics.stdev(each) / math.sqrt(len(each))
    return SeedMean(mean, mean - half, mean + half, by_case, len(each), places, domains)
