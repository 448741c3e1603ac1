"""`clusters/slurm.sbatch` without a SLURM: programs that it calls are stand-ins, signals are real."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60
PYTHON = f"""#!/bin/bash
# The wait for nodes is a `python -W ignore -c ...`; all else is the sweep.
if [[ $1 == -W ]]; then
  touch waiting
  [[ $WAIT != python ]] || exec {sys.executable} "$@"
  exec $WAIT
fi
echo "$@" >> sweeps.log
exec {sys.executable} sweep.py "$@"
"""
SRUN = """#!/bin/bash
echo "$@" >> srun.log
[[ "$*" != *"ray start"* ]] || exec $RAY
"""
SCONTROL = """#!/bin/bash
echo "$@" $(ls -d /tmp/ray-$SLURM_JOB_ID* 2> /dev/null) >> scontrol.log
"""
# Deaf until the file `listen` is there, as a Python that still imports.
SWEEP = """
import os, signal, sys, time
from pathlib import Path

Path("sweeping").touch()
while not Path("listen").exists():
    time.sleep(0.02)

def interrupted(*_):
    sys.exit(130)

signal.signal(signal.SIGUSR1, interrupted)
signal.signal(signal.SIGTERM, interrupted)
Path("listening").touch()
time.sleep(60)
"""


class Job:
    """A job's script in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "bin").mkdir()
        for name, text in (("python", PYTHON), ("srun", SRUN), ("scontrol", SCONTROL)):
            self.program(name, text)
        (folder / "clusters").symlink_to(ROOT / "clusters")
        (folder / "sweep.py").write_text(SWEEP)
        self.environment = os.environ | {
            "INTERFERO_PYTHON": str(folder / "bin/python"), "RAY_HEAD_IP": "192.0.2.1",
            "SLURM_JOB_ID": str(10**9 + os.getpid()), "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "4",
            "WAIT": "true", "RAY": "sleep 60",
        }  # fmt: skip
        self.process = None

    def program(self, name, text):
        path = self.folder / "bin" / name
        path.write_text(text)
        path.chmod(0o755)

    def start(self, *arguments, **variables):
        self.process = subprocess.Popen(
            ["bash", "clusters/slurm.sbatch", "sweep.py", "--name", "study", *arguments],
            cwd=self.folder, env=self.environment | variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def appears(self, name):
        deadline = time.monotonic() + PATIENCE_S
        while not (self.folder / name).exists():
            assert time.monotonic() < deadline, name
            assert self.process.poll() is None, self.process.stdout.read()
            time.sleep(0.02)

    def send(self, number):
        self.process.send_signal(number)

    def end(self):
        """Its exit status and all that it said."""
        said, _ = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, said

    def refused(self, *arguments, **variables):
        self.start(*arguments, **variables)
        code, said = self.end()
        assert code == 2, said
        assert not (self.folder / "srun.log").exists()
        return said

    def lines(self, name):
        path = self.folder / f"{name}.log"
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def job(tmp_path):
    made = Job(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.send(signal.SIGTERM)
        made.process.communicate(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("number", "queued"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)], ids=["USR1", "TERM"]
)
@pytest.mark.parametrize("moment", ["waiting", "sweeping", "listening"])
def test_a_signal_is_heard_at_any_moment(job, moment, number, queued):
    """While nodes are waited for, while the sweep's Python starts, and while it runs."""
    if moment == "listening":
        (job.folder / "listen").touch()
    job.start(WAIT="sleep 60" if moment == "waiting" else "true")
    job.appears(moment)
    started = time.monotonic()
    job.send(number)
    code, said = job.end()
    assert time.monotonic() - started < PATIENCE_S / 2
    # 143: the sweep that did not listen yet was ended by TERM.
    assert code == (143 if (moment, queued) == ("sweeping", False) else 130), said
    assert (len(job.lines("sweeps")) == 0) == (moment == "waiting")
    assert [line.split()[:1] for line in job.lines("scontrol")] == ([["requeue"]] if queued else [])
    assert ("queues again" in said) == queued


def test_ray_has_ended_before_the_job_is_queued_again(job):
    (job.folder / "listen").touch()
    job.start()
    job.appears("listening")
    number = job.environment["SLURM_JOB_ID"]
    assert Path(f"/tmp/ray-{number}.head.log").exists()
    job.send(signal.SIGUSR1)
    job.end()
    # Nothing of Ray's was left in /tmp when it was queued.
    assert job.lines("scontrol") == [f"requeue {number}"]
    assert f"rm -rf /tmp/ray-{number}" in job.lines("srun")[-1]


def test_of_an_array_the_task_alone_is_queued_again(job):
    """The last task's own number is also that of the whole array, whose other tasks would start anew."""
    (job.folder / "listen").touch()
    number = job.environment["SLURM_JOB_ID"]
    job.start(
        SLURM_ARRAY_JOB_ID=number, SLURM_ARRAY_TASK_ID="2", SPLIT="--data-seeds 0 1 2",
        MLFLOW_TRACKING_URI="http://login1:5000",
    )  # fmt: skip
    job.appears("listening")
    job.send(signal.SIGUSR1)
    code, said = job.end()
    assert code == 130, said
    assert job.lines("scontrol") == [f"requeue {number}_2"]


def one_start(job, restarts, *, added=None):
    for name in ("listening", "scontrol.log"):
        (job.folder / name).unlink(missing_ok=True)
    (job.folder / "listen").touch()
    job.start(SLURM_RESTART_COUNT=str(restarts))
    job.appears("listening")
    if added is not None:
        path = job.folder / "interfero-storage/study" / added
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    job.send(signal.SIGUSR1)
    code, said = job.end()
    assert code == 130, said
    return len(job.lines("scontrol")) == 1, said


def test_it_is_queued_again_only_while_that_leads_anywhere(job):
    """A record counts, and a checkpoint that takes the place of the one before."""
    starts = [None, None, "cells/a.json", None, "checkpoints/b.safetensors", None]
    starts += ["checkpoints/b.safetensors", None, None]
    for restarts, added in enumerate(starts):
        queued, said = one_start(job, restarts, added=added)
        assert queued, said
    queued, said = one_start(job, len(starts))
    assert not queued
    assert (
        "3 starts in a row have added no record and no checkpoint to interfero-storage/study"
        in said
    )
    assert "--time" in said
    # A new job counts anew.
    assert one_start(job, 0)[0]


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        ({"SLURM_JOB_NUM_NODES": "2"}, "it is not set, which means sqlite:///mlflow.db"),
        ({"SLURM_ARRAY_TASK_ID": "0"}, "it is not set"),
        (
            {"SLURM_JOB_NUM_NODES": "2", "MLFLOW_TRACKING_URI": "sqlite:////srv/x.db"},
            "it is 'sqlite:////srv/x.db', a file",
        ),
        (
            {"SLURM_JOB_NUM_NODES": "2", "MLFLOW_TRACKING_URI": "http://127.0.0.1:5000"},
            "it names 127.0.0.1:5000, which on a compute node is that node itself",
        ),
        (
            {"SLURM_JOB_NUM_NODES": "2", "MLFLOW_TRACKING_URI": "postgresql+psycopg://u:secret@localhost/m"},
            "it names localhost, which",
        ),
    ],
)  # fmt: skip
def test_several_nodes_do_not_share_a_file_of_runs(job, variables, text):
    job.environment.pop("MLFLOW_TRACKING_URI", None)
    said = job.refused(**variables)
    assert "MLFLOW_TRACKING_URI" in said
    assert text in said
    assert "docs/slurm.md" in said
    assert "INTERFERO_ALLOW_SQLITE=1" in said
    assert "secret" not in said


