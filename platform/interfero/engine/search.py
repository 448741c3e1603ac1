"""Samplers inside blocks: one Optuna study a block, in one database that only the driver opens.

A sampler never chooses the block: it would pick the easy domain. It sees validation metrics only.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.trial import Trial, TrialState

from interfero.adaptation import find_method
from interfero.engine.cells import Block, Cell, CellRecord, Hyperparameters
from interfero.engine.options import AdaptationOptions
from interfero.engine.planning import Plan

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
        self._space = search_space(plan.options)
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            trial = self.study.ask(dict(self._space))
        method = str(trial.params["method"])
        sized = find_method(method).size_unit is not None
        cell = self.plan.cell(
            self.block,
            Hyperparameters(
                method=method,
                adapter_size=int(trial.params["adapter_size"]) if sized else 0,
                learning_rate=float(f"{trial.params['learning_rate']:.3g}"),
                init_seed=self.plan.options.init_seeds[0],
            ),
        )
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


def search_space(options: AdaptationOptions) -> dict[str, BaseDistribution]:
    """What a sampler chooses: method, adapter size, learning rate between the ends given."""
    low, high = min(options.learning_rates), max(options.learning_rates)
    return {
        "method": CategoricalDistribution(options.methods),
        "adapter_size": CategoricalDistribution(options.adapter_sizes),
        "learning_rate": FloatDistribution(low, high, log=True),
    }


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
        return TPESampler(
            seed=seed, multivariate=True, constant_liar=True, n_startup_trials=6, n_ei_candidates=24
        )
    return NSGAIISampler(seed=seed, population_size=max(4, options.num_samples // 4))
