"""`clusters/slurm.sbatch` on a real SLURM: a controller and two nodes in namespaces of one machine."""

import json
import re
import shutil
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.integration.ssh_hosts import SHARED, ssh_hosts, what_is_missing

ROOT = Path(__file__).resolve().parents[2]
CONTROLLER, NODES = "192.0.2.20", {"node1": "192.0.2.21", "node2": "192.0.2.22"}
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "scontrol")
START_S, SHORT_S, JOB_S = 60, 60, 420
SERVER_S = 240
TRACKING_HOST = "controller:5000"
UNFINISHED = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "REQUEUED")


# slurmd 22.05 starts only where it finds control groups, wanted or not.
CONTROL_GROUPS = """
mount -t tmpfs tmpfs /sys/fs/cgroup && mkdir /sys/fs/cgroup/systemd &&
mount -t cgroup -o none,name=systemd systemd /sys/fs/cgroup/systemd
""".replace("\n", " ")


def missing():
    found = what_is_missing()
    if not found:
        trial = subprocess.run(["unshare", "-m", "sh", "-c", CONTROL_GROUPS], capture_output=True)
        found = f"no control groups here: {trial.stderr.decode()}" if trial.returncode else ""
    path = "/usr/bin:/usr/sbin:/bin:/sbin"
    lacking = [name for name in DAEMONS if shutil.which(name, path=path) is None]
    return found or (f"needs {', '.join(lacking)} (slurm-wlm munge)" if lacking else "")


pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(missing()), reason=missing()),
]

# A job that queues again waits until the credential of its last start has expired: a start before that may be
# refused, and the job has failed.
CONFIGURATION = f"""
ClusterName=namespaces
SlurmctldHost=controller({CONTROLLER})
SlurmUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CryptoType=crypto/munge
StateSaveLocation=/run/slurm/state
SlurmdSpoolDir=/run/slurm/spool
SlurmctldPidFile=/run/slurm/slurmctld.pid
SlurmdPidFile=/run/slurm/slurmd.pid
SlurmctldLogFile=/run/slurm/slurmctld.log
SlurmdLogFile=/run/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait=20
MpiDefault=none
NodeName=n1 NodeHostname=node1 NodeAddr={NODES["node1"]} CPUs=2 RealMemory=1000
NodeName=n2 NodeHostname=node2 NodeAddr={NODES["node2"]} CPUs=2 RealMemory=1000
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Slurm:
    """What a user types on the login node, which is the controller here."""

    def __init__(self, hosts, shared, tiny):
        self.hosts, self.shared, self.login, self.tiny = hosts, shared, hosts["controller"], tiny
        self.variables = {"SLURM_CONF": f"{SHARED}/slurm.conf", "COLUMNS": "150"}

    def run(self, command, timeout=SHORT_S):
        done = self.login.run(command, timeout=timeout, **self.variables)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    def submit(self, options, name, *arguments, **variables):
        """A job of a tiny sweep; returns its number."""
        words = " ".join([*self.tiny, *map(str, arguments)])
        given = " ".join(f"{k}='{v}'" for k, v in variables.items())
        said = self.run(
            f"cd {SHARED} && ln -sfn {ROOT}/clusters clusters && ln -sfn {ROOT}/sweeps sweeps && "
            f"INTERFERO_PYTHON=$(which python) MLFLOW_TRACKING_URI=http://{TRACKING_HOST} {given} "
            f"sbatch {options} --output={SHARED}/{name}-%j.log "
            f"clusters/slurm.sbatch sweeps/adapter_capacity.py --name {name} "
            f"--storage {SHARED}/storage {words}"
        )
        return int(re.search(r"Submitted batch job (\d+)", said).group(1))

    def state(self, job):
        text = self.run(f"scontrol show job {job}")
        return re.findall(r"JobState=(\w+)", text), int(re.search(r"Restarts=(\d+)", text).group(1))

    def wait(self, job, done, seconds=JOB_S):
        """Until `done` of the job's states and restarts; returns them."""
        deadline = time.monotonic() + seconds
        while not done(*(seen := self.state(job))):
            assert time.monotonic() < deadline, f"{seen}\n{self.logs()}"
            time.sleep(1)
        return seen

    def logs(self):
        """What the jobs said, and what SLURM's daemons say of them."""
        jobs = [f"== {p.name}\n{p.read_text()[-3000:]}" for p in self.shared.glob("*.log")]
        daemons = [
            f"== daemon on {host.name}\n{host.run('tail -n 30 /run/slurm/*.log', timeout=SHORT_S).stdout}"
            for host in self.hosts.values()
        ]
        return "\n".join([*jobs, *daemons, self.run("scontrol show jobs")])

    def log(self, name):
        return "".join(p.read_text() for p in self.shared.glob(f"{name}-*.log"))

    def records(self, name):
        files = (self.shared / "storage" / name / "cells").glob("*.json")
        return [json.loads(path.read_text()) for path in files]

    def states(self, name):
        return [state for state, *_ in self.runs(name)]

    def runs(self, name):
        """Of the sweeps of a name in MLflow: state, start and end."""
        database = self.login.root / "root/mlflow.db"
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
            rows = connection.execute(
                "SELECT status, start_time, end_time FROM runs WHERE name = ?", (name,)
            )
            return rows.fetchall()

    def nothing_is_left(self):
        for name in NODES:
            assert self.hosts[name].processes("raylet") == []
            assert list((self.hosts[name].root / "tmp").glob("ray-*")) == []


