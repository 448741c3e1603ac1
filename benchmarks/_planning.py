"""Plans cells and says what it took: `python -m benchmarks._planning make_plan|dry_run CELLS FOLDER`.

Run by `benchmarks/scale.py` in this checkout and in that of the build before, whose modules had other
names: both are known here, so that both do the same.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from typing import Any

warnings.filterwarnings("ignore")
ADAPTER_SIZES = tuple(range(1, 9))
LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
CELLS_A_SEED = len(ADAPTER_SIZES) * len(LEARNING_RATES)


def cpu_seconds() -> float:
    """User and system time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def given(num_cells: int, folder: str) -> dict[str, Any]:
    """Options of a sweep of so many cells."""
    return {
        "domains": ("histology",), "methods": ("cawf",), "adapter_sizes": ADAPTER_SIZES,
        "learning_rates": LEARNING_RATES, "data_seeds": tuple(range(num_cells // CELLS_A_SEED)),
        "num_images": ("5",), "num_steps": 80, "storage": f"{folder}/storage", "name": "planned",
        "precision": "float32", "dry_run": True,
    }  # fmt: skip


def now(what: str, num_cells: int, folder: str) -> float:
    """CPU seconds of this build, without imports and loading where only the plan is asked for."""
    from rich.console import Console

    from interfero.engine.adaptation.loading import load
    from interfero.engine.adaptation.plan import make_plan
    from interfero.engine.adaptation.precision import PrecisionChoice
    from interfero.engine.options.adaptation import AdaptationOptions
    from interfero.engine.sweep import Sweep, run_sweep
    from trainables.studies import adaptation

    options = AdaptationOptions(**given(num_cells, folder))
    if what == "make_plan":
        load(
            AdaptationOptions(**given(CELLS_A_SEED, folder))
        )  # Libraries that are imported when needed.
        started = cpu_seconds()
        plan = make_plan(load(options), "code", PrecisionChoice("float32", "as asked for"))
        assert len(plan.cells) == num_cells
        return cpu_seconds() - started
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        run_sweep(Sweep("plan", "?", options, adaptation), [], Console(file=nowhere))
    return cpu_seconds()


def before(what: str, num_cells: int, folder: str) -> float:
    """The same of the build before."""
    from importlib import import_module

    from rich.console import Console

    options = import_module("interfero.engine.options").AdaptationOptions(
        **given(num_cells, folder)
    )
    if what == "make_plan":
        make_plan = import_module("interfero.engine.planning").make_plan
        make_plan(type(options)(**given(CELLS_A_SEED, folder)), "code")
        started = cpu_seconds()
        assert len(make_plan(options, "code").cells) == num_cells
        return cpu_seconds() - started
    command = import_module("interfero.engine.command")
    sweep = command.Sweep(
        kind="plan", question="?", options=options, make_runner=lambda plan: None, code=()
    )
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a device
        command.run_sweep(sweep, [], Console(file=nowhere))
    return cpu_seconds()


def main() -> None:
    """Print CPU seconds and the peak of resident memory in MiB, as JSON."""
    what, num_cells, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    try:
        import interfero.engine.sweep  # noqa: F401

        seconds = now(what, num_cells, folder)
    except ModuleNotFoundError:
        seconds = before(what, num_cells, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu_seconds": seconds, "peak_mib": peak}))


if __name__ == "__main__":
    main()
