"""`ray up clusters/on_premises.yaml` for real: four hosts in namespaces, the file as it is shipped."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from tests.integration.ssh_hosts import SHARED, ssh_hosts, what_is_missing

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "clusters/on_premises.yaml"
# As in the file.
INSTALL = "bash ~/interfero/clusters/install.sh"
HEAD, WORKERS = "192.0.2.10", ("192.0.2.11", "192.0.2.12")
PRICED = {"metadata": {"price_per_hour": {}, "team": "codecs"}}
"""What a user may add to any cluster file."""
UP_S, SUBMIT_S, SHORT_S = 400, 300, 120

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(what_is_missing()), reason=what_is_missing()),
]

WAIT_FOR_NODES = """
import sys, time
import ray
wanted, end = int(sys.argv[1]), time.monotonic() + float(sys.argv[2])
ray.init(address="auto", log_to_driver=False)
while (alive := sum(node["Alive"] for node in ray.nodes())) < wanted and time.monotonic() < end:
    time.sleep(1)
print("NODES", alive)
"""
"""One driver for all of the waiting: each start of one takes seconds of the cores that workers start on."""

READ_KEYS = """
import sys
from ray._raylet import GcsClient
print("KEYS", len(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=5)))
"""


class Cluster:
    """What is typed on the launching machine."""

    def __init__(self, hosts, shared, file):
        self.hosts, self.shared, self.file = hosts, shared, file
        self.launcher, self.head = hosts["launcher"], hosts["head"]
        self.workers = [hosts["worker1"], hosts["worker2"]]

    def ray(self, command, timeout, *, check=True):
        done = self.launcher.run(f"ray {command}", timeout=timeout)
        if check:
            assert done.returncode == 0, f"ray {command}\n{done.stdout[-6000:]}"
        return done.stdout

    def python(self, host, script, *arguments, timeout=SHORT_S, **variables):
        name = f"script{time.monotonic_ns()}.py"
        (self.shared / name).write_text(script)
        command = f"python {SHARED}/{name} {' '.join(arguments)}"
        return host.run(command, timeout=timeout, **variables)

    def on_head(self, command):
        return self.head.run(f". /root/.bashrc; {command}", timeout=SHORT_S)

    def wait_for_nodes(self, count):
        """`ray up` returns before workers join.

        Where Ray's agent (2.60) takes longer to import than 15 seconds, its raylet ends itself ("Timed out
        waiting for .../dashboard_agent_listen_port_"), and the autoscaler never tries a worker again whose
        start has failed: before the file tried itself, one or two workers never joined on a busy machine.
        """
        said = self.python(
            self.head, WAIT_FOR_NODES, str(count), str(UP_S), timeout=UP_S + SHORT_S,
            RAY_AUTH_MODE="token",
        ).stdout  # fmt: skip
        if f"NODES {count}" not in said:
            # Ray's own words on what became of the others.
            log = self.on_head("cat /tmp/ray/session_latest/logs/monitor.*").stdout
            pytest.fail(f"not {count} nodes within {UP_S} s:\n{said}\n{log[-12000:]}")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    workers = zip(("worker1", "worker2"), WORKERS, strict=True)
    with ssh_hosts(folder, [("launcher", "192.0.2.9"), ("head", HEAD), *workers]) as (
        hosts,
        shared,
    ):
        # The hosts' one account is root; compiling all libraries thrice takes minutes and shows nothing.
        # Everything else is as shipped.
        file = shared / "on_premises.yaml"
        text = FILE.read_text().replace("ssh_user: ubuntu", "ssh_user: root")
        text = text.replace(INSTALL, f"UV_COMPILE_BYTECODE=0 {INSTALL}")
        file.write_text(text + json.dumps(PRICED)[1:-1] + "\n")
        cluster = Cluster(hosts, shared, f"{SHARED}/on_premises.yaml")
        cluster.ray("get-auth-token --generate", SHORT_S)
        cluster.ray(f"up -y {cluster.file}", UP_S)
        cluster.wait_for_nodes(3)
        yield cluster


def test_the_lock_is_installed_and_the_doctor_is_content(cluster):
    done = cluster.on_head(f"interfero doctor --address auto --storage {SHARED} --json")
    findings = {f["name"]: f for f in json.loads(done.stdout)["checks"]}
    for name in ("ray", "ray state api", "ray libraries", "shared storage", "tracking"):
        assert findings[name]["ok"], findings[name]
    assert "3 nodes" in findings["ray"]["found"]
    assert "http://127.0.0.1:5000" in findings["tracking"]["found"]


def test_prices_of_the_cluster_file_reach_the_head(cluster):
    kept = json.loads(cluster.on_head("cat ~/ray_bootstrap_config.yaml").stdout)
    assert kept["metadata"] == PRICED["metadata"]


def test_pages_listen_on_the_head_alone(cluster):
    for port in (5000, 8265):
        there = f"(: < /dev/tcp/127.0.0.1/{port})"
        assert cluster.head.run(there, timeout=10).returncode == 0
        away = f"(: < /dev/tcp/{HEAD}/{port})"
        assert cluster.launcher.run(away, timeout=10).returncode != 0


def test_nothing_else_listens_than_the_documentation_says(cluster):
    """For whoever writes the firewall's rules."""
    text = (ROOT / "docs/cluster.md").read_text()
    sentence = text.partition("on fixed ports: ")[2].partition("(metrics")[0]
    ranges = [(int(a), int(b or a)) for a, b in re.findall(r"(\d+)(?: to (\d+))?", sentence)]
    strange = {}
    for host in (cluster.head, *cluster.workers):
        lines = host.run("ss -ltnH", timeout=SHORT_S).stdout.splitlines()
        sockets = [line.split()[3].rpartition(":") for line in lines]
        ports = {int(port) for there, _, port in sockets if not there.startswith("127.")}
        assert 22 in ports
        strange[host.name] = [p for p in ports if not any(a <= p <= b for a, b in ranges)]
    assert not any(strange.values()), strange


