"""Cells that train nothing, by the thousand, through the whole engine: `python benchmarks/scale.py`.

Everything but training and evaluation is real: planning, Ray Tune and its warm actors, records, the MLflow
run of every cell in a SQLite database, tables, figures and the report. A cell's record is as large as a
real one (80 points of a curve, 60 test images, an adapter file and a picture). Two sweeps run, each in
a process of its own: the small one shows start-up, the large one the cost of a cell and whether it grows.

At the end the MLflow runs are counted: exactly one a cell, all of them finished.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import tyro
from mlflow.tracking.client import MlflowClient
from pydantic import Field
from rich.console import Console
from rich.table import Table

from benchmarks._report import Target, finish, run
from interfero.analysis.records import METRICS
from interfero.config import Config
from interfero.engine.node import Node
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.sweep import Sweep, run_sweep
from interfero.engine.worker import Worker
from interfero.errors import InterferoError
from interfero.records import CellRecord, ImageRow
from interfero.store.files import write_atomic
from trainables.studies import adaptation

TARGET = Target("<=", 0.15)
MAX_GROWTH = 1.25
"""Seconds a cell in the last quarter of a sweep over those in its second: above this, it is not linear."""
KIND = "benchmark-scale"
ADAPTER_SIZES = tuple(range(1, 9))
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
CELLS_A_SEED = len(ADAPTER_SIZES) * len(LEARNING_RATES)
CURVE_POINTS = 80
NUM_IMAGES = 60
FILE_BYTES = 20_000
EVERY_S = 0.5
"""How often a running sweep is looked at."""


class ScaleBenchmark(Config):
    """How many cells, and how."""

    cells: tuple[int, ...] = Field(default=(200, 2000), min_length=2)
    """Cells of the small and of the large sweep, multiples of 40."""
    packs: bool = True
    """Eight cells a Tune trial, as sweeps do by default; without, one."""
    folder: Path | None = None
    """Where the sweeps are kept; by default a temporary folder that is removed."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


@dataclass(frozen=True)
class NoOpRunner:
    """Gives every cell a record at once."""

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """Records in the order of the pack's nodes."""
        for node in pack.nodes:
            yield no_op_record(node, worker.folder)


