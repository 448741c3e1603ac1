"""The block that the answer and its table are of: domains and seeds in which every method has every result.

A mean over the domains that one method has, beside one over those that another has, is a comparison of
domains; so is a table over one block below a sentence over another.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from interfero.analysis.cells import Cells, once_for_cells
from interfero.analysis.choices import (
    NAIVE,
    CellSetting,
    Choice,
    best_sizes,
    by_method,
    choose_learning_rates,
    seed_of,
    setting_of,
)
from interfero.analysis.comparable import comparable, covered
from interfero.analysis.focus import (
    at_images,
    at_lambda,
    central_images,
    central_lambda,
    in_centre,
    longest,
)
from interfero.analysis.parts import without_grey
from interfero.metrics.names import GAIN, ROUTED, UNROUTED
from interfero.records import CellRecord

MAX_NAMED = 3
"""Reasons that a text gives; others are counted."""
Place = tuple[CellSetting, int]
"""A case and a data seed."""


@dataclass(frozen=True)
class SharedBlock:
    """What is compared, and what is not."""

    choices: tuple[Choice, ...]
    """Of the methods, cases and data seeds that it has, with no other pick."""
    cases: frozenset[CellSetting]
    seeds: frozenset[int]
    left_out: tuple[str, ...]
    """Cases and seeds that some method lacks, each with the reason."""

    @property
    def left_out_text(self) -> str:
        """`left out: screen, where finetune lacks data seed 1`; empty where nothing is."""
        return f"left out: {'; '.join(self._named)}" if self.left_out else ""

    @property
    def left_out_sentence(self) -> str:
        """` Left out are screen, where finetune lacks data seed 1; and 2 more.`; empty where nothing is."""
        verb = "is" if len(self.left_out) == 1 else "are"
        return f" Left out {verb} {'; and '.join(self._named)}." if self.left_out else ""

    @property
    def _named(self) -> list[str]:
        """As many as a text names, and how many more there are."""
        more = len(self.left_out) - MAX_NAMED
        return [*self.left_out[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])]

    def of(self, records: Cells) -> Cells:
        """Its cells; the same object where nothing is left out."""
        if not self.left_out:
            return records
        return Cells(
            r
            for r in records
            if int(r.params["data_seed"]) in self.seeds
            and setting_of(r).without_method in self.cases
        )


@dataclass(frozen=True)
class FirstBlock:
    """What is compared first, of one budget, one lambda and one image count for each domain."""

    cells: Cells
    """Without grey domains where there are others."""
    best: tuple[Choice, ...]
    """One a case and method, at the size that validation chose."""
    block: SharedBlock
    """Those of `best` that every method has."""


def answer_lambda(records: Iterable[CellRecord]) -> float | None:
    """The lambda that the answer is at, and that figures open at; None where no cell finished.

    Args:
        records: All cells of a sweep.
    """
    return central_lambda(longest(without_grey(Cells(records))))


@once_for_cells
def first_block(records: Iterable[CellRecord], rd_lambda: float | None = None) -> FirstBlock:
    """The block at a lambda.

    Args:
        records: All cells of a sweep.
        rd_lambda: None is the central one.
    """
    every = without_grey(Cells(records))
    if rd_lambda is None:
        cells = in_centre(every)
    else:
        cells = at_images(at_lambda(longest(every), rd_lambda), central_images(every))
    best = best_sizes(choose_learning_rates(cells))
    return FirstBlock(cells, tuple(best), shared_block(best))


def shared_block(choices: Sequence[Choice]) -> SharedBlock:
    """The largest one that has fine-tuning, if it has a result: it is what others are compared with.

    Args:
        choices: One a case and method.
    """
    places = {choice.setting.method: dict[Place, str]() for choice in choices}
    why_not = _why_not(choices)
    for choice in choices:
        own = places[choice.setting.method]
        for pick in choice.picks:
            place = choice.setting.without_method, seed_of(pick.cell)[0]
            why = why_not[pick.cell.key]
            own[place] = why if own.get(place, why) else ""
    has: dict[Place, set[str]] = defaultdict(set)
    for method, own in places.items():
        for place, why in own.items():
            if not why:
                has[place].add(method)
    naive = any(NAIVE in own for own in has.values())
    units, methods = comparable(has, lambda found: NAIVE in found if naive else len(found) > 0)
    # In the order of the results: of two blocks of one size the first is taken, in every run.
    cases, seeds = covered(unit for unit in has if unit in units)
    kept = []
    for choice in choices:
        inside = choice.setting.method in methods and choice.setting.without_method in cases
        picks = [p for p in choice.picks if seed_of(p.cell)[0] in seeds and not why_not[p.cell.key]]
        if inside and picks:
            kept.append(replace(choice, picks=tuple(picks)))
    known = {m: own for m, own in places.items() if m in methods}
    return SharedBlock(tuple(kept), cases, seeds, tuple(_reasons(known, cases, seeds)))


def _why_not(choices: Iterable[Choice]) -> dict[str, str]:
    """By key of a cell, why it is in no mean; empty if it is in them.

    A method needs of gain and forgetting what any cell of it has: older tables lack some of it.
    """
    found = {}
    for own in by_method(choices).values():
        cells = {p.cell.key: p.cell for c in own for p in c.picks}
        astray = {key for c in own for key in c.diverged}
        known = {name for cell in cells.values() for name in cell.metrics}
        needed = {GAIN, UNROUTED, ROUTED} & known
        for key, cell in cells.items():
            lacks = "" if needed <= cell.metrics.keys() else "lacks a value with"
            found[key] = "diverged with" if key in astray else lacks
    return found


def _reasons(
    places: Mapping[str, Mapping[Place, str]],
    cases: Collection[CellSetting],
    seeds: Collection[int],
) -> list[str]:
    """Of each case and seed that is not in the block, which method lacks it."""
    every = {place for own in places.values() for place in own}
    all_seeds = {seed for _, seed in every}
    lines = []
    for case in sorted({case for case, _ in every} - set(cases), key=lambda c: c.order):
        lacking = [
            text
            for method, own in places.items()
            if (text := _lacking(method, {s: own.get((case, s)) for s in sorted(all_seeds)}))
        ]
        lines.append(", where ".join([case.domain, *([_joined(lacking)] if lacking else [])]))
    for seed in sorted(all_seeds - set(seeds)):
        who = [
            f"{method} {'diverged' if why.startswith('diverged') else 'lacks it'} on {case.domain}"
            for method, own in places.items()
            for case in sorted(cases, key=lambda c: c.order)
            if (why := own.get((case, seed), "lacks")) != ""
        ]
        lines.append(f"data seed {seed}" + (f", for {_joined(who)}" if who else ""))
    return lines


def _joined(reasons: Sequence[str]) -> str:
    more = len(reasons) - MAX_NAMED
    named = [*reasons[:MAX_NAMED], *([f"{more} more"] if more > 0 else [])]
    return " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)


def _lacking(method: str, found: Mapping[int, str | None]) -> str:
    """`finetune lacks data seed 1`; empty where it has all.

    Args:
        method: Whose results.
        found: By data seed, why a result does not count; empty if it does, None where there is none.
    """
    if all(why is None for why in found.values()):
        return f"{method} has no result"
    words = {seed: "lacks" if why is None else why for seed, why in found.items() if why != ""}
    parts: dict[str, list[str]] = defaultdict(list)
    for seed, why in words.items():
        parts[why].append(str(seed))
    texts = [
        f"{why} data seed{'s' if len(own) > 1 else ''} {', '.join(own)}"
        for why, own in parts.items()
    ]
    return f"{method} {' and '.join(texts)}" if texts else ""
