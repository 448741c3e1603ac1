"""The plan of a sweep over sequences of domains as a user reads it before anything is trained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from rich.console import Console

from interfero.domains.domain import spread
from interfero.engine.adaptation.cost import CostModel
from interfero.engine.measurements import read_measurements
from interfero.engine.node import Node
from interfero.engine.restoration.plan_text import cost_line, say
from interfero.engine.sequence.nodes import Archive, Stage
from interfero.engine.sequence.plan import SequencePlan
from interfero.engine.timing import machine_name, megapixels
from interfero.store.products import Products

_AXES = ("method", "sequence", "rd_lambda", "images_asked", "num_steps", "adapter_size", "strength",
         "learning_rate", "memory_images", "buffer", "data_seed", "init_seed")  # fmt: skip
"""Parameters that tell a plan's rows apart."""
MAX_ORDERS = 12
"""Orders that are printed."""


def print_sequence_plan(
    console: Console, title: str, question: str, plan: SequencePlan, done: Set[str], storage: Path
) -> None:
    """What is asked, in which orders, how much there is to do and what it may take.

    Args:
        console: Where to print.
        title: The sweep's kind.
        question: What it asks.
        plan: The sweep.
        done: Keys of nodes and rows that are done already.
        storage: Where earlier results are.
    """
    console.print(f"[bold]{title}[/bold]: {question}", highlight=False)
    nodes = plan.behind(plan.rows)
    left = {key: node for key, node in nodes.items() if key not in done}
    for line in [*_images(plan), *_orders(plan), *_amounts(plan, nodes, left, done)]:
        say(console, line)
    if plan.options.dry_run:
        for line in _rows(plan, done):
            say(console, line)
        timed = _timed(plan, list(left.values()), storage)
        say(console, f"  {cost_line(left, nodes, Products(storage), timed)}")


def _images(plan: SequencePlan) -> Iterator[str]:
    source = plan.base.source_domain
    for domain in (source, *plan.base.domains.values()):
        said = "source" if domain is source else "to meet"
        counts = f"{domain.max_images} training and {len(domain.test)} test {domain.unit}"
        yield f"  {domain.name} ({said}): {counts}"


def _orders(plan: SequencePlan) -> Iterator[str]:
    orders = [" > ".join(order) for order in plan.options.order_list]
    more = f" and {len(orders) - MAX_ORDERS} more" if len(orders) > MAX_ORDERS else ""
    yield f"  {len(orders)} orders: {'; '.join(orders[:MAX_ORDERS])}{more}"


def _amounts(
    plan: SequencePlan, nodes: Mapping[str, Node], left: Mapping[str, Node], done: Set[str]
) -> Iterator[str]:
    """How many rows and trainings there are, and how many are left."""
    options = plan.options
    seeds = len(options.data_seeds) * len(options.init_seeds)
    honest = "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"
    steps = ", ".join(map(str, options.budgets))
    loop = plan.base.loop
    yield f"  {len(plan.rows)} rows, {steps} steps a stage in {loop.precision}; {honest}"
    kinds = Counter(node.kind for node in left.values())
    listed = ", ".join(f"{n} {kind}" for kind, n in kinds.items()) or "none"
    yield f"  nodes to do: {listed}; {len(nodes) - len(left)} of {len(nodes)} are there already"
    known = sum(row.key in done for row in plan.rows)
    if known:
        yield f"  {known} of {len(plan.rows)} rows are reused"


def _rows(plan: SequencePlan, done: Set[str]) -> Iterator[str]:
    """A line a row with its key, or where to get them."""
    if not plan.options.list_cells:
        yield "  --list-cells prints each row with its key"
        return
    for row in plan.rows:
        params = row.params
        said = " ".join(f"{n}={params[n]}" for n in _AXES if params[n] not in (0, "none", ""))
        yield f"    {row.key} {said}{' (reused)' if row.key in done else ''}"


def _timed(plan: SequencePlan, left: Sequence[Node], storage: Path) -> dict[str, float]:
    """Seconds of all trainings, and of all coding, from what any sweep of the storage has timed."""
    base = plan.base
    known = read_measurements(storage, machine_name(base.loop.device))
    model = CostModel(known.timings, base.setting)
    found: dict[str, float] = {}
    stages = [node.cell for node in left if isinstance(node, Stage)]
    spans = [span for c in stages for span in (model.training(c), model.shared(c))]
    if stages and all(spans):
        found["stage"] = sum(span.middle for span in spans if span)
    num_archives = sum(isinstance(node, Archive) for node in left)
    options = plan.options
    samples = [*spread(base.source_domain.test, options.max_source_images)]
    for domain in base.domains.values():
        samples += spread(domain.test, options.max_target_images)
    coding = model.references(megapixels(samples)).middle * num_archives
    if coding:
        found["archive"] = coding
    return found
