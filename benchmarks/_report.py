"""What every benchmark ends with: a line to read, and a JSON file with all figures."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import psutil
import torch
from PIL import features

from interfero.errors import InterferoError
from interfero.store.files import write_json

PACKAGES = ("interfero", "torch", "compressai", "numpy", "pillow", "ray", "mlflow", "optuna")


@dataclass(frozen=True)
class Target:
    """What a benchmark claims: a limit and the side of it that is good."""

    direction: Literal["<=", ">="]
    limit: float

    def met(self, value: float) -> bool:
        """Whether a value keeps the claim."""
        return value <= self.limit if self.direction == "<=" else value >= self.limit


def finish(
    name: str,
    value: float | None,
    unit: str,
    target: Target,
    ok: bool,
    figures: Mapping[str, object],
    json_path: Path | None = None,
    *,
    reason: str = "",
) -> None:
    """Print the last line, `NAME: VALUE UNIT (target TARGET) ok|missed`, and keep the figures.

    Args:
        name: Of the figure, one word.
        value: What was measured; None (printed as `nan`) where it could not be.
        unit: Of the value and the target.
        target: The claim.
        ok: Whether it holds; usually `target.met(value)`.
        figures: Everything measured, JSON values without NaN.
        json_path: Where to keep it, with the machine's description.
        reason: Printed behind `missed` where the line alone does not tell why.
    """
    if json_path is not None:
        result = {
            "name": name,
            "value": value,
            "unit": unit,
            "target": {"direction": target.direction, "limit": target.limit},
            "ok": ok,
            "reason": reason,
            "figures": dict(figures),
            "machine": describe_machine(),
            "command": sys.argv,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        write_json(json_path, result)
    verdict = "ok" if ok else "missed" + (f": {reason}" if reason else "")
    _line(name, value, unit, target, verdict)


def also(name: str, value: float, unit: str, target: Target, *, reason: str = "") -> None:
    """Print a further target of the benchmark in the same form, above the last line.

    Args:
        name: See `finish`.
        value: See `finish`.
        unit: See `finish`.
        target: See `finish`.
        reason: Why it is missed although the value would meet it, if so.
    """
    verdict = "ok" if target.met(value) and not reason else "missed"
    _line(name, value, unit, target, f"{verdict}: {reason}" if reason else verdict)


def _line(name: str, value: float | None, unit: str, target: Target, verdict: str) -> None:
    shown = "nan" if value is None else f"{value:.4g}"
    sys.stdout.write(
        f"{name}: {shown} {unit} (target {target.direction} {target.limit:g} {unit}) {verdict}\n"
    )
    sys.stdout.flush()


def run(main: Callable[[], None]) -> None:
    """Run a benchmark; an error the user can mend is one message and exit code 2."""
    try:
        main()
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)


def describe_machine() -> dict[str, object]:
    """The machine and the versions a figure was measured with."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "libjpeg_turbo": features.version("libjpeg_turbo"),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
