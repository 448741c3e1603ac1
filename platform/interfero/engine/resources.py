"""Whether a sweep's packs fit the machine, and how many fit at once."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from interfero.engine.options.base import SweepOptions
from interfero.errors import ConfigError

MAX_SOCKET_BYTES = 107
"""Of the path of a Unix socket on Linux (unix(7)); Ray 2.60 checks it when it starts."""


def packs_at_once(options: SweepOptions, resources: Mapping[str, float]) -> int:
    """How many packs have room at once.

    Args:
        options: What a pack asks for.
        resources: What there is, by Ray's names (`CPU`, `GPU`).

    Raises:
        ConfigError: not one fits, and this is no cluster, which may still grow.
    """
    workers = options.workers_per_trial
    each = {"CPU": options.cpus_per_trial, "GPU": options.gpus_per_trial}
    asked = {name: workers * share for name, share in each.items()}
    room = {name: resources.get(name, 0.0) / share for name, share in asked.items() if share > 0}
    scarce = min(room, key=lambda name: room[name])
    elsewhere = _on_a_cluster(options)
    # A cluster may still grow; one machine does not, and Tune would wait for ever.
    if room[scarce] < 1 and not elsewhere:
        times = f"{workers} workers of " if workers > 1 else ""
        raise ConfigError(
            f"--{scarce.lower()}s-per-trial must fit this machine: asked for {times}{each[scarce]:g}, "
            f"it has {resources.get(scarce, 0.0):g} {scarce}s; ask for less, or give a cluster's "
            "--address"
        )
    # A cluster that grows on demand shows little room until more is asked of it.
    if elsewhere and options.max_concurrent:
        return options.max_concurrent
    fitting = max(1, int(room[scarce]))
    return min(fitting, options.max_concurrent) if options.max_concurrent else fitting


def check_machine(options: SweepOptions) -> None:
    """Refuse what this machine can never run, before a sweep takes its name.

    Ray counts again, and less where a container has a smaller share of the machine.

    Raises:
        ConfigError: as `packs_at_once`.
    """
    if not _on_a_cluster(options):
        packs_at_once(options, _this_machine())
        _check_ray_folder()


def _check_ray_folder() -> None:
    """Refuse a folder that Ray cannot keep its sockets in; Ray says it in forty lines, and later."""
    variable = next((name for name in ("RAY_TMPDIR", "TMPDIR") if name in os.environ), None)
    folder = Path(os.environ[variable] if variable else "/tmp").absolute()
    session = f"session_2000-01-01_00-00-00_000000_{os.getpid()}"
    socket = folder / "ray" / session / "sockets" / "plasma_store"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    too_long = len(os.fsencode(socket)) - MAX_SOCKET_BYTES
    if too_long > 0:
        what = f"is {too_long} bytes too long for the paths of sockets"
    elif not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        what = f"cannot be written: {there} is no folder that you may write"
    else:
        return
    raise ConfigError(
        f"Ray keeps its sockets in {folder} ({variable or 'its default'}), which {what}: set RAY_TMPDIR to a "
        "short folder of this machine, such as /tmp/ray-tmp"
    )


def packs_at_once_here(options: SweepOptions) -> int | None:
    """Packs at once if the sweep runs on this machine; None for a cluster, which is not joined yet."""
    if _on_a_cluster(options):
        return None
    try:
        return packs_at_once(options, _this_machine())
    except ConfigError:
        # A plan can be read here that will run elsewhere; `check_machine` refuses to train it.
        return 1


def _on_a_cluster(options: SweepOptions) -> bool:
    # RAY_ADDRESS sends Ray to a cluster as --address does.
    return options.address is not None or bool(os.environ.get("RAY_ADDRESS"))


def _this_machine() -> dict[str, float]:
    # Takes seconds to import: a name that is taken is refused before.
    import torch

    return {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
