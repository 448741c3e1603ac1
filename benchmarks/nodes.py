"""Many nodes on one machine, and whether the driver keeps them busy: `python benchmarks/nodes.py`.

Ray's `Cluster` starts a head that trains nothing and nodes of one CPU each; a sweep runs on them through its
address, as on a real cluster: code, images and codecs are shipped, records and MLflow runs are written. A
simulated cell sleeps for a while and leaves a record of a usual size: what a sweep takes beyond the sleeping
is the engine's. Real cells train the bundled codec; they cannot scale beyond the cores of this machine.

Last comes the load of 64 workers. A worker process holds half a gigabyte, so where memory is short each
stands for several workers: it sleeps a fraction of a cell, and the driver starts as many trials and takes
as many records a second.

Efficiency is the share of time in which workers have a cell, from when the last one has started to when the
last cell is handed out. For real cells it is cells a second over those of the fewest nodes, a node.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import psutil
import tyro
from pydantic import Field
from ray.cluster_utils import Cluster
from rich.console import Console
from rich.table import Table

from benchmarks._report import Target, finish, run
from benchmarks.scale import no_op_record
from interfero.config import Config
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.sweep import Sweep, run_sweep
from interfero.engine.worker import PackRunner, Shippable, Worker
from interfero.errors import InterferoError
from interfero.records import CellRecord
from interfero.store.sweep import SweepStore
from trainables.runner import Runner
from trainables.studies import adaptation

TARGET = Target(">=", 0.9)
WORKER_GIB = 0.8
"""Memory of a worker process, with some to spare: 0.55 GiB are its own once the engine is imported."""
MAX_NODES = 8
SPREAD = 0.4
"""Simulated cells take their time times 0.8 to 1.2: they do not all end together, and real ones do not."""
ARRIVAL_S = 900.0
"""How long a worker waits for the others to start."""
EVERY_S = 0.1
"""How often a running sweep is looked at."""


class NodesBenchmark(Config):
    """How many nodes, and how long a cell takes."""

    nodes: tuple[int, ...] = (1, 4, 8)
    """Nodes that run simulated cells."""
    seconds: float = Field(default=5.0, gt=0)
    """What a simulated cell takes."""
    cells: int = Field(default=6, gt=1)
    """Cells a worker."""
    real_nodes: tuple[int, ...] = (1, 2)
    """Nodes that run real cells."""
    real_steps: int = Field(default=40, gt=0)
    """Training steps of a real cell."""
    workers: int = Field(default=64, ge=0)
    """Workers whose load is put on the driver; 0 leaves this out."""
    worker_seconds: float = Field(default=30.0, gt=0)
    """What a cell of these takes."""
    processes: int = Field(default=0, ge=0)
    """Worker processes that stand for them; 0 is as many as memory has room for."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""


@dataclass(frozen=True)
class SimulatedRunner:
    """Gives every cell a record after about so many seconds."""

    seconds: float

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """Records in the order of the pack's nodes; what cells share takes no time."""
        for node in pack.nodes:
            started_at = time.time()
            if node.leaf:
                share = int(node.key, 16) % 1000 / 999 - 0.5
                time.sleep(self.seconds * (1 + SPREAD * share))
            seconds = time.time() - started_at
            record = no_op_record(node, worker.folder)
            yield record.model_copy(update={"started_at": started_at, "seconds": seconds})


@dataclass(frozen=True)
class TogetherRunner:
    """Starts no cell before all workers are there; notes when this one was."""

    runner: PackRunner
    workers: int

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """What the runner gives."""
        folder = worker.folder / "workers"
        folder.mkdir(exist_ok=True)
        mine = folder / str(os.getpid())
        # Its time says when the worker was first there: a worker takes one pack after another.
        if not mine.exists():
            mine.touch()
        give_up = time.monotonic() + ARRIVAL_S
        while len(list(folder.iterdir())) < self.workers and time.monotonic() < give_up:
            time.sleep(EVERY_S)
        return self.runner(pack, worker)

    def shipped(self, storage: Path) -> TogetherRunner:
        """The same for a cluster."""
        inner = self.runner
        shipped = inner.shipped(storage) if isinstance(inner, Shippable) else inner
        return TogetherRunner(shipped, self.workers)


