"""Cells that train nothing, by the thousand, through the whole engine: `python benchmarks/scale.py`.

Everything but training and evaluation is real: planning, Ray Tune and its warm actors, records, the MLflow
run of every cell in a SQLite database, tables, figures and the report. A cell's record is as large as a
real one (80 points of a curve, 60 test images, an adapter file and a picture). Two sweeps run, each in
a process of its own: the small one shows start-up, the large one the cost of a cell and whether it grows.

At the end the MLflow runs are counted: exactly one a cell, all of them finished.

With `--before PATH`, a checkout of an earlier build with an environment of its own (`make install` there),
the same sweeps run on it too, in turn, and plans of 20,000 cells are made by both: then the figures are
ratios.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import tyro
from mlflow.tracking.client import MlflowClient
from pydantic import Field
from rich.console import Console
from rich.table import Table

from benchmarks._planning import ADAPTER_SIZES, CELLS_A_SEED, LEARNING_RATES
from benchmarks._report import Target, finish, run
from interfero.analysis.records import METRICS
from interfero.config import Config
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.node import Node
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.sweep import Sweep, run_sweep
from interfero.engine.worker import Worker
from interfero.errors import InterferoError
from interfero.records import CellRecord, ImageRow
from interfero.store.files import read_json, write_atomic, write_json
from trainables.studies import adaptation

TARGET = Target("<=", 0.15)
MAX_GROWTH = 1.25
"""Seconds a cell in the last quarter of a sweep over those in its second: above this, it is not linear."""
KIND = "benchmark-scale"
ROOT = Path(__file__).resolve().parents[1]
PLANNED_CELLS = 20_000
DRY_RUN_CELLS = 100_000
RATIOS = {
    "seconds_a_further_cell": 0.6,
    "driver_cpu_s_a_further_cell": 0.6,
    "driver_kib_a_further_cell": 1 / 8,
    "make_plan_cpu_s": 1 / 4,
}
"""Most of the build before that each figure may take."""
CURVE_POINTS = 80
NUM_IMAGES = 60
FILE_BYTES = 20_000
SMALL_SWEEP = 200
EVERY_S = 0.5
"""How often a running sweep is looked at; more seldom where looking takes long."""
KEPT = "seen.json"
"""What was seen of a sweep so far, for when it goes on after it was interrupted."""


class ScaleBenchmark(Config):
    """How many cells, and how."""

    cells: tuple[int, ...] = Field(default=(SMALL_SWEEP, 2000), min_length=1)
    """Cells of the small and of the large sweep, multiples of 40; of one number the small sweep is of 200."""
    packs: bool = True
    """Eight cells a Tune trial, as sweeps do by default; without, one."""
    before: Path | None = None
    """Checkout of the build to compare with; it has an environment of its own in .venv."""
    dry_run: bool = True
    """Also plan 100,000 cells."""
    folder: Path | None = None
    """Where the sweeps are kept; by default a temporary folder that is removed. Those of a folder go on."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


@dataclass(frozen=True)
class NoOpRunner:
    """Gives every cell a record at once."""

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """Records in the order of the pack."""
        for node in pack.nodes:
            yield no_op_record(node, worker.folder) if isinstance(node, Cell) else nothing(node)


def nothing(node: Node) -> CellRecord:
    """A finished record of what cells share."""
    return CellRecord(key=node.key, params=node.params, status="finished")


def no_op_record(cell: Cell, folder: Path) -> CellRecord:
    """A finished record of a usual size, its numbers drawn from the cell's key."""
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
            resume=(Path(folder) / "storage/sweep/sweep.json").exists(),
        ),
        study=lambda: replace(adaptation(), make_runner=lambda plan: NoOpRunner()),
    )
    sys.exit(run_sweep(sweep, [], Console()))


@dataclass(frozen=True)
class Seen:
    """A sweep as it was seen from outside."""

    timeline: tuple[tuple[float, int], ...]
    """(seconds, records on disk)."""
    seconds: float = 0.0
    """From start to exit of its process; of several where it was interrupted."""
    peak_mib: float = 0.0
    """Largest resident memory of the driver."""
    cpu_s: float = 0.0
    """User and system time of the driver, as last seen: less noisy than seconds where others work too."""
    ended: bool = False

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


