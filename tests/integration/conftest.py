"""Sweeps of a tiny codec: a working folder each, with its own storage and tracking database."""

import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest
import ray
from rich.console import Console

from interfero.adaptation import load_adapter
from interfero.codecs.checkpoint import read_codec
from interfero.domains.catalogue import load_domain
from interfero.engine.adaptation.nodes import Cell
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.ray_session import ray_for
from interfero.engine.sweep import run_sweep
from interfero.engine.worker import LocalWorker
from tests.processes import PATIENCE_S, kill_all
from trainables.adaptation import run_pack
from trainables.workbench import Workbench

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "sweeps" / "adapter_capacity.py"


def _mind_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Workplace:
    """A folder in which sweeps are started as a user starts them."""

    def __init__(self, folder, codec, target, source):
        self.folder = folder
        # Ray's workers give way to every other process: on a busy machine tests would wait for ever.
        eager = {"RAY_worker_niceness": "0"}
        self.environment = {"OMP_NUM_THREADS": "1", "COLUMNS": "100", **eager}
        self.tracking_uri = f"sqlite:///{folder}/mlflow.db"
        self.tiny = [
            "--source", str(codec), "--domains", f"thing={target}",
            "--source-domain", f"other={source}", "--num-steps", "4", "--crop-size", "64",
            "--batch-size", "2", "--max-source-images", "2", "--max-target-images", "2",
        ]  # fmt: skip

    def start(self, *arguments):
        """A sweep in its own process group, as a shell starts one."""
        return self.start_command([sys.executable, str(SCRIPT), *self.tiny, *map(str, arguments)])

    def start_command(self, command):
        environment = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=environment | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # A test run in the background inherits "ignore Ctrl-C", and would hand it on.
            preexec_fn=_mind_ctrl_c,
        )

    def run(self, *arguments):
        """A sweep from its start to its end."""
        return self.finish(self.start(*arguments))

    def call(self, sweep, *arguments):
        """A sweep in this process, which has its libraries already: (exit code, what was printed).

        For what trains nothing, and where Ray runs already.
        """
        with pytest.MonkeyPatch.context() as patch, io.StringIO() as shown:
            patch.chdir(self.folder)
            # In full: MLflow keeps what it has opened by address, for all of the process.
            patch.setenv("MLFLOW_TRACKING_URI", self.tracking_uri)
            code = run_sweep(sweep, [*map(str, arguments)], Console(file=shown, width=200))
            return code, shown.getvalue()

    def called(self, sweep, *arguments):
        """`call` with this workplace's options, as if it had been a process."""
        code, shown = self.call(sweep, *self.tiny, *arguments)
        return subprocess.CompletedProcess(arguments, code, shown, "")

    def finish(self, process):
        out, err = process.communicate(timeout=PATIENCE_S)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def shell(self, line):
        """A line that was printed, run as it is."""
        return self.finish(self.start_command(shlex.split(line)))

    def sweep(self, name):
        return self.folder / "interfero-storage" / name

    def record_files(self, name):
        return sorted((self.sweep(name) / "cells").glob("*.json"))

    def records(self, name):
        return {p.stem: json.loads(p.read_text()) for p in self.record_files(name)}

    def adapter(self, name, record):
        """(cell, what its adapter's file says of it) of a record."""
        path = self.sweep(name) / record["adapter_file"]
        metadata = load_adapter(path, self._codec())[1]
        return Cell.model_validate(metadata["record"]["cell"]), metadata

    def trained_here(self, cells, folder):
        """(record, what its adapter's file says) of the same cells in this process, where nothing happens."""
        target, source = (
            load_domain(self.tiny[self.tiny.index(option) + 1])
            for option in ("--domains", "--source-domain")
        )
        bench = Workbench(self._codec(), self._codec, target, source)
        return [
            (record, load_adapter(folder / str(record.adapter_file), self._codec())[1])
            for record in run_pack(cells, bench, LocalWorker(folder))
        ]

    def _codec(self):
        return read_codec(self.tiny[self.tiny.index("--source") + 1], "tiny")

    def wait_for_records(self, name, count, process):
        """Return as soon as so many records exist; the sweep must still run then."""
        self.wait_until(lambda: len(self.record_files(name)) >= count, process)

    def wait_until(self, condition, process):
        """What the condition gives as soon as it is true; the sweep must still run till then."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := condition()):
            if process.poll() is not None:
                pytest.fail(f"the sweep ended early: {process.communicate()}")
            assert time.monotonic() < deadline, "the sweep takes too long"
            time.sleep(0.01)
        return found

    def interrupt(self, process):
        """Ctrl-C: every process of the group hears it."""
        os.killpg(process.pid, signal.SIGINT)

    def kill_while_running(self, process):
        """SIGKILL, and wait until every worker that the sweep had started is gone.

        Two of Ray's own agents look for their parent once a minute only.
        """
        family = psutil.Process(process.pid).children(recursive=True)
        family = [p for p in family if not p.name().endswith("Agent")]
        process.kill()
        process.communicate()
        self.wait_gone(family)

    def cut_power(self, process):
        """SIGKILL to every process of the sweep at once, stopped ones too."""
        family = kill_all(psutil.Process(process.pid))
        process.communicate()
        self.wait_gone(family)

    @staticmethod
    def wait_gone(family):
        _, alive = psutil.wait_procs(family, timeout=60)
        assert [p.name() for p in alive if p.is_running()] == []

    def runs(self, name):
        """(parent run, runs of its cells by key); fails on a cell with two runs."""
        client = mlflow.MlflowClient(self.tracking_uri)
        experiment = client.get_experiment_by_name("adapter-capacity")
        every = list(client.search_runs([experiment.experiment_id], max_results=1000))
        parents = [
            r
            for r in every
            if r.data.tags["interfero.kind"] == "sweep" and r.data.tags["interfero.sweep"] == name
        ]
        assert len(parents) == 1
        parent = parents[0]
        mine = [r for r in every if r.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
        assert {r.data.tags["interfero.kind"] for r in mine} <= {"cell"}
        cells = {r.data.tags["interfero.cell"]: r for r in mine}
        assert len(cells) == len(mine), "a cell has two runs"
        return parent, cells

    def artifacts(self, run):
        client = mlflow.MlflowClient(self.tracking_uri)
        found = []
        for item in client.list_artifacts(run.info.run_id):
            inside = client.list_artifacts(run.info.run_id, item.path) if item.is_dir else [item]
            found += [i.path for i in inside]
        return found


@pytest.fixture(scope="session")
def make_workplace(
    tmp_path_factory, tiny_codec_file, image_folder, other_image_folder, empty_database
):
    def make(name, *, untracked=False):
        """A new workplace; `untracked` leaves it to the sweep to make the tracking database's tables."""
        folder = tmp_path_factory.mktemp(name)
        if not untracked:
            shutil.copy(empty_database, folder / "mlflow.db")
        return Workplace(folder, tiny_codec_file, image_folder, other_image_folder)

    return make


@pytest.fixture(scope="session")
def ray_here():
    """One Ray for the sweeps that tests call in this process: a sweep leaves a Ray that it did not start."""
    # That of tests/faults, which is another, may find this one's.
    before = ray.is_initialized()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        with ray_for(AdaptationOptions()) as session, session.ready():
            yield
    assert ray.is_initialized() == before


def contents(place, name):
    return {p.stem: (p.read_bytes(), p.stat().st_mtime_ns) for p in place.record_files(name)}


def cells_at(place, name, rate, **found):
    """Keys of a sweep's cells of a learning rate, in whose records some more is found."""
    return {
        key
        for key, record in place.records(name).items()
        if record["params"]["learning_rate"] == rate and found.items() <= record.items()
    }
