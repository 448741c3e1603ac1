"""What is imported before an option is read: nothing that takes seconds, and nothing that prints."""

import json
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
    "import contextlib, io, json, runpy, sys\n"
    "def run(target, *arguments):\n"
    "    sys.argv = [target, *arguments]\n"
    # Rich draws frames in what says that its encoding has them.
    "    shown, errors = (io.TextIOWrapper(io.BytesIO(), 'utf-8', write_through=True) for _ in 'oe')\n"
    "    code = 0\n"
    "    with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):\n"
    "        try:\n"
    "            if target.endswith('.py'):\n"
    "                runpy.run_path(target, run_name='__main__')\n"
    "            else:\n"
    "                runpy.run_module(target, run_name='__main__')\n"
    "        except SystemExit as end:\n"
    "            code = end.code or 0\n"
    "    modules = sorted({name.partition('.')[0] for name in sys.modules})\n"
    "    return code, modules, *(f.buffer.getvalue().decode() for f in (shown, errors))\n"
    "print(json.dumps([run(*command) for command in json.load(sys.stdin)]))\n"
)
SWEEPS = sorted(path.name for path in (ROOT / "sweeps").glob("*.py"))
HELPS = (
    (),
    *(
        (name,)
        for name in ("doctor", "codecs", "domains", "encode", "decode", "report", "predict", "pool")
    ),
)
MISTYPED = (
    ("encod",), ("encode", "a.png", "a.ifr", "--sorce", "x"), ("domains", "--nam", "x"), (),
)  # fmt: skip
REASONS = {
    ("--num-step", "3"): "Unrecognized options",
    ("--num-steps", "0"): "--num-steps must be above 0",
    ("--methods", "finetun"): "unknown method 'finetun': did you mean 'finetune'?",
}


def started(*commands):
    """What each of some commands came to, one after another in a process of their own.

    Returns:
        For each its exit code, all top-level modules since the process began, and what it printed on
        either stream.
    """
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=json.dumps(commands), capture_output=True, text=True,
        check=True, cwd=ROOT,
    )  # fmt: skip
    assert done.stderr == ""
    return [(code, set(names), *said) for code, names, *said in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def light():
    """What commands came to of which each must load nothing heavy; so one process may run them all."""
    commands = [
        *(("interfero.cli", *help_of, "--help") for help_of in HELPS),
        *(("interfero.cli", *typed) for typed in MISTYPED),
        *((f"sweeps/{name}", "--help") for name in SWEEPS),
        *(("sweeps/adapter_capacity.py", *typed) for typed in REASONS),
    ]
    return dict(zip(commands, started(*commands), strict=True))


@pytest.mark.parametrize("command", HELPS)
def test_help_of_a_command_is_light(light, command):
    code, modules, said, errors = light["interfero.cli", *command, "--help"]
    assert (code, modules & HEAVY, errors) == (0, set(), "")
    assert "usage: interfero" in " ".join(said.split())


@pytest.mark.parametrize("typed", MISTYPED)
def test_a_mistyped_command_is_light(light, typed):
    code, modules, _, errors = light["interfero.cli", *typed]
    assert (code, modules & HEAVY) == (2, set())
    assert errors.startswith("╭─ "), errors


@pytest.mark.parametrize("name", SWEEPS)
def test_help_of_a_sweep_is_light(light, name):
    code, modules, said, errors = light[f"sweeps/{name}", "--help"]
    assert (code, modules & HEAVY, errors) == (0, set(), "")
    assert "--num-steps" in said


@pytest.mark.parametrize("typed", REASONS)
def test_a_mistyped_option_of_a_sweep_is_light(light, typed):
    code, modules, _, errors = light["sweeps/adapter_capacity.py", *typed]
    assert (code, modules & HEAVY) == (2, set())
    assert REASONS[typed] in " ".join(errors.replace("│", " ").split())


def test_coding_imports_neither_mlflow_nor_ray_nor_data_sets(tmp_path):
    """The rest of what a picture does not need: a codec is torch and CompressAI's models."""
    (tmp_path / "a.ifr").write_bytes(b"no stream")
    ((code, modules, _, errors),) = started(
        ("interfero.cli", "decode", str(tmp_path / "a.ifr"), str(tmp_path / "a.png"))
    )
    assert (code, "torch" in modules) == (2, True)
    assert modules & HEAVY <= {"torch", "compressai", "numpy", "scipy", "safetensors"}
    assert errors.startswith("error: "), errors


def test_a_worker_loads_what_trains_and_a_driver_what_plans():
    """Before the first cell; what searches and reports need is imported when they begin."""
    never = {
        "optuna",
        "matplotlib",
        "jinja2",
        "sklearn",
        "skimage",
        "torchvision",
        "mlflow",
        "scipy.fft",
    }
    script = (
        "import json, sys\n"
        "def loaded(names): return sorted(set(names) & set(sys.modules))\n"
        "import interfero.engine.warm_worker\n"
        f"worker = loaded({sorted(never | {'tyro', 'interfero.engine.driver'})!r})\n"
        "from trainables.studies import adaptation\n"
        "adaptation()\n"
        "import interfero.engine.driver\n"
        f"print(json.dumps([worker, loaded({sorted(never)!r})]))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[], []]


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
        name: MethodEntry(
            method.size_unit,
            method.strength_unit,
            method.trains_on,
            method.learning_rates,
            method.strengths,
        )
        for name, method in METHODS.items()
    }
    assert list(said.items()) == list(METHOD_TABLE.items())


def test_loading_a_codec_imports_no_compiler():
    """PyTorch's takes 4 seconds and 160 MiB, in the driver and in every worker."""
    code = (
        "import sys; from interfero.codecs.catalogue import load_codec\n"
        "load_codec('mbt2018-mean', 0.013)\n"
        "print('torch._dynamo' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("False\n", "")
