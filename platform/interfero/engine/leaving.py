"""Machines that are about to be taken away: nodes that Ray has been told to drain, as spot machines are.

A drained node gets no new actors, but Ray (2.60) tells those that it has nothing, and leaves them there. Each
process that trains looks for itself: its loop writes states after the step, and the pack goes on elsewhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager

from interfero.engine import ray_environment  # noqa: F401

# isort: split
import ray
from ray.exceptions import RayActorError

from interfero.engine.worker import Leaving

LOOK_EVERY_S = 1.0
"""A look asks the head once; spot machines have 30 seconds or more."""
TAKEN_AWAY = "its machine is being taken away"


class MachineLeavingError(RayActorError):
    """Ends a pack on a machine that is being taken away.

    Ray's own error of a process whose machine was reclaimed has the same mark: Tune and Train count neither
    as a failure.
    """

    def __init__(self) -> None:
        """Marked as `preempted`."""
        super().__init__(error_msg=TAKEN_AWAY, preempted=True)


class Notice:
    """Whether one of some nodes is being drained; once it is, it stays so."""

    def __init__(self, nodes: Iterable[str]) -> None:
        """Nothing is asked yet.

        Args:
            nodes: Ray's IDs of them.
        """
        self._nodes = frozenset(nodes)
        self._looked_at = -math.inf
        self._given = False

    def __call__(self) -> bool:
        """Look, if the last look is `LOOK_EVERY_S` ago."""
        if not self._given and time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._given = not self._nodes.isdisjoint(draining_nodes())
            self._looked_at = time.monotonic()
        return self._given

    def check(self) -> None:
        """Begin nothing on a node that is being drained.

        Raises:
            MachineLeavingError: one of them is.
        """
        if self():
            raise MachineLeavingError


def own_node() -> str:
    """Ray's ID of the node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def draining_nodes() -> Set[str]:
    """Ray's IDs of the nodes that are being drained, for whatever reason.

    Not public: Ray Train's own watcher asks for the same (2.60), and neither `ray.nodes` nor the State API
    tells it.
    """
    found: dict[str, int] = ray._private.state.state.get_draining_nodes()
    return found.keys()


@contextmanager
def moves_elsewhere() -> Iterator[None]:
    """Inside, a loop that left its machine ends the pack as `MachineLeavingError`."""
    try:
        yield
    except Leaving:
        raise MachineLeavingError from None
