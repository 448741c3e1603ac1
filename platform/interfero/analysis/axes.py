"""What a map or a law is drawn over: a name, a title with its unit, and where a cell keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable
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
    value: Callable[[CellRecord], float | None]
    """None where a cell does not have it."""
    by_domain: bool = False
    """Whether it is a property of the domain: its levels are shown with the domains' names."""

    def text(self, value: float) -> str:
        """A level as a tick says it."""
        if self.name == "adapter_fraction":
            return f"{100 * value:.3g}"
        return f"{value:.3g}" if self.by_domain or value < 1000 else f"{value:.0f}"


def _param(name: str) -> Callable[[CellRecord], float | None]:
    def value(record: CellRecord) -> float | None:
        found = record.params.get(name)
        return None if found is None else float(found)

    return value


def _metric(name: str) -> Callable[[CellRecord], float | None]:
    return lambda record: record.metrics.get(name)


def _rd_ratio(record: CellRecord) -> float | None:
    excess = record.metrics.get("distance/rd_excess_percent")
    return None if excess is None else 1 + excess / 100


_ALL = (
    Axis("num_images", "images", "training images", _param("num_images")),
    Axis("num_steps", "steps", "optimiser steps", _param("num_steps")),
    Axis(
        "adapter_size", "adapter size", "adapter size (the method's unit)", _param("adapter_size")
    ),
    Axis(
        "adapter_fraction",
        "parameters",
        "trained parameters (% of the codec's)",
        _metric("adapter_fraction"),
    ),
    Axis("rd_lambda", "lambda", "lambda (bpp per MSE)", _param("rd_lambda")),
    Axis("learning_rate", "learning rate", "learning rate", _param("learning_rate")),
    Axis("stage", "domains met", "domains met", _param("stage")),
    Axis("memory_images", "memory", "images kept in memory", _param("memory_images")),
    Axis(
        "step_distance",
        "step distance",
        "distance from the domain before (source s.d.)",
        _metric("distance/before/feature_sd"),
    ),
    Axis(
        "step_ratio",
        "step ratio",
        "loss on the domain over that on the one before, by the codec before",
        lambda record: None,
    ),
    Axis(
        "rd_ratio",
        "loss ratio",
        "source codec's loss, target over source",
        _rd_ratio,
        by_domain=True,
    ),
    Axis(
        "latent_bits",
        "latent divergence",
        "latent divergence (bits)",
        _metric("distance/latent_bits"),
        by_domain=True,
    ),
    Axis(
        "feature_sd",
        "feature distance",
        "feature distance (source s.d.)",
        _metric("distance/feature_sd"),
        by_domain=True,
    ),
    Axis(
        "chroma_sd",
        "chroma distance",
        "chroma distance (source s.d.)",
        _metric("distance/chroma_sd"),
        by_domain=True,
    ),
)
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
