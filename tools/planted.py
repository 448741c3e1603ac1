"""Simulated sweeps whose law is known: what a fit must find again, and its intervals must cover.

Seeds, source images and domains vary as they do in a sweep: a data seed moves all of its cells, a source
image all cells that code it, a domain all of its own and has exponents of its own; and each cell has noise of
its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from interfero.metrics.names import FRACTION, UNROUTED, VALIDATION_GAIN
from interfero.records import CellRecord, ImageRow

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scatter:
    """Standard deviations of logarithms."""

    seed: float = 0.10
    cell: float = 0.05
    image: float = 0.3
    image_in_cell: float = 0.1
    domain: float = 0.3
    exponent: float = 0.0
    """Of a domain's exponents about the law's, no logarithm."""


@dataclass(frozen=True)
class PlantedDomain:
    """How one domain departs from the law."""

    factor: float
    exponents: Mapping[str, float]
    """By axis: added to the law's exponent."""

    def at(self, place: Mapping[str, float]) -> float:
        """What the law is multiplied by."""
        powers = ((place[axis] / PIVOTS[axis]) ** e for axis, e in self.exponents.items())
        return self.factor * float(math.prod(powers))

    @staticmethod
    def drawn(scatter: Scatter, rng: np.random.Generator) -> PlantedDomain:
        """One of those that a law across domains speaks of."""
        factor = _factor(rng, scatter.domain)
        own = PIVOTS if scatter.exponent else ()
        return PlantedDomain(factor, {axis: scatter.exponent * rng.normal() for axis in own})


PIVOTS = {"num_images": 10.0, "rd_lambda": 0.008}
"""Where exponents of their own change nothing."""


@dataclass(frozen=True)
class PlantedSweep:
    """A full grid of one method, and the unrouted forgetting that a law gives each cell."""

    law: Callable[[Mapping[str, float]], float]
    """Log points forgotten, given `num_images`, `num_steps`, `adapter_fraction`, `rd_lambda` and
    `feature_sd`."""
    num_images: tuple[int, ...] = (1, 5, 20, 80)
    num_steps: tuple[int, ...] = (300,)
    adapter_sizes: tuple[int, ...] = (0,)
    """An adapter of size s has s / 100 of the codec's parameters; 0 has all of them."""
    lambdas: tuple[float, ...] = (0.013,)
    domains: tuple[str, ...] = ("charts", "fundus", "text")
    distances: tuple[float, ...] = (2.0, 4.0, 8.0)
    seeds: tuple[int, ...] = (0, 1, 2)
    num_test_images: int = 24
    scatter: Scatter = field(default_factory=Scatter)

    def records(self, rng: np.random.Generator) -> list[CellRecord]:
        """One draw of seeds, images and noise, and of what the domains are like."""
        return self.records_and_domains(rng)[0]

    def records_and_domains(
        self, rng: np.random.Generator
    ) -> tuple[list[CellRecord], dict[str, PlantedDomain]]:
        """The records, and what each domain is like."""
        planted = {d: PlantedDomain.drawn(self.scatter, rng) for d in self.domains}
        of_seed = {seed: _factor(rng, self.scatter.seed) for seed in self.seeds}
        losses = rng.lognormal(0.0, 0.3, self.num_test_images)
        of_image = np.array([_factor(rng, self.scatter.image) for _ in losses])
        found = []
        for domain, count, steps, size, value, seed in product(
            self.domains, self.num_images, self.num_steps, self.adapter_sizes, self.lambdas,
            self.seeds,
        ):  # fmt: skip
            distance = self.distances[self.domains.index(domain)]
            fraction = size / 100 if size else 1.0
            place = {
                "num_images": float(count),
                "num_steps": float(steps),
                "adapter_fraction": fraction,
                "rd_lambda": value,
                "feature_sd": distance,
            }
            lost = self.law(place) * planted[domain].at(place) * of_seed[seed]
            lost *= _factor(rng, self.scatter.cell)
            noise = rng.lognormal(0.0, self.scatter.image_in_cell, len(losses))
            rows = _rows(losses, losses * np.exp(lost / 100 * of_image * noise))
            params: dict[str, str | int | float] = {
                "codec": "simulated", "domain": domain, "rd_lambda": value, "num_images": count,
                "data_seed": seed, "method": "lora" if size else "finetune",
                "adapter_size": size, "learning_rate": 1e-3, "init_seed": 0, "num_steps": steps,
            }  # fmt: skip
            after, before = (sum(getattr(r, n) for r in rows) for n in ("rd_loss", _BEFORE))
            metrics = {
                VALIDATION_GAIN: 1.0,
                UNROUTED: 100 * (after - before) / before,
                FRACTION: fraction,
                "distance/feature_sd": distance,
            }
            key = "-".join(map(str, params.values()))
            found.append(
                CellRecord(key=key, params=params, status="finished", metrics=metrics, images=rows)
            )
        return found, planted


_BEFORE = "rd_loss_before"


def _factor(rng: np.random.Generator, deviation: float) -> float:
    """Log-normal with median 1."""
    return float(np.exp(deviation * rng.normal()))


def _rows(before: FloatArray, after: FloatArray) -> tuple[ImageRow, ...]:
    same = {"bpp_before": 0.5, "psnr_db_before": 30.0, "bpp": 0.5, "psnr_db": 30.0}
    return tuple(
        ImageRow(
            role="source_unrouted", name=f"s{i}", group=f"s{i}", rd_loss_before=b, rd_loss=a, **same
        )
        for i, (b, a) in enumerate(zip(before.tolist(), after.tolist(), strict=True))
    )
