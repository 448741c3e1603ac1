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

PRELOAD = "RAY_preload_python_modules"
WARM_WORKER = "interfero.engine.warm_worker"
MAX_WARM_WORKERS = 16
"""Ray starts as many workers beforehand as there are CPUs: with more of them, each imports what it needs
when a pack comes."""


def prepare(pool: Pool | None) -> None:
    """Set what Ray's processes read when they start.

    Args:
        pool: Where Ray runs already; None if it starts now.
    """
    if pool is not None:
        os.environ["RAY_AUTH_MODE"] = "token"
        if "ray" in sys.modules:
            # It has read the environment already; Ray does the same where it turns tokens on by itself.
            from ray._raylet import Config

            Config.initialize("")
    elif (os.cpu_count() or 1) <= MAX_WARM_WORKERS:
        os.environ.setdefault(PRELOAD, WARM_WORKER)
