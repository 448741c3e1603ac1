"""What is imported before an option is read: nothing that takes seconds, and nothing that prints."""

import subprocess
import sys
from pathlib import Path

import pytest

from interfero.adaptation import METHODS
from interfero.adaptation.table import METHOD_TABLE, MethodEntry

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch", "compressai", "torchvision", "torch_geometric", "mlflow", "ray", "optuna", "matplotlib",
    "pandas", "numpy", "scipy", "sklearn", "skimage", "pyarrow", "safetensors",
}  # fmt: skip
RUN = (
    "import runpy, sys\n"
    "target, *sys.argv[1:] = sys.argv[1:]\n"
    "sys.argv[0] = target\n"
    "try:\n"
    "    if target.endswith('.py'):\n"
    "        runpy.run_path(target, run_name='__main__')\n"
    "    else:\n"
    "        runpy.run_module(target, run_name='__main__')\n"
    "except SystemExit as end:\n"
    "    code = end.code or 0\n"
    "print()\n"
    "print(code, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
)
SWEEPS = sorted(path.name for path in (ROOT / "sweeps").glob("*.py"))
COMMANDS = ("doctor", "codecs", "domains", "encode", "decode", "report", "predict")


def started(target: str, *arguments: str) -> tuple[int, set[str], str, str]:
    """Exit code, top-level modules, and what was printed on each stream."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, target, *arguments],
        capture_output=True, text=True, check=True, cwd=ROOT,
    )  # fmt: skip
    code, *modules = done.stdout.splitlines()[-1].split(" ")
    return int(code), set(modules), done.stdout, done.stderr


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_of_a_command_is_light(command):
    code, modules, said, errors = started("interfero.cli", *command, "--help")
    assert (code, modules & HEAVY, errors) == (0, set(), "")
    assert "usage: interfero" in " ".join(said.split())


@pytest.mark.parametrize(
    "typed",
    [("encod",), ("encode", "a.png", "a.ifr", "--sorce", "x"), ("domains", "--nam", "x"), ()],
)
def test_a_mistyped_command_is_light(typed):
    code, modules, _, errors = started("interfero.cli", *typed)
    assert (code, modules & HEAVY) == (2, set())
    assert errors.startswith("╭─ "), errors


@pytest.mark.parametrize("name", SWEEPS)
def test_help_of_a_sweep_is_light(name):
    code, modules, said, errors = started(f"sweeps/{name}", "--help")
    assert (code, modules & HEAVY, errors) == (0, set(), "")
    assert "--num-steps" in said


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        (("--num-step", "3"), "Unrecognized options"),
        (("--num-steps", "0"), "--num-steps must be above 0"),
        (("--methods", "finetun"), "unknown method 'finetun': did you mean 'finetune'?"),
    ],
)
def test_a_mistyped_option_of_a_sweep_is_light(typed, reason):
    code, modules, _, errors = started("sweeps/adapter_capacity.py", *typed)
    assert (code, modules & HEAVY) == (2, set())
    assert reason in " ".join(errors.replace("│", " ").split())


def test_coding_imports_neither_mlflow_nor_ray_nor_data_sets(tmp_path):
    """The rest of what a picture does not need: a codec is torch and CompressAI's models."""
    (tmp_path / "a.ifr").write_bytes(b"no stream")
    code, modules, _, errors = started(
        "interfero.cli", "decode", str(tmp_path / "a.ifr"), str(tmp_path / "a.png")
    )
    assert (code, "torch" in modules) == (2, True)
    assert modules & HEAVY <= {"torch", "compressai", "numpy", "scipy", "safetensors"}
    assert errors.startswith("error: "), errors


def test_the_interface_is_light_and_whole():
    script = (
        "import sys, interfero\n"
        f"assert not {HEAVY!r} & set(sys.modules), sorted(sys.modules)\n"
        "assert set(interfero.__all__) <= set(dir(interfero))\n"
        "for name in interfero.__all__:\n"
        "    assert getattr(interfero, name).__name__ == name\n"
        "try:\n"
        "    interfero.no_such_name\n"
        "except AttributeError:\n"
        "    sys.exit(7)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (7, "")


def test_the_table_of_methods_says_what_their_classes_say():
    said = {
        name: MethodEntry(method.size_unit, method.strength_unit, method.trains_on)
        for name, method in METHODS.items()
    }
    assert list(said.items()) == list(METHOD_TABLE.items())
