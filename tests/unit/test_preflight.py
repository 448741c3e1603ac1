"""What make presupposes, and what it says where a condition fails."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools import preflight
from tools.preflight import Interpreter

SCRIPT = Path(preflight.__file__)
GIB = 1024**3


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 12, 9)])
def test_supported_pythons_pass(version):
    assert preflight.check_python([Interpreter("/a", version)]) is None


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 10, 13), (3, 13, 0), (4, 0, 0)])
def test_other_pythons_are_named_with_rule_and_remedy(version):
    line = str(preflight.check_python([Interpreter("/opt/py", version)]))
    assert f"/opt/py ({preflight.dotted(version)})" in line
    assert "3.11 or 3.12" in line
    assert "PYTHON=" in line
    assert "\n" not in line


def test_a_shim_that_does_not_run_and_a_python_without_venv_are_not_usable():
    tried = [Interpreter("/shim", None), Interpreter("/bare", (3, 11, 2), has_venv=False)]
    line = str(preflight.check_python(tried))
    assert "/shim (does not run)" in line
    assert "python3-venv" in line


def test_no_python_at_all():
    assert "none" in str(preflight.check_python([]))


def test_an_environment_of_another_version_is_not_used_in_silence():
    asked = Interpreter("/py", (3, 12, 1))
    assert preflight.check_same_python(".venv", (3, 12, 9), asked) is None
    assert preflight.check_same_python(".venv", (3, 11, 7), None) is None
    assert "leave PYTHON= out" in str(preflight.check_same_python(".venv", (3, 11, 7), asked))
    assert "does not run" in str(preflight.check_same_python(".venv", None, None))
    assert "3.10.1" in str(preflight.check_same_python(".venv", (3, 10, 1), None))


def test_disk():
    assert preflight.check_disk("/x", 6.5, 6.5, "the environment") is None
    line = str(preflight.check_disk("/x", 0.28, 6.5, "the environment"))
    assert "0.3 GB free for /x" in line
    assert "needs 6.5 GB" in line
    assert "UV_CACHE_DIR" in line


def test_memory():
    assert preflight.check_memory(4.0) is None
    assert preflight.check_memory(None) is None
    assert "3.9 GB of memory" in str(preflight.check_memory(3.9))


def test_writable():
    assert preflight.check_writable("/x", writable=True) is None
    assert "cannot write to /x" in str(preflight.check_writable("/x", writable=False))


def test_memory_readings():
    assert preflight.parse_meminfo("MemTotal: 9 kB\nMemAvailable:    4194304 kB\n") == 4.0
    assert preflight.parse_meminfo("") is None
    assert preflight.cgroup_available_gb("max\n", "5\n", "") is None
    assert preflight.cgroup_available_gb("", "", "") is None
    stat = f"anon 7\ninactive_file {GIB}\n"
    assert preflight.cgroup_available_gb(f"{8 * GIB}\n", f"{5 * GIB}\n", stat) == 4.0


def fake_python(folder, name, body):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_the_search_goes_past_a_shim_that_fails(tmp_path):
    shim = fake_python(tmp_path / "shims", "python3.12", "exit 127")
    good = fake_python(tmp_path / "good", "python3", "printf '/real\\t1\\t3\\t12\\t1\\n'")
    search_path = os.pathsep.join([str(tmp_path / "shims"), str(tmp_path / "good")])
    tried = preflight.find_python("", search_path)
    assert tried == [Interpreter(shim, None, False), Interpreter("/real", (3, 12, 1))]
    assert preflight.find_python(good, "") == [Interpreter("/real", (3, 12, 1))]


def test_this_python_is_found_by_its_path():
    assert preflight.find_python(sys.executable, "")[0].version == sys.version_info[:3]


def test_a_failure_exits_2_with_one_line_and_no_path(tmp_path):
    command = [sys.executable, str(SCRIPT), "install", "--venv", "new", "--python", "/nowhere"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stdout == ""
    assert "PYTHON=/nowhere" in result.stderr


def test_old_pythons_can_parse_it():
    ast.parse(SCRIPT.read_text(), feature_version=(3, 8))