def daemons(host, key, shared):
    """munge with the cluster's key, then SLURM's own."""
    (host.root / "run/munge").mkdir()
    (host.root / "run/slurm/spool").mkdir(parents=True)
    shutil.copy(key, host.root / "run/munge.key")
    (host.root / "run/munge.key").chmod(0o400)
    wanted = "slurmctld" if host.name == "controller" else f"{CONTROL_GROUPS} && slurmd"
    done = host.run(
        "munged --key-file=/run/munge.key --socket=/run/munge/munge.socket.2 --pid-file=/run/munge/pid "
        "--log-file=/run/munge/log --seed-file=/run/munge/seed --force && { "
        f"{wanted}; }}",
        timeout=START_S,
        SLURM_CONF=f"{SHARED}/slurm.conf",
    )
    logs = host.run("cat /run/slurm/*.log", timeout=SHORT_S).stdout
    assert done.returncode == 0, f"{done.stdout}\n{logs}"


def tracking_server(host):
    """As docs/slurm.md starts one on the login node; it is there when its port answers."""
    done = host.run(
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false setsid mlflow server --host controller --port 5000 "
        f"--workers 1 --allowed-hosts {TRACKING_HOST} --backend-store-uri sqlite:////root/mlflow.db "
        "--artifacts-destination /root/artifacts > /root/mlflow.log 2>&1 &",
        timeout=SHORT_S,
    )
    assert done.returncode == 0, done.stdout


@pytest.fixture(scope="module")
def slurm(tmp_path_factory, tiny_codec_file, image_folder, other_image_folder):
    folder = tmp_path_factory.mktemp("slurm")
    key = folder / "munge.key"
    key.write_bytes(bytes(range(128)))
    addresses = [("controller", CONTROLLER), *NODES.items()]
    with ssh_hosts(folder, addresses) as (hosts, shared):
        tracking_server(hosts["controller"])
        (shared / "slurm.conf").write_text(CONFIGURATION)
        shutil.copy(tiny_codec_file, shared / "tiny.safetensors")
        for name, images in (("thing", image_folder), ("other", other_image_folder)):
            shutil.copytree(images, shared / name)
        for host in hosts.values():
            daemons(host, key, shared)
        tiny = [
            "--source", f"{SHARED}/tiny.safetensors", "--domains", f"thing={SHARED}/thing",
            "--source-domain", f"other={SHARED}/other", "--crop-size", "64", "--batch-size", "2",
            "--max-source-images", "2", "--max-target-images", "2", "--methods", "finetune",
        ]  # fmt: skip
        cluster = Slurm(hosts, shared, tiny)
        deadline = time.monotonic() + START_S
        while cluster.run("sinfo -h -t idle -o %D").strip() != "2":
            assert time.monotonic() < deadline, cluster.run("sinfo; scontrol show nodes")
            time.sleep(1)
        answers = (
            f"until (: < /dev/tcp/{TRACKING_HOST.replace(':', '/')}) 2> /dev/null; do sleep 1; done"
        )
        cluster.run(answers, timeout=SERVER_S)
        yield cluster


def test_a_job_on_two_nodes_runs_the_sweep_and_ends_ray(slurm):
    """Its environment has only what `--export` names, and its steps have Ray's token all the same."""
    options = "--nodes=2 --cpus-per-task=1 --time=10 --export=INTERFERO_PYTHON,MLFLOW_TRACKING_URI"
    job = slurm.submit(options, "two", "--num-steps", 3, "--learning-rates", "1e-4", "1e-3")
    states, _ = slurm.wait(job, lambda states, _: states[0] not in UNFINISHED)
    assert states == ["COMPLETED"], slurm.logs()
    assert "Ray on 2 nodes" in slurm.log("two")
    assert [r["status"] for r in slurm.records("two")] == 2 * ["finished"]
    assert slurm.states("two") == ["FINISHED"]
    slurm.nothing_is_left()


