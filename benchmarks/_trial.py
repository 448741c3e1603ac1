"""A cell trained by interfero's own loop, in any process: what Ray Tune and Optuna search over.

Codec and domains are loaded once in a process, the source codec's results are computed once, and training
takes one thread: two processes at once, one for each core, train more cells in an hour than one process on
two threads. `python -m benchmarks._trial CELL - OUTPUT` is one cell in a process of its own.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path

import torch

from benchmarks._answers import Question, Trial
from interfero.codecs.catalogue import load_codec
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.rungs import rung_steps
from interfero.engine.worker import LocalWorker, Metrics
from interfero.metrics.names import GAIN, VALIDATION_GAIN
from interfero.records import CellRecord
from trainables.adaptation import run_pack
from trainables.workbench import Workbench

FIRST_RUNGS = {"ninth": 0, "third": 1}
"""Where a search may stop a training first, and what it leaves out of a ninth and a third of its steps."""
AtRung = Callable[[int, float], bool]
"""Is told of a step and the gain on validation there, in percent; answers whether to stop."""


@cache
def bench_of(codec: str, rd_lambda: float, target: str, source: str) -> Workbench:
    """What stays loaded."""
    load = partial(load_codec, codec, rd_lambda)
    return Workbench(load(), load, load_domain(target), load_domain(source))


def rungs_of(num_steps: int, first_rung: str) -> tuple[int, ...]:
    """Steps after which a search validates, and may stop a training: one at least."""
    every = rung_steps(num_steps)
    return every[FIRST_RUNGS[first_rung] :] or every


def never(step: int, gain_percent: float) -> bool:
    """Stops no training."""
    return False


def train(
    cell: Cell, folder: Path, rungs: Sequence[int] = (), at_rung: AtRung = never
) -> CellRecord:
    """Train and evaluate a cell.

    Args:
        cell: What is trained.
        folder: Where its adapter is written.
        rungs: Steps after which it is validated.
        at_rung: Asked at each of them.
    """
    torch.set_num_threads(cell.loop.threads)
    worker = LocalWorker(folder, rungs=rungs)

    def on_report(_: str, step: int, metrics: Metrics) -> None:
        if at_rung(step, metrics[VALIDATION_GAIN]):
            worker.stop_after = 0

    worker.on_report = on_report
    identity, block = cell.identity, cell.block
    bench = bench_of(identity.codec, block.rd_lambda, block.domain, identity.source_domain)
    [record] = run_pack([cell], bench, worker, math.inf)
    return record


def question_of(cell: Cell) -> Question:
    """What its learning rate is one of the answers to."""
    return Question(cell.block.domain, cell.hyperparameters.method, cell.loop.num_steps)


def trial_of(cell: Cell, trained_steps: int, metrics: Metrics) -> Trial:
    """What a side keeps of a training; `metrics` of a whole one, else empty."""
    return Trial(
        question=question_of(cell),
        learning_rate=cell.hyperparameters.learning_rate,
        trained_steps=trained_steps,
        gain_percent=metrics.get(VALIDATION_GAIN),
        test_gain_percent=metrics.get(GAIN),
    )


def read_cells(path: str) -> list[Cell]:
    """A side's cells, as its command line names them."""
    return [Cell.model_validate_json(text) for text in json.loads(Path(path).read_text())]


def write_trials(folder: str, trials: list[Trial]) -> None:
    """Leave a side's trainings where the benchmark reads them."""
    found = [trial.model_dump(mode="json") for trial in trials]
    (Path(folder) / "trials.json").write_text(json.dumps(found))


def main() -> None:
    """Command line."""
    [path, _, output] = sys.argv[1:]
    cell = Cell.model_validate_json(Path(path).read_text())
    record = train(cell, Path(output))
    (Path(output) / f"{cell.key}.json").write_text(json.dumps(record.metrics))


if __name__ == "__main__":
    main()
