import ast
import importlib.util
from types import SimpleNamespace

import pytest

from interfero.engine import code
from interfero.engine.code import (
    closure_hash,
    code_hash,
    import_closure,
    library_versions,
    python_files,
)

CODE = '''"""What it does."""


def step(rate: float) -> float:
    """Do a step."""
    # Why.
    return rate * 2


class Config:
    """Settings."""

    size: int = 3
    """Of it."""


async def later() -> None:
    """Wait."""
    return None
'''


@pytest.fixture
def hash_of(tmp_path):
    def compute(text, name="loop.py"):
        path = tmp_path / name
        path.write_text(text)
        return code_hash([path])

    return compute


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it does.", "What else."),
        ("Do a step.", "Do one."),
        ('    """Of it."""\n', ""),
        ("# Why.", "# Because."),
        ("Wait.", "Wait longer."),
        ("rate * 2", "(rate\n        * 2)"),
    ],
)
def test_words_and_layout_do_not_count(hash_of, old, new):
    assert old in CODE
    assert hash_of(CODE.replace(old, new)) == hash_of(CODE)


@pytest.mark.parametrize(
    ("old", "new"),
    [("* 2", "* 3"), ("= 3", "= 4"), ("rate: float", "rate: int"), ("def step", "def stride")],
)
def test_code_counts(hash_of, old, new):
    assert old in CODE
    assert hash_of(CODE.replace(old, new)) != hash_of(CODE)


def test_the_name_of_a_file_counts_but_not_its_place(hash_of, tmp_path):
    assert hash_of(CODE) != hash_of(CODE, "other.py")
    for place in ("here", "there"):
        (tmp_path / place / "package").mkdir(parents=True)
        (tmp_path / place / "package" / "a.py").write_text(CODE)
        (tmp_path / place / "package" / "b.py").write_text("")
    here, there = (python_files(tmp_path / p / "package") for p in ("here", "there"))
    assert code_hash(here) == code_hash(reversed(there))


def test_versions_name_the_libraries_that_decide_numbers():
    assert set(library_versions()) >= {"torch", "compressai"}


def test_a_field_that_one_version_of_python_has_and_another_lacks_does_not_count(
    hash_of, monkeypatch
):
    here = hash_of(CODE)
    parse = ast.parse

    def of_python_312(source):
        tree = parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                node.type_params = []
                node._fields = tuple(dict.fromkeys((*type(node)._fields, "type_params")))
        return tree

    with monkeypatch.context() as patched:
        patched.setattr(ast, "parse", of_python_312)
        there = hash_of(CODE)
    assert there == here


def test_nothing_is_not_the_same_as_no_value(hash_of):
    assert hash_of("x = None") != hash_of("x = []") != hash_of("x = ()")
    assert hash_of("def f(): return None") != hash_of("def f(): return")


@pytest.fixture
def own_package(tmp_path, monkeypatch):
    """Packages of ours, made up: `trainables.loop` imports in every way there is."""
    files = {
        "trainables/__init__.py": "",
        "trainables/loop.py": "import interfero.plain\nfrom interfero import from_package\n"
        "from interfero.sub.named import thing\nfrom typing import TYPE_CHECKING\nimport os\n"
        "if TYPE_CHECKING:\n    from interfero import only_types\n"
        "def step():\n    from interfero import inside\n",
        "interfero/__init__.py": "",
        "interfero/plain.py": "import interfero.behind\n",
        "interfero/behind.py": "import trainables.loop\n",
        "interfero/from_package.py": "",
        "interfero/sub/__init__.py": "",
        "interfero/sub/named.py": "thing = 1\n",
        "interfero/inside.py": "",
        "interfero/only_types.py": "",
        "interfero/unused.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def find(package):
        folder = tmp_path / package
        return SimpleNamespace(submodule_search_locations=[str(folder)])

    monkeypatch.setattr(importlib.util, "find_spec", find)
    code._source_of.cache_clear()
    yield tmp_path
    code._source_of.cache_clear()


def test_a_closure_follows_every_import_that_runs(own_package):
    assert set(import_closure(["trainables.loop"])) == {
        "trainables", "trainables.loop", "interfero", "interfero.plain", "interfero.behind",
        "interfero.from_package", "interfero.sub", "interfero.sub.named", "interfero.inside",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "counts"),
    [("behind", True), ("inside", True), ("sub/__init__", True), ("only_types", False), ("unused", False)],
)  # fmt: skip
def test_a_change_behind_an_import_changes_the_hash(own_package, name, counts):
    before = closure_hash("trainables.loop")
    (own_package / "interfero" / f"{name}.py").write_text("x = 2\n")
    assert (closure_hash("trainables.loop") != before) == counts


def test_a_module_that_is_not_there_is_named(own_package):
    with pytest.raises(ModuleNotFoundError, match=r"trainables\.nowhere"):
        closure_hash("trainables.nowhere")
