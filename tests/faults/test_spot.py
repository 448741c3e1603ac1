"""Machines taken away after a notice, in the middle of a training, more often than a pack may fail."""

import http.server
import os
import subprocess
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from interfero.engine.packs import RETRIES
from interfero.errors import StorageError
from tests.integration.conftest import ROOT
from tests.processes import PATIENCE_S, kept_states, product_of, training_below, without_before

from .conftest import started_in_time

ONE = [
    "--name", "one", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3",
    "--num-steps", "600", "--checkpoint-seconds", "0.2",
]  # fmt: skip
PAIR = [
    "--name", "pair", "--methods", "lora", "--adapter-sizes", "1", "--learning-rates", "1e-3", "3e-3",
    "--num-steps", "300", "--checkpoint-seconds", "0.2", "--workers-per-trial", "2",
]  # fmt: skip

TRIAL, OF_A_GROUP = "ImplicitFunc.train", "RayTrainWorker"

pytestmark = pytest.mark.timeout(2400)


class Machine:
    """A node as containers run it: `ray start --block` in a process of its own."""

    def __init__(self, cluster):
        self.process = psutil.Popen(
            [Path(sys.executable).with_name("ray"), "start", "--block", f"--address={cluster.address}",
             "--num-cpus=1", "--disable-usage-stats", "--dashboard-agent-listen-port=0"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        for line in self.process.stdout:
            if b"Ray runtime started" in line:
                return
        self.end()
        raise RuntimeError("its Ray timed out during startup")

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
        self.all.append(started_in_time(lambda: Machine(self.cluster)))

    def that_run(self, title):
        """Those on which a process with such a title runs: Ray titles those that train."""
        return [
            machine
            for machine in self.all
            if any(title in " ".join(process.cmdline()) for process in machine.training)
        ]


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


class Metadata(http.server.BaseHTTPRequestHandler):
    """EC2's server of a machine that has its notice: it gives a token first, and asks for it."""

    def do_PUT(self):
        self._answer(200 if self.path == "/latest/api/token" else 404, b"secret")

    def do_GET(self):
        known = self.path == "/latest/meta-data/spot/instance-action"
        allowed = self.headers["X-aws-ec2-metadata-token"] == "secret"
        self._answer(404 if not known else 200 if allowed else 401, b"{}")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *given):
        pass


@pytest.fixture
def reclaimed(tmp_path):
    """As EC2 does it: returns when Ray knows."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "METADATA": f"http://127.0.0.1:{server.server_port}",
            "TMPDIR": str(tmp_path),
        }
        scripts = []

        def notice(machine):
            if scripts:
                assert scripts[-1].wait(PATIENCE_S) == 0, "it returns when Ray has ended"
            command = ["bash", ROOT / "clusters/spot_notice.sh", str(machine.raylet.pid)]
            scripts.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE))
            assert b"Ray starts nothing more here" in scripts[-1].stdout.readline()

        yield notice
        for script in scripts:
            script.kill()
            script.communicate()
        server.shutdown()


def terminated(machine):
    """As Kubernetes ends a pod: SIGTERM to its first process."""
    machine.process.terminate()


def newest_step(place, name):
    """Steps of the newest whole state of a cell; 0 where there is none."""
    for before in kept_states(place, name):
        # The newest is away for a moment while another is written.
        with suppress(StorageError):
            return product_of(without_before(before))
        return product_of(before)
    return 0


def taken_away(place, sweep, machines, notice, *, since=0, title=TRIAL):
    """Take a machine in mid-training, more than `since` steps into it.

    Returns:
        The steps of the state before the notice, and of the one that was left behind.
    """
    name = sweep.args[sweep.args.index("--name") + 1]
    place.wait_until(lambda: newest_step(place, name) > since, sweep)
    (machine,) = place.wait_until(lambda: machines.that_run(title), sweep)[:1]
    with held(machine):
        before = newest_step(place, name)
        notice(machine)
    # Ray ends there by itself, long before the deadline; under Ray Train it was seen to stay.
    gone = (lambda: machine.raylet is None) if title == TRIAL else (lambda: not machine.training)
    place.wait_until(gone, sweep)
    return before, newest_step(place, name)


def test_a_cell_whose_machine_is_taken_away_again_and_again_goes_on_from_each_step(
    machines, make_workplace, outcome, reclaimed, tmp_path
):
    place = make_workplace("spot")
    machines.add()
    process = place.start(*ONE, "--address", machines.cluster.address)
    steps = [(0, 0)]
    for notice in (reclaimed, terminated) * ((RETRIES + 2) // 2):
        steps.append(taken_away(place, process, machines, notice, since=steps[-1][1]))
        machines.add()
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(steps) - 1 > RETRIES + 1
    outcome(place, "one").check(1)
    (record,) = place.records("one").values()
    assert record["resumed_step"] == steps[-1][1]
    assert all(before < after for before, after in steps[1:]), steps
    outcome(place, "one").check_numbers(tmp_path, resumed=True)


def test_two_processes_go_on_when_a_machine_of_theirs_is_taken_away(
    machines, make_workplace, outcome, reclaimed
):
    place = make_workplace("spots")
    for _ in range(3):
        machines.add()
    process = place.start(*PAIR, "--address", machines.cluster.address)
    before, after = taken_away(place, process, machines, reclaimed, title=OF_A_GROUP)
    done = place.finish(process)
    assert done.returncode == 0, done.stdout + done.stderr
    outcome(place, "pair").check(2)
    assert {r["resumed_step"] for r in place.records("pair").values()} == {after}
    assert before < after
