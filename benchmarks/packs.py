"""Packs against the same cells one by one in a warm actor: `python benchmarks/packs.py`.

Cells of one block and size that differ in learning rate train in three processes that take turns: one after
the other; together, on one source pass and one batch a step; and fused, where their gradients are one
computation as well. All are warm: codec and domains are loaded, a first turn is not counted. Evaluation is
not part of it: packs leave it as it is, and a cell gains by them in the share of its time that it trains.

On a CPU the target is for packs that are not fused, in CPU time; on a GPU for fused ones, on the clock.
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
from benchmarks._rounds import Side, Turn, alternate, cpu, ratio, wall
from interfero.adaptation import find_method
from interfero.config import Config
from interfero.engine.adaptation.nodes import LoopConfig
from trainables.adaptation import time_steps

TARGETS = {"cpu": (4, "packed", Target(">=", 1.5)), "cuda": (8, "fused", Target(">=", 3.0))}
"""By device: members, side and limit of what is judged."""
Device = Literal["cpu", "cuda"]


class PacksBenchmark(Config):
    """What trains, and how often."""

    sizes: tuple[int, ...] = Field(default=(2, 4, 8), min_length=1)
    """Members of the packs; the target is for four, on a GPU for eight."""
    method: str = "cawf"
    """How the cells adapt."""
    adapter_size: int = 4
    """Adapter size of all cells, in the method's unit; 0 where it has none."""
    steps: int = Field(default=6, gt=1)
    """Steps of every cell."""
    rounds: int = Field(default=5, gt=0)
    """Turns of each side."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of training."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where it trains; auto is a GPU if there is one."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def warm_actor(
    command: PacksBenchmark, device: Device, members: int, together: bool, fused: bool
) -> Callable[[], None]:
    """A process that trains the cells, one thread."""
    torch.set_num_threads(1)
    bench = workbench()
    loop = LoopConfig(
        num_steps=command.steps, precision=command.precision, device=device, fused=fused
    )
    rates = [1e-4 * (i + 1) for i in range(members)]
    cells = repeated(make_cell(bench, loop, command.method, command.adapter_size), rates)
    packs = [cells] if together else [[cell] for cell in cells]

    def train() -> None:
        with scratch_worker(device) as worker:
            for pack in packs:
                time_steps(pack, bench, worker)
        if device == "cuda":
            torch.cuda.synchronize()

    return train


def measure(command: PacksBenchmark, device: Device, members: int) -> dict[str, list[Turn]]:
    """Turns of each side."""
    sides = {"alone": (False, False), "packed": (True, False)}
    if find_method(command.method).fuses:
        sides["fused"] = (True, True)
    made = {n: Side(warm_actor, (command, device, members, *how)) for n, how in sides.items()}
    return alternate(made, command.rounds)


def compare(turns: dict[str, list[Turn]]) -> dict[str, Any]:
    """How many times longer the cells take alone; and packed than fused, in `fused_over_packed`."""
    figures: dict[str, Any] = {}
    for name, taken in turns.items():
        figures[name] = {
            "gain": ratio(cpu(turns["alone"]), cpu(taken)),
            "gain_on_the_clock": ratio(wall(turns["alone"]), wall(taken)),
            "cpu_s": cpu(taken),
            "wall_s": wall(taken),
        }
    if "fused" in turns:
        figures["fused_over_packed"] = ratio(cpu(turns["packed"]), cpu(turns["fused"]))
        figures["fused_over_packed_on_the_clock"] = ratio(
            wall(turns["packed"]), wall(turns["fused"])
        )
    return figures


def print_sides(figures: dict[str, Any], members: int, device: Device, steps: int) -> None:
    """A line for a size of packs: CPU time on a CPU, the clock on a GPU."""
    seconds, gain, what = (
        ("cpu_s", "gain", "of CPU ") if device == "cpu" else ("wall_s", "gain_on_the_clock", "")
    )
    texts = []
    for name in ("alone", "packed", "fused"):
        if name in figures:
            ms = 1000 * statistics.median(figures[name][seconds]) / (members * steps)
            ours = "" if name == "alone" else f" ({figures[name][gain]:.2f}x)"
            texts.append(f"{ms:.1f} ms {what}a cell and step {name}{ours}")
    end = "" if device == "cpu" else "_on_the_clock"
    ratios = figures.get(f"fused_over_packed{end}")
    fused = "" if ratios is None else f"; fused is {ratios:.2f}x as fast as packed"
    print(f"{members} cells: {', '.join(texts)}{fused}")


def main() -> None:
    """Command line."""
    command = tyro.cli(PacksBenchmark, description=__doc__)
    found: Device = "cuda" if torch.cuda.is_available() else "cpu"
    device = found if command.device == "auto" else command.device
    judged, side, target = TARGETS[device]
    judged = judged if judged in command.sizes else command.sizes[0]
    figures: dict[str, Any] = {"device": device}
    for members in command.sizes:
        taken = compare(measure(command, device, members))
        figures[str(members)] = taken
        print_sides(taken, members, device, command.steps)
    gain = "gain" if device == "cpu" else "gain_on_the_clock"
    value = figures[str(judged)].get(side, figures[str(judged)]["packed"])[gain]
    finish("packs", value, "x", target, target.met(value), figures, command.json_path)


if __name__ == "__main__":
    run(main)
