"""The loop of every training: it goes on where another process was stopped.

A state holds all that training changes: parameters that learn, buffers, optimisers, the curve so far, the
seconds, the failure and the early stop. Batches and noise are functions of the step, and what a method
prepares is a function of its start: both are computed again. On a CPU, with the same threads and workers,
the file of a training that went on has the same hash as that of one that never stopped. On a GPU it goes on
from the same bits, but convolutions sum gradients in any order: it differs from an uninterrupted one as
much as two uninterrupted ones differ from each other. So does, in its last bits, a cell that steps as one
computation with others, where it goes on in other company.
"""

from __future__ import annotations

import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from interfero.engine.checkpoints import Checkpoints, load_state
from interfero.engine.distributed import Group
from interfero.engine.worker import Leaving, Worker
from interfero.errors import StorageError

CHECKPOINT_SECONDS = 60.0

logger = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Resumable(ABC):
    """One training: how far it is, and what another process needs to go on with it."""

    key: str
    """Names its states."""
    start: int = 0
    """Step it goes on from; 0 if it was never interrupted."""
    seconds: float = 0.0
    """Spent on its steps."""
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    """Steps done, and mean losses since the point before."""
    failure: str | None = None
    """Why it goes no further."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """Everything that training changes, by name."""

    @abstractmethod
    def optimizers(self) -> Sequence[Optimizer]:
        """In a fixed order."""

    @property
    def over(self) -> bool:
        """Whether it takes part in no further step."""
        return self.failure is not None

    def info(self) -> dict[str, Any]:
        """What a state has besides tensors and steps done, as JSON."""
        return {"seconds": self.seconds, "curve": self.curve}

    def go_on(self, info: Mapping[str, Any]) -> None:
        """Take over a state's `info`; states of earlier versions may lack some of it."""
        self.start = int(info["step"])
        self.seconds = float(info.get("seconds", 0.0))
        self.curve = [(int(step), dict(values)) for step, values in info.get("curve", ())]


class Loop:
    """Steps of trainings in lockstep, each from its own start on, and the states they leave behind.

    Of a group of processes, the first one writes states.
    """

    def __init__(
        self, trainings: Sequence[Resumable], num_steps: int, worker: Worker,
        seconds: float = CHECKPOINT_SECONDS, checkpoints: Checkpoints | None = None,
    ) -> None:  # fmt: skip
        """Nothing is restored yet.

        Args:
            trainings: What is trained.
            num_steps: Of each.
            worker: This process.
            seconds: Between states; 0 is after every step.
            checkpoints: Where states are kept, if not with the cells of the worker's sweep.
        """
        self.group, self._worker = Group(worker), worker
        self._trainings, self._num_steps, self._seconds = trainings, num_steps, seconds
        self._checkpoints = checkpoints or Checkpoints(worker.folder)
        self._begun = False
        """Whether there are states: then the last step is kept as well, for what follows it."""
        self._stopped = False
        self._settled: set[str] = set()
        """Keys of failed trainings whose states say so."""
        self._written_at = time.monotonic()

    def restore(self, training: Resumable) -> None:
        """Let a training that is ready for its first step go on from its newest whole state, if any.

        Raises:
            StorageError: the state is of other parameters: the training code has changed.
            GroupError: another process cannot read it.
        """
        path = self.group.from_first(lambda: self._checkpoints.newest(training.key))
        if path is None:
            return
        with self.group.together():
            training.go_on(load_state(path, training.tensors(), training.optimizers()))
        self._begun = True
        if training.failure:
            self._settled.add(training.key)

    def steps(self) -> Iterator[int]:
        """Indices of the steps that are left; a state is written every so often, after a step.

        Raises:
            Leaving: the machine is being taken away; states of the step are written.
        """
        starts = [t.start for t in self._trainings if not t.over]
        for step in range(min(starts, default=self._num_steps), self._num_steps):
            yield step
            self._after_step(step + 1)
            if self._stopped or all(t.over for t in self._trainings):
                return

    def stop(self) -> None:
        """Write states after the present step, and end."""
        self._stopped = True

    def _after_step(self, num_done: int) -> None:
        """Write the states of those that took part in the step, if it is time.

        A disk that is full costs the checkpoint, not the training.
        """
        leaving = self._worker.leaving
        due = leaving or time.monotonic() - self._written_at >= self._seconds
        last = self._stopped or (self._begun and num_done == self._num_steps)
        if self.group.rank > 0 or not (due or last):
            return
        for training in self._trainings:
            key = training.key
            if training.start >= num_done or key in self._settled:
                continue
            info = {"step": num_done, **training.info()}
            try:
                self._checkpoints.write(key, training.tensors(), training.optimizers(), info)
            except StorageError as error:
                logger.warning("%s trains on without a checkpoint: %s", key, error)
                leaving = False
                continue
            if training.failure:
                self._settled.add(key)
        self._begun = True
        self._written_at = time.monotonic()
        if leaving:
            raise Leaving
