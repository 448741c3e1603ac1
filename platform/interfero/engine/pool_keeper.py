"""The process that keeps a pool, started by `interfero pool start`.

It starts Ray on the loopback interface with a token, and keeps as many warm workers as CPUs are free. A
worker belongs to the first sweep that uses it and ends with it, so others take its place; so do others where
code has changed. When it ends, all of Ray ends.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from interfero.engine import ray_environment
from interfero.engine.code_version import PACKAGES, code_fingerprint, package_folder
from interfero.engine.interrupts import ASKED_TO_END
from interfero.engine.pool import WARM_VARIABLE, Pool, environment, own_start, warm_workers
from interfero.engine.ray_processes import few_processes
from interfero.store.files import write_atomic

LOOK_EVERY_S = 1.0
KEPT_S = 10 * 365 * 86400
"""How long Ray keeps a worker that waits for its first sweep."""
RPC_S = 10.0
TRIES = 3
IDLE = "ray::IDLE"
"""What Ray titles a worker that waits."""


def main(folder: Path, counts: dict[str, int | None]) -> None:
    """Keep a pool until somebody asks for its end, or Ray has ended."""
    asked = threading.Event()
    kept = environment()
    with _ray(folder, counts) as raylet:
        # After Ray, which takes SIGTERM for itself when it starts.
        for number in (signal.SIGINT, *ASKED_TO_END):
            signal.signal(number, lambda *_: asked.set())
        keeper = _Keeper(folder, raylet, kept)
        while not asked.wait(LOOK_EVERY_S):
            if not raylet.is_running() or raylet.status() == psutil.STATUS_ZOMBIE:
                sys.exit("Ray has ended by itself: its log is in /tmp/ray/session_latest/logs")
            keeper.tend()


@contextmanager
def _ray(folder: Path, counts: dict[str, int | None]) -> Iterator[psutil.Process]:
    """Ray as long as the pool lives; gives the process that starts workers."""
    os.environ |= {
        **ray_environment.OF_A_POOL,
        ray_environment.PRELOAD: ray_environment.WARM_WORKER,
        # Those that Ray starts by itself too: their keep-alive is not ours to choose.
        ray_environment.KEEP_IDLE: str(1000 * KEPT_S),
        WARM_VARIABLE: str(folder / "warm"),
    }
    import ray

    for attempt in range(TRIES):
        try:
            with few_processes():
                ray.init(
                    address="local", num_cpus=counts["num_cpus"], num_gpus=counts["num_gpus"],
                    include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
                    _skip_env_hook=True,
                )  # fmt: skip
            break
        except Exception as error:
            # A bare Exception is what Ray raises where its processes need more than its 30 seconds (2.60).
            if type(error) is not Exception or attempt == TRIES - 1:
                raise
    try:
        # The newest: those of a start that failed are still there.
        yield [p for p in psutil.Process().children() if p.name() == "raylet"][-1]
    finally:
        ray.shutdown()


class _Keeper:
    """What is done every second."""

    def __init__(self, folder: Path, raylet: psutil.Process, kept: dict[str, str]) -> None:
        import ray

        self._folder, self._raylet, self._kept = folder, raylet, kept
        self._address = ray.get_runtime_context().gcs_address
        self._resources = ray.cluster_resources()  # type: ignore[no-untyped-call]
        self._files: dict[str, int] = {}
        self._code = self._written = ""

    def tend(self) -> None:
        """End idle workers with other code than there is now; start those that are missing."""
        import ray

        self._look_at_code()
        loaded = warm_workers(self._folder)
        idle, starting = self._waiting()
        stale = [p for p in idle if loaded.get(p.pid, self._code) != self._code]
        for process in stale:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        if stale:
            psutil.wait_procs(stale, timeout=RPC_S)
        self._write()
        free = int(ray.available_resources().get("CPU", 0))  # type: ignore[no-untyped-call]
        missing = free - (len(idle) - len(stale)) - starting
        if missing > 0:
            _prestart(missing)
        for path in (self._folder / "warm").iterdir():
            if not path.name.startswith(".") and int(path.name) not in loaded:
                path.unlink(missing_ok=True)

    def _look_at_code(self) -> None:
        """Read all of it only where a file has changed."""
        files = {
            str(path): path.stat().st_mtime_ns
            for name in PACKAGES
            for path in package_folder(name).rglob("*.py")
        }
        if files != self._files:
            self._files, self._code = files, code_fingerprint(PACKAGES)

    def _write(self) -> None:
        if self._written == self._code:
            return
        pool = Pool(
            pid=os.getpid(), created=own_start(), address=self._address, code=self._code,
            environment=self._kept, cpus=self._resources.get("CPU", 0), gpus=self._resources.get("GPU", 0),
        )  # fmt: skip
        write_atomic(self._folder / "pool.json", pool.model_dump_json(indent=1).encode())
        self._written = self._code

    def _waiting(self) -> tuple[list[psutil.Process], int]:
        """Workers that wait for a sweep, and how many are on their way there."""
        idle, starting = [], 0
        for process in self._raylet.children():
            with suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if command.startswith(IDLE):
                    idle.append(process)
                starting += "default_worker.py" in command
        return idle, starting


def _prestart(count: int) -> None:
    """Ask Ray for workers that no sweep has asked for; a request of Ray's own, which has no public name."""
    import ray
    from ray._private.grpc_utils import init_grpc_channel
    from ray.core.generated import common_pb2, node_manager_pb2, node_manager_pb2_grpc

    (node,) = ray.nodes()  # type: ignore[no-untyped-call]
    # Generated code: it has no types.
    language, request = vars(common_pb2)["PYTHON"], vars(node_manager_pb2)["PrestartWorkersRequest"]
    with init_grpc_channel(f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}") as channel:
        raylet = node_manager_pb2_grpc.NodeManagerServiceStub(channel)  # type: ignore[no-untyped-call]
        raylet.PrestartWorkers(
            request(language=language, num_workers=count, keep_alive_duration_secs=KEPT_S),
            timeout=RPC_S,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