def test_mlflow_refuses_hosts_that_are_not_allowed(cluster):
    request = (
        "import sys, urllib.request as r; r.urlopen(r.Request("
        "'http://127.0.0.1:5000/api/2.0/mlflow/experiments/search?max_results=1', "
        "headers={'Host': sys.argv[1]})).read()"
    )
    own = cluster.head.run(f'python -c "{request}" localhost:5000', timeout=SHORT_S)
    assert own.returncode == 0, own.stdout
    strange = cluster.head.run(f'python -c "{request}" evil.example', timeout=SHORT_S)
    assert "403" in strange.stdout


def test_without_the_token_ray_answers_nothing(cluster):
    address = f"{HEAD}:6379"
    known = cluster.python(cluster.launcher, READ_KEYS, address, RAY_AUTH_MODE="token")
    assert re.search(r"^KEYS \d+$", known.stdout, re.M)
    for stranger in (
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "x" * 64},
    ):
        refused = cluster.python(cluster.launcher, READ_KEYS, address, **stranger)
        assert refused.returncode != 0
        assert "AuthenticationError" in refused.stdout


def test_the_token_is_its_owners_alone(cluster):
    for host in (cluster.head, *cluster.workers):
        assert (host.root / "root/.ray/auth_token").stat().st_mode & 0o077 == 0


def test_a_sweep_runs_with_the_drivers_code_and_data_and_is_tracked(
    cluster, tiny_codec_file, image_folder, other_image_folder
):
    # On the head alone: no worker sees these folders.
    home = cluster.head.root / "root"
    shutil.copy(tiny_codec_file, home / "tiny.safetensors")
    shutil.copytree(image_folder, home / "thing")
    shutil.copytree(other_image_folder, home / "other")
    for worker in cluster.workers:
        # What an older checkout on a worker would be: the driver's must win.
        stale = worker.root / "root/interfero/trainables/adaptation.py"
        stale.write_text("raise RuntimeError('stale code')\n")
    said = cluster.ray(
        f"submit {cluster.file} sweeps/adapter_capacity.py -- --address auto --storage {SHARED} "
        "--name study --source /root/tiny.safetensors --domains thing=/root/thing "
        "--source-domain other=/root/other --methods finetune cawf --adapter-sizes 1 "
        "--learning-rates 1e-3 --num-steps 3 --crop-size 64 --batch-size 2 "
        "--max-source-images 2 --max-target-images 2",
        SUBMIT_S,
    )
    assert "2/2 cells" in said
    records = [json.loads(p.read_text()) for p in (cluster.shared / "study/cells").glob("*.json")]
    assert [record["status"] for record in records] == ["finished"] * 2, records
    stored = {path.name for path in (cluster.shared / "content").iterdir()}
    fetched = [
        {path.name for path in (w.root / "root/.cache/interfero/content").glob("*")}
        for w in cluster.workers
    ]
    # Codec, target and source images; a worker that got no pack needs none.
    assert len(stored) == 3
    assert stored in fetched
    assert all(names in (stored, set()) for names in fetched)
    script = (
        "import mlflow\n"
        "client = mlflow.MlflowClient('http://127.0.0.1:5000')\n"
        "known = client.get_experiment_by_name('adapter-capacity')\n"
        "runs = client.search_runs([known.experiment_id])\n"
        "print('RUNS', sorted(r.data.tags.get('interfero.cell', 'sweep') for r in runs))\n"
    )
    tracked = cluster.python(cluster.head, script).stdout
    assert f"RUNS {sorted([*(record['key'] for record in records), 'sweep'])}" in tracked
    artifacts = {path.name for path in (cluster.shared / "mlflow-artifacts").rglob("*")}
    assert {f"{record['key']}.safetensors" for record in records} <= artifacts
    assert "cells.parquet" in artifacts


def test_down_ends_ray_on_the_head(cluster):
    assert cluster.head.processes("gcs_server")
    cluster.ray(f"down -y {cluster.file}", SHORT_S)
    deadline = time.monotonic() + 30
    while cluster.head.processes("gcs_server"):
        assert time.monotonic() < deadline
        time.sleep(0.5)
