"""The import walls of the design, exactly, and the layout that other things rest on."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from interfero.engine.code import PACKAGES, import_closure

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "platform/interfero"
CODE = (LIBRARY, "trainables", "sweeps", "benchmarks", "tools")

WALLS = {
    f"{LIBRARY}/engine": {"mlflow", "trainables", "sweeps"},
    f"{LIBRARY}/tracking": {"ray", "trainables", "sweeps"},
    LIBRARY: {"ray", "mlflow", "trainables", "sweeps"},
    "trainables": {"ray", "mlflow", "sweeps"},
}
"""Folder to the packages nothing in it imports; the first folder that holds a file decides."""


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    return tuple(sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py")))


@cache
def source_of(path: Path) -> str:
    return path.read_text()


@cache
def nodes_of(source: str) -> tuple[ast.AST, ...]:
    """Every node of a source, the module first: each file is parsed once for all rules."""
    return tuple(ast.walk(ast.parse(source)))


def offences(rule: Callable[[str], Any], paths: tuple[Path, ...]) -> dict[str, Any]:
    """What a rule finds in each file in which it finds something, by the file's name."""
    found = {str(path.relative_to(ROOT)): rule(source_of(path)) for path in paths}
    assert len(found) > 100, "the folders are not where they were"
    return {name: lines for name, lines in found.items() if lines}


def imported_packages(source: str) -> set[str]:
    """Top-level packages of every import, function-level and TYPE_CHECKING ones included."""
    names = set()
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.partition(".")[0] for name in names}


def forbidden(path: Path) -> set[str]:
    relative = path.relative_to(ROOT)
    return next(ban for folder, ban in WALLS.items() if relative.is_relative_to(folder))


def swallowing_handlers(source: str) -> list[int]:
    """Lines of broad handlers that neither raise nor use the exception they caught."""
    lines = []
    for node in nodes_of(source):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            if (node.type)
            else {"BaseException"}
        )
        inside = [child for statement in node.body for child in ast.walk(statement)]
        raises = any(isinstance(child, ast.Raise) for child in inside)
        used = any(isinstance(child, ast.Name) and child.id == node.name for child in inside)
        if caught & {"Exception", "BaseException"} and not raises and not used:
            lines.append(node.lineno)
    return lines


def test_no_import_crosses_a_wall():
    paths = python_files(LIBRARY, "trainables")
    imported = offences(imported_packages, paths)
    banned = {str(path.relative_to(ROOT)): forbidden(path) for path in paths}
    crossing = {name: packages & banned[name] for name, packages in imported.items()}
    assert {name: packages for name, packages in crossing.items() if packages} == {}


def test_the_walls_are_what_the_design_says():
    assert forbidden(ROOT / LIBRARY / "engine/driver.py") == {"mlflow", "trainables", "sweeps"}
    assert forbidden(ROOT / LIBRARY / "tracking/client.py") == {"ray", "trainables", "sweeps"}
    assert forbidden(ROOT / LIBRARY / "metrics/rate.py") >= {"ray", "mlflow"}
    assert forbidden(ROOT / LIBRARY / "analysis/fits.py") >= {"ray", "mlflow"}


def test_imports_are_found_wherever_they_stand():
    source = "import ray.tune as t\ndef f():\n    from mlflow.entities import Run\nfrom . import x"
    assert imported_packages(source) == {"ray", "mlflow"}


ENTRIES = ("trainables.adaptation", "trainables.restoration", "trainables.segmentation",
           "trainables.sequence_nodes")  # fmt: skip
LOADED = """
import importlib, json, os, pkgutil, sys
# Libraries that they load, once (one that loads Ray is seen in all); of ours, what `import interfero` is.
import interfero, torch, compressai
import segmentation_models_pytorch, torchmetrics.functional.classification
def everything_of(*names):
    for name in names:
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, name + "."):
            importlib.import_module(module.name)
def loaded(load, *names):
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        load(*names)
        os.write(write, json.dumps(sorted(
            n for n in sys.modules if n.split(".")[0] in ("interfero", "trainables", "ray", "mlflow")
        )).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, names
    return json.loads(said)
found = {name: loaded(importlib.import_module, name) for name in sys.argv[1:]}
found["all"] = loaded(everything_of, "interfero.metrics", "interfero.analysis", "trainables")
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, set[str]]:
    """Modules of ours, of Ray and of MLflow that each import has loaded in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED, *ENTRIES],
        cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    return {name: set(modules) for name, modules in json.loads(done.stdout).items()}


def test_metrics_analysis_and_loops_load_neither_ray_nor_mlflow(loaded):
    """Past the direct imports: what they import in turn must not load them either."""
    assert len(loaded["all"]) > 100
    assert not loaded["all"] & {"ray", "mlflow"}


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_module_that_a_training_loads_is_in_its_hash(loaded, entry):
    """What Python really imports, not what a list of ours says."""
    ours = {n for n in loaded[entry] if n.partition(".")[0] in PACKAGES}
    hashed = set(import_closure((entry,)))
    assert len(ours) > 10
    assert ours <= hashed, f"{sorted(ours - hashed)} can change numbers and no key"


