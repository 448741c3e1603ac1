"""What the plans of several kinds of sweep say before anything is trained."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

from rich.console import Console

from interfero.domains.domain import Domain
from interfero.engine.node import Node
from interfero.engine.options.base import SweepOptions
from interfero.engine.plan import Plan
from interfero.engine.spending import PackShare
from interfero.records import CellRecord
from interfero.store.products import Products


def seeds_line(options: SweepOptions) -> str:
    """How many seeds there are, and whether that is enough to say more than an illustration does."""
    seeds = len(options.data_seeds) * len(options.init_seeds)
    return "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"


def coded_text(domain: Domain, most: int) -> str:
    """How many test images are coded: `8 of 13 test crops`, `6 test images`."""
    there = len(domain.test)
    return f"{f'{most} of ' if most < there else ''}{there} test {domain.unit}"


def amount_lines(
    plan: Plan, behind: Mapping[str, Node], left: Mapping[str, Node], done: Set[str], *,
    leaf: str, node: str,
) -> Iterator[str]:  # fmt: skip
    """How many nodes are to be done, and how many leaves are taken over.

    Args:
        plan: The sweep.
        behind: Nodes behind its leaves, by key.
        left: Those that are to be done.
        done: Keys of nodes and leaves that are done already.
        leaf: What a leaf is called.
        node: What another node is called.
    """
    kinds = Counter(one.kind for one in left.values())
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    yield f"  {node}s to do: {listed}; {len(behind) - len(left)} of {len(behind)} are there already"
    known = sum(one.key in done for one in plan.leaves)
    if known:
        yield f"  {known} of {len(plan.leaves)} {leaf}s are reused"


def leaf_lines(
    plan: Plan, axes: Sequence[str], done: Set[str], *, leaf: str, absent: Sequence[object]
) -> Iterator[str]:
    """A line a leaf with its key, or where to get them.

    Args:
        plan: The sweep.
        axes: Parameters that tell its leaves apart.
        done: Keys of leaves that are done already.
        leaf: What a leaf is called.
        absent: Values of parameters that are left out.
    """
    if not plan.options.list_cells:
        yield f"  --list-cells prints each {leaf} with its key"
        return
    for one in plan.leaves:
        params = one.params
        said = " ".join(f"{n}={params[n]}" for n in axes if params.get(n) not in (None, *absent))
        yield f"    {one.key} {said}{' (reused)' if one.key in done else ''}"


def cost_line(
    left: Mapping[str, Node],
    jobs: Mapping[str, Node],
    products: Products,
    share: PackShare,
    elsewhere: Mapping[str, float] | None = None,
) -> str:
    """Hours of steps that are left, from those of their kind in this plan that are there.

    Args:
        left: What is to be done, by key.
        jobs: The same and what is there.
        products: Of the storage.
        share: What a pack holds.
        elsewhere: Seconds of all steps of a kind together, for kinds none of which is there.
    """
    if not left:
        return "cost: nothing is left to do but tests"
    timed: dict[str, list[float]] = {}
    for key, job in jobs.items():
        record: CellRecord | None = None if key in left else products.record(key)
        if record is not None and record.seconds > 0:
            timed.setdefault(job.kind, []).append(record.seconds)
    kinds = {job.kind for job in left.values()}
    others = {k: s for k, s in (elsewhere or {}).items() if k in kinds - timed.keys()}
    unknown = sorted(kinds - timed.keys() - others.keys())
    total = sum(statistics.median(timed[j.kind]) for j in left.values() if j.kind in timed)
    total += sum(others.values())
    if not total:
        return "cost: uncalibrated (no step of this plan has been done here)"
    rest = f"; uncalibrated, in no sum: {', '.join(unknown)}" if unknown else ""
    known = "steps of this plan that are there" if not others else "what such steps have taken here"
    return f"cost, from {known}: {share.text([total])}{rest}"


def say(console: Console, line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
