"""Seconds from a command to its first cell in training: `python benchmarks/first_cell.py --before PATH`.

PATH is a checkout of a build before, with its environment in `.venv`. Both builds start the same small sweep
(`adapter_capacity.py --smoke`, one domain, tracked in an MLflow database that is there) in turns; this build
also with its pool of warm workers (`interfero pool start`). A first turn of each, which reads files from the
disk and codes the source images, is not counted. A record says when its cell began; what counts is the median
of the rounds' ratios, and the medians themselves.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks._report import Target, also, finish, run
from benchmarks.startup import HERE, checked_root
from interfero.errors import ConfigError

OWN, POOL, RATIO = Target("<=", 10.0), Target("<=", 3.0), Target("<=", 0.5)
SWEEP = (
    "sweeps/adapter_capacity.py", "--smoke", "--no-reuse", "--precision", "float32",
    "--methods", "finetune", "--learning-rates", "3e-4", "--max-source-images", "2",
    "--max-target-images", "2",
)  # fmt: skip


def first_cell(root: Path, folder: Path, name: str, environment: Mapping[str, str]) -> float:
    """Seconds from a sweep's command to the start of its first cell.

    Raises:
        ConfigError: the sweep fails.
    """
    script, *options = SWEEP
    began = time.time()
    done = subprocess.run(
        [root / ".venv/bin/python", root / script, *options, "--name", name],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise ConfigError(f"{root}: the sweep exits with {done.returncode}: {done.stderr[-500:]}")
    records = (folder / "interfero-storage" / name / "cells").glob("*.json")
    return min(float(json.loads(path.read_text())["started_at"]) for path in records) - began


@contextmanager
def pool(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of a sweep that finds a pool of this build."""
    environment = {**os.environ, "INTERFERO_POOL": str(folder / "pool")}
    command = [HERE / ".venv/bin/python", "-m", "interfero.cli", "pool"]
    subprocess.run([*command, "start"], env=environment, check=True, capture_output=True)
    try:
        yield environment
    finally:
        subprocess.run([*command, "stop"], env=environment, check=True, capture_output=True)


def wait_until_warm(environment: Mapping[str, str]) -> None:
    """Until as many workers wait as there are CPUs."""
    wanted = f"{os.cpu_count()} workers with its code"
    command = [HERE / ".venv/bin/python", "-m", "interfero.cli", "pool", "status"]
    while (
        wanted
        not in subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True
        ).stdout
    ):
        time.sleep(0.5)


def measure(before: Path, rounds: int) -> dict[str, list[float]]:
    """Seconds of each side and round."""
    seconds: dict[str, list[float]] = {"before": [], "now": [], "now, with a pool": []}
    with tempfile.TemporaryDirectory() as place:
        folders = {
            side: Path(place) / side.replace(", ", "-").replace(" ", "-") for side in seconds
        }
        for folder in folders.values():
            folder.mkdir()
        for index in range(-1, rounds):
            for side in list(seconds) if index % 2 else reversed(list(seconds)):
                root, folder, name = (
                    before if side == "before" else HERE,
                    folders[side],
                    f"s{index + 1}",
                )
                if side != "now, with a pool":
                    alone = {**os.environ, "INTERFERO_POOL": str(Path(place) / "none")}
                    took = first_cell(root, folder, name, alone)
                else:
                    # A pool that waits would take memory and a little time from the other sides.
                    with pool(folder) as environment:
                        wait_until_warm(environment)
                        took = first_cell(root, folder, name, environment)
                if index >= 0:
                    seconds[side].append(took)
    return seconds


def main(
    before: Path,
    rounds: int = 5,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Measure the start of both builds' sweeps.

    Args:
        before: A checkout of the build before, with its environment in `.venv`.
        rounds: Sweeps of each side.
        json_path: Where to keep every figure.
    """
    seconds = measure(checked_root(before), rounds)
    table = Table("side", "s to the first cell", "least", "most")
    for side, found in seconds.items():
        table.add_row(
            side, *(f"{v:.1f}" for v in (statistics.median(found), min(found), max(found)))
        )
    Console(width=100).print(table)
    own, warm = (statistics.median(seconds[side]) for side in ("now", "now, with a pool"))
    also("first_cell_ratio", ratio(seconds["now"], seconds["before"]), "of before", RATIO)
    also("first_cell_with_a_pool", warm, "s", POOL)
    finish("first_cell", own, "s", OWN, OWN.met(own), dict(seconds), json_path)


def ratio(now: Sequence[float], before: Sequence[float]) -> float:
    """Now over before, the median of rounds."""
    return statistics.median(a / b for a, b in zip(now, before, strict=True))


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
