"""The plan of a restoration sweep as a user reads it before anything is trained."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Set

from rich.console import Console

from interfero.domains.labelled_catalogue import LABELLED
from interfero.engine.node import Node
from interfero.engine.restoration.plan import RestorationPlan
from interfero.records import CellRecord
from interfero.store.products import Products

_AXES = ("domain", "configuration", "codec", "rate_bpp", "restoration", "restoration_split",
         "data_seed", "init_seed")  # fmt: skip
"""Parameters that tell a plan's cells apart."""


def print_plan(
    console: Console,
    title: str,
    question: str,
    plan: RestorationPlan,
    done: Set[str],
    products: Products,
) -> None:
    """What is asked, on which images, how much there is to do and what it may take.

    Args:
        console: Where to print.
        title: The sweep's kind.
        question: What it asks.
        plan: The sweep.
        done: Keys of steps and cells that are done already.
        products: Of the storage.
    """
    console.print(f"[bold]{title}[/bold]: {question}", highlight=False)
    jobs = plan.behind(plan.cells)
    left = {key: job for key, job in jobs.items() if key not in done}
    for line in [*_images(plan), *_amounts(plan, jobs, left, done)]:
        say(console, line)
    if plan.options.dry_run:
        for line in _cells(plan, done):
            say(console, line)
        say(console, f"  {cost_line(left, jobs, products)}")


def _images(plan: RestorationPlan) -> Iterator[str]:
    for domain in plan.domains.values():
        counts = ", ".join(
            f"{len(domain.portion(p))} {p}" for p in ("train", "restoration", "test")
        )
        height, width = domain.train[0].pixels_HWC.shape[:2]
        yield (
            f"  {domain.name}: {counts} {domain.unit} of {width}x{height} pixels, "
            f"{len(domain.classes)} classes"
        )
        if domain.name not in LABELLED:
            yield from (f"    {note}" for note in domain.notes)


def _amounts(
    plan: RestorationPlan, jobs: dict[str, Node], left: dict[str, Node], done: Set[str]
) -> Iterator[str]:
    """How many cells and steps there are, and how many are left."""
    options = plan.options
    seeds = len(options.data_seeds) * len(options.init_seeds)
    honest = "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"
    yield (
        f"  {len(plan.cells)} cells, {options.num_steps} steps a segmentation model, "
        f"{options.restoration_steps} a restorer; {honest}"
    )
    kinds = Counter(job.kind for job in left.values())
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    yield f"  steps to do: {listed}; {len(jobs) - len(left)} of {len(jobs)} are there already"
    known = sum(cell.key in done for cell in plan.cells)
    if known:
        yield f"  {known} of {len(plan.cells)} cells are reused"


def _cells(plan: RestorationPlan, done: Set[str]) -> Iterator[str]:
    """A line a cell with its key, or where to get them."""
    if not plan.options.list_cells:
        yield "  --list-cells prints each cell with its key"
        return
    for cell in plan.cells:
        params = cell.params
        said = " ".join(f"{n}={params[n]}" for n in _AXES if params[n] != "none")
        yield f"    {cell.key} {said}{' (reused)' if cell.key in done else ''}"


def cost_line(
    left: Mapping[str, Node],
    jobs: Mapping[str, Node],
    products: Products,
    elsewhere: Mapping[str, float] | None = None,
) -> str:
    """Hours of steps that are left, from those of their kind in this plan that are there.

    Args:
        left: What is to be done, by key.
        jobs: The same and what is there.
        products: Of the storage.
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
    return f"cost, from {known}: {total / 3600:.3g} worker-hours{rest}"


def say(console: Console, line: str) -> None:
    """Print a line as it is, however long."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
