"""Methods against each other: at the settings validation chose, at matched gain, at matched size.

The comparison that counts is forgetting at matched target gain, and gain at matched live parameters
(arXiv:2405.09673: methods lie along a learning-forgetting curve). Cells are chosen on validation alone;
what is shown is the test result of the chosen cells.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from interfero.analysis.capacity_table import markdown
from interfero.analysis.cells import Cells
from interfero.analysis.choices import (
    CONTROL,
    CellSetting,
    best_sizes,
    by_case,
    by_init_seed,
    case_of,
    choose_learning_rates,
    method_rank,
    setting_of,
)
from interfero.analysis.comparable import covered
from interfero.analysis.diverged import diverged_of_methods
from interfero.analysis.focus import at_lambda, budget_text, lambdas, longest
from interfero.analysis.matched_gain import (
    MATCHED_NUMBERS,
    MAX_STEP,
    SHARES,
    matched_rows,
    shared_cases,
)
from interfero.analysis.matched_paired import matched_differences
from interfero.analysis.paired import PairedDifference, differences, intervals_over
from interfero.analysis.parts import grey_domains, grey_text, loss_parts, without_grey
from interfero.metrics.names import (
    FILE_BYTES,
    FRACTION,
    GAIN,
    OLD_DROP,
    OLD_PIXELS,
    ROUTED,
    UNROUTED,
    VALIDATION_GAIN,
    VALIDATION_UNROUTED,
)
from interfero.records import CellRecord
from interfero.store.files import write_atomic

NEEDED = {GAIN, VALIDATION_GAIN, VALIDATION_UNROUTED, ROUTED, UNROUTED, FRACTION}
"""Of a cell to be compared; those of the earliest sweeps lack some."""
MATCHED_SHARES = (*SHARES, 1.0)
"""Of fine-tuning's best validation gain; at all of it fine-tuning always has a value."""
BUDGETS = (0.02, 0.05, 0.10, math.inf)
"""Live parameters over the source codec's, at most."""


DOMAINS_NOTE = (
    "By target domain, lambda and image count: medians over data seeds, at the size and strength that "
    "validation chose. Forgetting, unrouted, is also parted into rate and distortion, and that "
    "into luma and chroma (percent of the loss; `-`: the record has no chroma). The parts add up "
    "within a cell; medians over several cells are taken column by column, and need not. "
    "In a grey domain nothing of colour is learned, and what is forgotten of it shows on the source only."
)

_Row = tuple[str, int, float]
"""Method, size, strength."""


@dataclass(frozen=True)
class Column:
    """A column of the first table."""

    title: str
    value: Callable[[CellRecord], float]
    form: str
    spread: bool = False
    """Whether the standard deviation over seeds is shown, the mean of all domains' own."""


def _metric(name: str, scale: float = 1.0) -> Callable[[CellRecord], float]:
    return lambda record: scale * record.metrics[name]


def _db(role: str, sign: int) -> Callable[[CellRecord], float]:
    def value(record: CellRecord) -> float:
        parts = loss_parts((record,), role)
        return sign * parts[record.key].db

    return value


COLUMNS = (
    Column("live parameters (%)", _metric(FRACTION, 100), ".2f"),
    Column("file (KiB)", _metric(FILE_BYTES, 1 / 1024), ".0f"),
    Column("target gain (%)", _metric(GAIN), "+.2f", spread=True),
    Column("target gain (dB)", _db("target", 1), "+.3f", spread=True),
    Column("forgetting, routed (%)", _metric(ROUTED), "+.2f", spread=True),
    Column("forgetting, unrouted (%)", _metric(UNROUTED), "+.2f", spread=True),
    Column("forgetting, unrouted (dB)", _db("source_unrouted", -1), "+.3f", spread=True),
    Column("old streams exact (%)", _metric(OLD_PIXELS, 100), ".0f"),
    Column("old PSNR drop (dB)", _metric(OLD_DROP), "+.2f"),
)


