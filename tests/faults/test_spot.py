"""Machines taken away after a notice, in the middle of a training, more often than a pack may fail."""

import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from interfero.engine.packs import RETRIES
from tests.processes import kept_states, product_of, training_below, without_before

ONE = [
    "--name", "one", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3",
    "--num-steps", "1500", "--checkpoint-seconds", "0.2",
]  # fmt: skip
PAIR = [
    "--name", "pair", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3", "3e-3",
    "--num-steps", "300", "--checkpoint-seconds", "0.2", "--workers-per-trial", "2",
]  # fmt: skip

pytestmark = pytest.mark.timeout(2400)


class Machine:
    """A node as containers run it: `ray start --block` in a process of its own."""

    def __init__(self, cluster):
        self.process = psutil.Popen(
            [Path(sys.executable).with_name("ray"), "start", "--block", f"--address={cluster.address}",
             "--num-cpus=1", "--disable-usage-stats"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    @property
    def training(self):
        with suppress(psutil.NoSuchProcess):
            return training_below(self.process)
        return []

    @property
    def raylet(self):
        """The process of Ray's node; None if it has ended, or not begun."""
        with suppress(psutil.NoSuchProcess):
            for process in self.process.children(recursive=True):
                if process.name() == "raylet" and process.status() != psutil.STATUS_ZOMBIE:
                    return process
        return None

    def end(self):
        with suppress(psutil.NoSuchProcess):
            for process in [*self.process.children(recursive=True), self.process]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        self.process.wait()


class Machines:
    """Machines of one cluster, of which new ones come as others are taken away."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.all = []

    def add(self):
        self.all.append(Machine(self.cluster))

    def training(self):
        return [machine for machine in self.all if machine.training]


@contextmanager
def held(machine):
    """What trains stands still meanwhile: a quick machine would be done before it has its notice."""
    processes = machine.training
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


@pytest.fixture
def machines(cluster):
    for node in list(cluster.nodes):
        cluster.cluster.remove_node(node)
        cluster.nodes.remove(node)
    machines = Machines(cluster)
    yield machines
    for machine in machines.all:
        machine.end()


def drained(machine, seconds=60):
    """As an administrator does it, or a hook of a cloud's agent."""
    (node,) = [w for w in machine.raylet.cmdline() if w.startswith("--node_id=")]
    (head,) = [w for w in machine.raylet.cmdline() if w.startswith("--gcs-address=")]
    subprocess.run(
        [Path(sys.executable).with_name("ray"), "drain-node", "--address", head.partition("=")[2],
         "--node-id", node.partition("=")[2], "--reason", "DRAIN_NODE_REASON_PREEMPTION",
         "--reason-message", "test", "--deadline-remaining-seconds", str(seconds)],
        check=True, capture_output=True,
    )  # fmt: skip


def terminated(machine):
    """As Kubernetes ends a pod: SIGTERM to its first process."""
    machine.process.terminate()


def newest_step(place, name):
    return product_of(without_before(kept_states(place, name)[0]))


def taken_away(place, sweep, machines, name, notice):
    """Take the machine that trains: the step of the state before the notice, and of the one left behind."""
    (machine,) = place.wait_until(machines.training, sweep)[:1]
    place.wait_until(lambda: kept_states(place, name), sweep)
    with held(machine):
        before = newest_step(place, name)
        notice(machine)
    # Ray ends there by itself, long before the deadline.
    place.wait_until(lambda: machine.raylet is None, sweep)
    return before, newest_step(place, name)


def test_a_cell_whose_machine_is_taken_away_again_and_again_goes_on_from_each_step(
    machines, make_workplace, outcome, tmp_path
):
    place = make_workplace("spot")
    machines.add()
    process = place.start(*ONE, "--address", machines.cluster.address)
    steps = []
    for notice in (drained, terminated) * ((RETRIES + 2) // 2):
        left = taken_away(place, process, machines, "one", notice)
        steps.append(left)
        machines.add()
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(steps) > RETRIES + 1
    outcome(place, "one").check(1)
    (record,) = place.records("one").values()
    assert record["resumed_step"] == steps[-1][1]
    assert all(before < after for before, after in steps), steps
    outcome(place, "one").check_numbers(tmp_path, resumed=True)
