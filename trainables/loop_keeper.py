"""What restoration and segmentation loops share: a schedule, seeds, states that survive a kill."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from interfero.engine.checkpoints import Checkpoints, load_state
from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import TrainingConfig
from interfero.engine.worker import Worker
from interfero.errors import GroupError, StorageError
from interfero.randomness import Role, seed_for
from trainables.schedule import schedule, warmup_of

logger = logging.getLogger(__name__)

CURVE_POINTS = 50


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
class Progress:
    """How far a training is."""

    step: int = 0
    """Steps done."""
    seconds: float = 0.0
    curve: list[tuple[int, dict[str, float]]] = field(default_factory=list)


class Loop:
    """Steps of one training, from its newest state on, and the states it leaves behind."""

    def __init__(
        self, key: str, config: TrainingConfig, worker: Worker, tensors: Mapping[str, Tensor],
        optimizers: Sequence[Optimizer], checkpoint_seconds: float,
    ) -> None:  # fmt: skip
        """Restore the newest state of `key`, if there is one.

        Args:
            key: Names the training.
            config: Its steps and schedule.
            worker: Where states are kept.
            tensors: Everything that training changes, by name.
            optimizers: In a fixed order.
            checkpoint_seconds: Between states; 0 is after every step.

        Raises:
            StorageError: the state is of other parameters.
        """
        self.config, self.group = config, Group(worker)
        self.progress = Progress()
        self._key, self._tensors, self._optimizers = key, tensors, optimizers
        self._checkpoints = Checkpoints(worker.folder)
        self._seconds = checkpoint_seconds
        self._window: list[dict[str, float]] = []
        path = self.group.from_first(lambda: self._checkpoints.newest(key))
        if path is not None:
            with self.group.together():
                info = load_state(path, tensors, optimizers)
            curve = [(int(step), dict(values)) for step, values in info["curve"]]
            self.progress = Progress(int(info["step"]), float(info["seconds"]), curve)
            self._window = list(info["window"])
        self.resumed_step = self.progress.step

    def steps(self) -> Iterator[int]:
        """Steps that are left; a state is written every so often, after a step."""
        written = time.monotonic()
        for step in range(self.progress.step, self.config.num_steps):
            started = time.perf_counter()
            yield step
            self.progress.step = step + 1
            self.progress.seconds += time.perf_counter() - started
            if time.monotonic() - written >= self._seconds and step + 1 < self.config.num_steps:
                self._write()
                written = time.monotonic()

    def note(self, **values: Tensor) -> None:
        """Losses of a step, means over the workers, into the curve.

        Raises:
            DivergedError: one of them is no finite number.
        """
        means = self.group.mean(torch.stack([v.detach().float() for v in values.values()]))
        found = dict(zip(values, means.tolist(), strict=True))
        bad = [name for name, value in found.items() if not math.isfinite(value)]
        step = self.progress.step + 1
        if bad:
            last = self._window[-1] if self._window else self.progress.curve[-1:]
            raise DivergedError(
                f"{bad[0]} is {found[bad[0]]} at step {step} (the last finite losses: {last}): lower the "
                "learning rate, or the adversarial weight"
            )
        self._window.append(found)
        every = max(1, self.config.num_steps // CURVE_POINTS)
        if step % every == 0 or step == self.config.num_steps:
            mean = {k: sum(w[k] for w in self._window) / len(self._window) for k in found}
            self.progress.curve.append((step, mean))
            self._window.clear()

    def set_learning_rates(self, *peaks: float) -> None:
        """Linear warm-up, then cosine to zero, for each optimiser its own peak."""
        warmup = warmup_of(self.config.warmup_share, self.config.num_steps)
        scale = schedule(self.progress.step, self.config.num_steps, warmup)
        for optimizer, peak in zip(self._optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * scale

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every worker the mean gradient of all."""
        if self.group.alone:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients]) / self.group.world_size
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def _write(self) -> None:
        if self.group.rank > 0:
            return
        info = {"step": self.progress.step, "seconds": self.progress.seconds,
                "curve": self.progress.curve, "window": self._window}  # fmt: skip
        try:
            self._checkpoints.write(self._key, self._tensors, self._optimizers, info)
        except StorageError as error:
            logger.warning("%s trains on without a checkpoint: %s", self._key, error)


@contextmanager
def seeded(seed: int, role: Role, label: str, step: int = 0) -> Iterator[None]:
    """Torch's own generator, which layers draw from, as a function of what is drawn; left as it was."""
    devices = list(range(torch.cuda.device_count()))
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed_for(seed, step, role, label=label))
        yield


def mixed(config: TrainingConfig) -> torch.autocast:
    """Autocast to bfloat16 if the config says so."""
    return torch.autocast(config.device, torch.bfloat16, enabled=config.precision == "bfloat16")


def named_tensors(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """Parameters and buffers of modules, by module and name."""
    return {
        f"{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in (*module.named_parameters(), *module.named_buffers())
    }
