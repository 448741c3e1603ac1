"""Samplers inside blocks: one Optuna study a block, in one database that only the driver opens.

A sampler never chooses the block: it would pick the easy domain. It sees validation metrics only.
"""

from __future__ import annotations

import math
import warnings
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.pruners import BasePruner, NopPruner, SuccessiveHalvingPruner
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler
from optuna.samplers.nsgaii import UniformCrossover
from optuna.storages import BaseStorage, RDBStorage
from optuna.trial import BaseTrial, FixedTrial, FrozenTrial, Trial, TrialState

from interfero.adaptation import find_method
from interfero.analysis.pareto import CONSTRAINED, OBJECTIVES
from interfero.engine.adaptation.grid import rates_of, sizes_of, strengths_of
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters
from interfero.engine.adaptation.plan import AdaptationPlan
from interfero.engine.adaptation.rungs import REDUCTION, rung_steps
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.errors import CodecError
from interfero.metrics.names import VALIDATION_GAIN
from interfero.records import CellRecord

KEY = "interfero.cell"
FAILED = "interfero.failed"
STOPPED = "interfero.stopped"
EARLIER = "interfero.earlier"
"""Of a trial that another sweep trained: the study knows it, and it is none of this sweep's samples."""
SINGLE = {VALIDATION_GAIN: OBJECTIVES[VALIDATION_GAIN]}
"""The objective of samplers that take one, and its direction."""

ROUNDS = 4
"""A quarter of a block's samples train at once, at most: the sampler has learned from the rest."""

FindRecord = Callable[[str], CellRecord | None]


class BlockSearch:
    """Chooses the cells of one block."""

    def __init__(
        self, plan: AdaptationPlan, block: Block, studies: BaseStorage, ended: FindRecord,
        earlier: Iterable[CellRecord] = (),
    ) -> None:  # fmt: skip
        """Open the block's study, or make it.

        Args:
            plan: The sweep.
            block: The block to search in.
            studies: Those of the sweep.
            ended: Looks up the record of a cell that ended in this sweep.
            earlier: Finished cells of other sweeps: a new study begins with those of its space.
        """
        self.plan = plan
        self.block = block
        self.objectives = OBJECTIVES if plan.options.sampler == "nsga2" else SINGLE
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(
            storage=studies,
            study_name=_study_name(block),
            sampler=_sampler(plan.options, block, index=0),
            pruner=_pruner(plan.options),
            directions=list(self.objectives.values()),
            load_if_exists=True,
        )
        self._running: dict[str, list[Trial]] = {}
        self._left_over: deque[Cell] = deque()
        # A random search learns nothing from what is known.
        if plan.options.sampler != "random" and not self.study.get_trials(deepcopy=False):
            for record in earlier:
                self._take_up(record)
        self._settle_running(ended)

    def _take_up(self, record: CellRecord) -> None:
        """Tell the study of a cell that another sweep trained, if this one could have asked for it."""
        params, options = _params_of(record), self.plan.options
        method = find_method(str(record.params["method"]))
        strengths = strengths_of(method, options)
        for value, ends in (
            (record.params["learning_rate"], rates_of(method, options)),
            (record.params.get("strength") or strengths[0], strengths),
        ):
            if not min(ends) <= float(value) <= max(ends):
                return
        try:
            wanted = choose(FixedTrial(params), options)
        except (ValueError, CodecError):
            return  # Of another method or size.
        if self.plan.cell(self.block, wanted).key != record.key:
            return  # Of other images, weights, steps or seeds.
        self.study.enqueue_trial(params, user_attrs={KEY: record.key, EARLIER: True})
        trial = self.study.ask()
        choose(trial, options)
        self._running[record.key] = [trial]
        self.tell(record)

    def _settle_running(self, ended: FindRecord) -> None:
        """Trials of a driver that died: told what their cell gave, or gone on with before any other.

        They go on as the same trials: others were compared with what they had reached at a rung.
        """
        for frozen in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            key = str(frozen.user_attrs.get(KEY))
            record = ended(key)
            if record is None and (KEY not in frozen.user_attrs or key in self._running):
                # It died before naming the cell, or the cell has a trial already.
                self.study.tell(frozen.number, state=TrialState.FAIL)
                continue
            trial = Trial(self.study, frozen._trial_id)
            self._running[key] = [trial]
            if record is not None:
                self.tell(record)
            else:
                cell = self.plan.cell(self.block, choose(trial, self.plan.options))
                self._left_over.append(cell)

    @property
    def needs(self) -> frozenset[str]:
        """Keys of what its cells need, whatever their method."""
        return frozenset(node.key for node in self.plan.shared(self.block))

    @property
    def num_told(self) -> int:
        """Trials that ended with a value, early, or with a failed cell; not those of a dead driver."""
        return sum(map(_is_told, self.study.get_trials(deepcopy=False)))

    def ask(self) -> Cell:
        """The next cell; the same cell twice is possible, and told the stored value."""
        if self._left_over:
            return self._left_over.popleft()
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
                self._constrain(trial, record)
                self.study.tell(trial, [record.metrics[name] for name in self.objectives])
            elif record.status == "stopped":
                self.study.tell(trial, state=TrialState.PRUNED)
            else:
                trial.set_user_attr(FAILED, record.error or "")
                self.study.tell(trial, state=TrialState.FAIL)

    def _constrain(self, trial: Trial, record: CellRecord) -> None:
        limit = self.plan.options.max_forgetting
        if limit is not None:
            # Feasible is zero or less, as Optuna has it.
            trial.set_constraint(CONSTRAINED, record.metrics[CONSTRAINED] - limit)

    def should_stop(self, key: str, step: int, gain: float) -> bool:
        """Whether a cell that has reached a rung is to stop there.

        The first answer for a step stays: a cell whose worker died reaches its rungs again.

        Args:
            key: The cell's key; it is in training.
            step: Steps it has trained.
            gain: On validation, percent of before.
        """
        trial = self._running[key][0]
        if STOPPED in trial.user_attrs:
            return True
        if step in self._reported(trial):
            return False
        trial.report(gain, step)
        stops = trial.should_prune()
        if stops:
            trial.set_user_attr(STOPPED, step)
        return stops

    def _reported(self, trial: Trial) -> dict[int, float]:
        return self.study.get_trials(deepcopy=False)[trial.number].intermediate_values

    def best_keys(self) -> list[str]:
        """Feasible cells on the Pareto front, or the best one."""
        best = self.study.best_trials
        texts = (
            f"{t.user_attrs[KEY]}{' (of an earlier sweep)' if EARLIER in t.user_attrs else ''}"
            for t in best
        )
        return list(dict.fromkeys(texts))


