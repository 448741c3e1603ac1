"""What a training step costs beside a bare PyTorch loop: `python benchmarks/step.py`.

Both fine-tune the bundled codec: same weights, batch, crop, precision, memory format, optimisers and
clipping. The bare loop is CompressAI's example: its batches lie in memory and its noise is drawn by the
model, while ours draws crops and noise by (seed, step, sample), watches for NaN, keeps a curve and the time.

Then a strict one-way CAwF step beside a fine-tuning step, both in our loop, for each adapter size; and
bfloat16 beside float32, which `--precision auto` measures in the same way at the start of a sweep.
"""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro
from pydantic import Field
from torch import Tensor

from benchmarks._cells import make_cell, scratch_worker, workbench
from benchmarks._report import Target, also, finish, run
from benchmarks._rounds import Side, Turn, alternate, cpu, ratio, wall
from interfero.codecs.codec import quantile_parameters, rd_parameters
from interfero.config import Config
from interfero.domains.batches import draw_batch
from interfero.engine.adaptation.nodes import LoopConfig
from interfero.engine.adaptation.precision import WORTH, has_bfloat16
from trainables.adaptation import time_steps
from trainables.member import QUANTILE_LEARNING_RATE
from trainables.workbench import Workbench

LOOP, CAWF = Target(">=", 0.97), Target(">=", 2.0)
Precision = Literal["float32", "bfloat16"]


class StepBenchmark(Config):
    """How much is timed."""

    steps: int = Field(default=12, gt=1)
    """Steps a turn."""
    rounds: int = Field(default=8, gt=0)
    """Turns of each side."""
    sizes: tuple[int, ...] = Field(default=(1, 4, 8), min_length=1)
    """Adapter sizes of CAwF, in channels; the target is for all of them."""
    threads: int = Field(default=1, gt=0)
    """CPU threads, as a pack on one CPU has."""
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    """The first is what the targets are for; bfloat16 is left out where the processor lacks it."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def bare_loop(loop: LoopConfig) -> Callable[[], None]:
    """Fine-tuning as `examples/train.py` of CompressAI does it, one batch after another."""
    torch.set_num_threads(loop.threads)
    bench = workbench()
    batches = batches_of(bench, loop)
    half = torch.autocast("cpu", torch.bfloat16)

    def train() -> None:
        model: Any = copy.deepcopy(bench.codec.model).to(memory_format=torch.channels_last)
        model.train().requires_grad_(True)
        main = torch.optim.Adam(rd_parameters(model), lr=1e-4)
        auxiliary = torch.optim.Adam(quantile_parameters(model), lr=QUANTILE_LEARNING_RATE)
        for image in batches:
            main.zero_grad()
            auxiliary.zero_grad()
            with half if loop.precision == "bfloat16" else nullcontext():
                output = model(image)
            num_pixels = image[:, 0].numel()
            likelihoods = output["likelihoods"].values()
            bits = [p.float().log().sum() / -math.log(2) for p in likelihoods]
            mse = torch.nn.functional.mse_loss(output["x_hat"].float(), image)
            loss = sum(bits) / num_pixels + bench.codec.rd_lambda * 255**2 * mse
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), loop.clip_norm)
            main.step()
            model.aux_loss().backward()
            auxiliary.step()

    return train


def our_loop(loop: LoopConfig, method: str, size: int = 0) -> Callable[[], None]:
    """One cell as a warm actor trains it, without its evaluation."""
    torch.set_num_threads(loop.threads)
    bench = workbench()
    cell = make_cell(bench, loop, method, size)

    def train() -> None:
        with scratch_worker() as worker:
            time_steps([cell], bench, worker)

    return train


def batches_of(bench: Workbench, loop: LoopConfig) -> list[Tensor]:
    """The batches that our loop draws, ready in memory."""
    samples = bench.target.split("all", 0).training
    draw = partial(
        draw_batch, samples, seed=0, batch_size=loop.batch_size, crop_size=loop.crop_size
    )
    steps = range(loop.num_steps)
    return [draw(step=i).to(memory_format=torch.channels_last) for i in steps]


def measure(command: StepBenchmark, precision: Precision) -> dict[str, list[Turn]]:
    """All sides in one precision."""
    loop = LoopConfig(num_steps=command.steps, precision=precision, threads=command.threads)
    sides = {"bare": Side(bare_loop, (loop,)), "finetune": Side(our_loop, (loop, "finetune"))}
    sides |= {f"cawf {size}": Side(our_loop, (loop, "cawf", size)) for size in command.sizes}
    return alternate(sides, command.rounds)


def print_sides(turns: dict[str, list[Turn]], steps: int, precision: str) -> dict[str, Any]:
    """A line a side; returns its figures."""
    figures: dict[str, Any] = {}
    for name, taken in turns.items():
        on_clock, on_cpu = ([t / steps for t in times] for times in (wall(taken), cpu(taken)))
        figures[name] = {"wall_s_a_step": on_clock, "cpu_s_a_step": on_cpu}
        print(
            f"{precision:8s} {name:9s} {statistics.median(on_clock):.4f} s a step on the clock, "
            f"{statistics.median(on_cpu):.4f} s of CPU"
        )
    return figures


def main() -> None:
    """Command line."""
    command = tyro.cli(StepBenchmark, description=__doc__)
    asked = [p for p in command.precisions if p == "float32" or has_bfloat16("cpu")]
    turns = {precision: measure(command, precision) for precision in asked}
    figures: dict[str, Any] = {
        p: print_sides(taken, command.steps, p) for p, taken in turns.items()
    }
    if len(turns) > 1:
        gain = ratio(*(cpu(turns[p]["finetune"]) for p in ("float32", "bfloat16")))
        figures["bfloat16_gain"] = gain
        print(f"bfloat16 is {gain:.2f}x as fast as float32 (CPU time): auto asks for {WORTH:g}x")
    first = turns[asked[0]]
    # CPU time: one process, and nothing in it waits.
    loop_ratio = ratio(cpu(first["bare"]), cpu(first["finetune"]))
    on_clock = ratio(wall(first["bare"]), wall(first["finetune"]))
    cheaper = {
        size: ratio(cpu(first["finetune"]), cpu(first[f"cawf {size}"])) for size in command.sizes
    }
    for size, value in cheaper.items():
        print(f"a cawf step of {size} channels is {value:.2f}x cheaper than a fine-tuning step")
    worst = min(cheaper.values())
    figures |= {"loop": loop_ratio, "loop_on_the_clock": on_clock, "cawf": cheaper}
    also("cawf_step", worst, "x", CAWF)
    reasons = [] if CAWF.met(worst) else [f"cawf_step {worst:.3g} of {CAWF.limit:g}"]
    ok = LOOP.met(loop_ratio) and not reasons
    finish("step", loop_ratio, "x", LOOP, ok, figures, command.json_path, reason=", ".join(reasons))


if __name__ == "__main__":
    run(main)
