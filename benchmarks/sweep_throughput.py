"""Cells an hour against the two usual ways to run a sweep: `python benchmarks/sweep_throughput.py`.

(a) Ray's documented pattern, a TorchTrainer inside a Tune function with `MLflowLoggerCallback`
(`benchmarks/_ray_pattern.py`); (b) a plain loop that starts one process a cell, as many at once as there are
cores, around a CompressAI-style training script (`benchmarks/_training_script.py`). All train and evaluate
the same cells of the bundled codec with the same steps, precision, threads and evaluation code. (a) reports
ten points a cell, fewer than interfero logs to MLflow; (b) logs nothing. Each side is one command, timed
from start to exit; rounds alternate.

The factors are shown apart: seconds a cell of start-up, data, training, source results and evaluation, as
each side's processes counted them. What interfero spends beside training and evaluation is its overhead.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import tyro
from PIL import Image
from pydantic import Field
from rich.console import Console
from rich.table import Table

from benchmarks._cells import RD_LAMBDA, SOURCE, SOURCE_DOMAIN, TARGET_DOMAIN
from benchmarks._report import Target, also, finish, run
from interfero.config import Config
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.loading import load
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.plan import make_plan
from interfero.engine.adaptation.precision import choose_precision
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.sweep import Sweep, run_sweep
from interfero.errors import InterferoError
from interfero.records import CellRecord
from interfero.store.products import Products
from interfero.store.sweep import SweepStore
from trainables.studies import adaptation

RAY, PLAIN, OVERHEAD = Target(">=", 8.0), Target(">=", 2.0), Target("<=", 10.0)
CORES = os.cpu_count() or 1
PARTS = ("start", "data", "training", "source", "evaluation")


class SweepThroughput(Config):
    """Which cells, and how often."""

    steps: int = Field(default=150, gt=0)
    """Optimiser steps a cell; a cell should take about 30 s."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """For fine-tuning and each size of cawf."""
    sizes: tuple[int, ...] = (1, 2, 4)
    """Sizes of cawf, in channels."""
    data_seeds: tuple[int, ...] = (0, 1)
    """Each is a block of its own."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of training."""
    sides: tuple[Literal["ours", "ray", "plain"], ...] = ("ours", "plain", "ray")
    """What is run."""
    rounds: int = Field(default=1, gt=0)
    """Times that each side runs all cells."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


def options_of(command: SweepThroughput, folder: str) -> AdaptationOptions:
    """The sweep, as a user would ask for it."""
    return AdaptationOptions(
        source=SOURCE,
        domains=(TARGET_DOMAIN,),
        source_domain=SOURCE_DOMAIN,
        methods=("finetune", "cawf"),
        adapter_sizes=command.sizes,
        learning_rates=command.learning_rates,
        data_seeds=command.data_seeds,
        lambdas=(RD_LAMBDA,),
        num_steps=command.steps,
        precision=command.precision,
        storage=f"{folder}/storage",
        name="sweep",
        # Its workers would be warm before the clock starts.
        pool=False,
    )


def make_sweep(options: AdaptationOptions) -> Sweep:
    """The same kind of sweep as `sweeps/adapter_capacity.py`."""
    return Sweep(
        kind="benchmark-throughput",
        question="How many cells an hour?",
        options=options,
        study=adaptation,
    )


def drive(options: str) -> None:
    """One sweep of ours, in its own process."""
    sweep = make_sweep(AdaptationOptions.model_validate_json(options))
    # Without arguments, not with an empty list of them: a command starts Ray while it loads.
    sys.exit(run_sweep(sweep, None, Console()))


def run_command(command: list[str], folder: Path) -> None:
    """One process, its output kept for errors."""
    uri = f"sqlite:///{folder}/mlflow.db"
    given = {"MLFLOW_TRACKING_URI": uri, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, *command], env={**os.environ, **given}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        raise InterferoError(
            f"{command[:2]} ended with an error:\n{(done.stdout + done.stderr)[-3000:]}"
        )


def run_ours(options: AdaptationOptions, folder: Path) -> dict[str, Any]:
    """Our engine: one command."""
    given = options.model_copy(update={"storage": f"{folder}/storage"}).model_dump_json()
    code = f"from benchmarks.sweep_throughput import drive; drive({given!r})"
    started, began_at = time.perf_counter(), time.time()
    run_command(["-c", code], folder)
    seconds = time.perf_counter() - started
    store = SweepStore(folder / "storage", "sweep")
    records, products = list(store.each_record()), Products(store.storage)
    shared = [record for key in products.list_keys() if (record := products.record(key))]
    parts = own_parts(records, shared, began_at, seconds)
    return {"seconds": seconds, "cells": len(records), **parts}


def own_parts(
    records: list[CellRecord], shared: list[CellRecord], began_at: float, seconds: float
) -> dict[str, Any]:
    """Where our sweep's time went: by cell, and what no worker was training or evaluating in.

    Args:
        records: Of the cells.
        shared: Of what cells share: the source codec's results, which the peers compute in each cell.
        began_at: Unix time of the command.
        seconds: From its start to its exit.
    """
    timings = [record.timing for record in records if record.timing is not None]
    if len(timings) < len(records):
        raise InterferoError(f"{len(records) - len(timings)} cells failed")
    source = [t.reference_seconds for t in timings]
    common = sum(record.seconds for record in shared)
    coding = [t.coding_seconds + t.validation_seconds for t in timings]
    busy = sum(record.seconds for record in records)
    first = min(record.started_at for record in records) - began_at
    parts = {
        "training": busy - sum(source) - sum(coding),
        "source": sum(source) + common,
        "evaluation": sum(coding),
        "start": first,
    }
    return {
        "parts": {name: value / len(records) for name, value in parts.items()},
        "start_s": first,
        "overhead_percent": 100 * max(0.0, 1 - (busy + common) / CORES / seconds),
    }


def run_peer(side: str, cells: list[Cell], images: Path, folder: Path) -> dict[str, Any]:
    """One of the two usual ways."""
    started = time.perf_counter()
    if side == "ray":
        (folder / "cells.json").write_text(json.dumps([cell.model_dump_json() for cell in cells]))
        run_command(
            ["-m", "benchmarks._ray_pattern", str(folder / "cells.json"), str(images), str(folder)],
            folder,
        )
        results = [json.loads((folder / f"{cell.key}.json").read_text()) for cell in cells]
    else:
        results = run_loop(cells, str(images), folder)
    seconds = time.perf_counter() - started
    spent = {p: statistics.mean(r[f"seconds/{p}"] for r in results) for p in PARTS}
    # What none of its own clocks saw: starting processes, importing, waiting for reports.
    spent["start"] += CORES * seconds / len(cells) - sum(spent.values())
    return {"seconds": seconds, "cells": len(cells), "parts": spent}


def run_loop(
    cells: list[Cell], images: str, folder: Path, module: str = "benchmarks._training_script"
) -> list[dict[str, float]]:
    """A plain loop: a process a cell, as many at once as there are cores.

    Args:
        cells: What is trained.
        images: Folder of training images, or `-` for crops as interfero draws them.
        folder: Where everything is written.
        module: What each process runs.

    Returns:
        Metrics and seconds of each cell.
    """

    def train(cell: Cell) -> dict[str, float]:
        given, found = folder / f"{cell.key}.cell.json", folder / f"{cell.key}.json"
        given.write_text(cell.model_dump_json())
        run_command(["-m", module, str(given), images, str(folder)], folder)
        metrics: dict[str, float] = json.loads(found.read_text())
        return metrics

    with ThreadPoolExecutor(CORES) as at_once:
        return list(at_once.map(train, cells))


def table(results: dict[str, dict[str, Any]]) -> Table:
    """A column a side."""
    names = {"ours": "interfero", "ray": "(a) Ray's pattern", "plain": "(b) a process a cell"}
    shown = Table(
        caption="seconds a cell, by what they went to; start: all that is none of the rest"
    )
    shown.add_column("")
    for side in results:
        shown.add_column(names[side], justify="right")
    shown.add_row(
        "cells an hour", *(f"{3600 * r['cells'] / r['seconds']:.0f}" for r in results.values())
    )
    for part in PARTS:
        cells = (f"{r['parts'][part]:.1f}" if part in r["parts"] else "-" for r in results.values())
        shown.add_row(part, *cells)
    return shown


def main() -> None:
    """Command line."""
    command = tyro.cli(SweepThroughput, description=__doc__)
    console = Console()
    rounds: list[dict[str, dict[str, Any]]] = []
    with TemporaryDirectory(prefix="interfero-throughput-") as temporary:
        options = options_of(command, temporary)
        precision = choose_precision(options.precision, "cpu")
        cells = list(make_plan(load(options), adaptation().code(), precision).cells)
        images = Path(temporary) / "images"
        (images / "train").mkdir(parents=True)
        training = load_domain(TARGET_DOMAIN).split("all", 0).training
        for index, sample in enumerate(training):
            Image.fromarray(sample.pixels_HWC).save(images / "train" / f"{index}.png")
        for index in range(command.rounds):
            rounds.append({})
            for side in command.sides if index % 2 == 0 else command.sides[::-1]:
                folder = Path(temporary) / f"{side}-{index}"
                folder.mkdir()
                result = (
                    run_ours(options, folder)
                    if side == "ours"
                    else run_peer(side, cells, images, folder)
                )
                rounds[-1][side] = result
                console.print(f"{side}: {len(cells)} cells in {result['seconds']:.1f} s")
    report(command, rounds, console)


def report(
    command: SweepThroughput, rounds: list[dict[str, dict[str, Any]]], console: Console
) -> None:
    """Print the table and the targets."""
    console.print(table(rounds[-1]))

    def gain(side: str) -> float | None:
        if side not in command.sides or "ours" not in command.sides:
            return None
        return statistics.median(r[side]["seconds"] / r["ours"]["seconds"] for r in rounds)

    missed = []
    plain, ray = gain("plain"), gain("ray")
    ours = [r["ours"] for r in rounds if "ours" in r]
    overhead = statistics.median(r["overhead_percent"] for r in ours) if ours else None
    if ours:
        starts = statistics.median(r["start_s"] for r in ours)
        console.print(f"interfero's first cell began {starts:.1f} s after the command")
    for name, value, unit, target in (
        ("sweep_throughput_plain", plain, "x", PLAIN),
        ("engine_overhead", overhead, "%", OVERHEAD),
    ):
        if value is not None:
            also(name, value, unit, target)
            missed += [] if target.met(value) else [f"{name} {value:.3g} of {target.limit:g}"]
    ok = ray is not None and RAY.met(ray) and not missed
    figures = {"rounds": rounds, "plain": plain, "ray": ray, "overhead_percent": overhead}
    finish(
        "sweep_throughput", ray, "x", RAY, ok, figures, command.json_path, reason=", ".join(missed)
    )


if __name__ == "__main__":
    run(main)
