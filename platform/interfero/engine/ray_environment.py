"""What Ray reads from the environment when it is imported: import this first."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interfero.engine.pool import Pool

# Nothing of Tune's own files or handlers is wanted.
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "120")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

OF_A_POOL = {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Of a pool's processes and of those that join it. The second is named for the systems where Ray uses the
loopback interface by default; without it Ray puts the machine's own address in the place of 127.0.0.1."""
PRELOAD = "RAY_preload_python_modules"
WARM_WORKER = "interfero.engine.warm_worker"
KEEP_IDLE, KEPT_MS = "RAY_idle_worker_killing_time_threshold_ms", "600000"
"""How long Ray keeps workers that it has started beforehand once CPUs are promised to a trial. After its own
second (2.60) it ends them in the moment before the trial asks for one, also those that still import, and
starts others in their place: 14 CPU seconds of a sweep that takes 65, on two cores."""
MAX_WARM_WORKERS = 16
"""Ray starts as many workers beforehand as there are CPUs: with more of them, each imports what it needs
when a pack comes."""


def can_join_pool() -> bool:
    """Whether Ray will read `OF_A_POOL` in this process, or has read it: it does so when it is imported."""
    read = all(os.environ.get(name) == value for name, value in OF_A_POOL.items())
    return "ray" not in sys.modules or read


def prepare(pool: Pool | None, *, groups: bool, cpus: int) -> None:
    """Set what Ray's processes read when they start.

    Args:
        pool: Where Ray runs already; None if it starts now.
        groups: Whether groups of processes train packs: Ray Train has half a dozen processes more for each,
            which train nothing, and every process of Ray would import what trains.
        cpus: That Ray will have.
    """
    if pool is not None:
        os.environ |= OF_A_POOL
    elif not groups and cpus <= MAX_WARM_WORKERS:
        os.environ.setdefault(PRELOAD, WARM_WORKER)
        os.environ.setdefault(KEEP_IDLE, KEPT_MS)
    elif os.environ.get(PRELOAD) == WARM_WORKER:
        # An earlier sweep of this process, or of the one that started it, has set it.
        del os.environ[PRELOAD]
