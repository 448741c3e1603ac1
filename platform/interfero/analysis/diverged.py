"""Which chosen cells diverged, in words: they are counted and named wherever a mean leaves them out."""

from __future__ import annotations

from collections.abc import Iterable

from interfero.analysis.capacity_table import counted, signed
from interfero.analysis.choices import Choice, methods_of
from interfero.analysis.divergence_rule import DIVERGED, cell_diverged
from interfero.metrics.names import GAIN, UNROUTED
from interfero.records import CellRecord

MAX_NAMED = 3
"""Cells that a text names; others are counted."""


def num_diverged(choices: Iterable[Choice]) -> str:
    """`1 of 9 diverged`; empty where none did."""
    every = list(choices)
    astray = sum(len(c.diverged) for c in every)
    return f"{astray} of {sum(c.num_seeds for c in every)} diverged" if astray else ""


def diverged_text(choices: Iterable[Choice]) -> str:
    """What is left out of the means of one method, with its size; empty where nothing is.

    `left out of the means: 1 of 9 chosen cells diverged (nebulae, data seed 1: gain -5000.00 %, source loss
    +90000.00 %)`.
    """
    every = list(choices)
    cells = [p.cell for c in every for p in c.picks if p.cell.key in c.diverged]
    if not cells:
        return ""
    total = sum(c.num_seeds for c in every)
    named = "; ".join(_named(cell) for cell in cells[:MAX_NAMED])
    more = f"; and {len(cells) - MAX_NAMED} more" if len(cells) > MAX_NAMED else ""
    return f"left out of the means: {len(cells)} of {total} chosen cells diverged ({named}{more})"


def diverged_of_methods(choices: Iterable[Choice]) -> list[str]:
    """The same of each method that has any, a clause each: `finetune: left out of the means: ...`."""
    every = list(choices)
    lines = []
    for method in methods_of(every):
        text = diverged_text(c for c in every if c.setting.method == method)
        lines += [f"{method}: {text}"] if text else []
    return lines


def diverged_sentence(choices: Iterable[Choice]) -> str:
    """` Of cawf 1 of 9 chosen cells diverged, in no mean.`, for captions; empty where none did."""
    every = list(choices)
    parts = [
        f"{len(astray)} of {sum(c.num_seeds for c in own)} of {method}"
        for method in methods_of(every)
        if (own := [c for c in every if c.setting.method == method])
        and (astray := [key for c in own for key in c.diverged])
    ]
    if not parts:
        return ""
    return f" Chosen cells that diverged are in no mean: {', '.join(parts)}."


def every_diverged(records: Iterable[CellRecord], choices: Iterable[Choice]) -> str:
    """How many cells diverged in all, and how many of them validation chose: others are in no table.

    `12 of 756 finished cells, 3 of them chosen (a cell has diverged if its loss ...)`.
    """
    finished = [r for r in records if r.status == "finished"]
    astray = sum(cell_diverged(r.metrics) for r in finished)
    chosen = sum(len(c.diverged) for c in choices)
    of_them = f", {chosen} of them chosen by validation" if astray else ""
    total = counted(len(finished), "finished cell")
    return f"{astray} of {total}{of_them} (a cell has diverged if {DIVERGED})"


def _named(cell: CellRecord) -> str:
    parts = [
        f"{word} {signed(cell.metrics[name])} %"
        for name, word in ((GAIN, "gain"), (UNROUTED, "source loss"))
        if name in cell.metrics
    ]
    return f"{cell.params['domain']}, data seed {cell.params['data_seed']}: {', '.join(parts)}"
