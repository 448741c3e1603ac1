"""What Ray's own manager of actors makes of a call that its memory monitor ended."""

import pytest
from ray.air.execution._internal.actor_manager import RayActorManager
from ray.air.execution._internal.tracked_actor import TrackedActor
from ray.air.execution._internal.tracked_actor_task import TrackedActorTask
from ray.air.execution.resources import FixedResourceManager, ResourceRequest
from ray.exceptions import OutOfMemoryError, RayActorError

from interfero.engine.memory_monitor import kills_are_deaths

TOLD = "Task was killed due to the node running low on memory."


@pytest.fixture
def ended():
    """Ends a call of an actor with an error; returns what its owner hears, as (of what, error)."""
    heard = []
    actor = TrackedActor(actor_id=1, on_error=lambda actor, error: heard.append(("actor", error)))
    task = TrackedActorTask(actor, on_error=lambda actor, error: heard.append(("task", error)))
    resources, asked = FixedResourceManager({"CPU": 1.0}), ResourceRequest([{"CPU": 1.0}])
    resources.request_resources(asked)
    manager = RayActorManager(resources)
    # As one that lives: its process is no matter of this.
    manager._live_actors_to_ray_actors_resources[actor] = None, resources.acquire_resources(asked)

    def end(error):
        manager._actor_task_failed(task, error)
        return heard

    return end


def test_a_kill_for_memory_is_the_death_of_an_actor(ended):
    with kills_are_deaths():
        heard = ended(OutOfMemoryError(TOLD))
    assert [of for of, _ in heard] == ["actor", "task"]
    for _, error in heard:
        assert isinstance(error, RayActorError)
        assert TOLD in str(error), "the record's reason is read from these words"


def test_other_ends_are_those_of_ray(ended):
    error = RayActorError(error_msg="died")
    with kills_are_deaths():
        assert [each for _, each in ended(error)] == [error, error]
        with pytest.raises(RuntimeError, match="Caught unexpected exception: no end of a call"):
            ended(ValueError("no end of a call"))


def test_without_it_ray_ends_all_trials_and_it_leaves_nothing_behind(ended):
    """Ray 2.60. If this fails, Ray has learned it, and `kills_are_deaths` can go."""
    with kills_are_deaths():
        pass
    with pytest.raises(RuntimeError, match=r"Caught unexpected exception: .*low on memory"):
        ended(OutOfMemoryError(TOLD))
