"""What a cell of the earlier map costs now: `python benchmarks/map_price.py --before PATH`.

PATH is a checkout of a build before, with its environment in `.venv`. Both builds run a tenth of the design
of docs/interference_map.md (three domains, six methods, two learning rates, 5 and 20 images, one data seed,
one lambda, 60 steps), one after the other, with all cores. What counts is the CPU seconds of all their
processes for each finished cell and step. INTERFERO_DATA names a folder with the domains.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table

from benchmarks._report import Target, finish, run
from benchmarks._spending import spending
from benchmarks.startup import HERE, checked_root
from interfero.errors import ConfigError
from interfero.store.files import read_json

RATIO = Target("<=", 0.6)
DATA = "INTERFERO_DATA"
STEPS = 60
DESIGN = (
    "--source-domain", "natural", "--methods", "finetune", "replay", "lora", "cawf", "cawf_two_way",
    "continue_source", "--adapter-sizes", "4", "--learning-rates", "1e-4", "1e-3", "--data-seeds", "0",
    "--num-images", "5", "20", "--lambdas", "0.013", "--num-steps", str(STEPS), "--batch-size", "4",
    "--crop-size", "128", "--max-target-images", "6", "--max-source-images", "6", "--precision", "bfloat16",
)  # fmt: skip
NUM_CELLS = 3 * 6 * 2 * 2


@dataclass(frozen=True)
class Price:
    """What one build's sweep took."""

    cells: int
    """That finished."""
    cpu_s: float
    wall_s: float

    @property
    def of_a_step(self) -> float:
        """CPU milliseconds for each finished cell and step."""
        return 1000 * self.cpu_s / (self.cells * STEPS)


def domains(data: Path) -> list[str]:
    """The map's target domains, as options.

    Raises:
        ConfigError: one of them, or the source domain, is not in the folder.
    """
    lacking = [
        n for n in ("natural", "screen", "histology", "astronomy") if not (data / n).is_dir()
    ]
    if lacking:
        raise ConfigError(f"{DATA}: {data} has no {', '.join(lacking)}: the map was made of them")
    return ["--domains", "screen", f"tissue={data / 'histology'}", f"nebulae={data / 'astronomy'}"]


def price(root: Path, folder: Path, asked: Sequence[str]) -> Price:
    """Run the design with one build.

    Raises:
        ConfigError: the sweep fails, or not all of its cells finish.
    """
    own = {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1"}
    environment = {**os.environ, **own, "INTERFERO_POOL": str(folder / "none")}
    command = [root / ".venv/bin/python", root / "sweeps/adapter_capacity.py", *asked, *DESIGN]
    with spending() as spent:
        done = subprocess.run(
            [*command, "--storage", str(folder / "storage"), "--name", "tenth"],
            cwd=folder, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise ConfigError(f"{root}: the sweep exits with {done.returncode}: {done.stderr[-500:]}")
    finished = num_finished(folder / "storage" / "tenth")
    if finished != NUM_CELLS:
        raise ConfigError(f"{root}: {finished} of {NUM_CELLS} cells finished: nothing to compare")
    return Price(finished, spent.cpu_s, spent.wall_s)


def num_finished(sweep: Path) -> int:
    """Cells of a sweep's folder that finished; any build's records."""
    records = (read_json(path) for path in (sweep / "cells").glob("*.json"))
    return sum(record["status"] == "finished" for record in records)


def measure(before: Path, rounds: int) -> dict[str, list[Price]]:
    """Prices of both builds, by round; the one that goes first changes with each."""
    asked = domains(Path(os.environ.get(DATA, "")))
    found: dict[str, list[Price]] = {"before": [], "now": []}
    roots: Mapping[str, Path] = {"before": before, "now": HERE}
    for index in range(rounds):
        for side in list(roots) if index % 2 else reversed(list(roots)):
            with tempfile.TemporaryDirectory() as place:
                found[side].append(price(roots[side], Path(place), asked))
    return found


def main(
    before: Path,
    rounds: int = 1,
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None,
) -> None:
    """Run a tenth of the earlier map with both builds.

    Args:
        before: A checkout of the build before, with its environment in `.venv`.
        rounds: Sweeps of each build; one takes minutes.
        json_path: Where to keep every figure.
    """
    found = measure(checked_root(before), rounds)
    table = Table("build", "cells", "s on the clock", "CPU s", "CPU ms for a cell and step")
    for side, prices in found.items():
        for one in prices:
            numbers = (one.wall_s, one.cpu_s, one.of_a_step)
            table.add_row(side, str(one.cells), *(f"{number:.0f}" for number in numbers))
    Console(width=100).print(table)
    pairs = zip(found["now"], found["before"], strict=True)
    ratio = statistics.median(now.of_a_step / old.of_a_step for now, old in pairs)
    figures = {side: [asdict(one) for one in prices] for side, prices in found.items()}
    finish("map_price", ratio, "of before", RATIO, RATIO.met(ratio), figures, json_path)


if __name__ == "__main__":
    run(lambda: tyro.cli(main))