def write_comparison(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`methods.md`; nothing where fewer than two methods have finished cells."""
    finished = Cells(r for r in records if r.status == "finished" and r.metrics.keys() >= NEEDED)
    if len({r.params["method"] for r in finished} - {CONTROL}) < 2:
        return []
    path = folder / "methods.md"
    write_atomic(path, comparison_text(finished).encode())
    return [path]


def comparison_text(finished: Sequence[CellRecord]) -> str:
    """All tables as Markdown, with what was compared: of one budget, and each lambda by itself.

    Args:
        finished: Finished cells with validation results.
    """
    every = Cells(finished)
    shown, after = longest(every), budget_text(every)
    parts = [_intro(shown) + (f" All results are {after}." if after else "")]
    for value in lambdas(shown):
        own = at_lambda(shown, value)
        parts += [f"## Lambda {value:g}"] if len(own) < len(shown) else []
        meant = without_grey(own)
        parts += [markdown(*_chosen_rows(meant)), _MATCHED, markdown(*_matched_rows(meant))]
        parts += _matched_differences(meant)
        parts += [_SIZE, markdown(*_budget_rows(meant)), *_paired_parts(meant)]
        parts += [DOMAINS_NOTE, markdown(*domain_rows(own))]
    return "\n\n".join(parts) + "\n"


_MATCHED = (
    "Forgetting at matched gain: each method at a share of fine-tuning's best validation gain for the same "
    "domain, image count and data seed, between the cells that no other of the method beats in gain and "
    "unrouted forgetting on validation; logarithms of losses are interpolated, only between cells that "
    f"differ by at most {MAX_STEP:g} log points of forgetting. `reached`: where that gives a value. All "
    "means at a share are over what is `shared`, which every method with a mean reaches; a method that "
    "reaches less has none. `why not`: of how many there is no value, and why."
)
_SIZE = (
    "Gain (%) within a budget of live parameters, of the source codec's: the best cell on validation, and in "
    "parentheses the live parameters it has; `-` where a method has none in every domain and seed."
)


def _intro(finished: Sequence[CellRecord]) -> str:
    """What was compared, and what a reader of the tables has to know."""
    places = {case_of(r) for r in finished}
    domains, seeds = sorted({c.domain for c in places}), {c.data_seed for c in places}
    rates = sorted({float(r.params["learning_rate"]) for r in finished})
    steps = sorted({int(r.params["num_steps"]) for r in finished})
    return (
        f"{len(finished)} cells: {len(domains)} target domains ({', '.join(domains)}), "
        f"{len(seeds)} seeds, learning rates {', '.join(f'{v:g}' for v in rates)}, "
        f"{', '.join(map(str, steps))} steps. Means over domains and seeds; ± is the standard deviation over "
        "seeds, averaged over domains. The learning rate is chosen on validation for each "
        "domain, size, strength and seed; numbers are from test images. `over`: the combinations of domain, "
        "image count, codec and data seed that a row is a mean of. Rows with the same number are means over "
        "the same ones and can be compared; a row of `others` cannot. "
        "dB are at equal rate, to first order (`metrics.bd_rate.db_at_equal_rate`): percent of the loss "
        "compares neither domains nor lambdas, because the rate's share of the loss differs."
    ) + _remarks(finished)


def _paired_parts(finished: Sequence[CellRecord]) -> list[str]:
    """Each method less fine-tuning and less the control."""
    found = differences(finished)
    if not found:
        return []
    text = (
        "One method minus another, in percentage points, paired: the same domains, image counts, data seeds "
        "and test images; the median over `cases`, combinations of domain and image count, of the mean over "
        "seeds. "
        "In parentheses the 95 % interval, by itself; whether a difference is decided is corrected over all "
        "methods that are compared with the same other one (Holm), and `undecided` is an answer."
    )
    titles = dict.fromkeys(d.response.title.removesuffix(" (%)") for d in found)
    head = ["difference", "cases", "seeds", "intervals over", *titles]
    return [text, markdown(head, _difference_rows(found, list(titles)))]


def _difference_rows(found: Sequence[PairedDifference], titles: Sequence[str]) -> list[list[str]]:
    """A row for each two methods, what is compared side by side."""
    rows = []
    for pair in dict.fromkeys((d.method, d.other) for d in found):
        own = [d for d in found if (d.method, d.other) == pair]
        values = {d.response.title.removesuffix(" (%)"): d.text for d in own}
        head = [f"`{pair[0]}` minus `{pair[1]}`", str(own[0].num_cases), str(own[0].num_seeds)]
        rows.append(
            [*head, intervals_over(own) or "-", *(values.get(title, "-") for title in titles)]
        )
    return rows


def _matched_differences(finished: Sequence[CellRecord]) -> list[str]:
    """Each method less fine-tuning where both gain alike."""
    by_share = {share: matched_differences(finished, share) for share in MATCHED_SHARES}
    every = [d for found in by_share.values() for d in found]
    if not every:
        return []
    text = (
        "The same as differences from fine-tuning, in percentage points, paired: in the `cases` (domains and "
        "image counts) in which both reach the share in every one of the `seeds`; the median over cases "
        "of the mean over seeds. Intervals and verdicts as below, corrected over the methods at a share."
    )
    titles = list(dict.fromkeys(d.response.title.removesuffix(" (%)") for d in every))
    rows = [
        [f"{share:.0%}", *row]
        for share, found in by_share.items()
        for row in _difference_rows(found, titles)
    ]
    return [text, markdown(["at", "difference", "cases", "seeds", "intervals over", *titles], rows)]


def domain_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a domain, lambda, image count and method, of the longest training."""
    shown = longest(finished)
    cells: dict[tuple[str, float, int, str], list[CellRecord]] = defaultdict(list)
    astray: Counter[tuple[str, float, int, str]] = Counter()
    counts: dict[str, dict[int, str]] = defaultdict(dict)
    for choice in best_sizes(choose_learning_rates(shown)):
        s = choice.setting
        place = s.domain, s.rd_lambda, s.num_images, s.method
        cells[place] += [pick.cell for pick in choice.kept]
        astray[place] += len(choice.diverged)
        counts[s.domain][s.num_images] = s.images_in_table
    parts = [loss_parts(shown, role) for role in ("target", "source_unrouted")]
    grey, several = grey_domains(shown), len(lambdas(shown)) > 1
    # One median over several counts beside one over a single count would compare counts.
    by_count = any(len(own) > 1 for own in counts.values())
    rows = []
    for place in sorted(cells, key=lambda place: (*place[:3], method_rank(place[3]))):
        own, (domain, value, count_of, method) = cells[place], place
        gained, lost = ([p[c.key] for c in own if c.key in p] for p in parts)
        values = [
            [c.metrics[GAIN] for c in own if GAIN in c.metrics],
            [p.db for p in gained],
            [c.metrics[UNROUTED] for c in own if UNROUTED in c.metrics],
            [-p.db for p in lost],
            [p.rate for p in lost],
            [p.distortion for p in lost],
            [p.luma for p in lost if p.luma is not None],
            [p.chroma for p in lost if p.chroma is not None],
        ]
        name = f"{domain} (grey)" if domain in grey else domain
        medians = [f"{statistics.median(v):+.2f}" if v else "-" for v in values]
        at = [f"{value:g}"] if several else []
        at += [counts[domain][count_of]] if by_count else []
        count = f"{len(own)} ({astray[place]} diverged)" if astray[place] else str(len(own))
        rows.append([name, *at, f"`{method}`", count, *medians])
    forgot = "forgetting, unrouted"
    titles = ["target gain (%)", "(dB)", f"{forgot} (%)", "(dB)"]
    at = (["lambda"] if several else []) + (["images"] if by_count else [])
    head = ["domain", *at, "method", "cells"]
    return [*head, *titles, "rate", "distortion", "luma", "chroma"], rows


def _remarks(finished: Sequence[CellRecord]) -> str:
    """How the control was chosen, how many choices a larger grid could change, and what was not searched."""
    choices = choose_learning_rates(finished)
    picks = [pick for c in choices for pick in c.picks]
    edges = sum(pick.edge is not None for pick in picks)
    text = f" {edges} of {len(picks)} choices are at an edge of the grid."
    if any(r.params["method"] == CONTROL for r in finished):
        text += " The control's rate is the one that harms the source least."
    text += "".join(f" {line}." for line in diverged_of_methods(choices))
    left_out = grey_text(finished)
    text += f" {left_out} They stand in the table by domain alone." if left_out else ""
    strengths = {float(r.params.get("strength", 0)) for r in finished} - {0.0}
    if len(strengths) == 1:
        text += f" Methods with a strength ran only at {strengths.pop():g}: it was not searched."
    return text


def _chosen_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method and size, all over the same cases and seeds; one that lacks some says so."""
    groups: dict[_Row, list[CellRecord]] = defaultdict(list)
    for choice in choose_learning_rates(finished):
        key = choice.setting.method, choice.setting.adapter_size, choice.setting.strength
        for pick in choice.picks:
            if pick.cell.key not in choice.diverged:
                groups[key].append(pick.cell)
    cases, compared = covered((case_of(c), key) for key, own in groups.items() for c in own)
    rows = []
    for key in sorted(groups, key=lambda key: (method_rank(key[0]), key)):
        own = {case_of(cell) for cell in groups[key]}
        cells = [c for c in groups[key] if key not in compared or case_of(c) in cases]
        shown = [_mean(cells, c) for c in COLUMNS]
        count = f"{len(cases)}" if key in compared else f"{len(own)} others"
        sizes = [f"{value:g}" if value else "" for value in key[1:]]
        rows.append([f"`{key[0]}`", *sizes, count, *shown])
    return ["method", "size", "strength", "over", *(c.title for c in COLUMNS)], rows


def _mean(cells: Sequence[CellRecord], column: Column) -> str:
    try:
        values = [column.value(cell) for cell in cells]
    except KeyError:
        return "-"  # Records of an earlier version lack the metric.
    text = format(statistics.fmean(values), column.form)
    if not column.spread:
        return text
    over_seeds: dict[CellSetting, list[float]] = defaultdict(list)
    for cell, value in zip(cells, values, strict=True):
        over_seeds[setting_of(cell)].append(value)
    spreads = [float(np.std(v, ddof=1)) for v in over_seeds.values() if len(v) > 1]
    return f"{text} ± {statistics.fmean(spreads):.2f}" if spreads else text


def _matched_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a share and method; means over the cases that all methods with one have."""
    rows, every = [], matched_rows(finished, MATCHED_SHARES)
    for share in MATCHED_SHARES:
        found = [row for row in every if row.share == share]
        cases, compared = shared_cases(found)
        for row in sorted(found, key=lambda row: method_rank(row.method)):
            if not row.found and not row.refused:
                continue
            own = cases if row.method in compared else frozenset()
            means = (row.mean(name, own) for name in MATCHED_NUMBERS)
            shown = [f"{share:.0%}", f"`{row.method}`", row.reached, str(len(own))]
            shown += ["-" if mean is None else f"{mean:+.2f}" for mean in means]
            rows.append([*shown, row.why or "-"])
    titles = ["target gain (%)", "forgetting, routed (%)", "forgetting, unrouted (%)"]
    return ["at", "method", "reached", "shared", *titles, "why not"], rows


def _budget_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method, one column a budget of live parameters."""
    cases = by_case(finished)
    astray = {key for choice in choose_learning_rates(finished) for key in choice.diverged}
    rows = []
    # All but the control, which never sees the target.
    tried = {str(r.params["method"]) for r in finished} - {CONTROL}
    for method in sorted(tried, key=method_rank):
        row = [f"`{method}`"]
        for budget in BUDGETS:
            within = [
                [
                    [r for r in seed if r.metrics[FRACTION] <= budget]
                    for seed in by_init_seed(methods.get(method, ()))
                ]
                for methods in cases.values()
            ]
            if not all(seeds and all(seeds) for seeds in within):
                row.append("-")
            else:
                best = [
                    [max(cells, key=lambda r: r.metrics[VALIDATION_GAIN]) for cells in seeds]
                    for seeds in within
                ]
                kept = [[cell for cell in cells if cell.key not in astray] for cells in best]
                best = [cells for cells in kept if cells] or best
                row.append(f"{_mean_over(best, GAIN):+.2f} ({_mean_over(best, FRACTION):.2%})")
        rows.append(row)
    titles = [f"at most {b:.0%}" if b < math.inf else "any" for b in BUDGETS]
    return ["method", *titles], rows


def _mean_over(cases: Sequence[Sequence[CellRecord]], metric: str) -> float:
    """Mean over cases of the mean over a case's initial seeds."""
    return statistics.fmean(statistics.fmean(r.metrics[metric] for r in cells) for cells in cases)
