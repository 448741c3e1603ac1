"""What a step of each method costs beside one of fine-tuning: `python benchmarks/method_steps.py`.

One warm process trains cells of all methods in turns, as an actor does; the batch and the frozen source pass
are counted as if each cell were alone. Figures are medians over turns on the clock; a ratio is taken within a
turn. Run it on a quiet machine.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Annotated, Any

import torch
import tyro
from pydantic import Field
from rich.console import Console
from rich.table import Table

from benchmarks._cells import make_cell, scratch_worker, workbench
from benchmarks._report import describe_machine, run
from interfero.adaptation import METHODS
from interfero.config import Config
from interfero.engine.adaptation.nodes import Cell, LoopConfig
from interfero.store.files import write_json
from trainables.adaptation import time_steps
from trainables.workbench import Workbench

PEER = "finetune"


class MethodSteps(Config):
    """What is timed, and how often."""

    sizes: tuple[int, ...] = (1, 4)
    """Adapter sizes of methods that have one, in their own unit."""
    steps: int = Field(default=6, gt=1)
    """Steps a turn."""
    rounds: int = Field(default=5, gt=0)
    """Turns of each method; a first one is not counted."""
    batch_size: int = Field(default=8, gt=0)
    """Crops of 128x128 a step."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def cells_of(command: MethodSteps, bench: Workbench) -> dict[str, Cell]:
    """A cell of every method and size, by the name it is printed under."""
    loop = LoopConfig(num_steps=command.steps, batch_size=command.batch_size, precision="float32")
    cells = {}
    for name, method in METHODS.items():
        for size in command.sizes if method.size_unit else (0,):
            if name == "residual_adapter" and size not in (1, 3):
                continue
            cell = make_cell(bench, loop, name, size)
            strength = 1.0 if method.strength_unit else 0.0
            wanted = cell.hyperparameters.model_copy(update={"strength": strength})
            cells[f"{name} {size}" if size else name] = cell.model_copy(
                update={"hyperparameters": wanted}
            )
    return cells


def ms_a_step(cell: Cell, bench: Workbench) -> float:
    """One turn: milliseconds a step on the clock, what precedes the first step left out."""
    with scratch_worker() as worker:
        (timing,) = time_steps([cell], bench, worker)
    return 1000 * (timing.step_seconds + timing.pack_step_seconds)


def main() -> None:
    """Command line."""
    command = tyro.cli(MethodSteps, description=__doc__)
    torch.set_num_threads(1)
    bench = workbench()
    cells = cells_of(command, bench)
    turns: dict[str, list[float]] = {name: [] for name in cells}
    for index in range(command.rounds + 1):
        for name in cells if index % 2 else reversed(cells):
            once = ms_a_step(cells[name], bench)
            if index:
                turns[name].append(once)
    table = Table(caption="one thread; ratio: a step of finetune over one of the method")
    for heading in ("method", "ms a step", "ratio"):
        table.add_column(heading, justify="left" if heading == "method" else "right")
    figures: dict[str, Any] = {}
    for name, taken in turns.items():
        ratio = statistics.median(a / b for a, b in zip(turns[PEER], taken, strict=True))
        figures[name] = {"ms_a_step": taken, "ratio_to_finetune": ratio}
        table.add_row(name, f"{statistics.median(taken):.1f}", f"{ratio:.2f}")
    Console().print(table)
    if command.json_path is not None:
        write_json(command.json_path, {"figures": figures, "machine": describe_machine()})


if __name__ == "__main__":
    run(main)
