"""What a cell took, in parts from which the time of other cells can be put together."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from interfero.codecs.codec import Shape
from interfero.domains.images import Sample
from interfero.records import StepSetting

if TYPE_CHECKING:
    from interfero.engine.adaptation.nodes import LoopConfig


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
) -> StepSetting:
    """What the time of a cell's step depends on, on this machine."""
    device = torch.device(device)
    return StepSetting(
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
