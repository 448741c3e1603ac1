"""What a sequence sweep says, in sentences: number, interval and sample, or that it is undecided."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from interfero.analysis.capacity_table import counted
from interfero.analysis.laws.scaling import Refusal, Scaling
from interfero.analysis.laws.words import law_lines
from interfero.analysis.next_command import Next, again, smoke_reasons
from interfero.analysis.next_step import seed_changes, tried_again
from interfero.analysis.sequence.archive import ROUTERS, old_streams, routing_costs
from interfero.analysis.sequence.chains import Chains, find_chains
from interfero.analysis.sequence.harm import harm_lines, never_last_line
from interfero.analysis.sequence.laws import fit_sequences
from interfero.analysis.sequence.measures import (
    AVERAGE,
    FORGETTING,
    NAIVE,
    EqualGain,
    SequenceSummary,
    SettingRow,
    alike,
    summarise_case,
)
from interfero.analysis.sequence.next_command import sequence_command
from interfero.analysis.sequence.order_tests import OrderTests, order_tests
from interfero.analysis.sequence.orders import (
    SequenceMean,
    Unit,
    corrected,
    paired,
    tried_text,
)
from interfero.records import CellRecord

AFRESH = "for each length validation chooses learning rates and settings afresh, by the domains met by then"
MIN_ORDERS = 3
"""That a suggestion asks for: with as many seeds the test of order can tell something."""


@dataclass(frozen=True)
class SequenceFindings:
    """All that a sweep's rows say, computed once."""

    records: Sequence[CellRecord]

    @cached_property
    def chains(self) -> Chains:
        """At the learning rates that validation chose."""
        return find_chains(self.records)

    @cached_property
    def cases(self) -> list[SequenceSummary]:
        """Each case; the first one is what sentences are about."""
        return [summarise_case(self.chains, case) for case in self.chains.cases]

    @cached_property
    def laws(self) -> list[Scaling | Refusal]:
        """Of the first case."""
        return fit_sequences(self.cases[0]) if self.cases else []

    @cached_property
    def orders(self) -> OrderTests | None:
        """Whether order matters, of the first case."""
        return order_tests(self.cases[0]) if self.cases else None

    @cached_property
    def answer(self) -> list[str]:
        """At most three sentences."""
        if not self.cases:
            why = "; ".join(self.chains.problems) or "no stage has ended"
            return [f"No chain is complete, so that nothing can be said about sequences: {why}."]
        summary = self.cases[0]
        least = least_line(summary)
        return [forgets_line(summary), *([least] if least else []), good_enough_line(summary)]

    @cached_property
    def sure(self) -> list[str]:
        """How sure the answer is: what is compared with what, shorter lengths, the order of domains."""
        if not self.cases:
            return []
        summary = self.cases[0]
        method = next(iter(summary.best))
        assert self.orders is not None
        order = self.orders.sentence(method)
        notes = (
            least_note(summary), unequal_rates_line(summary), lengths_note(summary),
            never_last_line(summary), more_chains_line(summary), order,
        )  # fmt: skip
        return [line for line in notes if line]

    @cached_property
    def lines(self) -> dict[str, list[str]]:
        """All findings by what they are about."""
        if not self.cases:
            return {"The question": self.answer}
        summary = self.cases[0]
        found = {
            f"After {summary.case.length} domains ({summary.case.text})": [
                *self.answer,
                *self.sure,
            ],
            "Harm of a stage": harm_lines(summary),
            "At equal gain": equal_gain_lines(summary),
            "At equal storage": equal_storage_lines(summary),
            "Old streams": archive_lines(summary),
            "Routing": routing_lines(summary),
            "Laws": law_lines(self.laws),
            "Left out": [
                *(
                    f"{method}: it has other orders or seeds than the rest."
                    for method in summary.left_out
                ),
                *(
                    f"{row.setting.text}: it has other orders or seeds than other settings of its method, "
                    "and was not chosen from."
                    for row in summary.never_chosen
                ),
                *(f"{problem}." for problem in self.chains.problems),
            ],
        }
        return {title: lines for title, lines in found.items() if lines}

    def next_step(self, command: str) -> Next | None:
        """What would make the answer surer; None where nothing of that is missing."""
        orders = {c.order for c in self.chains.chosen}
        changes, reasons = seed_changes(self.records)
        possible = math.factorial(self.cases[0].case.length) if self.cases else 0
        if len(orders) < min(MIN_ORDERS, possible):
            changes["--orders"] = ["latin"]
            reasons.append(
                f"{counted(len(orders), 'order')} ran: a Latin square tells order from seed"
            )
        rates = sorted({c.learning_rate for c in self.chains.every if c.setting.method == NAIVE})
        if len(rates) == 1:
            changes["--learning-rates"] = [
                f"{rate:.2g}" for rate in (rates[0] / 3, *rates, rates[0] * 3)
            ]
            reasons.append("fine-tuning has one learning rate: at equal gain it cannot be read")
        if self.chains.problems:
            failed = "some rows failed, or were not run"
            reasons.append(
                tried_again(failed, command, changed=bool(changes)) if command else failed
            )
        if not reasons:
            return None
        reasons += smoke_reasons(command)
        if command:
            return Next(tuple(reasons), again(command, changes))
        # Without --learning-rates each method has its own: rates of one make another diverge.
        changes.pop("--learning-rates", None)
        step = sequence_command(self.records, changes)
        return Next((*reasons, *step.reasons), step.command, step.size)