def test_platform_is_an_import_root_and_no_package():
    assert not (ROOT / "platform/__init__.py").exists()
    script = "import platform; assert platform.system(), platform"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_the_library_is_marked_as_typed():
    assert (ROOT / LIBRARY / "py.typed").exists()


def test_no_broad_handler_swallows():
    assert offences(swallowing_handlers, python_files(*CODE)) == {}


def test_a_swallowing_handler_is_seen():
    swallowing = "try:\n    f()\nexcept Exception:\n    pass"
    assert swallowing_handlers(swallowing) == [3]
    assert swallowing_handlers("try:\n    f()\nexcept:\n    x = 1") == [3]
    assert swallowing_handlers("try:\n    f()\nexcept Exception as e:\n    log(e)") == []
    assert swallowing_handlers("try:\n    f()\nexcept Exception:\n    raise") == []
    assert swallowing_handlers("try:\n    f()\nexcept OSError:\n    pass") == []


PICKLE_MODULES = {
    "pickle",
    "cPickle",
    "_pickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
}


def pickle_loads(source: str) -> list[int]:
    """Lines that could load a pickle: such modules, torch.load, numpy.load and pandas' readers.

    torch's loaders pass with `weights_only=True`.
    """
    lines = []
    for node in nodes_of(source):
        if isinstance(node, ast.Import):
            modules = {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules = {(node.module or "").partition(".")[0]}
            if node.module in {"torch", "numpy"} and "load" in {a.name for a in node.names}:
                lines.append(node.lineno)
        else:
            modules = set()
        if modules & PICKLE_MODULES or (isinstance(node, ast.Call) and unpickles(node)):
            lines.append(node.lineno)
    return lines


def unpickles(call: ast.Call) -> bool:
    name = ast.unparse(call.func)
    options = {k.arg: ast.unparse(k.value) for k in call.keywords}
    if name == "torch.load" or name.endswith("load_state_dict_from_url"):
        return options.get("weights_only") != "True"
    if name in {"np.load", "numpy.load"}:
        return options.get("allow_pickle", "False") != "False"
    return name.endswith((".read_pickle", "jit.load", "package.PackageImporter"))


def test_no_pickle_is_loaded():
    """What lies in a storage may come from anywhere, and loading a pickle runs what it says."""
    assert offences(pickle_loads, python_files(*CODE)) == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle", "from pickle import loads", "import cloudpickle as c", "import joblib",
        "torch.load(path)", "torch.load(path, weights_only=False)", "from torch import load",
        "torch.hub.load_state_dict_from_url(url)", "np.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)", "torch.jit.load(path)",
    ],
)  # fmt: skip
def test_loading_a_pickle_is_seen(source):
    assert pickle_loads(f"def f():\n    {source}") == [2]


def test_what_loads_no_pickle_passes():
    for source in ("torch.load(path, weights_only=True)", "np.load(path)", "json.load(file)"):
        assert pickle_loads(source) == []


FLOORS = (
    {
        "adam",
        "records",
        "config",
        "cores",
        "errors",
        "option_help",
        "option_choices",
        "redaction",
        "randomness",
        "versions",
    },
    {"store", "metrics"},
    {"domains"},
    {"codecs"},
    {"adaptation"},
    {"tracking"},
    {"analysis"},
    {"engine"},
    {"cli", "api"},
    {"__init__", "deferred"},
)
"""The library from the ground up: what stands on a floor imports from its own and from those below."""


