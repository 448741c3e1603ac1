"""What a sweep has spent or will spend, in hours of CPUs and GPUs, and in money where a price is known.

Hours are those of packs times what a pack holds: time in which instances start or idle is in none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interfero.engine.prices import PRICE, Price, price_for

if TYPE_CHECKING:
    from interfero.engine.options.base import SweepOptions
    from interfero.records import CellRecord

STEPS = "steps.jsonl"
"""Of a sweep's folder: a line for each step behind cells that the sweep did, with its seconds."""
HOUR_S = 3600.0


@dataclass(frozen=True)
class PackShare:
    """What one pack holds while it is done."""

    cpus: float
    """Of all its processes together."""
    gpus: float
    price: Price | None = None

    @classmethod
    def of(cls, options: SweepOptions) -> PackShare:
        """What a pack of a sweep holds.

        Raises:
            ConfigError: as `price_for`.
        """
        workers = options.workers_per_trial
        cpus, gpus = workers * options.cpus_per_trial, workers * options.gpus_per_trial
        return cls(cpus, gpus, price_for(options))

    @classmethod
    def of_settings(cls, settings: Mapping[str, Any]) -> PackShare:
        """The same from the settings that a sweep has kept."""
        trial, price = settings.get("options", {}), settings.get(PRICE)
        workers = trial.get("workers_per_trial", 1)
        return cls(
            workers * trial.get("cpus_per_trial", 1),
            workers * trial.get("gpus_per_trial", 0),
            None if price is None else Price.model_validate(price),
        )

    def text(self, seconds: Sequence[float]) -> str:
        """CPU hours, GPU hours, and their price if one is known.

        Args:
            seconds: Of all packs together; with more than one value low, middle and high.
        """
        hours = [value / HOUR_S for value in seconds]
        parts = [spread([self.cpus * h for h in hours], "CPU hours")]
        parts.append(spread([self.gpus * h for h in hours], "GPU hours"))
        if self.price is not None:
            parts.append(_money(hours, self.price))
        return ", ".join(parts)


def spread(values: Sequence[float], unit: str) -> str:
    """A figure, and from where to where it goes if that is known.

    Args:
        values: One, or low, middle and high.
        unit: Of all of them.
    """
    low, middle, high = (f"{values[i]:.3g}" for i in (0, len(values) // 2, -1))
    return f"{middle} {unit} ({low} to {high})" if low != high else f"{middle} {unit}"


def _money(hours: Sequence[float], price: Price) -> str:
    middle = hours[len(hours) // 2]
    amount = _range(price.low * middle, price.high * middle)
    head = f", and {price.head:.3g} for each hour of the head" if price.head else ""
    return f"price {amount} (at {_range(price.low, price.high)} per pack hour{head})"


def _range(low: float, high: float) -> str:
    first, last = f"{low:.3g}", f"{high:.3g}"
    return first if first == last else f"{first} to {last}"


@dataclass
class Spent:
    """Seconds of the cells and steps that a sweep did itself."""

    seconds: float = 0.0
    _failed: dict[str, float] = field(default_factory=dict)

    def add(self, record: CellRecord) -> None:
        """A cell's record; that of a cell that had failed takes its place."""
        if record.reused_from is not None:
            return
        self.seconds += record.seconds - self._failed.pop(record.key, 0.0)
        if record.status == "failed":
            self._failed[record.key] = record.seconds


def note_step(folder: Path, record: CellRecord) -> None:
    """Keep how long a step behind cells took: its record lies with its product, which any sweep may use."""
    # Of a disk that is full, results matter and not this.
    with suppress(OSError), (folder / STEPS).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"key": record.key, "seconds": record.seconds}) + "\n")


def step_seconds(folder: Path) -> float:
    """Seconds of all steps that a sweep did, each once; a line that was cut off counts as none."""
    found: dict[str, float] = {}
    with suppress(OSError), (folder / STEPS).open(encoding="utf-8", errors="replace") as file:
        for line in file:
            with suppress(ValueError, KeyError, TypeError):
                step = json.loads(line)
                found[str(step["key"])] = float(step["seconds"])
    return sum(found.values())