def _rows(summary: SequenceSummary) -> tuple[list[SettingRow], SettingRow, SettingRow]:
    """Methods that end with one codec, where there are any; fine-tuning, and what forgets least of them."""
    rows = summary.one_codec or list(summary.best.values())
    least = min(rows, key=lambda row: row.means[FORGETTING.name].value)
    naive = next((row for row in rows if row.setting.method == NAIVE), least)
    return rows, naive, least


def forgets_line(summary: SequenceSummary) -> str:
    """What fine-tuning forgets, or what there is."""
    _, naive, _ = _rows(summary)
    return (
        f"After {counted(summary.case.length, 'domain')}, {naive.setting.method} forgets "
        f"{naive.means[FORGETTING.name].text()} of loss on what it met before."
    )


def least_line(summary: SequenceSummary) -> str:
    """What forgets least of the methods that end with one codec, and what forgets nothing."""
    rows, naive, least = _rows(summary)
    parts = []
    if least is not naive:
        twins = [row.setting.method for row in rows if row is not least and _end_alike(row, least)]
        same = f", and ends as the same codec as {' and '.join(twins)}" if twins else ""
        parts.append(
            f"of methods with one codec {least.setting.text} forgets least, "
            f"{least.means[FORGETTING.name].short} %{same}"
        )
    elif len(summary.best) > 1:
        parts.append("no other method with one codec forgets less")
    kept = [row.setting.method for row in summary.routed if row.changes_nothing]
    if kept:
        s = "s" if len(kept) == 1 else ""
        parts.append(
            f"{', '.join(kept)} keep{s} an adapter for each domain and, with the right one given, "
            f"forget{s} nothing"
        )
    text = "; ".join(parts)
    # The name of a method stays as it is written.
    return f"{text[0].upper() if least is not naive else text[0]}{text[1:]}." if text else ""


def more_chains_line(summary: SequenceSummary) -> str:
    """Methods that ran in more orders or seeds than are compared; empty where none did."""
    more = {
        method: len(summary.choices[method].chains)
        for method, row in summary.best.items()
        if len(summary.choices[method].chains) > len(row.chains)
    }
    if not more:
        return ""
    compared = len(next(iter(summary.best.values())).chains)
    each = ", ".join(f"{method} ({counted(count, 'chain')})" for method, count in more.items())
    return (
        f"In more orders or seeds than the {counted(compared, 'chain')} that all of these have: {each}; "
        f"`--where method={','.join(more)}` compares these in the orders and seeds that they share."
    )


def unequal_rates_line(summary: SequenceSummary) -> str:
    """A warning that validation chose from other learning rates in some chains; empty where it did not."""
    said = []
    several = [rows for rows in summary.by_method.values() if len(rows) > 1]
    compared = [*summary.best.values(), *(row for rows in several for row in alike(rows))]
    for row in {row.setting: row for row in compared}.values():
        units = {(c.order, c.seed) for c in row.chains}
        tried: dict[Unit, set[float]] = defaultdict(set)
        for chain in summary.every:
            unit = chain.order, chain.seed
            if chain.setting == row.setting and unit in units:
                tried[unit].add(chain.learning_rate)
        grids = Counter(tuple(sorted(rates)) for rates in tried.values())
        if len(grids) > 1:
            each = "; ".join(
                f"{', '.join(f'{rate:g}' for rate in rates)} in {counted(count, 'chain')}"
                for rates, count in grids.most_common()
            )
            said.append(f"{row.setting.text} ({each})")
    if not said:
        return ""
    return (
        f"Validation chose from different learning rates in different chains: {', '.join(said)}; "
        "`--where learning_rate=...` compares those that all chains have."
    )


