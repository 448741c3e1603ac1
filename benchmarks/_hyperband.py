"""Optuna's HyperbandPruner: `python -m benchmarks._hyperband CELLS OUTPUT ninth|third`.

Trials are those of `benchmarks/_trial.py`. As good as Optuna can be made here: a study for each question, in
memory; studies side by side, one process a core, whose codec and domains stay loaded, so that each decision
knows of all earlier trials of its study; the longest first. The grid is the full one, in Optuna's random
order.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import optuna

from benchmarks._answers import Question, Trial
from benchmarks._trial import question_of, read_cells, rungs_of, train, trial_of, write_trials
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.rungs import REDUCTION
from interfero.metrics.names import VALIDATION_GAIN

RATE = "learning_rate"


def search(cells: list[Cell], output: Path, first_rung: str) -> list[Trial]:
    """A study of one question's cells: every learning rate is one trial."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    by_rate = {cell.hyperparameters.learning_rate: cell for cell in cells}
    question, found = question_of(cells[0]), list[Trial]()
    rungs = rungs_of(question.num_steps, first_rung)

    def objective(trial: optuna.Trial) -> float:
        cell = by_rate[trial.suggest_categorical(RATE, list(by_rate))]
        reached = 0

        def at_rung(step: int, gain: float) -> bool:
            nonlocal reached
            reached = step
            trial.report(gain, step)
            return trial.should_prune()

        record = train(cell, output, rungs, at_rung)
        whole = record.status == "finished"
        steps = question.num_steps if whole else reached
        found.append(trial_of(cell, steps, record.metrics if whole else {}))
        if not whole:
            raise optuna.TrialPruned(record.error)
        return record.metrics[VALIDATION_GAIN]

    pruner = optuna.pruners.HyperbandPruner(
        min_resource=rungs[0],
        max_resource=question.num_steps,
        reduction_factor=REDUCTION,
    )
    seed = cells[0].block.data_seed
    sampler = optuna.samplers.GridSampler({RATE: list(by_rate)}, seed=seed)
    study = optuna.create_study(
        study_name=f"{question} {seed}", direction="maximize", sampler=sampler, pruner=pruner
    )
    study.optimize(objective, n_trials=len(cells))
    return found


def main() -> None:
    """Command line."""
    by_question: dict[Question, list[Cell]] = defaultdict(list)
    given, output, first_rung = sys.argv[1:]
    for cell in read_cells(given):
        by_question[question_of(cell)].append(cell)
    longest = sorted(by_question.values(), key=lambda cells: -cells[0].loop.num_steps)
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count(), mp_context=spawned) as processes:
        study = partial(search, output=Path(output), first_rung=first_rung)
        studies = processes.map(study, longest)
        write_trials(output, [trial for found in studies for trial in found])


if __name__ == "__main__":
    main()