@pytest.mark.parametrize(
    "variables",
    [
        {"MLFLOW_TRACKING_URI": "sqlite:///x.db"},
        {"SLURM_JOB_NUM_NODES": "2", "MLFLOW_TRACKING_URI": "http://login1:5000"},
        {"SLURM_JOB_NUM_NODES": "2", "INTERFERO_ALLOW_SQLITE": "1"},
    ],
)
def test_a_server_a_single_node_and_a_wish_are_no_reason_to_refuse(job, variables):
    job.start(**variables)
    job.appears("sweeping")


@pytest.mark.parametrize(
    ("variables", "type_", "warned"),
    [
        ({}, "nfs", True),
        ({"MLFLOW_TRACKING_URI": "sqlite:////srv/x.db"}, "lustre", True),
        ({}, "xfs", False),
        ({"MLFLOW_TRACKING_URI": "http://login1:5000"}, "nfs", False),
        ({"INTERFERO_ALLOW_SQLITE": "1"}, "nfs", False),
    ],
)
def test_a_file_of_runs_that_other_nodes_may_see_is_named(job, variables, type_, warned):
    job.environment.pop("MLFLOW_TRACKING_URI", None)
    job.program("stat", f"#!/bin/bash\necho {type_}")
    path = f"{job.folder / 'bin'}:{os.environ['PATH']}"
    job.start(PATH=path, **variables)
    job.appears("sweeping")
    job.send(signal.SIGTERM)
    _, said = job.end()
    assert (f"on a file system of type {type_}. If other nodes see it" in said) == warned, said
    if warned:
        assert (
            variables.get("MLFLOW_TRACKING_URI", f"///{job.folder}/mlflow.db").split("///")[1]
            in said
        )