def least_note(summary: SequenceSummary) -> str:
    """What the method that forgets least has learned, and from which others it is told apart."""
    rows, naive, least = _rows(summary)
    if least is naive:
        return ""
    others = [row for row in rows if row is not least]
    own = least.values(FORGETTING)
    apart = corrected([paired(row.values(FORGETTING), own) for row in others])
    undecided = [
        row.setting.method
        for row, difference in zip(others, apart, strict=True)
        if difference is None or not difference.sign
    ]
    gain = least.means.get("gain")
    parts = [] if gain is None else [f"it learned {gain.short} %"]
    whom = (
        f"undecided against {', '.join(undecided)}" if undecided else "decided against all others"
    )
    parts.append(f"that it forgets least is {whom}{tried_text(apart, 'methods')}")
    return f"{least.setting.text}: {'; '.join(parts)}."


def _end_alike(row: SettingRow, other: SettingRow) -> bool:
    """Whether two methods end every chain with the same losses; what each learned before may differ."""
    own, others = row.values(AVERAGE), other.values(AVERAGE)
    return own.keys() == others.keys() and all(
        math.isclose(value, others[unit], rel_tol=1e-9) for unit, value in own.items()
    )


@dataclass(frozen=True)
class _NaiveAgainst:
    """Fine-tuning's loss over all domains met, minus that of the best other method with one codec."""

    best: SettingRow
    each: Sequence[SequenceMean | None]
    """After 1, 2, ... domains, corrected for how many these are; of the same method at each length, at the
    learning rates and the setting that validation chooses for that length."""

    @property
    def signs(self) -> dict[int, int]:
        """By length: 1 where fine-tuning does worse, -1 where better, 0 where that is undecided."""
        return {k: mean.sign for k, mean in enumerate(self.each, 1) if mean is not None}

    @property
    def worse(self) -> list[int]:
        """Lengths at which fine-tuning does worse."""
        return [k for k, sign in self.signs.items() if sign > 0]


def _naive_against(summary: SequenceSummary) -> _NaiveAgainst | None:
    naive = summary.best.get(NAIVE)
    others = [row for row in summary.one_codec if row.setting.method != NAIVE]
    if naive is None or not others:
        return None
    best = min(others, key=lambda row: (row.score is None, row.score or 0.0))
    found = []
    for at_length in summary.by_length.values():
        own, other = (at_length.best.get(m) for m in (NAIVE, best.setting.method))
        known = (
            None if own is None or other is None else (own.values(AVERAGE), other.values(AVERAGE))
        )
        found.append(paired(*known) if known else None)
    return _NaiveAgainst(best, corrected(found))


def good_enough_line(summary: SequenceSummary) -> str:
    """Whether naive fine-tuning does as well as the best other method with one codec: loss, all domains."""
    found = _naive_against(summary)
    if found is None:
        return f"{NAIVE} is not compared here with another method that ends with one codec."
    last = found.each[-1]
    assert last is not None
    end = f"loss over all domains met, source included, minus that of {found.best.setting.text} is"
    if not found.worse:
        if last.sign:
            return f"Naive fine-tuning does better: at the end, its {end} {last.text()}."
        return (
            f"It is undecided whether {found.best.setting.method} does better than naive fine-tuning: at the "
            f"end, fine-tuning's {end} {last.text()}{last.doubt if 'Holm' in last.doubt else ''}."
        )
    first = found.each[found.worse[0] - 1]
    assert first is not None
    does = f"Naive fine-tuning does worse after {counted(found.worse[0], 'domain')}: its {end}"
    if found.worse[0] == summary.case.length:
        return f"{does} {last.text()}."
    return f"{does} {first.short} %, at the end {last.text()}{last.doubt}."


def lengths_note(summary: SequenceSummary) -> str:
    """What is known of shorter lengths, and for how many a verdict is corrected."""
    found = _naive_against(summary)
    if found is None:
        return ""
    before = found.worse[0] if found.worse else summary.case.length
    parts = [_undecided(found.signs, before).strip()]
    if not found.worse and not found.signs.get(summary.case.length):
        parts = [_by_themselves(found.each).strip()]
    tried = tried_text(found.each, "lengths").strip(" ()")
    parts = [f"verdicts are {tried}" if tried else "", *(p.removesuffix(".") for p in parts)]
    if summary.searched & {NAIVE, found.best.setting.method}:
        parts.append(AFRESH)
    text = "; ".join(part[0].lower() + part[1:] for part in parts if part)
    return f"{NAIVE} against {found.best.setting.text}: {text}." if text else ""


