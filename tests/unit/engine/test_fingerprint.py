import pytest

from interfero.engine.fingerprint import code_hash, library_versions, python_files

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
