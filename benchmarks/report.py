"""What a report costs: `python benchmarks/report.py --before PATH`.

PATH is a checkout of a build before, with its environment in `.venv`. Both builds make the report of the
shipped map (756 cells) in turns, each in a process of its own: CPU seconds of all its processes. What counts
is the median of the rounds' ratios. Then this build makes the report of simulated cells: seconds and peak
memory.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from benchmarks._report import Target, also, finish, run
from benchmarks.startup import HERE, Command, Cost, measure
from interfero.analysis.records import write_tables
from interfero.errors import ConfigError
from interfero.records import CellRecord
from tools.planted import PlantedSweep

RATIO, SECONDS, MEMORY = Target("<=", 0.25), Target("<=", 120.0), Target("<=", 2.0)
MAP = Path("platform/interfero/analysis/map/cells.parquet")
DOMAINS = 8
SEEDS = (0, 1, 2, 3, 4)
SIZES = (0, 2, 4, 8, 16)
LAMBDAS = (0.0016, 0.0045, 0.013, 0.045)


def command(cells: Path) -> Command:
    """What makes the report of a table."""
    return Command(("-m", "interfero.cli", "report", "--cells", str(cells), "--out", "out"))


def simulated(count: int, path: Path) -> int:
    """Write a table of at least so many cells whose law is known, and return how many they are."""
    names = tuple(f"domain-{i}" for i in range(DOMAINS))
    block = DOMAINS * len(SEEDS) * len(SIZES) * len(LAMBDAS)
    sweep = PlantedSweep(
        lambda place: 4 * place["num_images"] ** 0.3 * place["adapter_fraction"] ** 0.2,
        num_images=tuple(2 * (i + 1) for i in range(-(-count // block))),
        adapter_sizes=SIZES, lambdas=LAMBDAS, domains=names, seeds=SEEDS, num_test_images=6,
        distances=tuple(2.0 + i for i in range(DOMAINS)),
    )  # fmt: skip
    cells = [_whole(record) for record in sweep.records(np.random.default_rng(0))]
    write_tables(cells, path)
    return len(cells)


def _whole(record: CellRecord) -> CellRecord:
    """With the metrics that a sweep's own cell has."""
    lost = record.metrics["source/forgetting_unrouted_percent"]
    routed = lost if record.params["method"] == "finetune" else 0.0
    gain = lost / 2 if record.params["method"] == "finetune" else lost / 3
    more = {
        "val/rd_gain_percent": gain, "val/forgetting_percent": routed,
        "val/forgetting_unrouted_percent": lost, "target/rd_gain_percent": gain,
        "source/forgetting_percent": routed,
    }  # fmt: skip
    return record.model_copy(update={"metrics": {**record.metrics, **more}})


def in_turns(before: Path, rounds: int) -> dict[str, list[Cost]]:
    """Costs of the shipped map's report by side; sides take turns, the first of them too."""
    roots = {"now": HERE, "before": before}
    costs: dict[str, list[Cost]] = {side: [] for side in roots}
    for index in range(rounds):
        for side in list(roots) if index % 2 else reversed(roots):
            with tempfile.TemporaryDirectory() as folder:
                costs[side].append(measure(roots[side], command(HERE / MAP), Path(folder)))
    return costs


def large(count: int) -> dict[str, float]:
    """Seconds, CPU seconds and GiB of the report of simulated cells."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        cells = simulated(count, folder / "cells")
        start = time.perf_counter()
        cost = measure(HERE, command(folder / "cells"), folder)
        seconds = time.perf_counter() - start
    return {
        "cells": cells, "seconds": seconds, "cpu_s": cost.cpu_s, "peak_gib": cost.peak_mib / 1024,
    }  # fmt: skip


def main(
    before: Path,
    rounds: int = 3,
    cells: int = 20_000,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure the report of both builds, and of many cells.

    Args:
        before: A checkout of the build before, with its environment in `.venv`.
        rounds: Reports of each build.
        cells: Simulated ones; 0 leaves them out.
        json_path: Where to keep every figure.
    """
    if not (before / ".venv/bin/python").exists():
        raise ConfigError(f"{before} has no .venv/bin/python: make install there")
    costs = in_turns(before.resolve(), rounds)
    ratio = statistics.median(
        now.cpu_s / then.cpu_s for now, then in zip(costs["now"], costs["before"], strict=True)
    )
    figures: dict[str, object] = {side: [vars(c) for c in own] for side, own in costs.items()}
    also("report_cpu_ratio", ratio, "of before", RATIO)
    if cells:
        found = large(cells)
        figures["simulated"] = found
        also("report_large_seconds", found["seconds"], "s", SECONDS)
        also("report_large_memory", found["peak_gib"], "GiB", MEMORY)
    now, then = (_median(costs[side]) for side in ("now", "before"))
    figures |= {"cpu_s_now": now, "cpu_s_before": then}
    finish("report_cpu", ratio, "of before", RATIO, RATIO.met(ratio), figures, json_path)


def _median(costs: Sequence[Cost]) -> float:
    return statistics.median(cost.cpu_s for cost in costs)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
