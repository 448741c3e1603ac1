import json
import os
import subprocess
import sys
import venv

import torch

from interfero.cli.doctor.libraries import check_gpus, check_python, check_torch_pair

BROKEN = {"torch pair", "gpus"}
"""Checks that fail without torch."""


def test_this_python_and_this_pair_are_fine():
    assert check_python().ok
    finding = check_torch_pair()
    assert finding.ok, finding
    assert torch.__version__.partition("+")[0] in finding.found


def test_a_python_without_wheels():
    finding = check_python((3, 13, 1))
    assert "3.13.1" in finding.found
    assert "3.12" in finding.remedy


def test_a_torch_whose_torchvision_is_missing(tmp_path):
    venv.create(tmp_path, with_pip=False, symlinks=True)
    finding = check_torch_pair(str(tmp_path / "bin/python"))
    assert "No module named 'torch" in finding.found
    assert "requirements.lock" in finding.remedy


def test_a_torchvision_that_does_not_fit_its_torch(tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    finding = check_torch_pair(sys.executable)
    assert "operator torchvision::nms does not exist" in finding.found
    assert "requirements.lock" in finding.remedy


def test_the_command_runs_where_torch_is_broken(tmp_path):
    """Nothing else of ours does."""
    error = "OSError('libcudart.so: cannot open shared object file')"
    (tmp_path / "torch.py").write_text(f"raise {error}")
    address = ["--address", "127.0.0.1:1"]  # Nobody is there: Ray need not start for this.
    done = subprocess.run(
        [sys.executable, "-m", "interfero.cli", "doctor", "--json", *address],
        capture_output=True, text=True, cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MLFLOW_TRACKING_URI": "sqlite:///m.db"},
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert {name for name, check in checks.items() if not check["ok"]} >= BROKEN
    for name in BROKEN:
        assert "requirements.lock" in checks[name]["remedy"]
    assert checks["python"]["ok"]
    assert checks["tracking"]["ok"]


def test_gpus_are_computed_on_or_named_as_missing(tmp_path):
    assert check_gpus().ok
    if torch.cuda.is_available():
        return
    (tmp_path / "version").write_text("NVRM version")
    finding = check_gpus(tmp_path / "version")
    assert "sees no GPU" in finding.found or "without CUDA" in finding.found
    assert finding.remedy
