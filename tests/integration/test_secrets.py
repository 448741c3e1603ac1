"""Secrets planted in the environment and on the command line, looked for in all that a sweep leaves."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from interfero.engine.sweep import main
from interfero.errors import TrackingError
from interfero.tracking.address import check_reachable
from sweeps.adapter_capacity import SWEEP
from tests import mlflow_server

SCRIPT = Path(__file__).resolve().parents[2] / "sweeps" / "adapter_capacity.py"
IN_URI, IN_ENVIRONMENT, IN_COMMAND = "uri-hunter2-4711", "env-hunter2-4712", "cli-hunter2-4713"
SECRETS = (IN_URI, IN_ENVIRONMENT, IN_COMMAND)
START_S, SWEEP_S = 240, 400


@pytest.fixture(scope="module")
def server(tmp_path_factory, empty_database):
    """(port, folder) of an MLflow server."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_database, folder / "mlflow.db")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    command = [
        sys.executable, "-W", "ignore", mlflow_server.__file__, "server", "--host", "127.0.0.1",
        "--port", str(port), "--workers", "1", "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + START_S
        while True:
            try:
                check_reachable(f"http://127.0.0.1:{port}")
                break
            except TrackingError:
                assert time.monotonic() < deadline, (folder / "server.log").read_text()
                time.sleep(0.5)
        yield port, folder
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def ray_folder():
    """Short: Ray's sockets lie in it."""
    folder = Path(tempfile.mkdtemp(prefix="r", dir="/tmp"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, server, ray_folder, tiny_codec_file, image_folder, other_image_folder):
    """(folder, finished process) of a sweep that was given three secrets."""
    folder = tmp_path_factory.mktemp("secrets")
    # A folder whose name reads like an address with a password.
    pictures = f"https://ann:{IN_COMMAND}@host/pictures"
    shutil.copytree(image_folder, folder / pictures)
    environment = {
        "MLFLOW_TRACKING_URI": f"http://ann:{IN_URI}@127.0.0.1:{server[0]}",
        "AWS_SECRET_ACCESS_KEY": IN_ENVIRONMENT,
        "RAY_TMPDIR": str(ray_folder),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--name", "s", "--source", str(tiny_codec_file),
         "--domains", f"thing=./{pictures}", "--source-domain", f"other={other_image_folder}",
         "--methods", "finetune", "--learning-rates", "1e-3", "--num-steps", "2",
         "--crop-size", "64", "--batch-size", "2", "--max-source-images", "1",
         "--max-target-images", "1", "--max-concurrent", "1"],
        cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=SWEEP_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, done


def files_with(secret, *folders):
    """Files that contain a secret, whatever they are."""
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes():
                found.append(str(path))
    return found


@pytest.mark.parametrize("secret", SECRETS)
def test_no_output_shows_it(sweep, secret):
    done = sweep[1]
    assert secret not in done.stdout
    assert secret not in done.stderr


@pytest.mark.parametrize("secret", SECRETS)
def test_no_file_holds_it(sweep, server, ray_folder, secret):
    folder = sweep[0]
    everywhere = (folder / "interfero-storage", server[1] / "artifacts", ray_folder)
    assert all(any(path.is_file() for path in each.rglob("*")) for each in everywhere)
    assert files_with(secret, folder, *everywhere) == []


@pytest.mark.parametrize("secret", SECRETS)
def test_no_run_holds_it(sweep, server, secret):
    """Parameters, tags and metrics lie in the server's database."""
    databases = sorted(server[1].glob("mlflow.db*"))
    assert any(b"adapter-capacity" in path.read_bytes() for path in databases)
    assert [path for path in databases if secret.encode() in path.read_bytes()] == []


def test_what_is_kept_says_where_something_was_left_out(sweep):
    text = (sweep[0] / "interfero-storage/s/sweep.json").read_text()
    assert "thing=./https://***@host/pictures" in text


def test_what_cannot_start_does_not_show_it_either(monkeypatch, capsys):
    monkeypatch.setenv("SOME_TOKEN", IN_ENVIRONMENT)
    with pytest.raises(SystemExit):
        main(SWEEP, ["--storage", f"s3://ann:{IN_COMMAND}@bucket/{IN_ENVIRONMENT}"])
    said = "".join(capsys.readouterr())
    assert "s3://***@bucket" in said
    assert IN_COMMAND not in said
    assert IN_ENVIRONMENT not in said
