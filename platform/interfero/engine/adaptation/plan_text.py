"""A plan as a user reads it before anything is trained."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console

from interfero.adaptation import find_method
from interfero.adaptation.method import Method
from interfero.domains.bundled import BUNDLED
from interfero.domains.domain import Domain
from interfero.engine.adaptation.cost import CostEstimate
from interfero.engine.adaptation.grid import rates_of
from interfero.engine.adaptation.halving import Outlook
from interfero.engine.adaptation.memory import mebibytes
from interfero.engine.adaptation.nodes import Block, Cell
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.packs import Pack
from interfero.engine.plan_text import coded_text
from interfero.engine.spending import spread

AXES = {
    "domain": "", "rd_lambda": "lambda", "num_images": "images", "data_seed": "data seed",
    "method": "", "adapter_size": "size", "strength": "strength", "learning_rate": "lr",
    "init_seed": "init seed",
}  # fmt: skip
"""What a plan calls the fields of blocks and hyperparameters."""


def print_plan(console: Console, title: str, question: str, plan: AdaptationPlan) -> None:
    """What is asked, on which images, and how much there is to train."""
    options, loop = plan.options, plan.loop
    console.print(f"[bold]{title}[/bold]: {question}", highlight=False)
    for domain in plan.domains.values():
        _print_domain(console, "target", domain, loop.max_target_images)
    _print_domain(console, "source", plan.source_domain, loop.max_source_images)
    for value, codec in plan.codecs.items():
        for note in codec.card.get("notes", ()):
            console.print(f"    {codec.name} at {value:g}: {note}", highlight=False, markup=False)
    trained_on = {c.card.get("domain", {}).get("fingerprint") for c in plan.codecs.values()}
    if plan.source_domain.fingerprint not in trained_on:
        console.print(
            f"    the codec was trained on other images: continue_source adapts it to "
            f"{plan.source_domain.name}",
            highlight=False,
        )
    if options.design == "star" and (centre := _centre_text(plan)):
        _say(console, f"  design: a star around {centre}; one of these changes at a time")
    seeds = len(options.data_seeds) * len(options.init_seeds)
    honest = "illustration, n = 1 seed" if seeds == 1 else f"n = {seeds} seeds"
    console.print(
        f"  {len(plan.blocks)} block{'s' * (len(plan.blocks) != 1)}, "
        f"{plan.num_cells} cell{'s' * (plan.num_cells != 1)}, {_steps_text(plan)} in "
        f"{loop.precision}, {options.sampler}; {honest}",
        highlight=False,
    )


def _centre_text(plan: AdaptationPlan) -> str:
    """The first values of a star's axes, of those that have several."""
    options = plan.options
    axes = {
        f"lambda {options.lambdas[0]:g}": options.lambdas,
        f"{options.num_images[0]} images": options.num_images,
        f"{options.first_budget} steps": options.budgets,
        f"size {options.adapter_sizes[0]}": options.adapter_sizes,
    }
    return ", ".join(text for text, values in axes.items() if len(values) > 1)


def _steps_text(plan: AdaptationPlan) -> str:
    """How long cells train, and what longer trainings take over."""
    *fewer, most = map(str, plan.loops)
    if not fewer:
        return f"{most} steps each"
    text = f"{', '.join(fewer)} and {most} steps"
    if plan.loop.trunk_steps is not None:
        text += ", each going on from the one before"
    return text


def print_cells(
    console: Console,
    plan: AdaptationPlan,
    packs: Sequence[Pack],
    known: frozenset[str],
    *,
    every: bool,
) -> None:
    """Blocks, their packs and their cells, or the space that a sampler will draw from.

    Args:
        console: Where to print.
        plan: The sweep.
        packs: What is to be trained.
        known: Keys of cells that are finished already, here or in another sweep.
        every: A line a cell; else cells are named by their axes.
    """
    _say(console, f"  {plan.loop.precision}: {plan.precision.reason}")
    if plan.loop.fused:
        _say(
            console,
            f"  --fuse-packs {plan.options.fuse_packs}: members of one method and size step as one "
            f"computation{_left_out(plan)}",
        )
    _print_shared(console, packs)
    of_cells = _by_block(packs)
    reused: dict[Block, list[Cell]] = defaultdict(list)
    for cell in plan.cells:
        if cell.key in known:
            reused[cell.block].append(cell)
    if plan.options.searches:
        _print_space(console, plan)
    elif every:
        for block in plan.blocks:
            _print_block(console, plan, block, of_cells[block], reused[block])
    else:
        _print_alike(console, plan, of_cells, reused)
    if known:
        _say(console, f"  {len(known)} of {plan.num_cells} cells are reused")
    _print_memory(console, plan, packs)