def watch(num_cells: int, folder: Path, packs: bool, checkout: Path, uri: str = "") -> Seen:
    """Run a sweep in a process of its own, or let it go on, and look at it twice a second.

    It tracks at `uri`, or in a database in the folder. Times and the largest memory are of all its processes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    seen = _kept_of(folder)
    if seen.ended:
        return seen
    code = f"from benchmarks.scale import drive; drive({num_cells}, {str(folder)!r}, {packs})"
    started = time.perf_counter()
    with (folder / "output.txt").open("a") as output:
        driver = subprocess.Popen(
            [python_of(checkout), "-W", "ignore", "-c", code], cwd=checkout,
            stdout=output, stderr=subprocess.STDOUT, env=_environment(folder, checkout, uri),
        )  # fmt: skip
        process, now = psutil.Process(driver.pid), seen
        while driver.poll() is None:
            looked = time.perf_counter()
            now = _look(folder, process, seen, now, looked - started)
            write_json(folder / KEPT, asdict(now))
            time.sleep(max(EVERY_S, 20 * (time.perf_counter() - looked)))
    if driver.returncode:
        text = (folder / "output.txt").read_text()
        raise InterferoError(f"the sweep of {num_cells} cells ended with an error:\n{text[-5000:]}")
    seconds = seen.seconds + time.perf_counter() - started
    line = (*now.timeline, (seconds, _num_records(folder)))
    now = replace(now, seconds=seconds, timeline=line, ended=True)
    write_json(folder / KEPT, asdict(now))
    return now


def _kept_of(folder: Path) -> Seen:
    """What was seen of a sweep before, nothing where it is new."""
    path = folder / KEPT
    kept = read_json(path) if path.exists() else {"timeline": [(0.0, 0)]}
    line = tuple((float(seconds), int(count)) for seconds, count in kept.pop("timeline"))
    return Seen(timeline=line, **kept)


def _look(folder: Path, driver: psutil.Process, before: Seen, last: Seen, seconds: float) -> Seen:
    """The sweep as it stands: what was seen before its driver began, and what that has used since."""
    seconds += before.seconds
    now = replace(last, seconds=seconds, timeline=(*last.timeline, (seconds, _num_records(folder))))
    with contextlib.suppress(psutil.Error):  # It may just have ended.
        peak, used = driver.memory_info().rss / 2**20, driver.cpu_times()
        cpu_s = before.cpu_s + used.user + used.system
        now = replace(now, peak_mib=max(last.peak_mib, peak), cpu_s=cpu_s)
    return now


def _num_records(folder: Path) -> int:
    cells = folder / "storage" / "sweep" / "cells"
    return sum(1 for _ in cells.glob("*.json")) if cells.exists() else 0


def python_of(checkout: Path) -> str:
    """The interpreter of a checkout: ours, or that of its own environment.

    Raises:
        InterferoError: it has none.
    """
    if checkout == ROOT:
        return sys.executable
    python = checkout / ".venv/bin/python"
    if not python.exists():
        raise InterferoError(f"--before {checkout} has no .venv: run `make install` there first")
    return str(python)


def _environment(folder: Path, checkout: Path, uri: str = "") -> dict[str, str]:
    return {
        **os.environ,
        "MLFLOW_TRACKING_URI": uri or f"sqlite:///{folder}/mlflow.db",
        "PYTHONPATH": f"{checkout / 'platform'}{os.pathsep}{checkout}",
    }


def planning(what: str, num_cells: int, folder: Path, checkout: Path) -> dict[str, float]:
    """What a build takes to plan: CPU seconds and the peak of its memory in MiB."""
    script = [
        python_of(checkout),
        str(ROOT / "benchmarks/_planning.py"),
        what,
        str(num_cells),
        str(folder),
    ]
    ended = subprocess.run(
        script,
        cwd=checkout,
        env=_environment(folder, checkout),
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise InterferoError(
            f"{what} of {num_cells} cells ended with an error:\n{ended.stderr[-2000:]}"
        )
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def check_runs(num_cells: int, folder: Path, uri: str = "") -> int:
    """Metrics points that MLflow, at `uri` or in the folder, holds for a cell.

    Raises:
        InterferoError: some cell has no run, or two, or one that is not finished.
    """
    client = MlflowClient(uri or f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name(KIND)
    mark = (folder / "storage/sweep/sweep_id").read_text()
    query = f"tags.`interfero.sweep_id` = '{mark}'"
    (parent,) = client.search_runs([experiment.experiment_id], query)
    query = f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
    runs: list[Any] = []
    token: str | None = None
    while token != "":
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


def measure(num_cells: int, folder: Path, packs: bool, checkout: Path = ROOT) -> dict[str, Any]:
    """Run one sweep, check its runs, and give its figures."""
    seen = watch(num_cells, folder, packs, checkout)
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
        "driver_cpu_s": seen.cpu_s,
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
        "end_s": ".1f", "growth": ".2f", "driver_peak_mib": ".0f", "driver_cpu_s": ".1f",
        "metric_points_a_cell": "d", "database_mib": ".0f",
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
    sizes = sorted({*command.cells, SMALL_SWEEP} if len(command.cells) == 1 else {*command.cells})
    if len(sizes) == 1:
        raise InterferoError(
            f"--cells {sizes[0]} is one size: a further cell's cost needs two, give a larger one"
        )
    console = Console()
    builds = {"now": ROOT} | (
        {} if command.before is None else {"before": command.before.resolve()}
    )
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    planned: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="interfero-scale-") as temporary:
        folder = (command.folder or Path(temporary)).resolve()
        for name, checkout in builds.items():
            planned[name] = planning("make_plan", PLANNED_CELLS, folder, checkout)
            console.print(f"{name}: make_plan of {PLANNED_CELLS} cells {planned[name]}")
        dry = planning("dry_run", DRY_RUN_CELLS, folder, ROOT) if command.dry_run else {}
        for num_cells in sizes:
            for name, checkout in builds.items():
                row = measure(num_cells, folder / name / str(num_cells), command.packs, checkout)
                rows[name].append(row)
                console.print(f"{name}: {num_cells} cells: {row['seconds']:.1f} s")
    for name in builds:
        console.print(f"{name}:", table(rows[name]))
    further = {
        name: added(*rows[name]) | {"make_plan_cpu_s": planned[name]["cpu_seconds"]}
        for name in builds
    }
    missed = report_ratios(console, further) if "before" in further else []
    large = rows["now"][-1]
    value, linear = large["seconds_a_cell"], large["growth"] <= MAX_GROWTH
    ok = linear and TARGET.met(value) and not missed
    reasons = [] if linear else [f"the last cells take {large['growth']:.2f} times as long"]
    figures = {
        "packs": command.packs,
        "sweeps": rows,
        "further": further,
        "planned": planned,
        "dry_run": dry,
    }
    finish(
        "scale",
        value,
        "s/cell",
        TARGET,
        ok,
        figures,
        command.json_path,
        reason="; ".join(reasons + missed),
    )


def added(*rows: dict[str, Any]) -> dict[str, float]:
    """What each cell beyond those of the small sweep takes."""
    small, large = rows[0], rows[-1]
    cells = large["cells"] - small["cells"]
    return {
        "seconds_a_further_cell": (large["seconds"] - small["seconds"]) / cells,
        "driver_cpu_s_a_further_cell": (large["driver_cpu_s"] - small["driver_cpu_s"]) / cells,
        "driver_kib_a_further_cell": 1024
        * (large["driver_peak_mib"] - small["driver_peak_mib"])
        / cells,
    }


def report_ratios(console: Console, further: dict[str, dict[str, float]]) -> list[str]:
    """Print each figure of both builds; returns those that missed their ratio."""
    missed = []
    for name, most in RATIOS.items():
        now, before = further["now"][name], further["before"][name]
        ok = now <= most * before
        console.print(
            f"{name}: {now:.3f}, before {before:.3f}: {now / before:.2f}x (at most {most:.3g}x)"
        )
        if not ok:
            missed.append(f"{name} is {now / before:.2f}x")
    return missed


if __name__ == "__main__":
    run(main)
