"""Packs against the same cells one by one in a warm actor: `python benchmarks/packs.py`.

Cells of one block and of `cawf` that differ in learning rate train in two processes that take turns:
together, on one source pass and one batch a step, and one after the other. Both are warm: codec and
domains are loaded, a first turn is not counted. Evaluation is not part of it: packs leave it as it is, and a
cell gains by them in the share of its time that it trains.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from pydantic import Field

from benchmarks._cells import make_cell, repeated, scratch_worker, workbench
from benchmarks._report import Target, finish, run
from benchmarks._rounds import Side, alternate, cpu, ratio, wall
from interfero.config import Config
from interfero.engine.cells import LoopConfig
from trainables.adaptation import time_steps

TARGET, JUDGED = Target(">=", 1.5), 4


class PacksBenchmark(Config):
    """What trains, and how often."""

    sizes: tuple[int, ...] = (2, 4, 8)
    """Members of the packs; the target is for four."""
    method: str = "cawf"
    """How the cells adapt."""
    adapter_size: int = 4
    """Adapter size of all cells, in the method's unit."""
    steps: int = Field(default=6, gt=1)
    """Steps of every cell."""
    rounds: int = Field(default=5, gt=0)
    """Turns of each side."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of training."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def warm_actor(command: PacksBenchmark, members: int, together: bool) -> Callable[[], None]:
    """A process that trains the cells, one thread."""
    torch.set_num_threads(1)
    bench = workbench()
    loop = LoopConfig(num_steps=command.steps, precision=command.precision)
    rates = [1e-4 * (i + 1) for i in range(members)]
    cells = repeated(make_cell(bench, loop, command.method, command.adapter_size), rates)
    packs = [cells] if together else [[cell] for cell in cells]

    def train() -> None:
        with scratch_worker() as worker:
            for pack in packs:
                time_steps(pack, bench, worker)

    return train


def main() -> None:
    """Command line."""
    command = tyro.cli(PacksBenchmark, description=__doc__)
    judged = JUDGED if JUDGED in command.sizes else command.sizes[0]
    figures: dict[str, Any] = {}
    for members in command.sizes:
        turns = alternate(
            {
                "alone": Side(warm_actor, (command, members, False)),
                "packed": Side(warm_actor, (command, members, True)),
            },
            command.rounds,
        )
        alone, packed = turns["alone"], turns["packed"]
        figures[str(members)] = {
            "gain": ratio(cpu(alone), cpu(packed)),
            "gain_on_the_clock": ratio(wall(alone), wall(packed)),
            **{f"{n}_cpu_s": cpu(t) for n, t in turns.items()},
            **{f"{n}_wall_s": wall(t) for n, t in turns.items()},
        }
        per_step = 1000 / (members * command.steps)
        gain, on_clock = (figures[str(members)][n] for n in ("gain", "gain_on_the_clock"))
        print(
            f"{members} cells: {statistics.median(cpu(alone)) * per_step:.1f} ms of CPU a cell and step "
            f"alone, {statistics.median(cpu(packed)) * per_step:.1f} ms packed: {gain:.2f}x "
            f"({on_clock:.2f}x on the clock)"
        )
    value = figures[str(judged)]["gain"]
    finish("packs", value, "x", TARGET, TARGET.met(value), figures, command.json_path)


if __name__ == "__main__":
    run(main)
