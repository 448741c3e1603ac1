import importlib.metadata
import platform

from interfero.tracking import provenance
from interfero.tracking.provenance import provenance_tags


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
