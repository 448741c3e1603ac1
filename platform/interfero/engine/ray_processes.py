"""Which processes Ray starts for a sweep, or for a pool, on this machine."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from interfero.cores import usable_cores
from interfero.engine.options.base import SweepOptions


@contextmanager
def few_processes() -> Iterator[None]:
    """Inside, `ray.init` starts none of Ray's (2.60) processes that nothing of ours uses.

    The log monitor sends what workers print to drivers that asked for it. The autoscaler's monitor adds
    nodes, and one machine has none to add. The dashboard's process without its pages reports usage, which is
    switched off; Ray waits for it before it starts the rest. `ray.init` has no options to leave them out; of
    a Ray that has not these names, all are started.
    """
    from ray._private import parameter, services

    parameters, starting = vars(parameter), vars(services)
    whole, page = parameters.get("RayParams"), starting.get("start_api_server")
    if whole is None or page is None:
        yield
        return

    def fewer(**given: Any) -> Any:
        return whole(no_monitor=True, include_log_monitor=False, **given)

    parameters["RayParams"] = fewer
    # As where it did not start, with which Ray goes on.
    starting["start_api_server"] = lambda *_, **__: (None, None)
    try:
        yield
    finally:
        parameters["RayParams"], starting["start_api_server"] = whole, page


def cpus_to_offer(options: SweepOptions) -> int | None:
    """CPUs of a Ray that a sweep starts for itself: Ray keeps a warm worker for each.

    Returns:
        What the packs that may train at once take; None for all there are.
    """
    if options.workers_per_trial > 1:
        return None  # What trains in groups has no warm workers.
    needed = math.ceil(options.max_concurrent * options.cpus_per_trial)
    return needed if 0 < needed < usable_cores() else None
