"""Options of every sweep, each with its group in `--help` and whether `--resume` may change it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Self

import tyro
from pydantic import ModelWrapValidatorHandler, ValidationError, model_validator

from interfero.config import Config
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.engine.options.marks import (
    FREE,
    HIDDEN,
    KEPT,
    MACHINE,
    PLAN,
    QUESTION,
    TRAINING,
    Free,
)
from interfero.engine.options.rules import Rule, refuse_broken, storage_of, sweep_rules
from interfero.errors import ConfigError, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Sampler = Literal["auto", "grid", "halving", "random", "tpe", "nsga2"]
SEARCHES: Final = ("random", "tpe", "nsga2")
"""Samplers that choose cells one after the other; the others plan all cells beforehand."""
EarlyStopping = Literal["none", "asha"]
ALL_IMAGES = "all"
FLAG: Final[Any] = tyro.conf.FlagCreatePairsOff


class SweepOptions(Config):
    """Options of every sweep."""

    domains: Annotated[tuple[str, ...], QUESTION] = ()
    """Target domains: bundled NAMEs, or NAME=PATH for a folder of images or a Parquet file."""
    data_seeds: Annotated[tuple[int, ...], QUESTION] = (0,)
    """Seeds that draw training subsets, crops and noise."""
    init_seeds: Annotated[tuple[int, ...], QUESTION] = (0,)
    """Seeds that draw initial parameters."""
    num_steps: Annotated[int | tuple[int, ...], TRAINING] = 200
    """Optimiser steps per cell."""
    name: Annotated[str | None, KEPT, FREE] = None
    """Name of this sweep; the default is made of its kind, the date and the time."""
    storage: Annotated[str, KEPT, FREE] = "interfero-storage"
    """Folder that keeps records, adapters and figures: a PATH, or file:///PATH."""
    resume: Annotated[bool, FLAG, KEPT, FREE] = False
    """Continue the sweep called --name; finished cells are kept."""
    reuse: Annotated[bool, KEPT, FREE] = True
    """Reuse cells that an earlier sweep in the same storage has computed."""
    packs: Annotated[bool, MACHINE, FREE] = True
    """Train cells of one block together, on the same batches."""
    max_failed: Annotated[int, KEPT, FREE] = 0
    """Number of failed cells up to which the command still exits with 0."""
    dry_run: Annotated[bool, FLAG, PLAN, FREE] = False
    """Print blocks, packs, cells and a cost estimate; train nothing."""
    list_cells: Annotated[bool, PLAN, FREE] = True
    """With --dry-run, print a line with its key for every cell; --no-list-cells prints only their axes."""
    smoke: Annotated[bool, FLAG, PLAN] = False
    """Run the smallest honest sweep: few steps and images, every method or configuration, and the first value
    of every other axis."""
    accept_code_change: Annotated[bool, FLAG, KEPT, FREE] = False
    """Let --resume continue although the training code has changed."""
    workers_per_trial: Annotated[int, MACHINE] = 1
    """Processes that train one pack, each on its share of every batch (torch's DistributedDataParallel)."""
    cpus_per_trial: Annotated[float, MACHINE] = 1.0
    """CPUs, and threads, per process of a pack."""
    gpus_per_trial: Annotated[float, MACHINE] = 0.0
    """GPUs per process of a pack; with fractions, packs share a GPU."""
    checkpoint_seconds: Annotated[float, KEPT, FREE] = 60.0
    """Seconds of training between checkpoints, from which an interrupted cell resumes."""
    max_concurrent: Annotated[int, MACHINE, FREE] = 0
    """Maximum number of packs that run in parallel; 0 is as many as fit now. A cluster that can grow is
    asked for this many."""
    address: Annotated[str | None, MACHINE, FREE] = None
    """Address of a Ray cluster; the default is this machine only."""
    price_per_pack_hour: Annotated[float | None, MACHINE, FREE] = None
    """Price of an hour of what one pack holds (an instance's price over the packs that fit on it), in any
    currency: costs are then stated in money, too. On a cluster of `ray up` the default is that of `metadata:
    price_per_hour` in the cluster file."""
    pool: Annotated[bool, MACHINE, FREE] = True
    """Join the pool of warm workers on this machine, if one runs (`interfero pool start`) and fits;
    --no-pool starts Ray for this sweep alone."""
    # Every sweep accepts these, because tools pass them to all; a sweep that uses them shows them in --help.
    source: Annotated[str, HIDDEN] = "mbt2018-mean"
    """Source codec."""
    source_domain: Annotated[str, HIDDEN] = DEFAULT_SOURCE
    """Source domain, on which forgetting is measured."""
    sampler: Annotated[Sampler, HIDDEN] = "grid"
    """How hyperparameters are chosen inside each block."""
    num_samples: Annotated[int, HIDDEN, FREE] = 16
    """Cells per block, for samplers other than grid."""
    early_stopping: Annotated[EarlyStopping, HIDDEN] = "none"
    """Which cells a search stops early."""
    calibrate: Annotated[bool, FLAG, HIDDEN, FREE] = False
    """Time a few steps first."""
    max_domain_memory: Annotated[float | None, MACHINE, FREE] = None
    """GiB of memory for the decoded images of all domains together; the rest is decoded to files once per
    node and mapped. The default is an eighth of the machine's memory."""

    @model_validator(mode="wrap")
    @classmethod
    def _refused(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Raise an error of this project, which names each value, its rule and the remedy."""
        try:
            return handler(given)
        except ValidationError as error:
            found = "\n".join(_said(cls, problem) for problem in error.errors())
        raise ConfigError(found)

    @property
    def budgets(self) -> tuple[int, ...]:
        """The requested numbers of steps, in rising order."""
        asked = self.num_steps
        return (asked,) if isinstance(asked, int) else tuple(sorted(asked))

    @property
    def first_budget(self) -> int:
        """The number of steps that was requested first."""
        return self.num_steps if isinstance(self.num_steps, int) else self.num_steps[0]

    @property
    def searches(self) -> bool:
        """Whether a sampler chooses cells one after the other; otherwise all are planned."""
        return self.sampler in SEARCHES

    @property
    def widens(self) -> bool:
        """Whether cells may be added to those that are planned."""
        return False

    def check(self) -> None:
        """Refuse options that cannot be run, all problems in one error, before anything is loaded.

        Raises:
            ConfigError: names each value, its rule and the remedy.
        """
        settled = self.settled()
        refuse_broken([*sweep_rules(settled), *settled.rules()])

    def rules(self) -> list[Rule]:
        """Rules for the options that this kind of sweep adds."""
        return []

    def settled(self) -> Self:
        """The same with `auto` resolved, where that needs no look at data or machine."""
        return self.model_copy(update={"sampler": "grid"}) if self.sampler == "auto" else self

    def smallest(self) -> Self:
        """The smallest honest run of the same options: every stage runs, on little data."""
        return self


def _said(kind: type[SweepOptions], problem: ErrorDetails) -> str:
    name, *inside = map(str, problem["loc"] or ("options",))
    value = problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"no option {name!r}: {nearest(name, kind.model_fields)}"
    if problem["type"] == "tuple_type" and not inside:
        return f"{name} takes several values, got {value!r}: write {(value,)!r}"
    return f"{'.'.join([name, *inside])}: {problem['msg']}, got {value!r}"


def free_options(kind: type[SweepOptions]) -> set[str]:
    """Names of the options that may differ between a sweep and its resumption."""
    return {
        name
        for name, field in kind.model_fields.items()
        if any(isinstance(mark, Free) for mark in field.metadata)
    }


def storage_folder(options: SweepOptions) -> Path:
    """The folder that `--storage` names."""
    return storage_of(options.storage)
