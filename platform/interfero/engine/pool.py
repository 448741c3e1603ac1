"""A pool: an ordinary local Ray cluster with warm workers, which sweeps of one user find by themselves.

FOLDER/pool.json     its keeper's process, its address, and the code and environment of its workers
FOLDER/warm/PID      the code that a worker has loaded
FOLDER/sweeps/PID    name of a sweep that uses it

FOLDER is of this machine and of one user: $INTERFERO_POOL, else `interfero-pool-UID` in the folder for
temporary files. Nothing here imports Ray: a sweep decides before that whether it joins.
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from pydantic import ValidationError

from interfero.config import Config
from interfero.cores import usable_cores
from interfero.domains.memory import GIB, machine_memory
from interfero.engine.code import MODEL_LIBRARIES, library_versions
from interfero.engine.code_version import noted_fingerprint
from interfero.engine.interrupts import uninterrupted
from interfero.errors import ConfigError, PoolError
from interfero.store.files import write_atomic
from interfero.store.keys import CELL_DIGITS, text_key
from interfero.store.locks import locked

FOLDER_VARIABLE = "INTERFERO_POOL"
WARM_VARIABLE = "INTERFERO_POOL_WARM"
"""Names to a pool's workers the folder in which they say what they have loaded."""
KEEPER = "interfero.engine.pool_keeper"
START_S = 180.0
"""Ray and a worker start in seconds; a busy machine takes longer."""
STOP_S = 30.0
LOG_LINES = 5
WORKER_BYTES = 400 * 2**20
"""Memory that a warm worker has of its own (docs/pool.md)."""

_DECIDING = (
    "CUDA_", "DNNL_", "INTERFERO_", "KMP_", "LD_", "MKL_", "NVIDIA_", "OMP_", "ONEDNN_", "OPENBLAS_",
    "PYTHON", "PYTORCH_", "TORCH",
)  # fmt: skip
"""How names of environment variables begin that change what a worker computes, or on what."""


class Pool(Config):
    """A pool as its keeper describes it."""

    pid: int
    """Process of the keeper."""
    created: float
    """When that process started, Unix time in seconds: process numbers are used again."""
    address: str
    """Where Ray answers, HOST:PORT."""
    code: str
    """Fingerprint of the code that its workers have loaded."""
    environment: dict[str, str]
    """As `environment`."""
    cpus: float
    gpus: float

    @property
    def is_alive(self) -> bool:
        """Whether its keeper runs."""
        return _is_running(self.pid, self.created)


def environment() -> dict[str, str]:
    """What of this process's environment must be the same in a worker: interpreter, libraries, variables.

    Values of variables as hashes, because some hold secrets.
    """
    found = {"python": sys.prefix} | library_versions(("ray", *MODEL_LIBRARIES))
    return found | {
        name: text_key(value, digits=CELL_DIGITS)
        for name, value in sorted(os.environ.items())
        if name.startswith(_DECIDING) and name not in (FOLDER_VARIABLE, WARM_VARIABLE)
    }


def pool_folder() -> Path:
    """Where this user's pool of this machine is described, whether there is one or not."""
    named = os.environ.get(FOLDER_VARIABLE)
    return Path(named) if named else Path(tempfile.gettempdir()) / f"interfero-pool-{os.getuid()}"


def read_pool(folder: Path | None = None) -> Pool | None:
    """The pool that was started and not stopped; its keeper may have died since.

    Raises:
        PoolError: the folder belongs to somebody else, who could name any address.
    """
    folder = pool_folder() if folder is None else folder
    try:
        owner = folder.stat()
        text = (folder / "pool.json").read_bytes()
    except OSError:
        return None
    if owner.st_uid != os.getuid() or owner.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PoolError(
            f"{folder} must belong to you and be writable by you alone, or it is not believed: remove it, or "
            f"set {FOLDER_VARIABLE} to another folder"
        )
    with suppress(ValidationError):
        return Pool.model_validate_json(text)
    return None


def why_not(pool: Pool) -> str | None:
    """Why a sweep of this process cannot use a pool; None where it can."""
    if not pool.is_alive:
        return (
            f"its process {pool.pid} ended without `interfero pool stop`; `interfero pool start` starts "
            "another"
        )
    if pool.code != noted_fingerprint():
        return "the code has changed since its workers started"
    here = environment()
    names = sorted(
        n for n in here.keys() | pool.environment.keys() if here.get(n) != pool.environment.get(n)
    )
    if names:
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        return f"it was started in another environment: {names[0]}{others} differs"
    return None


def warm_workers(folder: Path) -> dict[int, str]:
    """What each warm worker has loaded, by process; those that have ended are left out."""
    found = {}
    for path in folder.glob("warm/*"):
        with suppress(OSError, ValueError):
            pid = int(path.name)
            created, code = path.read_text().split()
            if _is_running(pid, float(created)):
                found[pid] = code
    return found


