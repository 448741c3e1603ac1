"""A machine on which Ray does not start in time, and the remedy that its message names."""

import os
import subprocess
import sys

import pytest
import ray

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