@pytest.mark.parametrize(
    ("share", "cpus", "wanted"),
    [("0.5", "4", "8"), ("0.5", "8", ""), ("1", "4", ""), ("0.25", "6", "16"), ("0", "1", "")],
)
def test_cpus_that_leave_gpus_idle_are_named(job, share, cpus, wanted):
    job.start("--gpus-per-trial", share, SLURM_GPUS_ON_NODE="4", SLURM_CPUS_PER_TASK=cpus)
    job.appears("sweeping")
    job.send(signal.SIGTERM)
    _, said = job.end()
    assert ("have room for" in said) == bool(wanted), said
    assert f"ask for --cpus-per-task={wanted}\n" in said or not wanted


@pytest.mark.parametrize(
    ("variables", "text"),
    [
        (
            {"SLURM_CPUS_PER_TASK": "128", "RAY_FIRST_PORT": "32600"},
            "with --cpus-per-task=128 Ray takes 400 ports from RAY_FIRST_PORT on, which systems hand out to "
            "nobody (1024 to 32767), got '32600': set it to a port from 1024 to 32368",
        ),
        ({"SLURM_CPUS_PER_TASK": "9000"}, "got --cpus-per-task=9000: ask for fewer"),
        ({"RAY_FIRST_PORT": "80"}, "got '80'"),
        ({"RAY_FIRST_PORT": "any"}, "got 'any'"),
        ({"RAY_WAIT_SECONDS": "5m"}, "RAY_WAIT_SECONDS is a whole number of seconds, got '5m'"),
        ({"SLURM_GPUS": "8"}, "got --gpus=8: ask by --gpus-per-node"),
        ({"SLURM_GPUS_PER_TASK": "1"}, "got --gpus-per-task=1: ask by --gpus-per-node"),
    ],
)
def test_what_ray_cannot_be_given_is_refused(job, variables, text):
    assert text in job.refused(**variables)


def test_a_storage_that_is_no_folder_is_refused(job):
    assert "got s3://bucket/x" in job.refused("--storage", "s3://bucket/x")


@pytest.mark.parametrize(
    ("cpus", "number", "first", "last"),
    [
        (4, 221, 10100, 10199),
        (39, 1, 10100, 10199),
        (128, 55, 10000, 10399),
        (128, 54, 31600, 31999),
    ],
)
def test_each_cpu_has_ports(job, cpus, number, first, last):
    job.start(SLURM_CPUS_PER_TASK=str(cpus), SLURM_JOB_ID=str(number))
    job.appears("sweeping")
    (head,) = job.lines("srun")
    assert f"--port={first} " in head
    assert f"--min-worker-port={first + 10} --max-worker-port={last}" in head


def test_steps_have_the_environment_and_the_name_that_slurm_gave_the_node(job):
    job.start(SLURMD_NODENAME="c-17", SLURM_EXPORT_ENV="NONE")
    job.appears("sweeping")
    (head,) = job.lines("srun")
    assert "--export=ALL" in head
    assert "--nodelist=c-17" in head


def test_a_head_that_ended_is_not_waited_for(job):
    started = time.monotonic()
    job.start(WAIT="python", RAY="false", RAY_WAIT_SECONDS="300")
    code, said = job.end()
    assert time.monotonic() - started < PATIENCE_S
    assert code == 2
    assert "has ended by itself" in said
    assert "set RAY_FIRST_PORT to the first of 100 free ones" in said
    assert "RAY_WAIT_SECONDS (now 300)" in said


def test_a_host_without_an_address_is_told_what_to_set(job):
    job.program("getent", "#!/bin/sh\nexit 2\n")
    del job.environment["RAY_HEAD_IP"]
    assert "has no address that other nodes reach: set RAY_HEAD_IP" in job.refused()


@pytest.mark.parametrize(
    ("command", "text"),
    [
        ("bash clusters/slurm.sbatch sweeps/adapter_capacity.py", "runs in a job of SLURM"),
        ("SLURM_JOB_ID=1 bash clusters/slurm.sbatch sweeps/none.py", "got 'sweeps/none.py'"),
        (
            "SLURM_JOB_ID=1 INTERFERO_PYTHON=/none bash clusters/slurm.sbatch sweeps/bitrate.py",
            "/none is not there",
        ),
        (
            "SLURM_JOB_ID=1 SLURM_ARRAY_TASK_ID=2 SPLIT='--data-seeds 0 1' MLFLOW_TRACKING_URI=http://a:1 "
            f"INTERFERO_PYTHON={sys.executable} bash clusters/slurm.sbatch sweeps/bitrate.py",
            "task 2 of an array takes a value of SPLIT",
        ),
    ],
)
def test_what_cannot_run_is_refused_with_the_remedy(command, text):
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert text in done.stderr
