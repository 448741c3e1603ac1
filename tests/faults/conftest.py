"""Sweeps whose processes, servers, disks and files are really taken away, and what they must come to."""

import os
import shutil
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pyarrow.parquet
import pytest
from ray.cluster_utils import Cluster
from ray.util.state import list_actors, list_objects
from ray.util.state.exception import RayStateApiException

from tests.integration.conftest import make_workplace, ray_here
from tests.processes import PATIENCE_S, kill_all, training_below

__all__ = ["make_workplace", "ray_here"]

OF_THE_CLUSTER = ("_AutoscalingCoordinatorActor",)
"""Ray Train's own, one a cluster, without a CPU: it outlives its job and serves the next one."""


class RayCluster:
    """Several nodes on this machine, a head that trains nothing among them, with the State API."""

    def __init__(self, num_nodes):
        # Short, because Ray's sockets lie in it; its own, because Ray notes there which cluster is newest.
        self.folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
        self._num_nodes = num_nodes
        self._environment = {
            "RAY_TMPDIR": str(self.folder),
            "RAY_USAGE_STATS_ENABLED": "0",
            # A head that is gone is given up sooner than after Ray's minute.
            "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
            "RAY_worker_niceness": "0",
        }
        os.environ.update(self._environment)
        self.start()

    def start(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        head = {"num_cpus": 0, "include_dashboard": True, "dashboard_port": port}
        self.cluster = started_in_time(lambda: Cluster(initialize_head=True, head_node_args=head))
        self.nodes = [self.add_node() for _ in range(self._num_nodes)]

    @property
    def address(self):
        return self.cluster.address

    def add_node(self):
        return started_in_time(lambda: self.cluster.add_node(num_cpus=1))

    def training(self):
        return [p for node in self.nodes for p in training_below(raylet_of(node))]

    def lose_node(self, place, sweep):
        """Every process of a node that trains is killed at once; a new node takes its place."""
        (node,) = place.wait_until(self._training_nodes, sweep)[:1]
        kill_all(raylet_of(node))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.remove(node)
        self.nodes.append(self.add_node())

    def _training_nodes(self):
        return [node for node in self.nodes if training_below(raylet_of(node))]

    def lose_head(self, place, sweep):
        """The head's processes are killed; nodes that have lost their head end by themselves.

        What trains stands still from then on: it needs no head to go on, and could reach its end.
        """
        place.wait_until(self.training, sweep)
        nodes, held = [raylet_of(node) for node in self.nodes], self.training()
        for process in held:
            process.suspend()
        self.cluster.head_node.kill_all_processes(
            check_alive=False, allow_graceful=False, wait=True
        )
        _, alive = psutil.wait_procs(nodes, timeout=PATIENCE_S)
        assert alive == []
        for process in held:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def wait_until_empty(self):
        """Until Ray has removed what a driver left that is gone: its actors, processes and objects."""
        deadline = time.monotonic() + PATIENCE_S
        while left := self._left():
            assert time.monotonic() < deadline, left
            time.sleep(0.5)

    def _left(self):
        """What Ray still has, or why it cannot tell: it asks processes that may be ending just then."""
        address = f"http://{self.cluster.webui_url}"
        try:
            actors = list_actors(address, filters=[("state", "!=", "DEAD")])
            objects = list_objects(address)
        except RayStateApiException as error:
            return [error]
        actors = [actor for actor in actors if actor.class_name not in OF_THE_CLUSTER]
        return [*actors, *objects, *self.training()]

    def stop(self):
        self.cluster.shutdown()
        for name in self._environment:
            os.environ.pop(name)
        shutil.rmtree(self.folder, ignore_errors=True)


def started_in_time(start):
    """What starts some of Ray's processes: within its fixed 30 seconds, for which a busy machine may need
    another try."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return start()
        except Exception as error:
            if "timed out during startup" not in str(error) or time.monotonic() > deadline:
                raise


def raylet_of(node):
    (info,) = node.all_processes["raylet"]
    return psutil.Process(info.process.pid)


@pytest.fixture(scope="module")
def cluster():
    cluster = RayCluster(num_nodes=2)
    yield cluster
    cluster.stop()


class Outcome:
    """What a sweep must have come to in the end, whatever happened on the way."""

    def __init__(self, place, name):
        self.place, self.name = place, name

    def files(self):
        """Content and time of every record."""
        return {
            p.stem: (p.read_bytes(), p.stat().st_mtime_ns)
            for p in self.place.record_files(self.name)
        }

    def check(self, count):
        """Every cell finished, one MLflow run each, all of them in the table, nothing left over."""
        records = self.place.records(self.name)
        assert {r["status"] for r in records.values()} == {"finished"}, records
        assert len(records) == count
        parent, runs = self.place.runs(self.name)
        assert parent.info.status == "FINISHED"
        assert {run.info.status for run in runs.values()} == {"FINISHED"}
        assert runs.keys() == records.keys()
        for key, run in runs.items():
            assert run.data.metrics["target/rd_loss"] == records[key]["metrics"]["target/rd_loss"]
        table = pyarrow.parquet.read_table(self.place.sweep(self.name) / "report/cells.parquet")
        assert sorted(table["key"].to_pylist()) == sorted(records)
        for left in ("tune", "stop"):
            assert not (self.place.sweep(self.name) / left).exists()
        checkpoints = self.place.sweep(self.name) / "checkpoints"
        assert not checkpoints.exists() or list(checkpoints.iterdir()) == []

    def check_numbers(self, folder, *, resumed=False):
        """Bit for bit those of the same cells in this process, where nothing is killed.

        Args:
            folder: For these cells' files.
            resumed: Look at cells alone that went on from a state.
        """
        records = self.place.records(self.name)
        if resumed:
            records = {key: r for key, r in records.items() if r["resumed_step"] > 0}
        assert records
        kept = [self.place.adapter(self.name, record) for record in records.values()]
        whole = self.place.trained_here([cell for cell, _ in kept], folder)
        assert [record.key for record, _ in whole] == list(records)
        for (_, metadata), (record, again) in zip(kept, whole, strict=True):
            assert metadata["adapter_hash"] == again["adapter_hash"]
            found = records[record.key]
            assert found["curve"] == [list(point) for point in record.curve]
            assert found["metrics"]["target/rd_loss"] == record.metrics["target/rd_loss"]


@pytest.fixture
def outcome():
    return Outcome
