"""One cell of a pack while it trains: what learns, its optimisers, its curve and its failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from interfero.adam import Adam
from interfero.adaptation.method import AdaptedCodec, Batch, Method
from interfero.codecs.codec import quantile_loss, quantile_parameters, rd_parameters
from interfero.engine.adaptation.nodes import Cell, LoopConfig
from interfero.errors import InterferoError
from trainables.loop import Resumable
from trainables.schedule import schedule, stable_schedule, warmup_of
from trainables.timing import MemberClock

QUANTILE_LEARNING_RATE = 1e-3
CURVE_POINTS = 100
CURVE = ("train/bpp", "train/mse_255", "train/rd_loss", "train/loss")
"""What a step tells, in this order."""


class CellFailure(InterferoError):
    """One member cannot go on; the others can."""


@dataclass
class Member(Resumable):
    """One cell of a pack while it trains."""

    cell: Cell
    method: Method
    adapted: AdaptedCodec
    main: torch.optim.Optimizer
    auxiliary: torch.optim.Optimizer | None
    loss: nn.Module
    """Takes a batch, gives the parts of a `StepLoss`."""
    window: list[Tensor] = field(default_factory=list)
    """Losses since the last point of the curve."""
    clock: MemberClock = field(default_factory=MemberClock)
    stopped: tuple[int, float] | None = None
    """Where a search stopped it: the step, and the gain on validation there in percent."""
    trunk: str = ""
    """Names what it has in common with longer trainings, if its schedule has such a part."""
    taken_up: int = 0
    """Step of a shorter training that it went on from; 0 if it began anew."""
    taken_over: bool = False
    """Whether another block's training was read from its file, tables included."""
    fused_members: int = 1
    """The most members, itself among them, that ever stepped as one computation with it."""
    steps_alone: bool = False
    """Whether a fused step of it failed, so that it is tried no more."""

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Resumable`."""
        learned = {n: p for n, p in self.adapted.named_parameters() if p.requires_grad}
        return {**learned, **dict(self.adapted.named_buffers())}

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """See `Resumable`."""
        return [self.main] if self.auxiliary is None else [self.main, self.auxiliary]

    @property
    def over(self) -> bool:
        """See `Resumable`."""
        return self.stopped is not None or super().over

    def info(self) -> dict[str, Any]:
        """See `Resumable`."""
        return {
            **super().info(),
            "window": [values.tolist() for values in self.window],
            "failure": self.failure,
            "stopped": self.stopped,
            "fused_members": self.fused_members,
            "taken_up": self.taken_up,
        }

    def go_on(self, info: Mapping[str, Any]) -> None:
        """See `Resumable`."""
        super().go_on(info)
        self.window = [torch.tensor(values) for values in info["window"]]
        self.failure = info["failure"]
        stopped = info.get("stopped")
        self.stopped = None if stopped is None else (int(stopped[0]), float(stopped[1]))
        self.fused_members = int(info.get("fused_members", 1))
        self.taken_up = int(info.get("taken_up", 0))

    @property
    def resumed_step(self) -> int:
        """Step from which it went on after its process had stopped; 0 if none did."""
        return self.start if self.start > self.taken_up else 0

    @property
    def learning(self) -> list[nn.Parameter]:
        """What the rate-distortion loss trains."""
        return learning(rd_parameters(self.adapted))

    def begin(self, step: int) -> None:
        """Ready for a step's gradient."""
        peak = self.cell.hyperparameters.learning_rate
        for settings in self.main.param_groups:
            settings["lr"] = learning_rate_at(self.cell.loop, peak, step)
        self.main.zero_grad()

    def check(self, loss: Tensor, norm: Tensor, step: int) -> None:
        """Refuse a step that is no number.

        Args:
            loss: What the step minimises.
            norm: Of its gradient, before clipping.
            step: Its index.

        Raises:
            CellFailure: one of them is NaN or infinite; names the step and the last finite loss.
        """
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise CellFailure(
                f"loss {loss.item():g}, gradient norm {norm.item():g} at step {step}; last finite "
                f"loss {self._last_loss()}: lower the learning rate"
            )

    def train_quantiles(self) -> None:
        """One step of the quantiles, where they learn."""
        if self.auxiliary is not None:
            self.auxiliary.zero_grad()
            quantile_loss(self.adapted).backward()
            self.auxiliary.step()

    def note(self, values: Tensor, step: int) -> None:
        """Add a step to the curve.

        Args:
            values: (4,) on the CPU, named by `CURVE`.
            step: Its index.
        """
        loop = self.cell.loop
        self.window.append(values)
        interval = max(1, loop.num_steps // CURVE_POINTS)
        if (step + 1) % interval == 0 or step + 1 == loop.num_steps:
            means = torch.stack(self.window).mean(dim=0).tolist()
            self.curve.append((step + 1, dict(zip(CURVE, means, strict=True))))
            self.window.clear()

    def fail(self, error: Exception, step: int) -> None:
        """It goes no further: what the others need is theirs."""
        known = isinstance(error, CellFailure)
        self.failure = str(error) if known else f"{type(error).__name__} at step {step}: {error}"

    def _last_loss(self) -> str:
        if self.window:
            return f"{self.window[-1][-1].item():g}"
        return f"{self.curve[-1][1]['train/loss']:g}" if self.curve else "none"


class MemberLoss(nn.Module):
    """A method's loss as a forward pass: what torch's DistributedDataParallel and vmap take."""

    def __init__(self, method: Method, adapted: AdaptedCodec) -> None:
        """Hold the codec as a submodule."""
        super().__init__()
        self.method = method
        self.adapted = adapted

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """The parts of a `StepLoss`."""
        coded = self.method.loss(self.adapted, batch)
        return coded.bpp, coded.mse, coded.total


def make_optimizers(
    adapted: AdaptedCodec, learning_rate: float
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer | None]:
    """Adam for what the rate-distortion loss trains, and for the quantiles if any learn."""
    # A group, because a method may have nothing that learns, and Adam refuses an empty list.
    group = {"params": learning(rd_parameters(adapted))}
    main = Adam([group], lr=learning_rate, fused=True)
    quantiles = learning(quantile_parameters(adapted))
    if not quantiles:
        return main, None
    return main, Adam(quantiles, lr=QUANTILE_LEARNING_RATE, fused=True)


def learning(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    """Those of some parameters that learn."""
    return [p for p in parameters if p.requires_grad]


def learning_rate_at(loop: LoopConfig, peak: float, step: int) -> float:
    """Learning rate of a step."""
    if loop.trunk_steps is not None:
        return stable_schedule(step, loop.num_steps, loop.warmup_steps, loop.trunk_steps, peak)
    warmup = warmup_of(loop.warmup_share, loop.num_steps)
    return schedule(step, loop.num_steps, warmup, peak)


def training_precision(loop: LoopConfig, device: torch.device) -> AbstractContextManager[object]:
    """Autocast to bfloat16 where a loop trains in it."""
    if loop.precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
