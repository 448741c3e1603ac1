"""Which cells train together: as many as share work and fit, as few as leave no worker idle."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

from interfero.engine.adaptation.cost import makespan
from interfero.engine.adaptation.nodes import Block, Cell, LoopConfig
from interfero.engine.packs import Pack

GOOD_ENOUGH = 1.02
"""A schedule this close to a perfect share of the work is not improved any further."""
MIN_GAIN = 1.001
"""How much earlier all has to end for more packs."""
SPLITS_PER_WORKER = 4
"""With a few more packs than workers, little idle time is left at the end."""

PackSeconds = Callable[[Pack], float]


def make_packs(
    cells: Sequence[Cell],
    max_members: Mapping[str, int],
    at_once: int | None,
    seconds: PackSeconds,
) -> list[Pack]:
    """Pack cells of one block and method, the longest packs first: they would be waited for last.

    A pack never mixes methods. What two methods share is the drawing of a batch (under 2 % of a step
    of the bundled codec at 128 pixels); the frozen source's activations are read by `cawf` alone. One
    pack a method leaves more packs to spread over the workers, which gains more.

    Args:
        cells: What is to be trained.
        max_members: By method, members that fit the memory.
        at_once: Packs that train at once; None, where a cluster decides, packs as much as fits.
        seconds: What a pack takes, in any unit.
    """
    groups = group_cells(cells)
    limits = [max_members[g[0].hyperparameters.method] for g in groups]
    packs = [
        p for g, n in zip(groups, limits, strict=True) for p in _split(g, math.ceil(len(g) / n))
    ]
    if at_once is not None and at_once > 1:
        packs = _spread(packs, at_once, seconds)
    return sorted(packs, key=seconds, reverse=True)


def _split(cells: Sequence[Cell], parts: int) -> list[Pack]:
    """Neighbours together, in parts whose sizes differ by one at most."""
    bounds = [round(i * len(cells) / parts) for i in range(parts + 1)]
    return [Pack(nodes=tuple(cells[a:b])) for a, b in itertools.pairwise(bounds)]


def _spread(packs: list[Pack], at_once: int, seconds: PackSeconds) -> list[Pack]:
    """Halve the longest pack, again and again, as far as all workers together end earlier for it.

    A half repeats what its pack shared, so splits stop where they no longer pay.
    """
    tried = [(seconds(pack), pack) for pack in packs]
    best, best_end = packs, _end(tried, at_once)
    for _ in range(SPLITS_PER_WORKER * at_once):
        several = [item for item in tried if len(item[1].nodes) > 1]
        busy = sum(cost for cost, _ in tried)
        if not several or best_end <= GOOD_ENOUGH * busy / at_once:
            break
        longest = max(several, key=lambda item: item[0])
        tried.remove(longest)
        tried += [(seconds(half), half) for half in _split(_cells(longest[1]), 2)]
        end = _end(tried, at_once)
        # One split alone may not help yet: two equal packs on four workers need two.
        if end < best_end / MIN_GAIN:
            best, best_end = [pack for _, pack in tried], end
    return best


def _end(packs: Sequence[tuple[float, Pack]], at_once: int) -> float:
    return makespan(sorted((cost for cost, _ in packs), reverse=True), at_once)


def _cells(pack: Pack) -> list[Cell]:
    return [node for node in pack.nodes if isinstance(node, Cell)]


def group_cells(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Cells that may train together: of one block, method and setting, in order."""
    groups: dict[tuple[Block, LoopConfig, str, str], list[Cell]] = {}
    for cell in cells:
        shared = (cell.block, cell.loop, cell.identity.text, cell.hyperparameters.method)
        groups.setdefault(shared, []).append(cell)
    return list(groups.values())
