"""What a map or a law is drawn over: a name, a title with its unit, and where a cell keeps it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from interfero.errors import ConfigError, nearest
from interfero.records import CellRecord


@dataclass(frozen=True)
class Axis:
    """One quantity that cells differ in."""

    name: str
    word: str
    """What a sentence calls it."""
    title: str
    """With its unit, as a figure's axis says it."""
    metric: str = ""
    """Where a cell keeps it; else in the param of the axis' name."""
    is_excess: bool = False
    """Whether the metric is what a ratio is above one, in percent."""

    @property
    def by_domain(self) -> bool:
        """Whether it is a property of the domain: its levels are shown with the domains' names."""
        return self.name in DISTANCES

    def value(self, record: CellRecord) -> float | None:
        """None where a cell does not have it."""
        found = record.metrics.get(self.metric) if self.metric else record.params.get(self.name)
        if found is None:
            return None
        return 1 + float(found) / 100 if self.is_excess else float(found)

    def text(self, value: float) -> str:
        """A level as a tick says it."""
        if self.name == "adapter_fraction":
            return f"{100 * value:.3g}"
        return f"{value:.3g}" if self.by_domain or value < 1000 else f"{value:.0f}"


_ALL = (
    Axis("num_images", "images", "training images"),
    Axis("num_steps", "steps", "optimiser steps"),
    Axis("adapter_size", "adapter size", "adapter size (the method's unit)"),
    Axis(
        "adapter_fraction", "parameters", "trained parameters (% of the codec's)", "adapter_fraction"
    ),
    Axis("rd_lambda", "lambda", "lambda (bpp per MSE)"),
    Axis("learning_rate", "learning rate", "learning rate"),
    Axis("stage", "domains met", "domains met"),
    Axis("memory_images", "memory", "images kept in memory"),
    Axis(
        "step_distance", "step distance",
        "distance from the domain before (source s.d.)", "distance/before/feature_sd",
    ),
    # Of a sequence's step, which has it from two cells; a single one has none.
    Axis(
        "step_ratio", "step ratio",
        "loss on the domain over that on the one before, by the codec before",
    ),
    Axis(
        "rd_ratio", "loss ratio",
        "source codec's loss, target over source", "distance/rd_excess_percent", is_excess=True,
    ),
    Axis("latent_bits", "latent divergence", "latent divergence (bits)", "distance/latent_bits"),
    Axis("feature_sd", "feature distance", "feature distance (source s.d.)", "distance/feature_sd"),
    Axis("chroma_sd", "chroma distance", "chroma distance (source s.d.)", "distance/chroma_sd"),
)  # fmt: skip
AXES: dict[str, Axis] = {axis.name: axis for axis in _ALL}
LAW_AXES = ("num_images", "num_steps", "adapter_fraction", "rd_lambda")
"""What a law is fitted over, domain distance apart."""
GROWTH_AXES = ("num_images", "num_steps", "adapter_fraction", "stage", "memory_images")
"""Those whose largest values are what a small study would want to know beforehand."""
DISTANCES = ("feature_sd", "chroma_sd", "latent_bits", "rd_ratio")
"""Measures of domain distance, all positive."""


def find_axis(name: str) -> Axis:
    """The axis of a name.

    Raises:
        ConfigError: there is none.
    """
    if name not in AXES:
        raise ConfigError(f"no axis is called {name!r}: {nearest(name, AXES)}")
    return AXES[name]


def level(value: float) -> float:
    """Six digits: a mean over cells is no level of its own for its last bits."""
    return float(f"{value:.6g}") if math.isfinite(value) else value
