"""Each domain by itself: what is gained, what it costs, how sure that is, and seeds that stand apart."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from scipy.special import stdtr

from interfero.analysis.capacity_table import counted, signed, value_range
from interfero.analysis.choices import Choice, seed_of
from interfero.analysis.seed_means import SeedMean, mean_of, tested_text
from interfero.metrics.names import GAIN, ROUTED, UNROUTED

APART = 2.0
"""So many times as much as any cell of one learning rate each cell of another costs, to be told."""
ALPHA = 0.05
"""How often a page of ordinary seeds may name one, over all its comparisons together."""
MIN_SEEDS = 3
"""Of two nobody can say which one stands apart."""
MAX_DOMAINS = 6
"""That a line names; the table has all."""
OUTLIER_RULE = (
    "Rule: Grubbs' test at 5 % over all {tests} comparisons, and a mean that changes by more than half "
    "without the seed"
)


@dataclass(frozen=True)
class DomainResult:
    """One method on one domain."""

    domain: str
    method: str
    gain: SeedMean
    cost: SeedMean
    """Forgetting of the source: unrouted of the first method, routed of the one that is set against it."""
    choices: tuple[Choice, ...]

    @property
    def tested(self) -> str:
        """`6 test images`; empty where cells have no images."""
        return tested_text(self.choices, "target")

    def rates(self, seed: int, *, others: bool = False) -> set[float]:
        """The learning rates that validation chose with a data seed, or with the others."""
        return {
            pick.learning_rate
            for choice in self.choices
            for pick in choice.picks
            if (seed_of(pick.cell)[0] != seed) == others
        }


def single_domains(
    first: str, rival: str | None, choices: Iterable[Choice]
) -> tuple[DomainResult, ...]:
    """Of the first method and of the one that is set against it, by domain.

    Args:
        first: Whose cost is unrouted.
        rival: Whose cost is routed; None where there is none.
        choices: Of the block that the answer is of.
    """
    every = list(choices)
    ways = [(first, UNROUTED), *([(rival, ROUTED)] if rival else [])]
    found = []
    for domain in sorted({c.setting.domain for c in every}):
        for method, metric in ways:
            own = [c for c in every if (c.setting.domain, c.setting.method) == (domain, method)]
            gain, cost = (mean_of(method, own, m) for m in (GAIN, metric))
            if gain is not None and cost is not None:
                found.append(DomainResult(domain, method, gain, cost, tuple(own)))
    return tuple(found)


def domain_table(results: Sequence[DomainResult]) -> tuple[list[str], list[list[str]], str]:
    """Header, a row a domain, and what the intervals are over."""
    methods = list(dict.fromkeys(r.method for r in results))
    ways = [(m, "cost" if i == 0 else "cost, routed") for i, m in enumerate(methods)]
    header = ["domain", *(f"{m}: {what} (%)" for m, cost in ways for what in ("gain", cost))]
    rows = []
    for domain in dict.fromkeys(r.domain for r in results):
        own = {r.method: r for r in results if r.domain == domain}
        row = [domain]
        for method in methods:
            of = own.get(method)
            row += ["-", "-"] if of is None else [of.gain.short, of.cost.short]
        any_of = next(iter(own.values()))
        # Under a heading that says so: `6`, or `4 crops of 1 picture`.
        tested = any_of.tested.removesuffix(" as test images").removesuffix(" test images")
        rows.append([*row, str(any_of.gain.num_seeds), tested])
    several = max(r.gain.num_seeds for r in results) > 1
    note = "In parentheses 95 % intervals over data seeds."
    note = note if several else "One seed: no intervals."
    what = (
        "Cost is what source images lose through the adapted codec; routed, through their own domain's. "
        "Without a source mode both are one."
    )
    return [*header, "seeds", "test images"], rows, f"{what} {note}"


def domain_line(results: Sequence[DomainResult]) -> str:
    """The first method's in one line, where there are no tables; empty without intervals.

    `finetune in each domain, gain and cost (%, 95 % intervals over 3 seeds): screen +0.77 (+0.19 to ...`.
    """
    own = [r for r in results if r.method == results[0].method]
    seeds = max((r.gain.num_seeds for r in own), default=0)
    if seeds < 2:
        return ""
    each = [f"{r.domain} {r.gain.short} and {r.cost.short}" for r in own[:MAX_DOMAINS]]
    each += [f"{len(own) - MAX_DOMAINS} more in the report"] if len(own) > MAX_DOMAINS else []
    return (
        f"{own[0].method} in each domain, gain and cost (%, 95 % intervals over {seeds} seeds): "
        f"{'; '.join(each)}."
    )


def outlier_lines(results: Sequence[DomainResult]) -> list[str]:
    """Seeds that make a mean what it is, with what is known of them."""
    tests = [
        (r, what, mean)
        for r in results
        for what, mean in (("gain", r.gain), ("cost", r.cost))
        if mean.num_seeds >= MIN_SEEDS and not mean.no_seed_matters
    ]
    lines = []
    for result, what, mean in tests:
        place = outlier([value for _, value in mean.by_seed], len(tests))
        if place is not None:
            lines.append(_outlier_line(result, what, mean, place))
    if lines:
        lines[-1] += f" ({OUTLIER_RULE.format(tests=len(tests))}.)"
    return lines


def rate_line(results: Sequence[DomainResult]) -> str:
    """Whether the first method's cost goes with the learning rate that validation chose; empty where not.

    `finetune costs +0.10 to +3.22 % in 8 cells with learning rate 0.0001 and +71.47 % in 1 cell with ...`:
    said where validation chose several, and each cell of one rate costs more than twice as much as any of
    another.
    """
    costs: dict[float, list[float]] = defaultdict(list)
    for result in results:
        if result.method == results[0].method:
            for choice in result.choices:
                for pick in (p for p in choice.kept if UNROUTED in p.cell.metrics):
                    costs[pick.learning_rate].append(pick.cell.metrics[UNROUTED])
    groups = sorted(costs.items(), key=lambda group: min(group[1]))
    apart = any(
        min(high) > APART * max(abs(v) for v in low) for (_, low), (_, high) in pairwise(groups)
    )
    if not apart:
        return ""
    texts = [
        f"{value_range(sorted(values), signed)} % in {counted(len(values), 'cell')} with learning rate "
        f"{rate:g}"
        for rate, values in groups
    ]
    return f"{results[0].method} costs {' and '.join(texts)}."


def _outlier_line(result: DomainResult, what: str, mean: SeedMean, place: int) -> str:
    """`Data seed 1 stands apart: the cost of finetune on tissue is +71.47 % in it, +3.22 % in ...`."""
    seed, value = mean.by_seed[place]
    others = value_range([v for s, v in mean.by_seed if s != seed], signed)
    line = (
        f"Data seed {seed} stands apart: the {what} of {result.method} on {result.domain} is "
        f"{signed(value)} % in it, {others} % in the others"
    )
    own, rest = result.rates(seed), result.rates(seed, others=True)
    if not own & rest:
        own_text, rest_text = (value_range(sorted(rates), "{:g}".format) for rates in (own, rest))
        line += f"; validation chose learning rate {own_text} there, {rest_text} elsewhere"
    return f"{line}."


def outlier(values: Sequence[float], num_tests: int) -> int | None:
    """The place of the value that stands apart; None where none does.

    It does if Grubbs' test rejects it (Technometrics 11, 1969: the largest distance from the mean against
    Student's t with two degrees less than there are values, corrected for their number) at 5 % over all
    tests, and if the mean without it differs by more than half of the mean: of seeds that agree to a
    hundredth of a percent, one that does not is no news.

    Args:
        values: One a seed, percent.
        num_tests: Comparisons of one page; each has an equal part of the 5 % (Bonferroni).
    """
    if len(values) < MIN_SEEDS:
        return None
    mean = statistics.fmean(values)
    place = max(range(len(values)), key=lambda i: abs(values[i] - mean))
    rest = [value for i, value in enumerate(values) if i != place]
    without, spread = statistics.fmean(rest), statistics.stdev(rest)
    if abs(mean - without) <= abs(mean) / 2:
        return None
    far = abs(values[place] - without) / math.sqrt(1 + 1 / len(rest))
    chance = 2 * float(stdtr(len(rest) - 1, -far / spread)) if spread else 0.0
    return place if len(values) * chance * num_tests < ALPHA else None
