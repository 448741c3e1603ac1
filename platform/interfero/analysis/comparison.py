"""Methods against each other: at the settings validation chose, at matched gain, at matched size.

The comparison that counts is forgetting at matched target gain, and gain at matched live parameters
(arXiv:2405.09673: methods lie along a learning-forgetting curve). Cells are chosen on validation alone;
what is shown is the test result of the chosen cells.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from interfero.analysis.cells import Cells
from interfero.analysis.choices import (
    CONTROL,
    NAIVE,
    Case,
    CellSetting,
    by_case,
    by_init_seed,
    case_of,
    choose_learning_rates,
    setting_of,
)
from interfero.analysis.comparable import comparable
from interfero.analysis.matched_gain import SHARES, MatchedRow, matched_rows
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


COLUMNS = (
    Column("live parameters (%)", _metric(FRACTION, 100), ".2f"),
    Column("file (KiB)", _metric(FILE_BYTES, 1 / 1024), ".0f"),
    Column("target gain (%)", _metric(GAIN), "+.2f", spread=True),
    Column("forgetting, routed (%)", _metric(ROUTED), "+.2f", spread=True),
    Column("forgetting, unrouted (%)", _metric(UNROUTED), "+.2f", spread=True),
    Column("old streams exact (%)", _metric(OLD_PIXELS, 100), ".0f"),
    Column("old PSNR drop (dB)", _metric(OLD_DROP), "+.2f"),
)


def write_comparison(records: Sequence[CellRecord], folder: Path) -> list[Path]:
    """`methods.md`: three tables; nothing where fewer than two methods have finished cells."""
    finished = Cells(r for r in records if r.status == "finished" and r.metrics.keys() >= NEEDED)
    if len({r.params["method"] for r in finished} - {CONTROL}) < 2:
        return []
    path = folder / "methods.md"
    write_atomic(path, comparison_text(finished).encode())
    return [path]


def comparison_text(finished: Sequence[CellRecord]) -> str:
    """All three tables as Markdown, with what was compared.

    Args:
        finished: Finished cells with validation results.
    """
    cases = {case_of(r) for r in finished}
    domains, seeds = sorted({c.domain for c in cases}), {c.data_seed for c in cases}
    rates = sorted({float(r.params["learning_rate"]) for r in finished})
    steps = sorted({int(r.params["num_steps"]) for r in finished})
    intro = (
        f"{len(finished)} cells: {len(domains)} target domains ({', '.join(domains)}), "
        f"{len(seeds)} seeds, learning rates {', '.join(f'{v:g}' for v in rates)}, "
        f"{', '.join(map(str, steps))} steps. Means over domains and seeds; ± is the standard deviation over "
        "seeds, averaged over domains. The learning rate is chosen on validation for each "
        "domain, size, strength and seed; numbers are from test images. Rows with the same number of cases "
        "are means over the same cases and can be compared; a row of `others` is over others, and cannot."
    )
    intro += _remarks(finished)
    matched = (
        "Forgetting at matched gain: each method at a share of fine-tuning's best validation gain in the "
        "same case (a domain, lambda, image count, step count, codec and data seed), interpolated between "
        "the cells that no other of the method beats in gain and unrouted forgetting on validation. "
        "`reached`: the cases where those cells span the gain; a method without a row has none. `shared`: "
        "those where fine-tuning's span it as well. All means of a row, fine-tuning's too, are over the "
        "shared cases; where there is none, the method's are over those reached and fine-tuning's are `-`. "
        "Compare within a row: rows with other cases have other gains to match."
    )
    matched_size = (
        "Gain (%) within a budget of live parameters, of the source codec's: the best cell on validation, "
        "and in parentheses the live parameters it has; `-` where a method has none in every domain and seed."
    )
    parts = [intro, _table(*_chosen_rows(finished)), matched, _table(*_matched_table(finished))]
    return "\n\n".join([*parts, matched_size, _table(*_budget_rows(finished))]) + "\n"


def _remarks(finished: Sequence[CellRecord]) -> str:
    """How the control was chosen, how many choices a larger grid could change, and what was not searched."""
    picks = [pick for c in choose_learning_rates(finished) for pick in c.picks]
    edges = sum(pick.edge is not None for pick in picks)
    text = f" {edges} of {len(picks)} choices are at an edge of the grid."
    if any(r.params["method"] == CONTROL for r in finished):
        text += " The control's rate is the one that harms the source least."
    strengths = {float(r.params.get("strength", 0)) for r in finished} - {0.0}
    if len(strengths) == 1:
        text += f" Methods with a strength ran only at {strengths.pop():g}: it was not searched."
    return text


def _chosen_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method and size, all over the same cases and seeds; one that lacks some says so."""
    groups: dict[_Row, list[CellRecord]] = defaultdict(list)
    coverage: dict[Case, set[_Row]] = defaultdict(set)
    for choice in choose_learning_rates(finished):
        key = choice.setting.method, choice.setting.adapter_size, choice.setting.strength
        for pick in choice.picks:
            groups[key].append(pick.cell)
            coverage[case_of(pick.cell)].add(key)
    cases, compared = comparable(coverage, lambda rows: len(rows) > 0)
    rows = []
    for key in sorted(groups, key=lambda key: (_rank(key[0]), key)):
        own = {case_of(cell) for cell in groups[key]}
        cells = [c for c in groups[key] if key not in compared or case_of(c) in cases]
        shown = [_mean(cells, c) for c in COLUMNS]
        count = f"{len(cases)}" if key in compared else f"{len(own)} others"
        sizes = [f"{value:g}" if value else "" for value in key[1:]]
        rows.append([f"`{key[0]}`", *sizes, count, *shown])
    return ["method", "size", "strength", "cases", *(c.title for c in COLUMNS)], rows


