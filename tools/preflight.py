"""Check what `make` presupposes, and name the Python to build the environment with.

    python tools/preflight.py install --venv .venv --python ""
    python tools/preflight.py run --venv .venv --python ""

`install` prints the path of the Python to use; each condition that fails is one line on the error
stream (what was found, the rule, the remedy), and the exit code is 2. Standard library and the
syntax of Python 3.8 only: the message has to appear under an unsupported Python too.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Iterable, NamedTuple, Tuple

Version = Tuple[int, ...]

SUPPORTED = ((3, 11), (3, 12))
"""CompressAI ships wheels for these two and pins numpy<2, which newer Pythons lack."""

NAMES = ("python3.11", "python3.12", "python3", "python")

ENVIRONMENT_GB = 6.5
"""Measured with du on Linux: 6.3 GB with torch's CUDA build; uv's cache is hard-linked into it."""

UPDATE_GB = 1.0
"""Free space asked for once the environment is there."""

RUN_GB = 1.0
"""Free space a sweep's records, adapters and samples may take."""

MEMORY_GB = 4.0
"""The driver, the tracking store and two warm trials."""

GIB = 1024**3

PROBE = """
import sys
try:
    import ensurepip, venv
    complete = 1
except ImportError:
    complete = 0
print(sys.executable, complete, *sys.version_info[:3], sep="\\t")
"""


class Problem(NamedTuple):
    """A condition that fails."""

    found: str
    rule: str
    remedy: str

    def __str__(self) -> str:
        """One line: what was found, the rule, the remedy."""
        return f"{self.found}; {self.rule}; {self.remedy}"


class Interpreter(NamedTuple):
    """A Python that was tried."""

    path: str
    version: Version | None
    """None where it did not run (a pyenv shim without a version, say)."""
    has_venv: bool = True
    """Whether `venv` and `ensurepip` are there: Debian packages them separately."""

    def __str__(self) -> str:
        """Path, version and what is wrong with it."""
        if self.version is None:
            return f"{self.path} (does not run)"
        lack = "" if self.has_venv else ", without venv: on Debian install python3-venv"
        return f"{self.path} ({dotted(self.version)}{lack})"


def dotted(version: Version) -> str:
    """(3, 11, 7) as 3.11.7."""
    return ".".join(map(str, version))


def is_usable(interpreter: Interpreter) -> bool:
    """Whether the environment can be built with it."""
    version = interpreter.version
    return version is not None and version[:2] in SUPPORTED and interpreter.has_venv


def check_python(tried: Iterable[Interpreter], asked: str = "") -> Problem | None:
    """At least one of the Pythons tried must be usable; `asked` is what PYTHON= said."""
    tried = list(tried)
    if any(map(is_usable, tried)):
        return None
    found = ", ".join(map(str, tried)) or "none"
    where = f"for PYTHON={asked}" if asked else "in PATH"
    return Problem(
        f"found {where}: {found}",
        "the locked dependencies need Python 3.11 or 3.12 (CompressAI has no wheels for others)",
        "install one (apt-get install python3.11-venv, brew install python@3.12, pyenv install "
        "3.12), or point to it: make demo PYTHON=/path/to/python3.12",
    )


def check_same_python(
    venv: str, built_with: Version | None, asked: Interpreter | None
) -> Problem | None:
    """An environment that exists must run, and be of the version that PYTHON= asks for."""
    elsewhere = "remove that folder, or build another: make demo VENV=.venv-other"
    if built_with is None:
        return Problem(f"{venv} holds a Python that does not run", "it must", elsewhere)
    if built_with[:2] not in SUPPORTED:
        found = f"{venv} was built with Python {dotted(built_with)}"
        return Problem(found, "the locked dependencies need 3.11 or 3.12", elsewhere)
    if asked is None or asked.version is None or asked.version[:2] == built_with[:2]:
        return None
    return Problem(
        f"{venv} was built with Python {dotted(built_with)}",
        f"PYTHON= asks for {dotted(asked.version)}",
        f"leave PYTHON= out; else {elsewhere}",
    )


def check_disk(folder: str, free_gb: float, needed_gb: float, what: str) -> Problem | None:
    """The file system of `folder` must have `needed_gb` GB (2**30 bytes) free."""
    if free_gb >= needed_gb:
        return None
    return Problem(
        f"{free_gb:.1f} GB free for {folder}",
        f"{what} needs {needed_gb:.1f} GB",
        "free some space, or put it on a larger disk (VENV= sets the environment's folder, "
        "UV_CACHE_DIR uv's cache)",
    )


def check_memory(available_gb: float | None) -> Problem | None:
    """At least MEMORY_GB GB (2**30 bytes) must be available; None is unknown and passes."""
    if available_gb is None or available_gb >= MEMORY_GB:
        return None
    return Problem(
        f"{available_gb:.1f} GB of memory available",
        f"a sweep needs {MEMORY_GB:.1f} GB",
        "close other programs, or raise the container's or virtual machine's limit",
    )


