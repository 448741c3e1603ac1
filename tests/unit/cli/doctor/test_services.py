"""Services that are not there, and one that is."""

import json
import socket
import subprocess
import sys

import pytest

from interfero import cli
from interfero.cli.doctor import services
from interfero.cli.doctor.services import check_ray, check_tracking


@pytest.fixture(autouse=True)
def no_address(monkeypatch, tmp_path):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@pytest.mark.parametrize("by", ["option", "variable"])
def test_a_cluster_that_is_not_there(closed_port, tmp_path, monkeypatch, by):
    address = f"127.0.0.1:{closed_port}"
    if by == "variable":
        monkeypatch.setenv("RAY_ADDRESS", address)
    (finding,) = check_ray(address if by == "option" else None, tmp_path)
    assert address in finding.found
    assert "nothing answers" in finding.found
    assert "ray status" in finding.remedy


def test_a_port_of_something_else(tmp_path, monkeypatch):
    """It accepts connections and says nothing: Ray would wait for minutes."""
    monkeypatch.setattr(services, "RAY_S", 3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        (finding,) = check_ray(address, tmp_path)
    assert f"does not answer at {address}" in finding.found
    assert "ray status" in finding.remedy


def test_a_tracking_server_that_is_dead(closed_port, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ann:hunter2@127.0.0.1:{closed_port}")
    finding = check_tracking()
    assert not finding.ok
    assert f"127.0.0.1:{closed_port}" in finding.found
    assert "hunter2" not in finding.found
    assert "mlflow server" in finding.remedy


def test_a_fresh_folder_tracks_and_is_left_as_it_was(tmp_path):
    assert check_tracking().ok
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_is_wrong_and_exits_with_1(
    closed_port, tmp_path, monkeypatch, capsys
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed_port}")
    (tmp_path / "file").write_text("")
    arguments = ["--address", f"127.0.0.1:{closed_port}", "--storage", f"{tmp_path}/file", "--json"]
    monkeypatch.setattr("sys.argv", ["interfero", "doctor", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    failed = {check["name"] for check in said["checks"] if not check["ok"]}
    assert {"ray", "tracking", "storage"} <= failed
    assert "python" not in failed
    assert all(check["remedy"] for check in said["checks"] if not check["ok"])


def test_a_cluster_that_runs_and_then_without_its_state_api(tmp_path):
    """Ray, its State API, the nodes' libraries and the folder they share."""
    script = (
        "import json, socket, sys\n"
        "from pathlib import Path\n"
        "from ray.cluster_utils import Cluster\n"
        "from interfero.cli.doctor.services import check_ray\n"
        "with socket.create_server(('127.0.0.1', 0)) as listener:\n"
        "    page = {'include_dashboard': True, 'dashboard_port': listener.getsockname()[1]}\n"
        "cluster = Cluster(True, head_node_args={'num_cpus': 1, **page})\n"
        "found = [check_ray(cluster.address, Path(sys.argv[1]))]\n"
        "cluster.head_node.kill_dashboard()\n"
        "found += [check_ray(cluster.address, Path(sys.argv[1]))]\n"
        "cluster.shutdown()\n"
        "print(json.dumps([[[f.name, f.ok, f.found, f.remedy] for f in one] for one in found]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    whole, without = json.loads(done.stdout.splitlines()[-1])
    names = ["ray", "ray state api", "ray libraries", "shared storage"]
    assert [name for name, *_ in whole] == names
    assert all(ok for _, ok, *_ in whole), whole
    assert "1 nodes, 1 CPUs" in whole[0][2]
    assert {name: ok for name, ok, *_ in without} == {name: name != names[1] for name in names}
    assert "does not answer" in without[1][2]
    assert "--include-dashboard=true" in without[1][3]
