import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from interfero.engine.sweep import USAGE_EXIT
from interfero.engine.sweep import main as sweep_main
from interfero.errors import TrackingError
from interfero.redaction import masked
from interfero.tracking.address import check_reachable, patience
from interfero.tracking.database_file import check_experiment, check_listening, tracking_uri
from sweeps.adapter_capacity import SWEEP


@pytest.fixture
def silent_server():
    """Accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return port


def failure(uri):
    began = time.monotonic()
    with pytest.raises(TrackingError) as caught:
        check_reachable(uri)
    assert time.monotonic() - began < 30
    return str(caught.value)


def test_the_default_is_a_database_in_the_working_folder(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert tracking_uri() == "sqlite:///mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere:5000")
    assert tracking_uri() == "http://elsewhere:5000"
    assert tracking_uri("sqlite:///mine.db") == "sqlite:///mine.db"


def test_a_server_that_is_not_there_is_told_fast(closed_port):
    message = failure(f"http://127.0.0.1:{closed_port}")
    assert f"http://127.0.0.1:{closed_port}" in message
    assert "must answer" in message
    assert "MLFLOW_TRACKING_URI" in message
    assert "sqlite:///mlflow.db" in message


def test_a_sweep_says_that_its_server_is_away_before_it_loads_anything(
    closed_port, monkeypatch, tmp_path, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    monkeypatch.setenv("COLUMNS", "2000")
    began = time.monotonic()
    with pytest.raises(SystemExit) as end:
        sweep_main(SWEEP, ["--smoke", "--storage", str(tmp_path / "storage")])
    assert end.value.code == USAGE_EXIT
    # Codecs, images and MLflow took 23 seconds.
    assert time.monotonic() - began < 10
    said = capsys.readouterr().err
    assert f"127.0.0.1:{closed_port} must answer, and does not" in said
    assert "MLFLOW_TRACKING_URI" in said
    assert "secret" not in said
    assert not (tmp_path / "storage").exists()
    with pytest.raises(TrackingError, match="must answer, and does not"):
        check_experiment("adapter-capacity")


def test_what_cannot_be_known_of_a_server_is_left_to_mlflow(
    closed_port, silent_server, monkeypatch
):
    check_listening(silent_server)
    check_listening("sqlite:///mlflow.db")
    check_listening("databricks")
    check_listening("http://[bad")
    with pytest.raises(TrackingError):
        check_listening("http://no.such.host.invalid:5000")
    monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
    monkeypatch.delenv("no_proxy", raising=False)
    check_listening(f"http://127.0.0.2:{closed_port}")


def test_a_server_that_says_nothing_is_told_fast(silent_server):
    assert silent_server in failure(silent_server)


@pytest.mark.parametrize(
    ("status", "content", "wanted"),
    [
        (401, b"Unauthorized", "must accept the user and password before training starts"),
        (401, b"", "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_"),
        (403, b"Permission denied", "must let this user write before training starts"),
        (400, b'{"error_code": "BAD_REQUEST", "message": "permission denied for table runs"}',
         "SELECT, INSERT, UPDATE and DELETE in all of MLflow's tables (GRANT)"),
        (500, b"trouble", "must answer before training starts"),
    ],
)  # fmt: skip
def test_what_a_server_refuses_is_told_with_its_remedy(status, content, wanted):
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *arguments):
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        message = failure(f"http://127.0.0.1:{server.server_port}")
        server.shutdown()
    assert wanted in message
    assert "MLFLOW_TRACKING_URI" in message


def test_an_unknown_host_is_told_fast():
    assert "no-such-host.invalid" in failure("http://no-such-host.invalid:5000")


def test_a_password_is_never_shown(closed_port):
    message = failure(f"http://ann:hunter2@127.0.0.1:{closed_port}")
    assert "hunter2" not in message
    assert "ann" not in message.replace("channel", "")
    assert f"***@127.0.0.1:{closed_port}" in message


def test_no_traceback_shows_a_password(closed_port):
    with pytest.raises(TrackingError) as caught:
        check_reachable(f"http://ann:hunter2@127.0.0.1:{closed_port}")
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("https://ann:pa@ss@host:5000/x", "https://***@host:5000/x"),
        ("postgresql://ann:p/a@ss@host/db", "postgresql://***@host/db"),
        ("postgresql://host/db?user=ann&password=x1", "postgresql://host/db?user=ann&password=***"),
        ("sqlite:////home/me@work/mlflow.db", "sqlite:////home/me@work/mlflow.db"),
        ("http://host:5000", "http://host:5000"),
    ],
)
def test_masking(uri, shown):
    assert masked(uri, uri) == shown
    assert masked(f"no answer from {uri}", uri) == f"no answer from {shown}"


def test_a_quoted_password_is_masked_wherever_it_stands():
    text = masked("login of hunter2 failed", "https://ann:hunter2@host")
    assert "hunter2" not in text


def test_a_database_in_a_missing_folder(tmp_path):
    message = failure(f"sqlite:///{tmp_path}/missing/mlflow.db")
    assert "missing does not exist" in message
    assert not (tmp_path / "missing").exists()


def test_a_database_that_is_a_folder(tmp_path):
    assert "is a folder" in failure(f"sqlite:///{tmp_path}")


def test_a_database_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "not writable" in failure(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "mlflow.db").write_text("something else entirely, and long enough to tell" * 10)
    assert "not a database" in failure(f"sqlite:///{tmp_path}/mlflow.db")


def test_a_database_server_that_is_not_there(closed_port):
    assert "hunter2" not in failure(f"postgresql://ann:hunter2@127.0.0.1:{closed_port}/db")


def test_a_database_without_its_driver_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    message = failure("postgresql+psycopg://ann:hunter2@127.0.0.1/db")
    assert message == (
        "the tracking database at postgresql+psycopg://***@127.0.0.1/db needs a driver that is not "
        "installed: pip install 'psycopg[binary]'"
    )
    assert "pip install 'psycopg2-binary'" in failure("postgresql+psycopg2://ann@127.0.0.1/db")
    assert "pip install 'psycopg" in failure("postgresql://ann@127.0.0.1/db")


@pytest.mark.parametrize("uri", ["mlruns", "ftp://host/path", "http://"])
def test_an_address_mlflow_does_not_write_to(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "sqlite:///mlflow.db" in failure(uri)


def test_patience_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    with patience(3):
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
        with patience(9):
            assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "9"
        assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "3"
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_patience_of_two_threads_does_not_mix(monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    seen = []

    def ask(seconds):
        for _ in range(20):
            with patience(seconds):
                time.sleep(0.001)
                seen.append(os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == str(seconds))

    threads = [threading.Thread(target=ask, args=(seconds,)) for seconds in (2, 3, 4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(seen)
    assert os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] == "77"
