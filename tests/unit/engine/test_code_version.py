"""Which code a process runs, on copies of packages that differ."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import interfero
import trainables
from interfero.engine.code_version import (
    CodeVersion,
    code_fingerprint,
    folder_fingerprint,
    shipped_code,
)
from interfero.engine.packs import Pack
from interfero.engine.trial import run_pack_trial
from interfero.errors import ConfigError

FOLDERS = {name: Path(next(iter(p.__path__))) for name, p in
           {"interfero": interfero, "trainables": trainables}.items()}  # fmt: skip

REQUIRE = """
import sys
from interfero.engine.packs import Pack
from interfero.engine.code_version import CodeVersion
from interfero.errors import ConfigError
import trainables
try:
    CodeVersion(("interfero", "trainables"), sys.argv[1], ()).require()
except ConfigError as error:
    print(error)
else:
    print("the same")
"""


def in_a_process(folder, fingerprint):
    """What a process says that imports the packages of `folder`."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REQUIRE, fingerprint],
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


@pytest.fixture
def shipped(tmp_path):
    """What a worker gets."""
    with shipped_code() as environment:
        copy = tmp_path / "worker"
        shutil.copytree(environment["working_dir"], copy)
    assert not Path(environment["working_dir"]).exists()
    return copy


def test_what_is_shipped_is_whole_and_the_same(shipped):
    assert {path.name for path in shipped.iterdir()} == set(FOLDERS)
    assert not list(shipped.rglob("__pycache__"))
    for name, folder in FOLDERS.items():
        assert folder_fingerprint(shipped / name) == folder_fingerprint(folder)
        data = {p.relative_to(folder) for p in folder.rglob("*.safetensors")}
        assert {
            p.relative_to(shipped / name) for p in (shipped / name).rglob("*.safetensors")
        } == data


@pytest.mark.parametrize("change", ["edit", "remove", "add", "move"])
def test_other_code_has_another_fingerprint(shipped, change):
    file = shipped / "trainables/source.py"
    if change == "edit":
        file.write_text(file.read_text() + "\n")
    elif change == "remove":
        file.unlink()
    elif change == "add":
        (shipped / "trainables/extra.py").write_text("")
    else:
        file.rename(file.with_name("sauce.py"))
    changed = folder_fingerprint(shipped / "trainables")
    assert changed != folder_fingerprint(FOLDERS["trainables"])


def test_a_worker_with_other_code_is_refused(shipped):
    file = shipped / "trainables/source.py"
    file.write_text(file.read_text() + "\n")
    said = in_a_process(shipped, CodeVersion.current().fingerprint)
    assert "other code of interfero and trainables" in said
    assert str(shipped / "trainables") in said
    assert "--resume" in said


def test_another_library_is_refused():
    packages = ("interfero",)
    version = CodeVersion(packages, code_fingerprint(packages), (("torch", "1.0"),))
    with pytest.raises(ConfigError, match=r"the driver has 1\.0.*requirements\.lock"):
        version.require()


def test_the_same_process_is_content():
    CodeVersion.current().require()


def test_a_package_that_is_not_there_is_named():
    with pytest.raises(ConfigError, match="no_such_package"):
        CodeVersion(("no_such_package",), "", ()).require()


def test_no_cell_is_trained_by_other_code(tmp_path, cell):
    def runner(pack, worker):
        pytest.fail("training was about to start")

    other = CodeVersion(("interfero",), "another", ())
    pack = Pack(nodes=(cell(),))
    with pytest.raises(ConfigError, match="must run the driver's version"):
        run_pack_trial(
            {"pack": pack.text},
            runner=runner, storage=tmp_path, name="one", threads=1, code=other,
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