def _by_block(packs: Sequence[Pack]) -> dict[Block, list[Pack]]:
    """Packs of cells."""
    found: dict[Block, list[Pack]] = defaultdict(list)
    for pack in packs:
        first = pack.nodes[0]
        if isinstance(first, Cell):
            found[first.block].append(pack)
    return found


def _print_shared(console: Console, packs: Sequence[Pack]) -> None:
    """What cells share, and what is done once."""
    kinds = Counter(node.kind for pack in packs for node in pack.nodes if not node.leaf)
    if kinds:
        listed = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        _say(console, f"  done once for all cells: {listed}")


def print_cost(console: Console, cost: CostEstimate) -> None:
    """What the cells to train will take, or that nobody knows."""
    hint = "--calibrate times a few"
    if cost.num_cells == 0:
        _say(console, "  cost: nothing is left to train")
    elif cost.num_known == 0:
        _say(console, f"  cost: uncalibrated (no step of this plan has been timed here; {hint})")
    else:
        cells = f"{cost.num_cells} cells to train"
        if cost.unknown:
            cells += f", {sum(cost.unknown.values())} of them without an estimate and in no sum"
        _say(
            console,
            f"  cost, an estimate from {cost.num_timings} timed cells: {cells}, "
            f"{cost.share.text(cost.pack_seconds)}",
        )
        packs = "1 pack" if cost.at_once == 1 else f"{cost.at_once} packs"
        _say(
            console,
            f"    {spread(cost.wall_seconds.times(1 / 60), 'minutes')} with {packs} at once, "
            f"{cost.start_up_seconds:.0f} s of start-up included",
        )
        if cost.unknown:
            names = ", ".join(f"{name} ({n} cells)" for name, n in cost.unknown.items())
            _say(console, f"    without an estimate: {names}; {hint}")


def print_halving(console: Console, plan: AdaptationPlan, left: Outlook, num_finished: int) -> None:
    """How many cells halving will train, which is known without any timing."""
    planned = {cell.key for cell in plan.cells}
    stopped = plan.num_cells - num_finished - sum(c.key in planned for c in left.possible)
    ended = f", {num_finished} finished, {stopped} stopped by those" if num_finished else ""
    added = sum(cell.key not in planned for cell in left.expected)
    if len(plan.loops) > 1:
        expected = len(left.expected) - added
        _say(console, f"  halving: {expected} of {plan.num_cells} cells to train at most{ended}")
    if added or left.max_added:
        own = f"up to {left.max_added} trainings more"
        if added:
            own = f"{added} cell{'s' * (added != 1)} added, and up to {left.max_added} more"
        _say(
            console,
            f"  learning rates: {own}, in no estimate, where a setting's best is the highest or "
            "lowest (--no-widen-rates keeps to the grid)",
        )


def _print_space(console: Console, plan: AdaptationPlan) -> None:
    options = plan.options
    for block in plan.blocks:
        _say(
            console,
            f"  {_describe_block(block, plan)}: {options.num_samples} cells chosen by "
            f"{options.sampler}",
        )
    rates = [rate for name in options.methods for rate in rates_of(find_method(name), options)]
    _say(
        console,
        f"  methods {', '.join(options.methods)}; adapter sizes "
        f"{', '.join(map(str, options.adapter_sizes))}; learning rate {min(rates):g} to "
        f"{max(rates):g}",
    )


def _print_block(
    console: Console,
    plan: AdaptationPlan,
    block: Block,
    packs: Sequence[Pack],
    reused: Sequence[Cell],
) -> None:
    lines = [f"  block {_describe_block(block, plan)}"]
    for pack in packs:
        cells = _cells(pack)
        lines.append(f"    {_describe_pack(cells, plan)}")
        lines += [f"      {cell.key} {_describe(cell, plan)}" for cell in cells]
    lines += [f"    {cell.key} {_describe(cell, plan)} (reused)" for cell in reused]
    # Written as it is, a block at a time: a plan may have 100,000 lines.
    console.out("\n".join(lines), highlight=False)


def _print_alike(
    console: Console,
    plan: AdaptationPlan,
    packs: Mapping[Block, Sequence[Pack]],
    reused: Mapping[Block, Sequence[Cell]],
) -> None:
    """Blocks with the same packs together, cells by their axes."""
    alike: dict[tuple[str, ...], list[Block]] = {}
    for block in plan.blocks:
        lines = []
        for cells in map(_cells, packs[block]):
            points = _compressed(cell.hyperparameters for cell in cells)
            lines.append(f"{_describe_pack(cells, plan)}: {points}")
        if reused[block]:
            points = _compressed(cell.hyperparameters for cell in reused[block])
            count = len(reused[block])
            lines.append(f"{count} cell{'s' * (count != 1)} reused: {points}")
        alike.setdefault(tuple(lines), []).append(block)
    for texts, blocks in alike.items():
        each = "1 block" if len(blocks) == 1 else f"each of {len(blocks)} blocks"
        _say(console, f"  {each}: {_compressed(blocks)}")
        for line in texts:
            _say(console, f"    {line}")
    _say(console, f"  {plan.num_cells} cells; --list-cells prints each with its key")


