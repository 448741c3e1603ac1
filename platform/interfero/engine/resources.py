"""Whether a sweep's packs fit the machine, and how many fit at once."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

from interfero.engine.options import SweepOptions
from interfero.errors import ConfigError


def packs_at_once(options: SweepOptions, resources: Mapping[str, float]) -> int:
    """How many packs have room at once.

    Args:
        options: What a pack asks for.
        resources: What there is, by Ray's names (`CPU`, `GPU`).

    Raises:
        ConfigError: not one fits, and this is no cluster, which may still grow.
    """
    asked = {"CPU": options.cpus_per_trial, "GPU": options.gpus_per_trial}
    room = {name: resources.get(name, 0.0) / share for name, share in asked.items() if share > 0}
    scarce = min(room, key=lambda name: room[name])
    # A cluster may still grow; one machine does not, and Tune would wait for ever.
    if room[scarce] < 1 and options.address is None:
        raise ConfigError(
            f"--{scarce.lower()}s-per-trial must fit this machine: asked for {asked[scarce]:g}, it "
            f"has {resources.get(scarce, 0.0):g} {scarce}s; ask for less, or give a cluster's "
            "--address"
        )
    fitting = max(1, int(room[scarce]))
    return min(fitting, options.max_concurrent) if options.max_concurrent else fitting


def check_machine(options: SweepOptions) -> None:
    """Refuse what this machine can never run, before a sweep takes its name.

    Ray counts again, and less where a container has a smaller share of the machine.

    Raises:
        ConfigError: as `packs_at_once`.
    """
    # RAY_ADDRESS sends Ray to a cluster as --address does.
    if options.address is None and "RAY_ADDRESS" not in os.environ:
        have = {"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}
        packs_at_once(options, have)
