"""Simulated sweeps over sequences of domains whose truth is known: what analysis must find, and refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np

from interfero.records import CellRecord

DOMAINS = ("aerial", "histology", "screen", "text")
DISTANCES = {"aerial": 1.5, "histology": 2.5, "screen": 4.0, "text": 7.0}
"""From the source domain."""
SOURCE = "natural"
SOURCE_LOSS = 1.3


@dataclass(frozen=True)
class PlantedMethod:
    """What a stage of a method does, in percent of the source codec's loss."""

    gain: float = 12.0
    """On the domain that it learns."""
    harm: float = 4.0
    """To each domain met before, at a memory of 16 images or none."""
    memories: tuple[int, ...] = (0,)
    memory_exponent: float = 0.0
    """Harm goes with this power of the memory."""
    rates: Mapping[float, float] = field(default_factory=lambda: {1e-4: 1.0})
    """Learning rate to what gain and harm are multiplied by."""
    num_bytes: float = 5e6
    bank: bool = False
    """Whether domains have adapters of their own: nothing is harmed, old streams stay exact."""
    auto_cost: float = 0.0
    """Percent of loss."""


@dataclass(frozen=True)
class PlantedSequences:
    """Chains of every method, order and seed; rows that orders have in common are made once."""

    methods: Mapping[str, PlantedMethod]
    orders: Sequence[tuple[str, ...]] = tuple(permutations(DOMAINS[:3]))[::2]
    seeds: tuple[int, ...] = (0, 1, 2)
    lambdas: tuple[float, ...] = (0.013,)
    seed_sd: float = 0.1
    """Of the logarithm of harm."""
    noise: float = 0.1
    """Standard deviation of a cell, in percent."""
    distance_exponent: float = 0.0
    """Harm goes with this power of the learned domain's distance: then the order matters."""

    @property
    def domains(self) -> tuple[str, ...]:
        """All that any order meets."""
        return tuple(sorted({domain for order in self.orders for domain in order}))

    def records(self) -> list[CellRecord]:
        """All rows, those of the source codec first."""
        prefixes = sorted({order[:k] for order in self.orders for k in range(1, len(order) + 1)})
        rows = [self._source(v, seed) for v in self.lambdas for seed in self.seeds]
        for (name, method), prefix, value, seed in product(
            self.methods.items(), prefixes, self.lambdas, self.seeds
        ):
            for memory, rate in product(method.memories, method.rates):
                rows.append(self._row(name, prefix, value, seed, memory, rate))
        return rows

    def percent(
        self, name: str, prefix: tuple[str, ...], seed: int, memory: int, rate: float
    ) -> dict[str, float]:
        """Change of loss on each domain after a prefix, without the noise of cells."""
        method = self.methods[name]
        factor = method.rates[rate]
        of_seed = np.exp(self.seed_sd * np.random.default_rng(seed).normal())
        harm = (
            method.harm
            * factor
            * of_seed
            * (memory / 16 if memory else 1) ** method.memory_exponent
        )
        found = dict.fromkeys((SOURCE, *self.domains), 0.0)
        for k, domain in enumerate(prefix):
            for met in (SOURCE, *prefix[:k]):
                found[met] += (
                    0 if method.bank else harm * DISTANCES[domain] ** self.distance_exponent
                )
            found[domain] = -method.gain * factor
        return found

    def _source(self, value: float, seed: int) -> CellRecord:
        metrics = dict(self._scores(value, dict.fromkeys((SOURCE, *self.domains), 0.0), None))
        return _record("source", (), value, seed, 0, 0.0, metrics)

    def _row(
        self, name: str, prefix: tuple[str, ...], value: float, seed: int, memory: int, rate: float
    ) -> CellRecord:
        method = self.methods[name]
        percent = self.percent(name, prefix, seed, memory, rate)
        rng = np.random.default_rng([seed, memory, round(1e6 * rate), *f"{name}{prefix}".encode()])
        metrics = dict(self._scores(value, percent, None if method.bank else rng))
        domain, before = prefix[-1], prefix[-2] if len(prefix) > 1 else SOURCE
        step = abs(DISTANCES[domain] - DISTANCES.get(before, 0.0)) + 0.5
        kept = memory * 1e4
        metrics |= {
            "distance/feature_sd": DISTANCES[domain], "distance/before/feature_sd": step,
            "stored/parameters": 1.2e6, "stored/bytes": method.num_bytes + kept,
            "stored/memory_bytes": kept,
        }  # fmt: skip
        for age in range(len(prefix) + 1):
            exact = 1.0 if method.bank or not age else 0.0
            metrics |= {
                f"archive/{age}/symbols_exact": exact, f"archive/{age}/pixels_exact": exact,
                f"archive/{age}/refused": 0.0, f"archive/{age}/psnr_drop_db": 0.0 if exact else 2.0 * age,
            }  # fmt: skip
        if method.bank:
            for d in (SOURCE, *self.domains):
                metrics[f"row/{d}/rd_loss_auto"] = metrics[f"row/{d}/rd_loss"] * (
                    1 + method.auto_cost / 100
                )
                metrics[f"row/{d}/wrong_route_share_auto"] = 0.25
        return _record(name, prefix, value, seed, memory, rate, metrics, bank=method.bank)

    def _scores(
        self, value: float, percent: Mapping[str, float], rng: np.random.Generator | None
    ) -> Iterator[tuple[str, float]]:
        for index, (domain, change) in enumerate(percent.items()):
            noise = self.noise * rng.normal(size=2) if rng else np.zeros(2)
            base = SOURCE_LOSS * (1 + 0.3 * index) * (value / 0.013) ** 0.4
            grown = 1 + (change + noise) / 100
            rate = 10 * value**0.6
            yield f"row/{domain}/rd_loss", base * float(grown[0])
            yield f"row/{domain}/val_rd_loss", 1.1 * base * float(grown[1])
            yield f"row/{domain}/bpp", rate * float(grown[0])
            yield f"row/{domain}/psnr_db", 34 + 8 * np.log10(value / 0.01)


def _record(
    method: str, prefix: tuple[str, ...], value: float, seed: int, memory: int, rate: float,
    metrics: dict[str, float], *, bank: bool = False,
) -> CellRecord:  # fmt: skip
    params: dict[str, str | int | float] = {
        "codec": "simulated", "domain": prefix[-1] if prefix else SOURCE, "rd_lambda": value,
        "num_images": 20 if prefix else 0, "images_asked": "20" if prefix else "",
        "data_seed": seed, "method": method, "adapter_size": 4 if bank else 0, "learning_rate": rate,
        "init_seed": 0, "num_steps": 300 if prefix else 0, "sequence": ">".join(prefix),
        "stage": len(prefix), "strength": 0.0, "memory_images": memory,
        "buffer": "reservoir" if memory else "none", "routing": "bank" if bank else "none",
    }  # fmt: skip
    key = "-".join(map(str, params.values()))
    return CellRecord(key=key, params=params, status="finished", metrics=metrics)