def drive(
    workers: int, num_cells: int, folder: str, address: str, seconds: float, num_steps: int
) -> None:
    """One sweep, as a user's script would run it; cells are real if `seconds` is 0."""
    rates = tuple(1e-4 * (1 + index / num_cells) for index in range(num_cells))

    def make_runner(plan: Any) -> PackRunner:
        inner = SimulatedRunner(seconds) if seconds else Runner.of_adaptation(plan)
        return TogetherRunner(inner, workers)

    sweep = Sweep(
        kind="benchmark-nodes",
        question="Does the driver keep many nodes busy?",
        options=AdaptationOptions(
            domains=("histology",), methods=("cawf",), adapter_sizes=(4,), learning_rates=rates,
            num_images=("5",), num_steps=num_steps, max_source_images=2, max_target_images=2,
            storage=f"{folder}/storage", name="sweep", packs=False, address=address,
            precision="float32",
        ),
        study=lambda: replace(adaptation(), make_runner=make_runner),
    )  # fmt: skip
    sys.exit(run_sweep(sweep, [], Console()))


@contextmanager
def cluster_of(workers: int) -> Iterator[str]:
    """A cluster's address: a head without CPUs, and nodes of one, or of more where they are many."""
    nodes = max(n for n in range(1, min(workers, MAX_NODES) + 1) if workers % n == 0)
    # Ray notes in its folder which cluster of a machine is the newest; this one is nobody else's.
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp", ignore_cleanup_errors=True) as folder:
        own = {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}
        before = {name: os.environ.get(name) for name in own}
        os.environ.update(own)
        head = {"num_cpus": 0, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        try:
            for _ in range(nodes):
                cluster.add_node(num_cpus=workers // nodes)
            yield str(cluster.address)
        finally:
            cluster.shutdown()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def watch(code: str, folder: Path) -> list[tuple[float, float]]:
    """Run a driver to its end; (Unix time, seconds of CPU it has used) at every look.

    Raises:
        InterferoError: the sweep failed.
    """
    environment = {
        **os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1",
        # As on machines that do nothing else: Ray's workers would give way to every other process.
        "RAY_worker_niceness": "0",
    }  # fmt: skip
    used = []
    with (folder / "output.txt").open("w") as output:
        driver = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", code],
            stdout=output, stderr=subprocess.STDOUT, env=environment,
        )  # fmt: skip
        seen_by = psutil.Process(driver.pid)
        while driver.poll() is None:
            with suppress(psutil.Error):  # It may just have ended.
                used.append((time.time(), sum(seen_by.cpu_times()[:2])))
            time.sleep(EVERY_S)
    if driver.returncode:
        raise InterferoError(f"a sweep failed:\n{(folder / 'output.txt').read_text()[-6000:]}")
    return used


def measure(workers: int, cells: int, seconds: float, num_steps: int = 10) -> dict[str, Any]:
    """Run a sweep of `cells` cells a worker, and give its figures."""
    with (
        tempfile.TemporaryDirectory(prefix="interfero-nodes-") as name,
        cluster_of(workers) as address,
    ):
        folder, count = Path(name), workers * cells
        code = (
            "from benchmarks.nodes import drive; "
            f"drive({workers}, {count}, {name!r}, {address!r}, {seconds}, {num_steps})"
        )
        used = watch(code, folder)
        store = SweepStore(folder / "storage", "sweep")
        records = [r for r in store.records().values() if r.status == "finished"]
        if len(records) != count:
            raise InterferoError(f"{len(records)} of {count} cells finished")
        begun = max(path.stat().st_mtime for path in (store.folder / "workers").iterdir())
    return {"workers": workers, "cells": count, **_figures(records, used, workers, begun)}


def _figures(
    records: Sequence[CellRecord], used: Sequence[tuple[float, float]], workers: int, begun: float
) -> dict[str, float]:
    """What the workers and the driver did while all workers were there and there were cells left."""
    cells = sorted((r.started_at, r.started_at + r.seconds) for r in records)
    until = cells[-1][0]
    span = until - begun
    inside = [max(0.0, min(end, until) - max(start, begun)) for start, end in cells]
    # Cells that are half done at the end count as half.
    done = sum(part / (end - start) for part, (start, end) in zip(inside, cells, strict=True))
    cpu = [seconds for at, seconds in used if begun <= at <= until]
    return {
        "start_s": begun - used[0][0],
        "span_s": span,
        "cells_a_second": done / span,
        "busy": sum(inside) / (span * workers),
        "driver_cpu_share": (cpu[-1] - cpu[0]) / span,
        "driver_cpu_s_a_cell": (cpu[-1] - cpu[0]) / done,
    }


def processes_for(command: NodesBenchmark) -> int:
    """Worker processes that memory has room for: a divisor of the workers, to share them equally."""
    room = int(psutil.virtual_memory().available / 2**30 / WORKER_GIB)
    wanted = command.processes or max(1, min(command.workers, room))
    return max(n for n in range(1, wanted + 1) if command.workers % n == 0)


def simulated(command: NodesBenchmark) -> Iterator[dict[str, Any]]:
    """Sweeps of simulated cells: a worker a node, then the load of many."""
    for nodes in command.nodes:
        row = measure(nodes, command.cells, command.seconds)
        kind = f"simulated, {command.seconds:g} s"
        yield {**row, "kind": kind, "efficiency": row["busy"]}
    if command.workers:
        processes = processes_for(command)
        share = command.workers // processes
        row = measure(processes, command.cells * share, command.worker_seconds / share)
        kind = f"as {command.workers} workers, {command.worker_seconds:g} s"
        yield {**row, "kind": kind, "efficiency": row["busy"]}


def real(command: NodesBenchmark) -> Iterator[dict[str, Any]]:
    """Sweeps of real cells; what is ideal is so many times what the first took a node."""
    alone = None
    for nodes in command.real_nodes:
        row = measure(nodes, command.cells, 0.0, command.real_steps)
        alone = alone or row["cells_a_second"] / nodes
        efficiency = row["cells_a_second"] / (nodes * alone)
        yield {**row, "kind": f"real, {command.real_steps} steps", "efficiency": efficiency}


def table(rows: Sequence[dict[str, Any]]) -> Table:
    """A row a sweep."""
    shown = Table(
        "cells", "workers", "cells a second", "efficiency", "driver", "ms a cell", "start, s"
    )
    for column in shown.columns[:1] + shown.columns[3:4]:
        column.no_wrap = True
    for row in rows:
        shown.add_row(
            row["kind"], str(row["workers"]), f"{row['cells_a_second']:.3f}",
            f"{row['efficiency']:.2f}", f"{row['driver_cpu_share']:.0%}",
            f"{1000 * row['driver_cpu_s_a_cell']:.0f}", f"{row['start_s']:.0f}",
        )  # fmt: skip
    return shown


def main() -> None:
    """Command line."""
    command = tyro.cli(NodesBenchmark, description=__doc__)
    console, rows = Console(), []
    for row in chain(simulated(command), real(command)):
        rows.append(row)
        console.print(
            f"{row['kind']}, {row['workers']} workers: {row['cells_a_second']:.3f} cells/s"
        )
    if not rows:
        raise InterferoError("nothing to measure: give --nodes, --real-nodes or --workers")
    console.print(table(rows))
    judged = [row for row in rows if not row["kind"].startswith("real")] or rows
    worst = min(judged, key=lambda row: row["efficiency"])
    value = worst["efficiency"]
    finish(
        "nodes", value, "of ideal", TARGET, TARGET.met(value), {"sweeps": rows}, command.json_path,
        reason="" if TARGET.met(value) else f"{worst['kind']}, {worst['workers']} workers",
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
