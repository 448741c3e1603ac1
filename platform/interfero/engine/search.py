"""Samplers inside blocks: one Optuna study a block, in one database that only the driver opens.

A sampler never chooses the block: it would pick the easy domain. It sees validation metrics only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from interfero.adaptation import find_method
from interfero.engine.cells import Block, Cell, CellRecord, Hyperparameters
from interfero.engine.options import AdaptationOptions
from interfero.engine.planning import Plan, sizes_of, strengths_of

KEY = "interfero.cell"
FAILED = "interfero.failed"
GAIN = "val/rd_gain_percent"
FORGETTING = "val/forgetting_unrouted_percent"
NUM_PARAMS = "adapter/num_params"

FindRecord = Callable[[str], CellRecord | None]


class BlockSearch:
    """Chooses the cells of one block."""

    def __init__(self, plan: Plan, block: Block, database: Path, finished: FindRecord) -> None:
        """Open the block's study, or make it.

        Args:
            plan: The sweep.
            block: The block to search in.
            database: SQLite file of the sweep's studies.
            finished: Looks up the record of a finished cell.
        """
        self.plan = plan
        self.block = block
        many = plan.options.sampler == "nsga2"
        self.objectives = (GAIN, FORGETTING, NUM_PARAMS) if many else (GAIN,)
        directions: list[Literal["maximize", "minimize"]]
        directions = ["maximize", "minimize", "minimize"] if many else ["maximize"]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=f"sqlite:///{database}",
            study_name=_study_name(block),
            sampler=_sampler(plan.options, block, index=0),
            directions=directions,
            load_if_exists=True,
        )
        self._running: dict[str, list[Trial]] = {}
        self._settle_running(finished)

    def _settle_running(self, finished: FindRecord) -> None:
        """Trials of a driver that died: told what their cell gave, or failed and not counted."""
        for trial in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            record = finished(str(trial.user_attrs.get(KEY)))
            if record is None:
                self.study.tell(trial.number, state=TrialState.FAIL)
            else:
                self.study.tell(trial.number, self._values(record))

    def _values(self, record: CellRecord) -> list[float]:
        return [record.metrics[name] for name in self.objectives]

    @property
    def num_told(self) -> int:
        """Trials that ended with a value, and those whose cell failed; not those of a dead driver."""
        trials = self.study.get_trials(deepcopy=False)
        return sum(t.state == TrialState.COMPLETE or FAILED in t.user_attrs for t in trials)

    def ask(self) -> Cell:
        """The next cell; the same cell twice is possible, and told the stored value."""
        # Seeded by the trial's number: a resumed search would repeat its first draws otherwise.
        index = len(self.study.get_trials(deepcopy=False))
        self.study.sampler = _sampler(self.plan.options, self.block, index)
        trial = self.study.ask()
        cell = self.plan.cell(self.block, choose(trial, self.plan.options))
        trial.set_user_attr(KEY, cell.key)
        self._running.setdefault(cell.key, []).append(trial)
        return cell

    def tell(self, record: CellRecord) -> None:
        """Give the study what a cell's validation said; a failed cell is a failed trial."""
        for trial in self._running.pop(record.key, []):
            if record.status == "finished":
                self.study.tell(trial, self._values(record))
            else:
                trial.set_user_attr(FAILED, record.error or "")
                self.study.tell(trial, state=TrialState.FAIL)

    def best_keys(self) -> list[str]:
        """Cells on the Pareto front, or the best one."""
        trials = self.study.best_trials
        return [str(t.user_attrs[KEY]) for t in trials]


def choose(trial: Trial, options: AdaptationOptions) -> Hyperparameters:
    """Let a trial choose a method, then what that method has: size, strength, learning rate.

    Sizes of two methods are two parameters: a rank of 8 says nothing about 8 channels.
    """
    method = find_method(str(trial.suggest_categorical("method", options.methods)))
    sizes, strengths = sizes_of(method, options), strengths_of(method, options)
    size, strength = sizes[0], strengths[0]
    if method.size_unit:
        size = int(trial.suggest_categorical(f"adapter_size {method.name}", sizes))
    if len(strengths) > 1:
        strength = _log_float(trial, f"strength {method.name}", strengths)
    return Hyperparameters(
        method=method.name,
        adapter_size=size,
        strength=strength,
        learning_rate=_log_float(trial, "learning_rate", options.learning_rates),
        init_seed=options.init_seeds[0],
    )


def _log_float(trial: Trial, name: str, values: Sequence[float]) -> float:
    """Between the smallest and the largest of `values`, three digits of it."""
    return float(f"{trial.suggest_float(name, min(values), max(values), log=True):.3g}")


def open_searches(plan: Plan, database: Path, finished: FindRecord) -> list[BlockSearch]:
    """One search a block."""
    return [BlockSearch(plan, block, database, finished) for block in plan.blocks]


def _study_name(block: Block) -> str:
    return f"{block.domain} lambda {block.rd_lambda:g} n {block.num_images} seed {block.data_seed}"


def _sampler(options: AdaptationOptions, block: Block, index: int) -> BaseSampler:
    """The sampler of one trial.

    Args:
        options: Name of the sampler, and the population.
        block: Its data seed decides the draws.
        index: The trial's number in its study.
    """
    seed = int(np.random.SeedSequence((block.data_seed, index)).generate_state(1)[0])
    # Named with every setting that matters: Optuna 5 changed the defaults.
    if options.sampler == "random":
        return RandomSampler(seed=seed)
    if options.sampler == "tpe":
        with warnings.catch_warnings():
            # Multivariate groups: methods have parameters of their own.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return TPESampler(
                seed=seed,
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=6,
                n_ei_candidates=24,
            )
    return NSGAIISampler(seed=seed, population_size=max(4, options.num_samples // 4))
