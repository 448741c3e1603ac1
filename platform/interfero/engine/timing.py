"""What a cell took, in parts from which the time of other cells can be put together."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from pydantic import Field

from interfero.codecs.codec import Shape
from interfero.config import Config
from interfero.domains.images import Sample

if TYPE_CHECKING:
    from interfero.engine.cells import LoopConfig


class Setting(Config):
    """What the time of a step depends on, besides the method and its size."""

    machine: str
    """The processor, or the GPU."""
    codec: str
    """Architecture and channels of the source codec; weights do not change the time."""
    device: str
    precision: str
    threads: int
    batch_size: int
    """Crops a step, over all workers."""
    crop_size: int
    """Side of a crop in pixels."""
    workers: int = 1
    """Processes that share a batch."""
    fused: bool = False
    """Whether members of a pack may step as one computation."""


class Timing(Config):
    """One cell's time. Means, in seconds; training apart from what the whole pack did once a step."""

    setting: Setting
    method: str
    adapter_size: int
    num_steps: int = Field(ge=0)
    """Steps that were timed; 0 where a training was taken over from another block."""
    step_seconds: float = Field(ge=0)
    """A step of this cell alone; its part of the step of those that step as one computation with it."""
    pack_step_seconds: float = Field(ge=0)
    """A step's work that the members of a pack share: drawing the batch, the frozen source pass."""
    prepare_seconds: float = Field(default=0.0, ge=0)
    """Before the first step."""
    coding_seconds: float = Field(default=0.0, ge=0)
    """Saving, and coding the test images."""
    coded_megapixels: float = Field(default=0.0, ge=0)
    """Of the test images; each may have been coded several times. 0 where none was."""
    validation_seconds: float = Field(default=0.0, ge=0)
    validated_megapixels: float = Field(default=0.0, ge=0)
    reference_seconds: float = Field(default=0.0, ge=0)
    """Evaluating the source codec, as far as its results were not there yet."""
    reference_megapixels: float = Field(default=0.0, ge=0)


@dataclass
class StepClock:
    """Adds up what a repeated piece of work took; the first time also allocates, and is kept apart."""

    first: float = 0.0
    """Seconds."""
    rest: float = 0.0
    """Seconds of all others."""
    count: int = 0

    def add(self, seconds: float) -> None:
        """One more time."""
        if self.count == 0:
            self.first = seconds
        else:
            self.rest += seconds
        self.count += 1

    @property
    def mean(self) -> float:
        """Seconds a time, without the first where there are others; 0 before any."""
        return self.rest / (self.count - 1) if self.count > 1 else self.first


def setting_of(
    shape: Shape, loop: LoopConfig, device: torch.device | str, workers: int = 1
) -> Setting:
    """What the time of a cell's step depends on, on this machine."""
    device = torch.device(device)
    return Setting(
        machine=machine_name(device),
        codec=f"{shape.architecture} {shape.num_channels}x{shape.num_latents}",
        device=device.type,
        precision=loop.precision,
        threads=loop.threads,
        batch_size=loop.batch_size,
        crop_size=loop.crop_size,
        workers=workers,
        fused=loop.fused,
    )


def machine_name(device: torch.device | str) -> str:
    """The processor, or the GPU: what a measured time belongs to."""
    if torch.device(device).type == "cuda":
        here = torch.cuda.is_available()
        return torch.cuda.get_device_name(torch.device(device)) if here else "a GPU elsewhere"
    return str(torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or "CPU")


def megapixels(samples: Iterable[Sample]) -> float:
    """Pixels of all samples together, in millions."""
    return sum(math.prod(s.pixels_HWC.shape[:2]) for s in samples) / 1e6