def _params_of(record: CellRecord) -> dict[str, Any]:
    """What a trial suggests where it chooses a record's cell."""
    method, given = str(record.params["method"]), record.params
    return {
        "method": method,
        f"adapter_size {method}": given["adapter_size"],
        f"strength {method}": given.get("strength", 0.0),
        "learning_rate": given["learning_rate"],
        f"learning_rate {method}": given["learning_rate"],
    }


def choose(trial: BaseTrial, options: AdaptationOptions) -> Hyperparameters:
    """Let a trial choose a method, then what that method has: size, strength, learning rate.

    Sizes of two methods are two parameters: a rank of 8 says nothing about 8 channels. So are learning
    rates, where each method has its own range.
    """
    method = find_method(str(trial.suggest_categorical("method", options.methods)))
    sizes, strengths = sizes_of(method, options), strengths_of(method, options)
    size, strength = sizes[0], strengths[0]
    if method.size_unit:
        size = int(trial.suggest_categorical(f"adapter_size {method.name}", sizes))
    if len(strengths) > 1:
        strength = _log_float(trial, f"strength {method.name}", strengths)
    rate = "learning_rate" if options.learning_rates else f"learning_rate {method.name}"
    return Hyperparameters(
        method=method.name,
        adapter_size=size,
        strength=strength,
        learning_rate=_log_float(trial, rate, rates_of(method, options)),
        init_seed=options.init_seeds[0],
    )


def _log_float(trial: BaseTrial, name: str, values: Sequence[float]) -> float:
    """Between the smallest and the largest of `values`, three digits of it."""
    return float(f"{trial.suggest_float(name, min(values), max(values), log=True):.3g}")


def open_searches(
    plan: AdaptationPlan, database: Path, ended: FindRecord, earlier: Iterable[CellRecord] = ()
) -> list[BlockSearch]:
    """One search a block; see `BlockSearch`. All their studies are in one SQLite file, `database`.

    It is opened once: Optuna looks each time whether its tables are those of its own version, which takes
    0.2 CPU seconds.
    """
    studies = RDBStorage(f"sqlite:///{database}")
    known: dict[tuple[object, ...], list[CellRecord]] = defaultdict(list)
    for record in earlier:
        known[tuple(record.params.get(name) for name in Block.model_fields)].append(record)
    return [
        BlockSearch(plan, block, studies, ended, known[tuple(block.model_dump().values())])
        for block in plan.blocks
    ]


def cells_at_once(
    options: AdaptationOptions, num_blocks: int, packs_at_once: int, most: int
) -> int:
    """Cells to ask a block for at once; they train as one pack.

    Cells that train side by side were chosen without knowing of each other's results, whether in one
    pack or in several. Of a block's samples, a quarter is in training at most: that is NSGA-II's
    generation, whose members know of the generation before alone, and leaves TPE three quarters to
    choose by what it has seen. A random search learns nothing and fills its packs, as long as there
    is one for everybody.

    Args:
        options: Name of the sampler, samples a block, and whether there are packs.
        num_blocks: Blocks that take turns.
        packs_at_once: Packs that train side by side.
        most: The largest pack.
    """
    if not options.packs or options.early_stopping != "none":
        return 1
    packs_a_block = math.ceil(packs_at_once / num_blocks)
    if options.sampler == "random":
        share = math.ceil(options.num_samples / packs_a_block)
    else:
        share = options.num_samples // (ROUNDS * packs_a_block)
    return max(1, min(most, share))


def _is_told(trial: FrozenTrial) -> bool:
    ended = trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    return EARLIER not in trial.user_attrs and (ended or FAILED in trial.user_attrs)


def _study_name(block: Block) -> str:
    return f"{block.domain} lambda {block.rd_lambda:g} n {block.num_images} seed {block.data_seed}"


def _pruner(options: AdaptationOptions) -> BasePruner:
    if options.early_stopping == "none":
        return NopPruner()
    first = rung_steps(max(options.budgets))[:1] or (1,)
    # ASHA (Li et al., arXiv:1810.05934): a cell is compared with those that reached its rung before it.
    return SuccessiveHalvingPruner(
        min_resource=first[0],
        reduction_factor=REDUCTION,
        min_early_stopping_rate=0,
        bootstrap_count=0,
    )


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
                # Cells in training count as bad ones: those of one pack keep away from each other.
                constant_liar=True,
                n_startup_trials=6,
                n_ei_candidates=24,
            )
    return NSGAIISampler(
        seed=seed,
        population_size=max(4, options.num_samples // ROUNDS),
        mutation=None,
        mutation_prob=None,
        crossover=UniformCrossover(swapping_prob=0.5),
        crossover_prob=0.9,
    )
