"""A training on scenes, of a restorer or a segmentation model: its schedule, seeds and curve."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import TrainingConfig
from interfero.engine.worker import Worker
from interfero.errors import GroupError
from interfero.randomness import Role, seed_for
from trainables.loop import Loop, Resumable
from trainables.schedule import POLY_POWER, schedule, warmup_of

CURVE_POINTS = 50
GAIN = "val_gain_db"
"""Name of what a restorer does to held-out images, in a training's curve: PSNR after, less before."""


class DivergedError(GroupError):
    """A training whose loss is no number any more; it is a mean over all processes."""


@dataclass(frozen=True)
class Seeds:
    """What is drawn by which seed."""

    data: int
    """Crops and augmentation."""
    init: int
    """Initial parameters."""


@dataclass
class SceneTraining(Resumable):
    """One training on scenes while it trains."""

    config: TrainingConfig
    modules: Mapping[str, nn.Module]
    """Everything that training changes, by name."""
    adams: Sequence[Optimizer]
    group: Group
    window: list[dict[str, float]] = field(default_factory=list)
    """Losses since the last point of the curve."""
    step: int = 0
    """Index of the present step."""
    began: float = 0.0
    """When it began, by the process's clock."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Parameters and buffers, by module and name."""
        return {
            f"{prefix}.{name}": tensor
            for prefix, module in self.modules.items()
            for name, tensor in (*module.named_parameters(), *module.named_buffers())
        }

    def optimizers(self) -> Sequence[Optimizer]:
        """See `Resumable`."""
        return self.adams

    def info(self) -> dict[str, Any]:
        """See `Resumable`."""
        return {**super().info(), "window": self.window}

    def go_on(self, info: Mapping[str, Any]) -> None:
        """See `Resumable`."""
        super().go_on(info)
        self.window = list(info["window"])

    def steps(self, worker: Worker, checkpoint_seconds: float) -> Iterator[int]:
        """Steps from its newest state on, each with its learning rate: warm-up, then the config's schedule.

        A parameter group of an optimiser may have a `share` of that rate.

        Raises:
            StorageError: the state is of other parameters.
        """
        loop = Loop([self], self.config.num_steps, worker, checkpoint_seconds)
        loop.restore(self)
        warmup = warmup_of(self.config.warmup_share, self.config.num_steps)
        power = POLY_POWER if self.config.schedule == "poly" else None
        for step in loop.steps():
            self.step, self.began = step, time.perf_counter()
            scale = schedule(step, self.config.num_steps, warmup, power=power)
            for group in (g for optimizer in self.adams for g in optimizer.param_groups):
                group["lr"] = self.config.learning_rate * scale * group.get("share", 1.0)
            yield step

    def note(self, **values: Tensor) -> None:
        """The step is done: its losses, means over the workers, into the curve.

        Raises:
            DivergedError: one of them is no finite number.
        """
        means = self.group.mean(torch.stack([v.detach().float() for v in values.values()]))
        found = dict(zip(values, means.tolist(), strict=True))
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        step = self.step + 1
        if bad:
            last = self.window[-1] if self.window else self.curve[-1:]
            raise DivergedError(
                f"{bad[0]} is {found[bad[0]]} at step {step} (the last finite losses: {last}): lower the "
                "learning rate, or the adversarial weight"
            )
        self.window.append(found)
        every = max(1, self.config.num_steps // CURVE_POINTS)
        if step % every == 0 or step == self.config.num_steps:
            mean = {k: sum(w[k] for w in self.window) / len(self.window) for k in found}
            self.curve.append((step, mean))
            self.window.clear()
        self.seconds += time.perf_counter() - self.began


@contextmanager
def seeded(seed: int, role: Role, label: str, step: int = 0) -> Iterator[None]:
    """Torch's own generator, which layers draw from, as a function of what is drawn; left as it was."""
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_for(seed, step, role, label=label))
        yield


def average(kept: nn.Module, now: nn.Module, decay: float, step: int) -> None:
    """Move a moving average of a module's parameters; at first fast, so that it forgets where it began.

    Buffers of floats move with them; those of integers are taken over.
    """
    weight = 1 - min(decay, (1 + step) / (10 + step))
    with torch.no_grad():
        for old, new in zip(kept.parameters(), now.parameters(), strict=True):
            old.lerp_(new, weight)
        for buffer, value in zip(kept.buffers(), now.buffers(), strict=True):
            if buffer.is_floating_point():
                buffer.lerp_(value, weight)
            else:
                buffer.copy_(value)


def validation_steps(num_steps: int, count: int) -> frozenset[int]:
    """Steps, counted from 1, after which what trains is scored: spread evenly, the last one among them."""
    return frozenset(-(-num_steps * (i + 1) // count) for i in range(count))


def mixed(config: TrainingConfig) -> torch.autocast:
    """Autocast to bfloat16 if the config says so."""
    return torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bfloat16")
