"""A machine on which Ray does not start in time, with the remedy that its message names; early workers."""

import os
import subprocess
import sys

import pytest
import ray

from interfero.engine import ray_environment
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.ray_session import WAIT_VARIABLE, _start_ray
from interfero.errors import ConfigError

LOOK = """
import sys, time
import ray._private.services as services
began = time.monotonic()
try:
    services.get_node(sys.argv[1], "0" * 56)
except RuntimeError:
    print(time.monotonic() - began)
"""
"""What Ray does until a node of its own is there; this one never comes."""


def test_the_message_names_what_gives_ray_longer(monkeypatch):
    def late(**options):
        # Word for word Ray 2.60's.
        raise Exception("The current node timed out during startup. This could happen because some")

    monkeypatch.setattr(ray, "init", late)
    with pytest.raises(ConfigError, match=rf"{WAIT_VARIABLE}=300 in the environment"):
        _start_ray(AdaptationOptions(), None)


def test_ray_looks_for_its_processes_as_long_as_it_is_told(ray_here):
    """Untold it waits 10 s; of a machine under load only what it waits at least is certain."""
    address = ray.get_runtime_context().gcs_address
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOOK, address],
        env={**os.environ, WAIT_VARIABLE: "13"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert float(done.stdout) > 12


EARLY = """
import os, time
from interfero.engine import ray_environment
ray_environment.prepare(None, groups=False, cpus=2)
import psutil, ray
from ray.util.placement_group import placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
(raylet,) = [p for p in psutil.Process().children() if p.name() == "raylet"]
def idle():
    return {p.pid for p in raylet.children() if "".join(p.cmdline()).startswith("ray::IDLE")}
while len(early := idle()) < 2:
    time.sleep(0.1)
# As Tune does: first the promise of CPUs, then, on a busy machine seconds later, the trial.
time.sleep(1.5)
promise = placement_group([{"CPU": 1}, {"CPU": 1}])
assert promise.wait(60)
time.sleep(2)
trial = ray.remote(num_cpus=1)(type("Trial", (), {"pid": lambda self: os.getpid()}))
strategy = PlacementGroupSchedulingStrategy(promise)
here = trial.options(scheduling_strategy=strategy).remote()
print("EARLY" if ray.get(here.pid.remote()) in early else "LATE")
"""


def test_a_trial_gets_a_worker_that_was_started_before_it():
    """Ray's own second would end those, and each sweep would import everything twice."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", EARLY],
        env={**os.environ, ray_environment.PRELOAD: "json", "RAY_worker_niceness": "0"},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split()[-1] == "EARLY"