def test_at_the_time_limit_it_queues_again_and_goes_on_to_its_end(slurm):
    """A node is drained meanwhile, and the operator lets the job go on with the other.

    What trains stands still from the first record on, or a quick machine would be done before the limit.
    """
    rates = [f"{i}e-4" for i in range(1, 7)]
    job = slurm.submit(
        "--nodes=2 --cpus-per-task=1 --time=20 --signal=B:USR1@60", "long", "--num-steps", 30,
        "--learning-rates", *rates, "--no-packs", "--checkpoint-seconds", 1,
    )  # fmt: skip

    def standing_still():
        for name in NODES:
            slurm.hosts[name].run("pkill -STOP -f ImplicitFunc.train", timeout=SHORT_S)

    def waits_again(states, restarts):
        standing_still()
        return states == ["PENDING"] and restarts == 1

    try:
        slurm.wait(job, lambda *_: slurm.records("long"))
        standing_still()
        slurm.run("scontrol update NodeName=n2 State=DRAIN Reason=test")
        # The limit is where it would have been after some hours.
        passed = int(slurm.run(f"squeue -h -j {job} -o %M").strip().split(":")[-2])
        slurm.run(f"scontrol update JobId={job} TimeLimit={passed + 2}")
        slurm.wait(job, waits_again)
        assert "the time limit is near" in slurm.log("long")
        slurm.nothing_is_left()
        assert slurm.states("long") == ["KILLED"]
        before = {r["key"]: r for r in slurm.records("long")}
        assert 0 < len(before) < len(rates)
        slurm.run(f"scontrol update JobId={job} NumNodes=1 NumTasks=1 NumCPUs=1 TimeLimit=60")
        states, restarts = slurm.wait(job, lambda states, _: states[0] not in UNFINISHED)
    finally:
        slurm.run(f"scancel {job}; scontrol update NodeName=n2 State=RESUME")
    assert (states, restarts) == (["COMPLETED"], 1), slurm.logs()
    assert "Ray on 2 nodes" in slurm.log("long")
    assert "Ray on 1 nodes" in slurm.log("long")
    records = {r["key"]: r for r in slurm.records("long")}
    assert [r["status"] for r in records.values()] == len(rates) * ["finished"]
    assert before == {key: records[key] for key in before}
    assert slurm.states("long") == ["FINISHED"]
    assert (slurm.shared / "storage/long/report/cells.parquet").exists()
    slurm.nothing_is_left()


def test_a_warning_while_ray_starts_queues_it_again_but_not_for_ever(slurm):
    options = "--nodes=1 --cpus-per-task=1 --time=10 --nodelist=n1"
    job = slurm.submit(options, "early", "--num-steps", 3, "--learning-rates", "1e-4")
    try:
        for starts in (1, 2, 3):
            slurm.wait(job, lambda states, _: states == ["RUNNING"])
            time.sleep(5)
            slurm.run(f"scancel --batch --signal=USR1 {job}")
            if starts < 3:
                slurm.wait(job, lambda states, n: (states, n) == (["PENDING"], starts))  # noqa: B023
                slurm.nothing_is_left()
        states, restarts = slurm.wait(job, lambda states, _: states[0] not in UNFINISHED)
    finally:
        slurm.run(f"scancel {job}")
    assert (states, restarts) == (["FAILED"], 2), slurm.logs()
    assert slurm.log("early").count("queues again") == 2
    assert "3 starts in a row have added no record and no checkpoint" in slurm.log("early")


@pytest.mark.parametrize(
    ("way", "state"),
    [("--batch --signal=TERM", "FAILED"), ("", "CANCELLED")],
    ids=["gentle", "plain"],
)
def test_what_scancel_leaves(slurm, way, state):
    """A signal to the script alone lets Ray end after the sweep; one to all may leave its files in /tmp."""
    name = "gentle" if way else "plain"
    job = slurm.submit(
        "--nodes=1 --cpus-per-task=1 --time=20 --nodelist=n1", name, "--num-steps", 1000,
        "--learning-rates", "1e-6", "2e-6", "--no-packs", "--checkpoint-seconds", 1,
    )  # fmt: skip
    checkpoints = slurm.shared / "storage" / name / "checkpoints"
    try:
        slurm.wait(job, lambda *_: slurm.records(name) and any(checkpoints.glob("*.safetensors")))
        slurm.run(f"scancel {way} {job}")
        states, restarts = slurm.wait(job, lambda states, _: states[0] not in UNFINISHED)
    finally:
        slurm.run(f"scancel {job}")
    assert (states, restarts) == ([state], 0), slurm.logs()
    assert [r["status"] for r in slurm.records(name)] == ["finished"]
    assert any(checkpoints.glob("*.safetensors"))
    assert not slurm.hosts["node1"].processes("raylet")
    # After a plain one that is usual too, but a race with KillWait.
    if way:
        assert slurm.states(name) == ["KILLED"]
        slurm.nothing_is_left()


def test_an_array_splits_an_axis_and_its_tasks_share_a_node(slurm):
    job = slurm.submit(
        "--nodes=1 --cpus-per-task=1 --time=10 --array=0-1 --nodelist=n1", "parts",
        "--num-steps", 2, "--learning-rates", "1e-4", SPLIT="--data-seeds 3 4",
    )  # fmt: skip
    slurm.wait(job, lambda states, _: not {*UNFINISHED} & set(states))
    for task, seed in enumerate((3, 4)):
        (record,) = slurm.records(f"parts-{task}")
        assert (record["status"], record["params"]["data_seed"]) == ("finished", seed), slurm.logs()
    ((_, first_start, first_end),), ((_, start, end),) = map(slurm.runs, ("parts-0", "parts-1"))
    assert max(first_start, start) < min(first_end, end), (
        "both ran at once: ports and folders are their own"
    )
