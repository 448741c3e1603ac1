"""Where a result comes from, as tags."""

from __future__ import annotations

import getpass
import importlib.metadata
import platform
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from interfero.store.keys import CELL_DIGITS, bytes_key
from interfero.tracking.names import COMMIT_TAG
from interfero.versions import library_version

LOCK_FILE = "requirements.lock"
PACKAGES = ("torch", "compressai", "ray")
_GIT_S = 5


def source_tags(script: str, provenance: Mapping[str, str]) -> dict[str, str]:
    """The tags that the MLflow UI shows as Source, Version and User of a run; what is not known is left out.

    The commit stands a second time, with its mark of changes that are not committed.

    Args:
        script: The sweep's file, as it was started.
        provenance: `provenance_tags`.
    """
    tags = {"mlflow.source.name": script, "mlflow.source.type": "LOCAL"}
    commit = provenance.get(COMMIT_TAG)
    if commit:
        tags["mlflow.source.git.commit"] = commit.removesuffix("+dirty")
        tags[COMMIT_TAG] = commit
    # An id without a name, as in many containers, is a KeyError before Python 3.13 and an OSError since.
    with suppress(KeyError, OSError, ImportError):
        tags["mlflow.user"] = getpass.getuser()
    return tags


def provenance_tags() -> dict[str, str]:
    """Commit, locked dependencies, versions and machine; what cannot be told is left out.

    Nothing here is read from the environment, which may hold secrets.
    """
    tags = {"interfero.python": platform.python_version(), "interfero.host": platform.platform()}
    for package in PACKAGES:
        try:
            tags[f"interfero.{package}"] = library_version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    here = Path(__file__).resolve()
    if "site-packages" in here.parts:  # the repository around an environment is someone else's
        return tags
    lock = next((f for f in (p / LOCK_FILE for p in here.parents) if f.is_file()), None)
    if lock is not None:
        tags["interfero.lock_hash"] = bytes_key(lock.read_bytes(), CELL_DIGITS)
    commit = _git(here.parent, "rev-parse", "HEAD")
    if commit:
        dirty = "+dirty" if _git(here.parent, "status", "--porcelain") else ""
        tags[COMMIT_TAG] = commit + dirty
    return tags


def _git(folder: Path, *arguments: str) -> str:
    """What git prints, empty outside a repository or without git."""
    command = ["git", "-C", str(folder), "--no-optional-locks", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