def check_writable(folder: str, writable: bool) -> Problem | None:
    """Files must be writable in `folder`."""
    if writable:
        return None
    return Problem(
        f"cannot write to {folder}",
        "environment and results go there",
        "change its owner or mode, or clone to a folder of your own",
    )


def parse_meminfo(text: str) -> float | None:
    """MemAvailable of /proc/meminfo in GB."""
    for line in text.splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024 / GIB
    return None


def cgroup_available_gb(limit: str, current: str, stat: str) -> float | None:
    """What a version 2 control group still allows, in GB; file cache is given back on demand."""
    if not limit.strip().isdigit():  # "max"
        return None
    cache = next(
        (line.split()[1] for line in stat.splitlines() if line.startswith("inactive_file")), "0"
    )
    return (int(limit) - int(current) + int(cache)) / GIB


def read_text(path: str) -> str:
    """The file's text, or nothing where there is no such file."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def available_memory_gb() -> float | None:
    """The smaller of the machine's and the container's available memory, if known."""
    group = [read_text(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current", "stat")]
    readings = [parse_meminfo(read_text("/proc/meminfo")), cgroup_available_gb(*group)]
    return min((reading for reading in readings if reading is not None), default=None)


def probe(path: str) -> Interpreter:
    """Run a Python and ask what it is; running is the only proof that a shim works."""
    try:
        output = subprocess.run(
            [path, "-c", PROBE], capture_output=True, text=True, timeout=60, check=True
        ).stdout
        executable, complete, *version = output.strip().split("\t")
        return Interpreter(executable or path, tuple(map(int, version)), complete == "1")
    except (OSError, ValueError, subprocess.SubprocessError):
        return Interpreter(path, None, False)


def candidates(asked: str, search_path: str) -> list[str]:
    """Paths to try: what PYTHON= names, else every known name in every folder of PATH."""
    if asked:
        return [shutil.which(str(Path(asked).expanduser()), path=search_path) or asked]
    folders = [folder for folder in search_path.split(os.pathsep) if folder]
    paths = (shutil.which(name, path=folder) for name in NAMES for folder in folders)
    return list(dict.fromkeys(path for path in paths if path))


def find_python(asked: str, search_path: str) -> list[Interpreter]:
    """The Pythons tried, up to and with the first usable one."""
    tried: list[Interpreter] = []
    for path in candidates(asked, search_path):
        interpreter = probe(path)
        if interpreter not in tried:
            tried.append(interpreter)
        if is_usable(interpreter):
            break
    return tried


def existing_folder(path: Path) -> Path:
    """The nearest folder above (or at) `path` that exists."""
    path = path.expanduser().absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def free_gb(folder: Path) -> float:
    """Free space of the file system that holds `folder`, in GB."""
    return shutil.disk_usage(str(folder)).free / GIB


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`."""
    try:
        with tempfile.TemporaryFile(dir=str(folder)):
            return True
    except OSError:
        return False


def disk_problems(venv: Path, installing: bool) -> list[Problem | None]:
    """Space for the environment and uv's cache, or for a run in the working folder."""
    here = Path.cwd()
    if not installing:
        return [check_disk(str(here), free_gb(here), RUN_GB, "a sweep")]
    needed_gb = UPDATE_GB if (venv / ".installed").exists() else ENVIRONMENT_GB
    home = existing_folder(venv)
    problems = [check_disk(str(venv), free_gb(home), needed_gb, "the environment")]
    cache_root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    cache = existing_folder(Path(os.environ.get("UV_CACHE_DIR") or f"{cache_root}/uv"))
    if cache.stat().st_dev != home.stat().st_dev:
        problems.append(check_disk(str(cache), free_gb(cache), needed_gb, "uv's cache"))
    return problems


def python_problems(venv: Path, asked: str) -> tuple[str, list[Problem | None]]:
    """The Python to use, and what is wrong with it."""
    built = venv / "bin" / "python"
    if built.is_symlink() or built.exists():
        wanted = find_python(asked, os.environ.get("PATH", ""))[0] if asked else None
        return str(built), [check_same_python(str(venv), probe(str(built)).version, wanted)]
    tried = find_python(asked, os.environ.get("PATH", ""))
    problem = check_python(tried, asked)
    return (tried[-1].path if problem is None else ""), [problem]


def main() -> int:
    """Print the Python to use; 2 when a condition fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("step", choices=("install", "run"), help="what comes next")
    parser.add_argument("--venv", type=Path, default=Path(".venv"), help="its folder")
    parser.add_argument("--python", default="", help="path or name; default: search PATH")
    arguments = parser.parse_args()
    python, problems = python_problems(arguments.venv, arguments.python)
    problems += disk_problems(arguments.venv, arguments.step == "install")
    problems.append(check_memory(available_memory_gb()))
    here = Path.cwd()
    problems.append(check_writable(str(here), is_writable(here)))
    failures = [problem for problem in problems if problem is not None]
    for failure in failures:
        sys.stderr.write(f"preflight: {failure}\n")
    if failures:
        return 2
    if arguments.step == "install":
        sys.stdout.write(f"{python}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
