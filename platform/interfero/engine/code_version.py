"""The code of a cluster's workers: the driver's, shipped whole, and no other.

Machines of a cluster are set up at different times. A worker that trained with another version of the
loop, or of a library that decides numbers, would file its results under keys they do not belong to.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.engine.code import MODEL_LIBRARIES, library_versions
from interfero.errors import ConfigError

if TYPE_CHECKING:
    from interfero.engine.options.base import SweepOptions

PACKAGES = ("interfero", "trainables")
"""What is shipped, as far as the driver has it loaded."""

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


def on_cluster(options: SweepOptions) -> bool:
    """Whether packs train elsewhere than on this machine alone."""
    return options.address is not None or bool(os.environ.get("RAY_ADDRESS"))


@dataclass(frozen=True)
class CodeVersion:
    """The code that a driver runs."""

    packages: tuple[str, ...]
    fingerprint: str
    """Of every Python file of these packages, byte for byte."""
    libraries: tuple[tuple[str, str], ...]
    """(name, version) of those that decide numbers."""

    @classmethod
    def current(cls) -> CodeVersion:
        """What this process runs."""
        packages = tuple(name for name in PACKAGES if name in sys.modules)
        return cls(
            packages,
            _fingerprint_of_this_process(packages),
            tuple(library_versions(MODEL_LIBRARIES).items()),
        )

    def require(self) -> None:
        """Check, once a process, that this one runs the same.

        Raises:
            ConfigError: it does not; names the machine and what differs.
        """
        _require(self)


@cache
def _require(wanted: CodeVersion) -> None:
    here = library_versions(MODEL_LIBRARIES)
    differing = [
        f"{name} {here[name]} (the driver has {version})"
        for name, version in wanted.libraries
        if here[name] != version
    ]
    if _fingerprint_of_this_process(wanted.packages) != wanted.fingerprint:
        differing.append(f"other code of {' and '.join(wanted.packages)} in {_folders(wanted)}")
    if differing:
        raise ConfigError(
            f"worker {platform.node()} must run the driver's version, it has {'; '.join(differing)}: "
            "install the same requirements.lock there (`ray up` does), start Ray again, and go on "
            "with --resume"
        )


def _folders(version: CodeVersion) -> str:
    return ", ".join(str(package_folder(name)) for name in version.packages)


@cache
def noted_fingerprint() -> str:
    """Of the code that this process runs, as its files were when this was first asked.

    A process that lives long notes it before it loads them: what is edited later is on the disk alone.
    """
    return code_fingerprint(PACKAGES)


def _fingerprint_of_this_process(packages: tuple[str, ...]) -> str:
    noted = packages == PACKAGES and noted_fingerprint.cache_info().currsize
    return noted_fingerprint() if noted else code_fingerprint(packages)


def code_fingerprint(packages: tuple[str, ...]) -> str:
    """Hash of every Python file of some packages, and of where it stands in them.

    Raises:
        ConfigError: a package is not installed here.
    """
    digest = hashlib.blake2b(digest_size=16)
    for name in packages:
        digest.update(f"{name} {folder_fingerprint(package_folder(name))}\n".encode())
    return digest.hexdigest()


def folder_fingerprint(folder: Path) -> str:
    """Hash of every Python file in a folder, byte for byte, and of its path there."""
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted(folder.rglob("*.py")):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(folder).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def package_folder(name: str) -> Path:
    """Where a package is imported from, in this process.

    Raises:
        ConfigError: it is not installed here.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"worker {platform.node()} has no package {name}: run `ray up` again")
    return Path(next(iter(spec.submodule_search_locations))).resolve()


@contextmanager
def shipped_code() -> Iterator[dict[str, Any]]:
    """Ray's runtime environment that puts the driver's packages on every worker, as one archive.

    As working folder: Ray then leaves the driver's own folders off the workers' path, where a checkout
    of another version may lie under the same name. Upload it (`ray.init`) before leaving the block.
    """
    with tempfile.TemporaryDirectory(prefix="interfero-code-") as folder:
        for name in CodeVersion.current().packages:
            shutil.copytree(package_folder(name), Path(folder) / name, ignore=_LEFT_OUT)
        yield {"working_dir": folder}
