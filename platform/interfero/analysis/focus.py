"""Which cells a mean, a figure or a sentence is about: one training budget, and one lambda where it averages.

A mean over budgets answers no question, and percents of the loss at two lambdas are of two different losses.
So one of each is shown and named, or the budget and the lambda are an axis, a choice or a column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from interfero.analysis.cells import Cells, once_for_cells
from interfero.records import CellRecord

LAMBDAS_NOTE = (
    "Each lambda has a loss of its own: percents at two lambdas are of two different losses"
)
"""Where lambda is an axis."""
SETTING = ("domain", "rd_lambda", "num_images", "method", "adapter_size", "strength", "codec")
"""What cells of one training budget may differ in, besides seeds and learning rates."""
NEARLY_ALL = 0.8
"""Share of the settings of the budget that has most: in a full grid some fail."""


@once_for_cells
def longest(records: Iterable[CellRecord]) -> Cells:
    """Cells of the longest training that every method has on every domain, in nearly all settings.

    Where none has all of these it is the longest one that has all methods, or the longest one. A star
    (`--design star`) has most of its settings at the number of steps of its centre alone.
    """
    every = Cells(records)
    pairs: dict[int, set[tuple[str, str]]] = defaultdict(set)
    settings: dict[int, set[tuple[object, ...]]] = defaultdict(set)
    for record in every:
        if record.status == "finished":
            p = record.params
            pairs[int(p["num_steps"])].add((str(p["method"]), str(p["domain"])))
            settings[int(p["num_steps"])].add(tuple(p.get(name) for name in SETTING))
    if len({int(r.params["num_steps"]) for r in every}) < 2 or not pairs:
        return every
    whole = set().union(*pairs.values())
    methods = {method for method, _ in whole}

    most = max(map(len, settings.values()))

    def rank(steps: int) -> tuple[bool, bool, bool, int]:
        own = {method for method, _ in pairs[steps]}
        nearly = len(settings[steps]) >= NEARLY_ALL * most
        return pairs[steps] == whole, own == methods, nearly, steps

    chosen = max(pairs, key=rank)
    return Cells(r for r in every if int(r.params["num_steps"]) == chosen)


@once_for_cells
def at_lambda(records: Iterable[CellRecord], rd_lambda: float) -> Cells:
    """Cells of one lambda."""
    every = Cells(records)
    own = Cells(r for r in every if float(r.params["rd_lambda"]) == rd_lambda)
    return every if len(own) == len(every) else own


@once_for_cells
def lambdas(records: Iterable[CellRecord]) -> list[float]:
    """Those that have a finished cell, rising."""
    return sorted({float(r.params["rd_lambda"]) for r in records if r.status == "finished"})


@once_for_cells
def central_lambda(records: Iterable[CellRecord]) -> float | None:
    """The lambda with most domains, image counts and seeds; of several, the one in the middle.

    None where no cell finished.
    """
    blocks: dict[float, set[tuple[object, ...]]] = defaultdict(set)
    for record in records:
        if record.status == "finished":
            p = record.params
            block = p["domain"], p["num_images"], p["data_seed"]
            blocks[float(p["rd_lambda"])].add(block)
    most = max(map(len, blocks.values()), default=0)
    full = sorted(value for value, own in blocks.items() if len(own) == most)
    return full[(len(full) - 1) // 2] if full else None


@once_for_cells
def in_focus(records: Iterable[CellRecord]) -> Cells:
    """Cells of the longest training at the central lambda: what may be averaged."""
    found = longest(records)
    value = central_lambda(found)
    return found if value is None else at_lambda(found, value)


@once_for_cells
def central_images(records: Iterable[CellRecord]) -> dict[str, int]:
    """Of each domain the image count that has most lambdas in the longest training; of several the largest.

    In a cross this is its centre, at every lambda; along images alone it is all that a domain has.
    """
    found: dict[str, dict[int, set[float]]] = defaultdict(lambda: defaultdict(set))
    for record in longest(records):
        if record.status == "finished":
            p = record.params
            found[str(p["domain"])][int(p["num_images"])].add(float(p["rd_lambda"]))
    return {
        domain: max(counts, key=lambda count: (len(counts[count]), count))
        for domain, counts in found.items()
    }


def at_images(records: Iterable[CellRecord], counts: Mapping[str, int]) -> Cells:
    """Cells that have their domain's image count."""
    every = Cells(records)
    own = Cells(r for r in every if counts.get(str(r.params["domain"])) == r.params["num_images"])
    return every if len(own) == len(every) else own


@once_for_cells
def in_centre(records: Iterable[CellRecord]) -> Cells:
    """What the answer, its figure and its table are of: `in_focus`, and one image count for each domain."""
    return at_images(in_focus(records), central_images(records))


def images_text(records: Iterable[CellRecord]) -> str:
    """`with 20 training images`; empty where all domains have the same one."""
    finished = Cells(r for r in longest(records) if r.status == "finished")
    counts = central_images(finished)
    if not counts:
        return ""
    low, high = min(counts.values()), max(counts.values())
    if low == high:
        if len(at_images(finished, counts)) == len(finished):
            return ""
        return f"with {low} training image{'' if low == 1 else 's'}"
    return f"with {low} to {high} training images, one count for each domain"


def budget_text(records: Iterable[CellRecord]) -> str:
    """`after 250 steps`, domains without a result there, and longer trainings that only some of them have.

    Empty where there is one budget.
    """
    every = Cells(records)
    found = longest(every)
    if len(found) == len(every):
        return ""
    steps = int(found[0].params["num_steps"])
    gone = sorted(_domains(every) - _domains(found))
    notes = [f"{', '.join(gone)}: no result there"] if gone else []
    longer = sorted({n for r in every if (n := int(r.params["num_steps"])) > steps})
    if longer:
        notes.append(f"{', '.join(map(str, longer))}: not of every method and domain")
    return f"after {steps} steps" + (f" ({'; '.join(notes)})" if notes else "")


def focus_text(records: Iterable[CellRecord]) -> str:
    """`after 1000 steps, at lambda 0.0067`; empty where there is one of each."""
    every = Cells(records)
    found, value = longest(every), central_lambda(longest(every))
    parts = [budget_text(every)]
    parts += [f"at lambda {value:g}"] if value is not None and len(lambdas(found)) > 1 else []
    return ", ".join(part for part in parts if part)


def centre_text(records: Iterable[CellRecord]) -> str:
    """`after 1000 steps, at lambda 0.0067, with 20 training images`; empty where there is one of each."""
    every = Cells(records)
    return ", ".join(part for part in (focus_text(every), images_text(every)) if part)


def _domains(records: Iterable[CellRecord]) -> set[str]:
    return {str(r.params["domain"]) for r in records if r.status == "finished"}
