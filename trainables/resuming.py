"""What is kept of a cell in training, so that another process goes on where this one was stopped.

A state holds all that training changes: parameters that learn, buffers, both optimisers, the curve so
far, the seconds, the failure and the early stop. Batches and noise are functions of the step, and what a
method prepares is a function of its start: both are computed again. On a CPU, with the same threads and
workers, the adapter file of a cell that went on has the same hash as that of one that never stopped. On a
GPU it goes on from the same bits, but convolutions sum gradients in any order: it differs from an
uninterrupted cell as much as two uninterrupted ones differ from each other. So does, in its last bits, a
cell that steps as one computation with others, where it goes on in other company.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim import Optimizer

from interfero.engine.checkpoints import Checkpoints, load_state
from interfero.engine.distributed import Group
from interfero.errors import StorageError

if TYPE_CHECKING:
    from trainables.member import Member

CHECKPOINT_SECONDS = 60.0

logger = logging.getLogger(__name__)


class StateKeeper:
    """Writes the states of a pack's members every so often; the first process of a group does."""

    def __init__(self, checkpoints: Checkpoints, group: Group, seconds: float) -> None:
        """Keep states in `checkpoints`, `seconds` apart; 0 is after every step."""
        self._checkpoints = checkpoints
        self._group = group
        self._seconds = seconds
        self._begun = False
        """Whether there are states: then the last step is kept as well, for the evaluation's sake."""
        self._settled: set[str] = set()
        """Keys of failed members whose states say so."""
        self._written_at = time.monotonic()

    def restore(self, member: Member) -> None:
        """Let a member that is ready for its first step go on from its newest whole state, if any.

        Raises:
            StorageError: the state is of other parameters: the training code has changed.
            GroupError: another process cannot read it.
        """
        path = self._group.from_first(lambda: self._checkpoints.newest(member.key))
        if path is None:
            return
        with self._group.together():
            info = load_state(path, _state(member), _optimizers(member))
        member.start = int(info["step"])
        member.seconds = float(info["seconds"])
        member.curve = [(int(step), dict(values)) for step, values in info["curve"]]
        member.window = [torch.tensor(values) for values in info["window"]]
        member.failure = info["failure"]
        stopped = info.get("stopped")  # Earlier states lack it.
        member.stopped = None if stopped is None else (int(stopped[0]), float(stopped[1]))
        member.fused_members = int(info.get("fused_members", 1))
        self._begun = True
        if member.failure:
            self._settled.add(member.key)

    def after_step(self, members: Sequence[Member], num_done: int, *, last: bool) -> None:
        """Write the states of those that took part in the step, if it is time.

        A disk that is full costs the checkpoint, not the training.
        """
        due = time.monotonic() - self._written_at >= self._seconds or (last and self._begun)
        if self._group.rank > 0 or not due:
            return
        for member in members:
            key = member.key
            if member.start >= num_done or key in self._settled:
                continue
            try:
                self._write(member, num_done)
            except StorageError as error:
                logger.warning("cell %s trains on without a checkpoint: %s", key, error)
                continue
            if member.failure:
                self._settled.add(key)
        self._begun = True
        self._written_at = time.monotonic()

    def _write(self, member: Member, num_done: int) -> None:
        info = {
            "step": num_done,
            "seconds": member.seconds,
            "curve": member.curve,
            "window": [values.tolist() for values in member.window],
            "failure": member.failure,
            "stopped": member.stopped,
            "fused_members": member.fused_members,
        }
        key = member.key
        self._checkpoints.write(key, _state(member), _optimizers(member), info)


def _state(member: Member) -> dict[str, Tensor]:
    learning = {n: p for n, p in member.adapted.named_parameters() if p.requires_grad}
    return {**learning, **dict(member.adapted.named_buffers())}


def _optimizers(member: Member) -> list[Optimizer]:
    return [member.main] if member.auxiliary is None else [member.main, member.auxiliary]
