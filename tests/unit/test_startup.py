"""What is imported before an option is read: nothing that takes seconds, and nothing that prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from compressai.zoo import image as zoo

from interfero.adaptation import METHODS
from interfero.adaptation.table import METHOD_TABLE, MethodEntry
from interfero.codecs.catalogue import available_lambdas, load_codec
from interfero.codecs.classical import CLASSICAL
from interfero.codecs.codec import ARCHITECTURES
from interfero.codecs.lossy import find_lossy
from interfero.codecs.names import CLASSICAL_NAMES, ZOO_NAMES, check_codec, check_source
from interfero.domains.bundled import BUNDLED
from interfero.domains.catalogue import load_domain
from interfero.domains.labelled_catalogue import LABELLED, load_labelled
from interfero.domains.names import BUNDLED_NAMES, LABELLED_NAMES, check_domain, check_labelled
from interfero.errors import CodecError, InterferoError

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch", "compressai", "torchvision", "torch_geometric", "mlflow", "ray", "optuna", "matplotlib",
    "pandas", "numpy", "scipy", "sklearn", "skimage", "pyarrow", "safetensors",
}  # fmt: skip
RUN = (
    "import contextlib, io, json, runpy, sys\n"
    "COMPILER = 'torch._dynamo'\n"
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
    "    modules = sorted({name.partition('.')[0] for name in sys.modules} | {COMPILER} & {*sys.modules})\n"
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
    ("--num-step", "3"): "no option --num-step: did you mean --num-steps?",
    ("--num-steps", "0"): "--num-steps must be above 0",
    ("--methods", "finetun"): "unknown method 'finetun': did you mean 'finetune'?",
    ("--sampler", "hlving"): "--sampler 'hlving': did you mean 'halving'?",
}
ENCODE, DECODE, PREDICT, CAPACITY = (
    ("interfero.cli", "encode"), ("interfero.cli", "decode"),
    ("interfero.cli", "predict", "--num-images", "5"), ("sweeps/adapter_capacity.py",),
)  # fmt: skip
WRONG_NAMES = {
    **{(f"sweeps/{name}", "--domains", "nosuch", "text"): "called 'nosuch'" for name in SWEEPS},
    (*CAPACITY, "--domains", "thing=nowhere"): "domain 'thing': there is no nowhere",
    (*CAPACITY, "--domains", "photos.fogg-3"): "no corruption is called 'fogg'",
    (*CAPACITY, "--source-domain", "photo"): "did you mean 'photos'?",
    (*CAPACITY, "--source", "mbt2018-meen"): "did you mean 'mbt2018-mean'?",
    (*CAPACITY, "--lambdas", "0.013", "0.02"): "no weights for lambda 0.02; known: 0.0009,",
    (
        *CAPACITY,
        "--methods",
        "cawf",
        "--source",
        "compressai:cheng2020-anchor",
    ): "cawf does not adapt 'cheng2020-anchor'",
    (
        "sweeps/domain_sequence.py",
        "--methods",
        "cawf_growing",
        "--source",
        "compressai:mbt2018",
    ): "cawf does not adapt 'mbt2018'",
    ("sweeps/covariate_shift.py", "--rates", "0.3", "40"): "--rates 40",
    ("interfero.cli", "report", "--experiment", "a", "--cells", "b"): "either --experiment NAME or",
    (*CAPACITY, "--name", "nosuch", "--resume"): "nosuch",
    ("sweeps/covariate_shift.py", "--codecs", "jpg"): "did you mean 'jpeg'?",
    ("sweeps/covariate_shift.py", "--encoder-weights", "nowhere"): "--encoder-weights nowhere",
    (*ENCODE, "nowhere.png", "a.ifr"): "there is no picture nowhere.png",
    (*ENCODE, "README.md", "a.ifr", "--source", "mbt2018-meen"): "did you mean 'mbt2018-mean'?",
    (*ENCODE, "README.md", "a.ifr", "--lambda", "0.02"): "no weights for lambda 0.02",
    (*DECODE, "nowhere.ifr", "a.png"): "nowhere.ifr cannot be read",
    (*DECODE, "README.md", "a.png", "--adapter", "nowhere"): "there is no file nowhere",
    (*PREDICT, "--method", "finetune", "--domain", "histologi"): "did you mean 'histology'?",
    (*PREDICT, "--method", "finetun", "--domain", "text"): "did you mean 'finetune'?",
    (*PREDICT, "--method", "lora", "--domain", "text", "--cells", "nowhere"): "--cells nowhere:",
    (*PREDICT, "--method", "ewc", "--domain", "text"): "interfero has no cells of it; known: cawf,",
    (
        *DECODE,
        "README.md",
        "a.png",
    ): "README.md is no bitstream of interfero: those begin with b'if', and",
    ("sweeps/covariate_shift.py", "--configurations", "OX"): "did you mean OO or OC or OT?",
    (*CAPACITY, "--learning-rates", "0", "1e-4"): "between 0 and 1, got 0; for example 1e-4,",
    ("interfero.cli", "report", "--cells", "nowhere"): "--cells nowhere: there is no file nowhere",
    ("interfero.cli", "domains", "histologi"): "did you mean 'histology'?",
    ("interfero.cli", "codecs", "import", "nowhere.pth"): "there is no file nowhere.pth",
    ("interfero.cli", "codecs", "export", "mbt2018-meen", "a"): "did you mean 'mbt2018-mean'?",
}
"""Commands with a name or a path that does not exist, and what their errors contain."""


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
        *WRONG_NAMES,
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
    assert errors.startswith(
        ("╭─ ", "error: no command 'encod': did you mean 'encode'?", "error: no option --")
    ), errors


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


@pytest.mark.parametrize("command", WRONG_NAMES, ids=" ".join)
def test_what_does_not_exist_is_refused_before_libraries_are_imported(light, command):
    code, modules, _, errors = light[command]
    assert (code, modules & HEAVY) == (2, set()), errors
    assert WRONG_NAMES[command] in " ".join(errors.replace("│", " ").split())


def test_coding_imports_neither_mlflow_nor_ray_nor_data_sets(tmp_path):
    """The rest of what a picture does not need: a codec is torch and CompressAI's models.

    Nor PyTorch's compiler, which takes 4 seconds and 160 MiB, in the driver and in every worker.
    """
    (tmp_path / "a.ifr").write_bytes(b"if it were a stream")
    ((code, modules, _, errors),) = started(
        ("interfero.cli", "decode", str(tmp_path / "a.ifr"), str(tmp_path / "a.png"))
    )
    assert (code, "torch" in modules, "torch._dynamo" in modules) == (2, True, False)
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
            method.random_init,
            method.trains,
            method.all_rates,
        )
        for name, method in METHODS.items()
    }
    assert list(said.items()) == list(METHOD_TABLE.items())


def test_names_are_those_of_the_tables_that_are_loaded_later():
    assert tuple(BUNDLED) == BUNDLED_NAMES
    assert tuple(LABELLED) == LABELLED_NAMES
    assert tuple(CLASSICAL) == CLASSICAL_NAMES
    assert tuple(name for name in ARCHITECTURES if name in zoo.model_urls) == ZOO_NAMES


@pytest.mark.parametrize(
    ("early", "late", "given"),
    [
        (check_source, available_lambdas, ("mbt2018-meen",)),
        (check_source, available_lambdas, ("compressai:elic",)),
        (lambda name, value: check_source(name, (value,)), load_codec, ("mbt2018-mean", 0.02)),
        (check_codec, find_lossy, ("jpg",)),
        (check_domain, load_domain, ("histologi",)),
        (check_domain, load_domain, ("photos.fog-9",)),
        (check_domain, load_domain, ("thing=nowhere",)),
        (check_labelled, load_labelled, ("mosaix",)),
        (check_labelled, load_labelled, ("thing=nowhere",)),
    ],
)
def test_an_early_refusal_is_the_one_that_loading_gives(early, late, given, monkeypatch):
    monkeypatch.delenv("INTERFERO_DATA", raising=False)
    with pytest.raises(InterferoError) as first:
        early(*given)
    with pytest.raises(InterferoError) as second:
        late(*given)
    assert (type(first.value), str(first.value)) == (type(second.value), str(second.value))


def test_what_exists_is_not_refused(tmp_path, tiny_codec_file, monkeypatch):
    (tmp_path / "street" / "labels").mkdir(parents=True)
    monkeypatch.setenv("INTERFERO_DATA", str(tmp_path))
    for spec in ("text", "street", f"a={tmp_path}", "photos.fog-3", "street.mix-text-25"):
        check_domain(spec)
    for spec in ("mosaics", "street", f"a={tmp_path}"):
        check_labelled(spec)
    for name in ("mbt2018-mean", "compressai:mbt2018", str(tiny_codec_file), "jpeg"):
        check_codec(name)
    check_source(str(tiny_codec_file), (0.013,))
    with pytest.raises(CodecError, match=r"no weights for lambda 0\.02; known: 0\.013"):
        check_source(str(tiny_codec_file), (0.02,))
    (tmp_path / "w.pth").write_bytes(b"PK")
    check_source(f"{tmp_path / 'w.pth'}@0.5", (0.013,))
