"""What trainings of several lengths have in common: the steps before the shorter one cools down.

STORAGE/SWEEP/checkpoints/trunk-KEY.STEP.safetensors is the state of a training after STEP steps at its
constant learning rate, kept until the sweep has ended. A longer one of the same kind goes on from it, and is
what it would have been from the start: parameters, moments, batches and noise are the same, to the bit on a
CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence, Set
from pathlib import Path

from interfero.engine.checkpoints import Checkpoints, load_state, trunk_name
from interfero.engine.distributed import Group
from interfero.errors import StorageError
from trainables.member import Member

logger = logging.getLogger(__name__)


class Trunks:
    """The states of a sweep's trunks."""

    def __init__(self, sweep_folder: Path, group: Group, continued: Set[str] = frozenset()) -> None:
        """Nothing is read yet.

        Args:
            sweep_folder: Of the sweep.
            group: The processes that train together; the first one writes.
            continued: Keys of trainings that longer ones will go on from.
        """
        self._states, self._group = Checkpoints(sweep_folder), group
        self._continued = continued

    def take_up(self, member: Member) -> None:
        """Let a member that is ready for its first step go on from the longest trunk that fits, if any.

        Raises:
            StorageError: the state is of other parameters.
            GroupError: another process cannot read it.
        """
        path = self._group.from_first(lambda: next(self._newest(member), None))
        if path is None:
            return
        with self._group.together():
            info = load_state(path, member.tensors(), member.optimizers())
            prepared = member.seconds
            member.go_on(info)
            member.seconds += prepared
        member.taken_up = member.start

    def keep(self, members: Sequence[Member], num_done: int) -> None:
        """Write the states of members whose cool-down begins, if longer trainings go on from them.

        A disk that is full costs the longer trainings their start, not this one.
        """
        if self._group.rank > 0:
            return
        for member in members:
            ends = member.cell.loop.trunk_steps == num_done
            if not ends or member.over or member.key not in self._continued:
                continue
            info = {"step": num_done, **member.info()}
            try:
                name = trunk_name(member.trunk, num_done)
                self._states.write(name, member.tensors(), member.optimizers(), info)
            except StorageError as error:
                logger.warning("longer trainings than %s begin anew: %s", member.key, error)

    def _newest(self, member: Member) -> Iterator[Path]:
        """Whole states of a member's trunk, none of them past its cool-down's begin; the longest first."""
        limit = member.cell.loop.trunk_steps
        if limit is None:
            return
        for step in reversed(self._states.trunk_steps(member.trunk)):
            path = self._states.newest(trunk_name(member.trunk, step)) if step <= limit else None
            if path is not None:
                yield path
