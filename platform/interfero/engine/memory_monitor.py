"""Ray's memory monitor, as Tune understands it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.exceptions import OutOfMemoryError, RayActorError

_HANDLER = "_actor_task_failed"
"""Of `RayActorManager`: what hears that a call of an actor ended with an error."""


@contextmanager
def kills_are_deaths() -> Iterator[None]:
    """An actor that Ray's memory monitor kills is, to Tune, an actor that died: its trial is tried again.

    Ray tells of such a kill by an `OutOfMemoryError`, which is no `RayActorError`, and Tune takes whatever
    else a call of an actor ends with for a bug of its own: it raises a RuntimeError that ends all trials
    (Ray 2.60, `RayActorManager._actor_task_failed`).
    """
    original = getattr(RayActorManager, _HANDLER)

    def failed(
        self: RayActorManager, tracked_actor_task: TrackedActorTask, exception: Exception
    ) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))
        original(self, tracked_actor_task, exception)

    setattr(RayActorManager, _HANDLER, failed)
    try:
        yield
    finally:
        setattr(RayActorManager, _HANDLER, original)
