"""Ray Tune's ASHAScheduler: `python -m benchmarks._asha CELLS OUTPUT ninth|third`.

Trials are those of `benchmarks/_trial.py`. As good as Ray Tune can be made here: one Tune run, whose actors
stay warm; one trial a core; a scheduler for each question, because gains on two domains, or after two
numbers of steps, do not compete; learning rates in random order, and those of one question apart, so that a
decision knows of more trials.

One ASHA for each number of steps. Reading the shorter ones off checkpoints of the longest training would
save a quarter of the steps at most (310 of 1,310), but a training that is interrupted before its learning
rate has fallen has another gain than one of that length: no answer to the question.
"""

from __future__ import annotations

import random
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import interfero.engine.ray_environment  # noqa: F401 - quiet, and without Tune's log files

# isort: split
import ray
import ray.tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

from benchmarks._answers import Question
from benchmarks._trial import question_of, read_cells, rungs_of, train, trial_of, write_trials
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.adaptation.rungs import REDUCTION
from interfero.metrics.names import GAIN, VALIDATION_GAIN

STEP = "step"


class AshaByQuestion(FIFOScheduler):
    """A scheduler for each question; trials start in the order in which they were given."""

    def __init__(self, first_rung: str) -> None:
        """No question has trials yet; `first_rung` is one of `FIRST_RUNGS`."""
        super().__init__()
        self._first_rung = first_rung
        self._schedulers: dict[Question, ASHAScheduler] = {}

    def _of(self, trial: Any) -> ASHAScheduler:
        question = question_of(Cell.model_validate_json(trial.config["cell"]))
        if question not in self._schedulers:
            self._schedulers[question] = ASHAScheduler(
                time_attr=STEP, metric=VALIDATION_GAIN, mode="max", max_t=question.num_steps,
                grace_period=rungs_of(question.num_steps, self._first_rung)[0],
                reduction_factor=REDUCTION,
            )  # fmt: skip
        return self._schedulers[question]

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """See `TrialScheduler`."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """See `TrialScheduler`."""
        decision: str = self._of(trial).on_trial_result(tune_controller, trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """See `TrialScheduler`."""
        self._of(trial).on_trial_complete(tune_controller, trial, result)


def in_turns(cells: list[Cell], seed: int = 0) -> list[Cell]:
    """Cells with the learning rates of each question in random order, and those of one question apart.

    The first of every question come first, and of these the longest, so that none is waited for at the end.
    """
    by_question: dict[Question, list[Cell]] = defaultdict(list)
    for cell in cells:
        by_question[question_of(cell)].append(cell)
    shuffle = random.Random(seed).shuffle
    for competing in by_question.values():
        shuffle(competing)
    places = [
        (i, -c.loop.num_steps, c) for found in by_question.values() for i, c in enumerate(found)
    ]
    return [cell for *_, cell in sorted(places, key=lambda place: place[:2])]


def train_trial(config: dict[str, Any]) -> None:
    """A trial; Ray ends it inside a report where the scheduler stops it."""
    cell = Cell.model_validate_json(config["cell"])

    def at_rung(step: int, gain: float) -> bool:
        ray.tune.report({STEP: step, VALIDATION_GAIN: gain})
        return False

    rungs = rungs_of(cell.loop.num_steps, config["first_rung"])
    record = train(cell, Path(config["output"]), rungs, at_rung)
    if record.status != "finished":
        raise RuntimeError(record.error)
    told = {name: record.metrics[name] for name in (VALIDATION_GAIN, GAIN)}
    ray.tune.report({STEP: cell.loop.num_steps, **told})


def main() -> None:
    """Command line."""
    given, output, first_rung = sys.argv[1:]
    cells = read_cells(given)
    # Without an address Ray would join whatever cluster was last started on this machine.
    ray.init("local", include_dashboard=False, log_to_driver=False)
    texts = [cell.model_dump_json() for cell in in_turns(cells, cells[0].block.data_seed)]
    space = {"cell": ray.tune.grid_search(texts), "output": output, "first_rung": first_rung}
    scheduler = AshaByQuestion(first_rung)
    results = ray.tune.Tuner(
        ray.tune.with_resources(train_trial, {"CPU": 1}),
        param_space=space,
        tune_config=ray.tune.TuneConfig(scheduler=scheduler, reuse_actors=True),
        run_config=ray.tune.RunConfig(name="asha", storage_path=f"{output}/tune", verbose=0),
    ).fit()
    trials = []
    for result in map(results.__getitem__, range(len(results))):
        cell, told = Cell.model_validate_json(result.config["cell"]), result.metrics or {}
        whole = told if GAIN in told else {}
        trials.append(trial_of(cell, int(told.get(STEP, 0)), whole))
    write_trials(output, trials)
    ray.shutdown()


if __name__ == "__main__":
    main()
