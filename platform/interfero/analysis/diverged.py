"""Which chosen cells diverged, in words: they are counted and named wherever a mean leaves them out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from interfero.analysis.capacity_table import counted, signed
from interfero.analysis.cells import DIVERGED, cell_diverged
from interfero.analysis.choices import Choice, by_method
from interfero.metrics.names import GAIN, UNROUTED
from interfero.records import CellRecord

MAX_NAMED = 3
"""Cells that a text names; others are counted."""


def num_diverged(choices: Iterable[Choice]) -> str:
    """`1 of 9 diverged`; empty where none did."""
    astray, total = _counts(list(choices))
    return f"{astray} of {total} diverged" if astray else ""


def _counts(choices: Sequence[Choice]) -> tuple[int, int]:
    """Chosen cells that diverged, and all that were chosen."""
    return sum(len(c.diverged) for c in choices), sum(c.num_seeds for c in choices)


def diverged_text(choices: Iterable[Choice]) -> str:
    """What is left out of the means of one method, with its size; empty where nothing is.

    `left out of the means: 1 of 9 chosen cells diverged (nebulae, data seed 1: gain -5000.00 %, source loss
    +90000.00 %)`.
    """
    every = list(choices)
    cells = [p.cell for c in every for p in c.picks if p.cell.key in c.diverged]
    if not cells:
        return ""
    total = _counts(every)[1]
    named = "; ".join(_named(cell) for cell in cells[:MAX_NAMED])
    more = f"; and {len(cells) - MAX_NAMED} more" if len(cells) > MAX_NAMED else ""
    return f"left out of the means: {len(cells)} of {total} chosen cells diverged ({named}{more})"


def diverged_of_methods(choices: Iterable[Choice]) -> list[str]:
    """The same of each method that has any, a clause each: `finetune: left out of the means: ...`."""
    texts = {method: diverged_text(own) for method, own in by_method(choices).items()}
    return [f"{method}: {text}" for method, text in texts.items() if text]


def diverged_sentence(choices: Iterable[Choice]) -> str:
    """` Of cawf 1 of 9 chosen cells diverged, in no mean.`, for captions; empty where none did."""
    counts = {method: _counts(own) for method, own in by_method(choices).items()}
    parts = [
        f"{astray} of {total} of {method}" for method, (astray, total) in counts.items() if astray
    ]
    return f" Chosen cells that diverged are in no mean: {', '.join(parts)}." if parts else ""


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
