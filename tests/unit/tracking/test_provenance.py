import importlib.metadata
import platform

from interfero.tracking import provenance
from interfero.tracking.provenance import provenance_tags, source_tags


def test_versions_are_those_installed():
    tags = provenance_tags()
    assert tags["interfero.torch"] == importlib.metadata.version("torch")
    assert tags["interfero.ray"] == importlib.metadata.version("ray")
    assert tags["interfero.python"] == platform.python_version()
    assert len(tags["interfero.lock_hash"]) == 16


def test_a_changed_tree_is_said_to_be_dirty(monkeypatch):
    answers = {"rev-parse": "c0ffee", "status": " M file.py"}
    monkeypatch.setattr(provenance, "_git", lambda folder, *words: answers[words[0]])
    assert provenance_tags()["interfero.git_commit"] == "c0ffee+dirty"
    answers["status"] = ""
    assert provenance_tags()["interfero.git_commit"] == "c0ffee"


def test_no_git_is_no_error(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert "interfero.git_commit" not in provenance_tags()


def test_the_environment_is_not_told(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2")
    assert "hunter2" not in str(provenance_tags())


def test_mlflows_own_tags_name_script_commit_and_user(monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    tags = source_tags("sweeps/bitrate.py", {"interfero.git_commit": "c0ffee+dirty"})
    assert tags == {
        "mlflow.source.name": "sweeps/bitrate.py", "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": "c0ffee", "interfero.git_commit": "c0ffee+dirty",
        "mlflow.user": "ann",
    }  # fmt: skip


def test_a_user_without_a_name_is_no_error(monkeypatch):
    def nobody():
        raise KeyError("getpwuid(): uid not found: 1234")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert source_tags("x.py", {}) == {"mlflow.source.name": "x.py", "mlflow.source.type": "LOCAL"}