@cache
def modules():
    """Every module of the library and the trainables, by name."""
    found = {}
    for base, package in ((ROOT / "platform", "interfero"), (ROOT, "trainables")):
        for path in (base / package).rglob("*.py"):
            name = ".".join(path.relative_to(base).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports_of(source, known):
    """Modules of ours that run when a module runs; inside functions too, not those for type checkers."""
    names = set()
    for node in running(nodes_of(source)[0]):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names & known


def running(node):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from running(child)


def part_of(module):
    """The folder or file of the library that a module lies in; the package itself is `__init__`."""
    return module.split(".")[1] if "." in module else "__init__"


def floor_of(module):
    return next(i for i, parts in enumerate(FLOORS) if part_of(module) in parts)


def arrows_upward(graph):
    return sorted(
        (module, other)
        for module, others in graph.items()
        for other in others
        # Importing a part of the package runs the package's own file, which imports lazily.
        if "." in other and floor_of(other) > floor_of(module)
    )


def circles(graph):
    """Sets of modules that import each other, in turn."""
    reached = {}

    def reach(module):
        if module not in reached:
            seen, waiting = set(), list(graph[module])
            while waiting:
                other = waiting.pop()
                if other not in seen:
                    seen.add(other)
                    waiting += graph[other]
            reached[module] = seen
        return reached[module]

    return sorted(
        {frozenset(m for m in reach(a) if a in reach(m)) for a in graph if a in reach(a)},
        key=sorted,
    )


def import_graph(found):
    known = set(found)
    return {name: imports_of(source_of(path), known) - {name} for name, path in found.items()}


def test_every_part_of_the_library_stands_on_one_floor():
    parts = [part_of(name) for name in modules() if name.startswith("interfero.")]
    floors = [part for floor in FLOORS for part in floor]
    assert len(floors) == len(set(floors))
    assert set(parts) <= set(floors)


def test_no_import_runs_upward():
    library = {name: path for name, path in modules().items() if name.startswith("interfero")}
    assert arrows_upward(import_graph(library)) == []


def test_an_arrow_upward_is_seen():
    assert arrows_upward({"interfero.store.files": {"interfero.engine.sweep"}}) == [
        ("interfero.store.files", "interfero.engine.sweep")
    ]
    assert arrows_upward({"interfero.engine.sweep": {"interfero.store.files"}}) == []


NAMED_BY_CONTENT = (ROOT / LIBRARY / "domains/readers/table.py",)
"""Files that import modules of ours by text: readers, whose pixels a cell's key names by their hash."""


def unseen_imports(source):
    """Lines of imports that neither the floors nor the hash in a cell's key follow."""
    known, lines = modules().keys(), set()
    for node in nodes_of(source):
        if isinstance(node, ast.ImportFrom):
            relative = node.level > 0
            # The package imports such a name from above, when it is asked for.
            lazy = any(node.module == p and f"{p}.{a.name}" not in known
                       for p in PACKAGES for a in node.names)  # fmt: skip
            unseen = relative or lazy
        elif isinstance(node, ast.If):
            test = ast.unparse(node.test)
            names = {ast.unparse(n).rpartition(".")[2] for n in ast.walk(node.test)
                     if isinstance(n, ast.Name | ast.Attribute)}  # fmt: skip
            unseen = "TYPE_CHECKING" in names and (
                test not in {"TYPE_CHECKING", "typing.TYPE_CHECKING"} or bool(node.orelse)
            )
        else:
            unseen = isinstance(node, ast.Call) and imports_by_text(node)
        lines |= {node.lineno} if unseen else set()
    return sorted(lines)


def imports_by_text(call):
    if not ast.unparse(call.func).endswith(("import_module", "__import__")):
        return False
    texts = [n.value for a in call.args for n in ast.walk(a) if isinstance(n, ast.Constant)]
    return any(str(text).partition(".")[0] in PACKAGES for text in texts)


def test_every_import_is_of_a_form_that_floors_and_hash_follow():
    others = {*NAMED_BY_CONTENT, ROOT / LIBRARY / "__init__.py"}
    followed = tuple(p for p in python_files(LIBRARY, "trainables") if p not in others)
    assert offences(unseen_imports, followed) == {}


@pytest.mark.parametrize(
    "source",
    [
        "from .engine import sweep", "from . import engine", "from interfero import run_sweep",
        "if not TYPE_CHECKING:\n        import interfero.engine.sweep",
        "if TYPE_CHECKING:\n        x = 1\n    else:\n        import interfero.engine.sweep",
        "importlib.import_module('interfero.engine.sweep')", "__import__(f'trainables.{name}')",
    ],
)  # fmt: skip
def test_an_import_that_is_not_followed_is_seen(source):
    assert unseen_imports(f"def f():\n    {source}") == [2]


def test_an_import_that_is_followed_passes():
    for source in ("from interfero import versions", "import interfero.engine.sweep",
                   "from interfero.engine import sweep", "import_module('torch.nn')",
                   "if TYPE_CHECKING:\n    from interfero.engine import sweep"):  # fmt: skip
        assert unseen_imports(source) == []


def test_no_modules_import_each_other_in_a_circle():
    # Packages that only gather names are left out: importing one of their modules runs them first.
    found = {n: p for n, p in modules().items() if p.name != "__init__.py"}
    assert circles(import_graph(found)) == []


def test_a_circle_is_seen():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [frozenset("abc")]
    assert circles({"a": {"b"}, "b": set()}) == []


def public_classes():
    names = {}
    for module, path in modules().items():
        for node in nodes_of(source_of(path))[0].body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                names.setdefault(node.name, []).append(module)
    return names


def test_no_two_public_classes_bear_one_name():
    assert {name: where for name, where in public_classes().items() if len(where) > 1} == {}


def long_functions(source: str, limit: int) -> list[str]:
    return [
        f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
        for node in nodes_of(source)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno >= limit
    ]


def test_no_function_is_longer_than_sixty_lines():
    """Under about 40 is the rule; a longer one lacks a name for a part of it."""
    assert offences(lambda source: long_functions(source, 60), python_files(*CODE)) == {}
    assert long_functions("def f():\n    pass\n    pass", 2) == ["f: 3 lines"]