def _mean(cells: Sequence[CellRecord], column: Column) -> str:
    try:
        values = [column.value(cell) for cell in cells]
    except KeyError:
        return "-"  # Records of an earlier version lack the metric.
    text = format(math.fsum(values) / len(values), column.form)
    over_seeds: dict[CellSetting, list[float]] = defaultdict(list)
    for cell, value in zip(cells, values, strict=True):
        over_seeds[setting_of(cell)].append(value)
    spreads = [statistics.stdev(v) for v in over_seeds.values() if len(v) > 1]
    if not column.spread or not spreads:
        return text
    return f"{text} ± {math.fsum(spreads) / len(spreads):.2f}"


def _matched_table(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a share and method, with fine-tuning's means over the same cases beside its own."""
    found = matched_rows(finished, MATCHED_SHARES)
    naive = {row.share: row for row in found if row.method == NAIVE}
    rows = [
        [f"{row.share:.0%}", f"`{row.method}`", *_matched_values(row, naive.get(row.share))]
        for row in sorted(found, key=lambda row: (row.share, _rank(row.method)))
        if row.found
    ]
    gain, lost = "target gain (%)", "forgetting, "
    titles = [gain, f"{NAIVE}'s", f"{lost}routed (%)", f"{lost}unrouted (%)", f"{NAIVE}'s"]
    return ["at", "method", "reached", "shared", *titles], rows


def _matched_values(own: MatchedRow, naive: MatchedRow | None) -> list[str]:
    shared = own.cases & naive.cases if naive is not None else frozenset()
    means = (
        row.mean(name, cases) if row is not None else None
        for row, name, cases in (
            (own, "target_gain", shared or own.cases),
            (naive, "target_gain", shared),
            (own, "forgetting", shared or own.cases),
            (own, "forgetting_unrouted", shared or own.cases),
            (naive, "forgetting", shared),
        )
    )
    num_cases = len(own.found) + len(own.refused)
    return [f"{len(own.found)} of {num_cases}", str(len(shared)), *map(_signed, means)]


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"


def _budget_rows(finished: Sequence[CellRecord]) -> tuple[list[str], list[list[str]]]:
    """One row a method, one column a budget of live parameters."""
    cases = by_case(finished)
    rows = []
    for method in _methods(finished):
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
                best = [[max(cells, key=_gain) for cells in seeds] for seeds in within]
                row.append(f"{_mean_over(best, GAIN):+.2f} ({_mean_over(best, FRACTION):.2%})")
        rows.append(row)
    titles = [f"at most {b:.0%}" if b < math.inf else "any" for b in BUDGETS]
    return ["method", *titles], rows


def _mean_over(cases: Sequence[Sequence[CellRecord]], metric: str) -> float:
    """Mean over cases of the mean over a case's initial seeds."""
    each = [math.fsum(r.metrics[metric] for r in cells) / len(cells) for cells in cases]
    return math.fsum(each) / len(each)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _methods(finished: Iterable[CellRecord]) -> list[str]:
    """All but the control, which never sees the target."""
    return sorted({str(r.params["method"]) for r in finished} - {CONTROL}, key=_rank)


def _rank(method: str) -> tuple[int, str]:
    return ({NAIVE: 0, CONTROL: 2}.get(method, 1), method)


def _gain(record: CellRecord) -> float:
    return record.metrics[VALIDATION_GAIN]
