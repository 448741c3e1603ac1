"""The plan of a restoration sweep as a user reads it before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator, Set
from pathlib import Path

from rich.console import Console

from interfero.domains.labelled_catalogue import LABELLED
from interfero.engine.plan_text import amount_lines, cost_line, leaf_lines, say, seeds_line
from interfero.engine.restoration.nodes import FineTuned, TaskCoded
from interfero.engine.restoration.plan import RestorationPlan
from interfero.engine.spending import PackShare
from interfero.store.products import Products

_AXES = ("domain", "configuration", "codec", "rate_bpp", "restoration", "restoration_split",
         "variant", "restorer_seed", "data_seed", "init_seed")  # fmt: skip
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
    amounts = amount_lines(plan, jobs, left, done, leaf="cell", node="step")
    for line in [*_images(plan), *_models(plan), _amounts(plan), *amounts]:
        say(console, line)
    if plan.options.dry_run:
        for line in leaf_lines(plan, _AXES, done, leaf="cell", absent=("none",)):
            say(console, line)
        say(console, f"  {cost_line(left, jobs, products, PackShare.of(plan.options))}")


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


def _models(plan: RestorationPlan) -> Iterator[str]:
    lines: dict[str, None] = {}
    for config in {cell.segmenter.config: None for cell in plan.cells}:
        path = config.encoder_weights
        weights = f"of {Path(path).name} ({config.encoder_hash})" if path else "drawn by seeds"
        lines[f"  {config.architecture} on {config.encoder}, weights {weights}"] = None
    yield from lines


def _amounts(plan: RestorationPlan) -> str:
    options = plan.options
    tuned = any(isinstance(cell.segmenter, FineTuned) for cell in plan.cells)
    fine_tuning = f", {options.finetune_steps} to fine-tune one" if tuned else ""
    adapted = any(isinstance(cell.tested_on, TaskCoded) for cell in plan.cells)
    adapting = f", {options.task_steps} to adapt a codec" if adapted else ""
    return (
        f"  {len(plan.cells)} cells, {options.num_steps} steps a segmentation model{fine_tuning}, "
        f"{options.restoration_steps} a restorer{adapting}; {seeds_line(options)}"
    )
