"""A sweep whose cells train nothing and wait while a file is there, through the whole engine otherwise."""

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from benchmarks._planning import ADAPTER_SIZES, LEARNING_RATES
from benchmarks.scale import CURVE_POINTS, NoOpRunner
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.sweep import Sweep, run_sweep
from interfero.engine.worker import Worker
from interfero.records import CellRecord
from trainables.studies import adaptation

KIND = "quick"
NUM_CELLS = len(ADAPTER_SIZES) * len(LEARNING_RATES)
PAUSE_S = 3.0
"""Long enough that what waited is delivered before a sweep is at its end."""


@dataclass(frozen=True)
class HeldRunner:
    """Gives a cell its record every few moments, and none after that while `hold` exists."""

    hold: Path

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """Records in the order of the pack."""
        for node, record in zip(pack.nodes, NoOpRunner()(pack, worker), strict=True):
            yield record
            if not isinstance(node, Cell):
                continue  # What cells share, before the first of them.
            time.sleep(PAUSE_S)
            while self.hold.exists():
                time.sleep(0.1)


def drive(name: str, hold: str) -> None:
    """One sweep in the working folder, as a user's script would run it."""
    sweep = Sweep(
        kind=KIND,
        question="Does what it tracks arrive?",
        options=AdaptationOptions(
            domains=("histology",),
            methods=("cawf",),
            adapter_sizes=ADAPTER_SIZES,
            learning_rates=LEARNING_RATES,
            num_images=("5",),
            num_steps=CURVE_POINTS,
            name=name,
        ),
        study=lambda: replace(adaptation(), make_runner=lambda plan: HeldRunner(Path(hold))),
    )
    sys.exit(run_sweep(sweep, [], Console(width=200)))


if __name__ == "__main__":
    # By its own name, which the workers import.
    from tests.faults.quick_sweep import drive as drive_sweep

    drive_sweep(*sys.argv[1:])
