"""What the sides of `benchmarks/time_to_answer.py` answer, and how far a choice is from the full grid's."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from interfero.config import Config
from interfero.errors import ConfigError, StorageError
from interfero.store.files import read_json, write_json

TOLERANCE_PERCENT = 1.0
"""A choice that loses no more of the full grid's gain is the same answer."""


class Question(NamedTuple):
    """What a learning rate is chosen for; the learning rates of one question compete."""

    domain: str
    method: str
    num_steps: int


class Trial(Config):
    """One training of one side."""

    question: Question
    learning_rate: float
    trained_steps: int
    """Steps of its own: without those that a shorter training had done for it."""
    gain_percent: float | None = None
    """On validation images after the last step; None where it was stopped before, or failed."""
    test_gain_percent: float | None = None


class ArmRun(Config):
    """One side's answers to all questions of one data seed, and what they took."""

    arm: str
    data_seed: int
    settings: dict[str, Any]
    """What all sides have in common: figures of others are not compared."""
    wall_s: float
    """From the start of its first command to the exit of its last."""
    cpu_s: float
    """User and system time of all its processes."""
    trials: tuple[Trial, ...]
    machine: dict[str, Any]
    """And versions, see `benchmarks/_report.py`."""

    @property
    def num_steps(self) -> int:
        """Optimiser steps of all trainings."""
        return sum(trial.trained_steps for trial in self.trials)


def choices(trials: Iterable[Trial]) -> dict[Question, Trial]:
    """The training with the most gain on validation images, by question; the smaller rate of two equals.

    Raises:
        ConfigError: no training of some question reached its last step.
    """
    by_question: dict[Question, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_question[trial.question].append(trial)
    found = {}
    for question, tried in by_question.items():
        whole = [(-t.gain_percent, t.learning_rate, t) for t in tried if t.gain_percent is not None]
        if not whole:
            raise ConfigError(
                f"none of {len(tried)} trainings of {question.method} on {question.domain} reached "
                f"{question.num_steps} steps: look into the side's output, and run it again"
            )
        found[question] = min(whole, key=lambda one: one[:2])[2]
    return found


def regrets(chosen: Mapping[Question, Trial], full: Sequence[Trial]) -> dict[Question, float]:
    """What each choice loses, in percent of the gain that the full grid's choice has.

    Both gains are those that the full grid measured, on validation images, at the two learning rates: a
    choice is judged, not the luck of the training that led to it.

    Args:
        chosen: By question.
        full: Trainings of the whole grid.

    Raises:
        ConfigError: the full grid has no such training.
    """
    best = choices(full)
    gains = {(t.question, t.learning_rate): t.gain_percent for t in full}
    found = {}
    for question, trial in chosen.items():
        gain = gains.get((question, trial.learning_rate))
        if gain is None:
            raise ConfigError(
                f"the full grid has no result at {trial.learning_rate:g} for {question}: run all sides "
                "with the same options"
            )
        most = best[question].gain_percent
        assert most is not None
        found[question] = 0.0 if gain == most else 100 * (most - gain) / abs(most)
    return found


def num_same(found: Iterable[float]) -> int:
    """Choices that are the same answer as the full grid's: at most 1 % of its gain is lost."""
    return sum(regret <= TOLERANCE_PERCENT for regret in found)


def equal_regret(ours: Sequence[float], theirs: Sequence[float]) -> bool:
    """Whether two sides answer alike: no fewer of our choices than of theirs are the full grid's.

    Against the full grid itself, whose choices lose nothing, all of ours have to be.
    """
    return num_same(ours) >= num_same(theirs)


def run_file(folder: Path, arm: str, data_seed: int) -> Path:
    """Where the figures of a finished side are kept."""
    return folder / f"{arm}-seed{data_seed}.json"


def keep(folder: Path, run: ArmRun) -> None:
    """Write the figures of a finished side."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(run_file(folder, run.arm, run.data_seed), run.model_dump(mode="json"))


def kept(folder: Path, arm: str, data_seed: int, settings: Mapping[str, Any]) -> ArmRun | None:
    """The figures of a side that finished in this or an earlier command; None if it did not.

    Raises:
        ConfigError: it ran with other settings.
        StorageError: the file is damaged.
    """
    path = run_file(folder, arm, data_seed)
    if not path.exists():
        return None
    try:
        run = ArmRun.model_validate(read_json(path))
    except ValueError as error:
        raise StorageError(f"{path} is damaged: delete it, and the side runs again") from error
    differing = sorted(
        k for k in settings.keys() | run.settings if run.settings.get(k) != settings.get(k)
    )
    if differing:
        name = differing[0]
        raise ConfigError(
            f"{path} was measured with {name} {run.settings.get(name)}, now it is {settings.get(name)}: "
            "choose another --folder, or delete the file"
        )
    return run
