"""A plan as a user reads it before anything is trained."""

from __future__ import annotations

from rich.console import Console

from interfero.domains.bundled import BUNDLED
from interfero.domains.domain import Domain
from interfero.engine.cells import Block
from interfero.engine.planning import Plan


def print_plan(console: Console, title: str, question: str, plan: Plan) -> None:
    """What is asked, on which images, and how much there is to train."""
    options, loop = plan.options, plan.loop
    console.print(f"[bold]{title}[/bold]: {question}", highlight=False)
    for domain in plan.domains.values():
        _print_domain(console, "target", domain)
    _print_domain(console, "source", plan.source_domain)
    trained_on = {c.card.get("domain", {}).get("fingerprint") for c in plan.codecs.values()}
    if plan.source_domain.fingerprint not in trained_on:
        console.print(
            f"    the codec was trained on other images: continue_source adapts it to "
            f"{plan.source_domain.name}",
            highlight=False,
        )
    seeds = len(options.data_seeds) * len(options.init_seeds)
    honest = "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"
    console.print(
        f"  {len(plan.blocks)} blocks, {plan.num_cells} cells, {loop.num_steps} steps each in "
        f"{loop.precision}, {options.sampler}; {honest}",
        highlight=False,
    )


def print_cells(console: Console, plan: Plan, known: frozenset[str]) -> None:
    """Every pack and cell, or the space that a sampler will draw from; for `--dry-run`.

    Args:
        console: Where to print.
        plan: The sweep.
        known: Keys of cells that are finished already, here or in another sweep.
    """
    options = plan.options
    if options.sampler != "grid":
        for block in plan.blocks:
            console.print(
                f"  {_describe_block(block, plan)}: {options.num_samples} cells chosen by "
                f"{options.sampler}",
                highlight=False,
            )
        rates = options.learning_rates
        console.print(
            f"  methods {', '.join(options.methods)}; adapter sizes "
            f"{', '.join(map(str, options.adapter_sizes))}; learning rate {min(rates):g} to "
            f"{max(rates):g}",
            highlight=False,
        )
    for pack in plan.packs(plan.cells):
        console.print(f"  pack of {len(pack.cells)} in {pack.block.domain}", highlight=False)
        for cell in pack.cells:
            mark = " (reused)" if cell.key in known else ""
            console.print(
                f"    {cell.key} {_describe(cell.params)}{mark}", highlight=False, soft_wrap=True
            )
    if known:
        console.print(f"  {len(known)} of {plan.num_cells} cells are reused", highlight=False)
    console.print("  cost: uncalibrated (no step of this plan has been timed)")


def _print_domain(console: Console, role: str, domain: Domain) -> None:
    console.print(
        f"  {role} {domain.name}: {len(domain.train)} train "
        f"({len(domain.split(1, 0).validation)} of them for validation) and "
        f"{len(domain.test)} test {domain.unit}",
        highlight=False,
    )
    num_drawn = max((len(samples) for samples in domain.reserve.values()), default=0)
    if num_drawn:
        console.print(
            f"    {num_drawn} more train images drawn for each data seed", highlight=False
        )
    if domain.name not in BUNDLED:
        for note in domain.notes:
            console.print(f"    {note}", highlight=False, markup=False)


def _describe_block(block: Block, plan: Plan) -> str:
    unit = plan.domains[block.domain].unit
    return (
        f"{block.domain}, lambda {block.rd_lambda:g}, {block.num_images} {unit}, "
        f"seed {block.data_seed}"
    )


def _describe(params: dict[str, str | int | float]) -> str:
    return " ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in params.items())
