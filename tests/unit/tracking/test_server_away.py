"""A real server that goes away and comes back, and a real driver that is killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from interfero.errors import TrackingError
from interfero.tracking.address import check_reachable
from tests import mlflow_server

from .conftest import PARAMS, START_S, make_record

DRIVER = """
import sys
sys.path.insert(0, {here!r})
from conftest import PARAMS, make_record
from pathlib import Path
from interfero.tracking.tracker import Tracker
tracker = Tracker.open({uri!r}, "adapter-capacity", "demo", tags={{}}, params={{}},
                       outbox=Path({outbox!r}))
print("open", flush=True)
for i in range(12):
    tracker.cell_started(f"{{i:02d}}", PARAMS, {{}})
    tracker.cell_finished(make_record(f"{{i:02d}}"))
    print(i, flush=True)
sys.stdin.read()
"""


class Server:
    """`mlflow server` on a free port; its data stay while it is down.

    Its database is `mlflow.db` in its folder, unless another's address is given; so are the files of runs.
    """

    def __init__(self, folder, database="", *, files=(), options=(), environment=None):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/mlflow.db"
        files = files or ("--artifacts-destination", str(folder / "artifacts"))
        self._options = (*files, *options)
        # Eight processes for jobs that nothing here starts would double the time.
        self._environment = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(environment or {})}
        self.process = None

    def start(self):
        command = [sys.executable, mlflow_server.__file__, "server", "--host", "127.0.0.1"]
        command += ["--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.database, *self._options]
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={**os.environ, **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + 300
        while True:
            try:
                return check_reachable(self.uri)
            except TrackingError:
                assert time.monotonic() < deadline, (self.folder / "server.log").read_text()
                time.sleep(0.5)

    def kill(self):
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


@pytest.fixture
def server(place, tmp_path):
    server = Server(tmp_path)
    place.uri = server.uri
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_may_be_away_for_a_while(server, place, tmp_path):
    adapter = tmp_path / "adapter.bin"
    adapter.write_bytes(b"weights")
    keys = [f"{i:02d}" for i in range(8)]
    server.start()
    tracker = place.open()
    for key in keys[:2]:
        tracker.cell_started(key, PARAMS, {})
        tracker.cell_finished(make_record(key), [(adapter, "adapter")])
    tracker.cell_started(keys[2], PARAMS, {})
    assert tracker.pending == 0

    server.kill()
    began = time.monotonic()
    for i, key in enumerate(keys[2:]):
        tracker.cell_started(key, PARAMS, {}, started_at=START_S + i)
        tracker.cell_finished(
            make_record(key, started_at=START_S + i, points=200), [(adapter, "adapter")]
        )
    assert time.monotonic() - began < 30
    # run and parameters of five cells; curve, file and status of six
    assert tracker.pending == 5 * 2 + 6 * 3

    server.start()
    assert tracker.flush(60) == 0
    assert tracker.close("FINISHED") == 0
    cells = place.cells
    assert sorted(cells) == keys
    assert {run.info.status for run in cells.values()} == {"FINISHED"}
    for i, key in enumerate(keys[3:], start=1):
        history = place.history(cells[key], "train/loss")
        assert [step for step, _, _ in history] == [10 * n for n in range(1, 201)]
        assert history[-1][2] == round((START_S + i + 30) * 1000)
        files = place.client.list_artifacts(cells[key].info.run_id, "adapter")
        assert [file.path for file in files] == ["adapter/adapter.bin"]
    assert place.parent.info.status == "FINISHED"
    assert tracker.num_refused == 0


@pytest.mark.slow
@pytest.mark.parametrize("after", ["open", "3", "11"])
def test_a_killed_driver_doubles_and_loses_nothing(place, tmp_path, after):
    script = DRIVER.format(here=str(Path(__file__).parent), uri=place.uri, outbox=str(place.outbox))
    driver = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    )
    while driver.stdout.readline().decode().strip() != after:
        assert driver.poll() is None
    driver.send_signal(signal.SIGKILL)
    driver.communicate()

    tracker = place.open()
    assert after != "11" or len(place.cells) == 12  # all done, the parent still open
    for i in range(12):
        tracker.cell_started(f"{i:02d}", PARAMS, {})
        tracker.cell_finished(make_record(f"{i:02d}"))
    assert tracker.close("FINISHED") == 0
    cells = place.cells
    assert len(cells) == 12
    assert {run.info.status for run in cells.values()} == {"FINISHED"}
    for run in cells.values():
        assert len(place.history(run, "train/loss")) == 3
        assert len(place.history(run, "target/bpp")) == 1
        assert run.data.params == {name: str(value) for name, value in PARAMS.items()}