def using_sweeps(folder: Path) -> dict[int, str]:
    """Names of the sweeps that use the pool, by process."""
    found = {}
    for path in folder.glob("sweeps/*"):
        with suppress(OSError, ValueError):
            created, name = json.loads(path.read_text())
            if _is_running(int(path.name), created):
                found[int(path.name)] = name
    return found


@contextmanager
def used_by(name: str, folder: Path) -> Iterator[None]:
    """Inside, the pool knows that this process's sweep uses it."""
    mark = folder / "sweeps" / str(os.getpid())
    write_atomic(mark, json.dumps([own_start(), name]).encode())
    try:
        yield
    finally:
        mark.unlink(missing_ok=True)


def own_start() -> float:
    """When this process started, Unix time in seconds."""
    return float(psutil.Process().create_time())


def start_pool(cpus: int | None, gpus: int | None) -> Pool:
    """Start a pool, and wait until its workers are warm.

    Args:
        cpus: CPUs that sweeps may use together; None is all of them.
        gpus: The same of GPUs.

    Raises:
        PoolError: there is one already, or it does not start.
        KeyboardInterrupt: it was interrupted; nothing of the pool is left.
    """
    folder = pool_folder()
    with locked(
        folder.with_name(f"{folder.name}.lock"), f"set {FOLDER_VARIABLE} to another folder"
    ):
        pool = read_pool(folder)
        if pool is not None and pool.is_alive:
            raise PoolError(
                f"a pool runs already, process {pool.pid}: `interfero pool stop` ends it, and with it "
                "the sweeps that use it"
            )
        _remove(folder)
        folder.mkdir(mode=0o700, parents=True)
        for name in ("warm", "sweeps"):
            (folder / name).mkdir()
        wanted = {"num_cpus": cpus, "num_gpus": gpus}
        with (folder / "log").open("wb") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", KEEPER, str(folder), json.dumps(wanted)],
                cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            return _wait_until_warm(keeper, folder)
        except KeyboardInterrupt:
            with uninterrupted():
                with suppress(psutil.NoSuchProcess):
                    _end(psutil.Process(keeper.pid))
                _remove(folder)
            raise


def _wait_until_warm(keeper: subprocess.Popen[bytes], folder: Path) -> Pool:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        pool = read_pool(folder)
        if pool is not None and len(warm_workers(folder)) >= int(pool.cpus):
            return pool
        if keeper.poll() is not None:
            break
        time.sleep(0.1)
    lines = (folder / "log").read_text(errors="replace").splitlines()
    if keeper.poll() is None:
        _end(psutil.Process(keeper.pid))
    said = " | ".join(line.strip() for line in lines[-LOG_LINES:] if line.strip())
    raise PoolError(
        f"the pool must be ready within {START_S:.0f} seconds, and was not; it said: {said or 'nothing'}. "
        "Free memory and processors, and start it again"
    )


def stop_pool() -> Pool:
    """End a pool with everything that runs in it.

    Raises:
        PoolError: there is none.
    """
    folder = pool_folder()
    pool = read_pool(folder)
    if pool is None:
        raise PoolError("no pool runs: `interfero pool start` starts one")
    if pool.is_alive:
        with suppress(psutil.NoSuchProcess):
            _end(psutil.Process(pool.pid))
    _remove(folder)
    return pool


def _end(keeper: psutil.Process) -> None:
    """Ask a keeper to end; what is left of it after `STOP_S` is killed."""
    family = [keeper, *keeper.children(recursive=True)]
    keeper.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_S)
    for process in alive:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=STOP_S)


def _remove(folder: Path) -> None:
    """Its files, by name: the folder may be one that a user named by mistake."""
    for path in (
        *folder.glob("warm/*"),
        *folder.glob("sweeps/*"),
        folder / "pool.json",
        folder / "log",
    ):
        path.unlink(missing_ok=True)
    for path in (folder / "warm", folder / "sweeps", folder):
        with suppress(FileNotFoundError):
            path.rmdir()


def _is_running(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def check_counts(cpus: int | None, gpus: int | None) -> int:
    """Refuse numbers of CPUs or GPUs that no pool of this machine can have.

    Returns:
        How many workers there will be, one for each CPU.

    Raises:
        ConfigError: names the option, the rule and the remedy.
    """
    for name, count, lowest in (("--cpus", cpus, 1), ("--gpus", gpus, 0)):
        if count is not None and count < lowest:
            raise ConfigError(f"{name} must be {lowest} or more, got {count}")
    most = usable_cores()
    workers = most if cpus is None else cpus
    if workers > most:
        raise ConfigError(
            f"--cpus {workers} is more than the {most} cores that this process may use: each CPU of a pool "
            f"is a worker that trains; leave --cpus out, or ask for {most} at most"
        )
    free = min(int(psutil.virtual_memory().available), machine_memory())
    fitting = free // WORKER_BYTES
    if workers > fitting:
        raise ConfigError(
            f"a pool of {workers} CPUs needs {workers * WORKER_BYTES / GIB:.1f} GiB for its workers (0.4 GiB "
            f"each), and {free / GIB:.1f} GiB are free: close other programs, or start fewer, such as "
            f"--cpus {max(1, fitting)}"
        )
    return workers