def _by_themselves(each: Sequence[SequenceMean | None]) -> str:
    """Lengths that would be decided if no other had been tried."""
    found = [
        f"{counted(k, 'domain')}: {m.short} %"
        for k, m in enumerate(each, 1)
        if m is not None and "Holm" in m.doubt
    ]
    return f" By itself the interval excludes zero after {'; '.join(found)}." if found else ""


def _undecided(signs: Mapping[int, int], length: int) -> str:
    """Shorter lengths at which no difference is seen: too few draws can hide one."""
    found = [str(k) for k, sign in signs.items() if k < length and not sign]
    if not found:
        return ""
    return f" After {', '.join(found)} it is undecided, which is not the same as good enough."


def equal_gain_lines(summary: SequenceSummary) -> list[str]:
    """What fine-tuning forgets more where it gains as much."""
    lines = []
    for equal in summary.at_equal_gain:
        where = f"at the gain of {equal.row.setting.text}"
        reached = f"reached in {equal.reached} of {counted(equal.num_chains, 'chain')}"
        if 0 < equal.averaged < equal.reached:
            reached += f", {equal.averaged} of them averaged"
        if equal.difference is None:
            why = f": {', '.join(equal.why_not)}" if equal.why_not else ""
            lines.append(
                f"Fine-tuning cannot be read {where} ({reached}{why}): give it more --learning-rates."
            )
        else:
            lines.append(
                f"{where[0].upper()}{where[1:]} ({reached}) fine-tuning's forgetting differs by "
                f"{equal.difference.text()}{equal.difference.doubt}{_one_left(equal)}."
            )
    return lines


def _one_left(equal: EqualGain) -> str:
    """What the interval is not over, for one order or one seed is left of several."""
    mean = equal.difference
    if mean is None or mean.half_width is None:
        return ""
    chains = equal.row.chains
    if mean.num_orders == 1 < len({chain.order for chain in chains}):
        return "; one order is left, so that the interval is over seeds alone"
    if mean.num_seeds == 1 < len({chain.seed for chain in chains}):
        return "; one seed is left, so that the interval is over orders alone"
    return ""


def equal_storage_lines(summary: SequenceSummary) -> list[str]:
    """At the size of each method's best setting."""
    lines = []
    for row in summary.at_equal_storage:
        if not row.others:
            continue
        own = row.best.means[FORGETTING.name]
        parts = [
            f"{other.setting.method} "
            f"{difference.judged if difference else 'not comparable (no order and seed in common)'}"
            for other, difference in row.others
        ]
        tried = tried_text([difference for _, difference in row.others], "methods")
        lines.append(
            f"Within {size_text(row.budget)}, validation chooses {row.best.setting.text}: it forgets "
            f"{own.text()}; what others forget minus that, paired{tried}: {'; '.join(parts)}."
        )
    return lines


def archive_lines(summary: SequenceSummary) -> list[str]:
    """What the last codec makes of the oldest streams."""
    lines = []
    for method, row in summary.best.items():
        streams = old_streams(row)
        if len(streams) > 1:
            oldest = streams[-1]
            lines.append(
                f"{method}: of streams {counted(oldest.age, 'stage')} old "
                f"{oldest.pixels_exact.value:.1f} % decode pixel-exact, {oldest.symbols_exact.value:.1f} % "
                f"symbol-exact (interfero decode refuses all others), {oldest.refused.value:.1f} % lead to "
                f"no picture even without its checks; PSNR lost: {oldest.psnr_drop_db.text(' dB')}."
            )
    return lines


def routing_lines(summary: SequenceSummary) -> list[str]:
    """What each router costs, of banks."""
    return [
        f"{row.setting.text}, {ROUTERS[cost.router]}, domains {'met' if cost.seen else 'to come'}: "
        f"{cost.percent.text()} of loss against an oracle"
        + (
            f", {cost.wrong_percent.value:.1f} % of images routed otherwise"
            if cost.wrong_percent
            else ""
        )
        + "."
        for row in summary.routed
        for cost in routing_costs(row)
    ]


def size_text(num_bytes: float) -> str:
    """`1.25 MB`."""
    return f"{num_bytes / 1e6:.3g} MB" if num_bytes >= 1e5 else f"{num_bytes / 1e3:.3g} kB"
