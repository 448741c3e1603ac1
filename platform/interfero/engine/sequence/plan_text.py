"""The plan of a sweep over sequences of domains as a user reads it before anything is trained."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence, Set
from pathlib import Path

from rich.console import Console

from interfero.domains.domain import spread
from interfero.engine.adaptation.cost import CostModel
from interfero.engine.measurements import read_measurements
from interfero.engine.node import Node
from interfero.engine.options.base import ALL_IMAGES
from interfero.engine.plan_text import (
    amount_lines,
    coded_text,
    cost_line,
    leaf_lines,
    say,
    seeds_line,
)
from interfero.engine.sequence.nodes import MEGAPIXELS, Archive, Stage, StageRow
from interfero.engine.sequence.plan import SequencePlan
from interfero.engine.sequence.strategies import STRATEGIES
from interfero.engine.spending import PackShare
from interfero.engine.timing import machine_name, megapixels
from interfero.store.products import Products

_AXES = ("method", "sequence", "rd_lambda", "images_asked", "num_steps", "adapter_size", "strength",
         "learning_rate", "memory_images", "buffer", "memory_form", "data_seed",
         "init_seed")  # fmt: skip
"""Parameters that tell a plan's rows apart."""
MAX_ORDERS = 12
"""Orders that are printed."""
MOST_OF_A_MEMORY = 0.5
"""A domain that has more of a memory than this is named."""


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
    amounts = amount_lines(plan, nodes, left, done, leaf="row", node="node")
    for line in [*_images(plan), *_orders(plan), *_memories(plan), _amounts(plan), *amounts]:
        say(console, line)
    if plan.options.dry_run:
        for line in leaf_lines(plan, _AXES, done, leaf="row", absent=(0, "none", "")):
            say(console, line)
        waiting = {row.key: row for row in plan.rows if row.key not in done}
        timed = _timed(plan, list(left.values()), done, storage)
        every, share = {**nodes, **waiting}, PackShare.of(plan.options)
        line = cost_line({**left, **waiting}, every, Products(storage), share, timed)
        say(console, f"  {line}")


def _images(plan: SequencePlan) -> Iterator[str]:
    source, loop = plan.base.source_domain, plan.base.loop
    for domain in (source, *plan.base.domains.values()):
        said = "source" if domain is source else "to meet"
        most = loop.max_source_images if domain is source else loop.max_target_images
        counts = f"{domain.max_images} training and {coded_text(domain, most)}"
        yield f"  {domain.name} ({said}): {counts}"


def _orders(plan: SequencePlan) -> Iterator[str]:
    orders = [" > ".join(order) for order in plan.options.order_list]
    more = f" and {len(orders) - MAX_ORDERS} more" if len(orders) > MAX_ORDERS else ""
    yield f"  {len(orders)} orders: {'; '.join(orders[:MAX_ORDERS])}{more}"


def _memories(plan: SequencePlan) -> Iterator[str]:
    """Whether a reservoir holds the source domain rather than what was met after it."""
    options, source = plan.options, plan.base.source_domain
    rehearses = any(STRATEGIES[method].rehearses for method in options.methods)
    if not rehearses or "reservoir" not in options.buffers:
        return
    most = max(math.inf if n == ALL_IMAGES else int(n) for n in options.num_images)
    (order, *_) = options.order_list
    met = sum(min(most, plan.base.domains[name].max_images) for name in order[:-1])
    share = source.max_images / (source.max_images + met)
    if share > MOST_OF_A_MEMORY:
        yield (
            f"  a reservoir keeps each image met with the same chance: before the last stage {share:.0%} of "
            f"them are of {source.name}; --buffers balanced keeps as many of each domain"
        )


def _amounts(plan: SequencePlan) -> str:
    options, loop = plan.options, plan.base.loop
    steps = ", ".join(map(str, options.budgets))
    return (
        f"  {len(plan.rows)} rows, {steps} steps a stage in {loop.precision}; {seeds_line(options)}"
    )


def _timed(
    plan: SequencePlan, nodes: Sequence[Node], done: Set[str], storage: Path
) -> dict[str, float]:
    """Seconds of what is left, by kind, from what any sweep of the storage has timed.

    Old streams are only decoded, which is taken as half of coding and decoding.
    """
    base, products = plan.base, Products(storage)
    known = read_measurements(storage, machine_name(base.loop.device)).timings
    records = [products.record(key) for key in products.list_keys() if _is_timed(key)]
    own = [record for record in records if record is not None and record.status == "finished"]
    model = CostModel((*known, *(r.timing for r in own if r.timing)), base.setting)
    found: dict[str, float] = {}
    stages = [node.cell for node in nodes if isinstance(node, Stage)]
    spans = [span for cell in stages for span in (model.training(cell), model.shared(cell))]
    if stages and all(spans):
        found["stage"] = sum(span.middle for span in spans if span)
    rates = [r.seconds / r.metrics[MEGAPIXELS] for r in own if r.metrics.get(MEGAPIXELS)]
    if rates:
        rate, sizes = statistics.median(rates), _megapixels(plan)
        found["archive"] = rate * sum(sizes.values()) * sum(n.kind == "archive" for n in nodes)
        rows = [row for row in plan.rows if row.key not in done]
        found["row"] = rate / 2 * sum(_old_megapixels(row, sizes) for row in rows)
    return found


def _is_timed(key: str) -> bool:
    return key.startswith((f"{Stage.kind}-", f"{Archive.kind}-"))


def _megapixels(plan: SequencePlan) -> dict[str, float]:
    """What is coded of each domain."""
    options, source = plan.options, plan.base.source_domain
    return {
        source.name: megapixels(spread(source.test, options.max_source_images)),
        **{
            name: megapixels(spread(domain.test, options.max_target_images))
            for name, domain in plan.base.domains.items()
        },
    }


def _old_megapixels(row: StageRow, sizes: Mapping[str, float]) -> float:
    """Streams that a row decodes: of each stage, the source domain's and those of domains met by then."""
    stages = range(len(row.banks))
    return sum(sizes[n] for stage in stages for n in (row.source_domain, *row.sequence[:stage]))
