import ast

import pytest

from interfero.engine.code import code_hash, library_versions, python_files

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