def _cells(pack: Pack) -> list[Cell]:
    return [node for node in pack.nodes if isinstance(node, Cell)]


def _describe_pack(cells: Sequence[Cell], plan: AdaptationPlan) -> str:
    method = cells[0].hyperparameters.method
    text, fuses = f"pack of {len(cells)} {method}", plan.fuses(method)
    if len(plan.loops) > 1:
        text += f", {cells[0].loop.num_steps} steps"
    if cells[0].shares_training:
        return f"{text}, trained once for all {'lambdas' if cells[0].rates else 'target domains'}"
    if len(cells) > 1:
        frozen = type(find_method(method)).shared_pass is not Method.shared_pass
        text += ", one source pass for all" if frozen else ", batches drawn once"
        alike = Counter(cell.hyperparameters.shape for cell in cells).values()
        if fuses and max(alike) > 1:
            text += f", fused {' + '.join(map(str, alike))}"
    needed = plan.footprints.get(method)
    if needed is not None:
        text += f", about {mebibytes(needed.of_pack(len(cells), fused=fuses))}"
    return text


def _left_out(plan: AdaptationPlan) -> str:
    """Methods that do not fuse."""
    others = [name for name in plan.options.methods if not plan.fuses(name)]
    return f"; one by one: {', '.join(others)}" if others else ""


def _print_memory(console: Console, plan: AdaptationPlan, packs: Sequence[Pack]) -> None:
    if not plan.options.searches:
        sizes = {len(pack.nodes) for pack in packs}
        most = f", of {max(sizes)} cells at most" if sizes else ""
        _say(console, f"  {len(packs)} packs{most}")
    if plan.at_once is None:
        _say(console, "  packs at once and their memory: the cluster decides")
        return
    room = "cannot be read" if plan.room is None else mebibytes(max(0, plan.room))
    kind = "GPU memory" if plan.loop.device == "cuda" else "memory"
    _say(console, f"  {plan.at_once} packs at once on this machine, free {kind} for each: {room}")


def _compressed(points: Iterable[Block] | Iterable[object]) -> str:
    """Points as the axes of their grid, and how many there are where they are no grid."""
    rows = [_fields(point) for point in points]
    axes = {name: _values(row[name] for row in rows) for name in rows[0]}
    size, texts = 1, []
    for name, values in axes.items():
        if name in ("adapter_size", "strength") and values == [0]:
            continue  # The method has no such axis.
        text = " ".join([AXES[name], *map(_number, values)]).strip()
        if len(values) > 1 and _follows_domain(rows, name):
            text += " (by domain)"
        else:
            size *= len(values)
        texts.append(text)
    whole = "" if size == len(rows) else f" ({len(rows)} of these {size})"
    return " x ".join(texts) + whole


def _follows_domain(rows: Sequence[Mapping[str, str | int | float]], name: str) -> bool:
    """Whether the domain decides a value: `all` images are another number in each."""
    if name == "domain" or "domain" not in rows[0]:
        return False
    pairs = {(row["domain"], row[name]) for row in rows}
    return len(pairs) == len({domain for domain, _ in pairs}) > 1


def _values(values: Iterable[str | int | float]) -> list[str | int | float]:
    """Each once: names in the order in which they were given, numbers in their own."""
    once = list(dict.fromkeys(values))
    return once if any(isinstance(v, str) for v in once) else sorted(once)


def _fields(point: object) -> Mapping[str, str | int | float]:
    assert hasattr(point, "model_dump")
    fields: dict[str, str | int | float] = point.model_dump()
    return fields


def _number(value: str | int | float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _print_domain(console: Console, role: str, domain: Domain, most: int) -> None:
    console.print(
        f"  {role} {domain.name}: {len(domain.train)} train "
        f"({len(domain.split(1, 0).validation)} of them for validation) and "
        f"{coded_text(domain, most)}",
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


def _describe_block(block: Block, plan: AdaptationPlan) -> str:
    unit = plan.domains[block.domain].unit
    return (
        f"{block.domain}, lambda {block.rd_lambda:g}, {block.num_images} {unit}, "
        f"seed {block.data_seed}"
    )


def _describe(cell: Cell, plan: AdaptationPlan) -> str:
    """What tells a cell from the others of its block."""
    fields = dict(_fields(cell.hyperparameters))
    if len(plan.loops) > 1:
        fields["num_steps"] = cell.loop.num_steps
    return " ".join(f"{name}={_number(value)}" for name, value in fields.items())