def no_op_record(cell: Node, folder: Path) -> CellRecord:
    """A finished record of a usual size, its numbers drawn from the cell's key.

    What cells share has no numbers of its own.
    """
    if not cell.leaf:
        return CellRecord(
            key=cell.key, params=cell.params, status="finished", started_at=time.time()
        )
    random = np.random.default_rng(int(cell.key, 16))
    started_at = time.time()
    adapter, sample = f"adapters/{cell.key}.safetensors", f"samples/{cell.key}.png"
    for name in (adapter, sample):
        write_atomic(folder / name, random.bytes(FILE_BYTES))
    scores = dict.fromkeys(set(ImageRow.model_fields) - {"role", "name", "group"}, 1.0)
    values = random.uniform(0.5, 1.5, size=CURVE_POINTS)
    return CellRecord(
        key=cell.key,
        params=cell.params,
        status="finished",
        metrics={name: float(random.uniform(0.5, 1.5)) for name in METRICS},
        images=tuple(
            ImageRow(role=role, name=f"image {i}", group=f"image {i}", **scores)
            for role in ("target", "source", "source_unrouted")
            for i in range(NUM_IMAGES // 3)
        ),
        curve=tuple(
            (step, dict.fromkeys(("train/bpp", "train/mse_255", "train/rd_loss", "train/loss"), v))
            for step, v in enumerate(map(float, values), start=1)
        ),
        adapter_file=adapter,
        sample_file=sample,
        seconds=time.time() - started_at,
        started_at=started_at,
    )


def drive(num_cells: int, folder: str, packs: bool) -> None:
    """One sweep, as a user's script would run it."""
    sweep = Sweep(
        kind=KIND,
        question="What does a cell cost that trains nothing?",
        options=AdaptationOptions(
            domains=("histology",),
            methods=("cawf",),
            adapter_sizes=ADAPTER_SIZES,
            learning_rates=LEARNING_RATES,
            data_seeds=tuple(range(num_cells // CELLS_A_SEED)),
            num_images=("5",),
            num_steps=CURVE_POINTS,
            storage=f"{folder}/storage",
            name="sweep",
            packs=packs,
        ),
        study=lambda: replace(adaptation(), make_runner=lambda plan: NoOpRunner()),
    )
    sys.exit(run_sweep(sweep, [], Console()))


@dataclass(frozen=True)
class Seen:
    """A sweep as it was seen from outside."""

    seconds: float
    """From start to exit of its process."""
    peak_mib: float
    """Largest resident memory of the driver."""
    timeline: tuple[tuple[float, int], ...]
    """(seconds, records on disk)."""

    def seconds_between(self, first: float, last: float) -> float:
        """Seconds a cell between two shares of the records."""
        total = self.timeline[-1][1]
        marks = [next(p for p in self.timeline if p[1] >= share * total) for share in (first, last)]
        (t0, n0), (t1, n1) = marks
        return (t1 - t0) / max(1, n1 - n0)

    @property
    def first_record(self) -> float:
        """Seconds until there is a record: imports, planning, Ray, the first actor."""
        return next(seconds for seconds, count in self.timeline if count)

    @property
    def last_record(self) -> float:
        """Seconds until all records are there."""
        return next(seconds for seconds, count in self.timeline if count == self.timeline[-1][1])


def watch(num_cells: int, folder: Path, packs: bool) -> Seen:
    """Run a sweep in a process of its own, and look at it twice a second."""
    folder.mkdir(parents=True)
    code = f"from benchmarks.scale import drive; drive({num_cells}, {str(folder)!r}, {packs})"
    cells, timeline, peak = folder / "storage" / "sweep" / "cells", [(0.0, 0)], 0
    started = time.perf_counter()
    with (folder / "output.txt").open("w") as output:
        driver = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdout=output, stderr=subprocess.STDOUT, env=_environment(folder),
        )  # fmt: skip
        seen_by = psutil.Process(driver.pid)
        while driver.poll() is None:
            count = sum(1 for _ in cells.glob("*.json")) if cells.exists() else 0
            timeline.append((time.perf_counter() - started, count))
            with contextlib.suppress(psutil.Error):  # It may just have ended.
                peak = max(peak, seen_by.memory_info().rss)
            time.sleep(EVERY_S)
    seconds = time.perf_counter() - started
    if driver.returncode:
        text = (folder / "output.txt").read_text()
        raise InterferoError(f"the sweep of {num_cells} cells ended with an error:\n{text}")
    timeline.append((seconds, sum(1 for _ in cells.glob("*.json"))))
    return Seen(seconds, peak / 2**20, tuple(timeline))


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}


def check_runs(num_cells: int, folder: Path) -> int:
    """Metrics points that MLflow holds for a cell.

    Raises:
        InterferoError: some cell has no run, or two, or one that is not finished.
    """
    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(KIND)
    runs: list[Any] = []
    token: str | None = None
    while token != "":
        query = "tags.`interfero.kind` = 'cell'"
        page = client.search_runs([experiment.experiment_id], query, page_token=token)
        runs, token = [*runs, *page], page.token or ""
    keys = {run.data.tags["interfero.cell"] for run in runs}
    finished = sum(run.info.status == "FINISHED" for run in runs)
    if not len(runs) == len(keys) == finished == num_cells:
        raise InterferoError(
            f"{num_cells} cells have {len(runs)} runs of {len(keys)} keys, {finished} finished"
        )
    curve = client.get_metric_history(runs[0].info.run_id, "train/loss")
    return len(runs[0].data.metrics) + 4 * (len(curve) - 1)


def measure(num_cells: int, folder: Path, packs: bool) -> dict[str, Any]:
    """Run one sweep, check its runs, and give its figures."""
    seen = watch(num_cells, folder, packs)
    points = check_runs(num_cells, folder)
    database = (folder / "mlflow.db").stat().st_size
    return {
        "cells": num_cells,
        "seconds": seen.seconds,
        "seconds_a_cell": seen.seconds / num_cells,
        "cells_a_second": num_cells / (seen.last_record - seen.first_record),
        "start_s": seen.first_record,
        "end_s": seen.seconds - seen.last_record,
        "growth": seen.seconds_between(0.75, 1.0) / seen.seconds_between(0.25, 0.5),
        "driver_peak_mib": seen.peak_mib,
        "metric_points_a_cell": points,
        "database_mib": database / 2**20,
        "timeline": seen.timeline,
    }


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A column a sweep."""
    shown = Table(caption="cells a second: between the first record and the last")
    shown.add_column("cells")
    for row in rows:
        shown.add_column(str(row["cells"]), justify="right")
    forms = {
        "seconds": ".1f", "seconds_a_cell": ".3f", "cells_a_second": ".1f", "start_s": ".1f",
        "end_s": ".1f", "growth": ".2f", "driver_peak_mib": ".0f", "metric_points_a_cell": "d",
        "database_mib": ".0f",
    }  # fmt: skip
    for name, form in forms.items():
        shown.add_row(name, *(f"{row[name]:{form}}" for row in rows))
    return shown


def main() -> None:
    """Command line."""
    command = tyro.cli(ScaleBenchmark, description=__doc__)
    wrong = [n for n in command.cells if n % CELLS_A_SEED or n <= 0]
    if wrong:
        raise InterferoError(f"--cells must be multiples of {CELLS_A_SEED}, got {wrong}")
    console, rows = Console(), []
    with tempfile.TemporaryDirectory(prefix="interfero-scale-") as temporary:
        folder = (command.folder or Path(temporary)).resolve()
        for num_cells in sorted(command.cells):
            rows.append(measure(num_cells, folder / str(num_cells), command.packs))
            console.print(f"{num_cells} cells: {rows[-1]['seconds']:.1f} s")
    console.print(table(rows))
    small, large = rows[0], rows[-1]
    added = large["cells"] - small["cells"]
    more = {
        "seconds_a_further_cell": (large["seconds"] - small["seconds"]) / added,
        "driver_kib_a_further_cell": 1024 * (large["driver_peak_mib"] - small["driver_peak_mib"]) / added,
    }  # fmt: skip
    console.print(
        f"each cell beyond {small['cells']}: {more['seconds_a_further_cell']:.3f} s, "
        f"{more['driver_kib_a_further_cell']:.0f} KiB of the driver's memory"
    )
    value, linear = large["seconds_a_cell"], large["growth"] <= MAX_GROWTH
    ok = linear and TARGET.met(value)
    reason = "" if linear else f"the last cells take {large['growth']:.2f} times as long"
    figures = {"packs": command.packs, "sweeps": rows, **more}
    finish("scale", value, "s/cell", TARGET, ok, figures, command.json_path, reason=reason)


if __name__ == "__main__":
    run(main)
