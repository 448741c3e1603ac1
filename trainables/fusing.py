"""Members of a pack that step as one computation: those of one method and shape, whatever else differs.

Loss, gradient and quantile loss are computed for all at once; clipping, optimiser, schedule, curve, failure
and checkpoint stay each member's own. A member that turns NaN, ends early or goes on from a later step
than the others is not in the next fused step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from compressai.entropy_models import EntropyBottleneck
from torch import Tensor, nn

from interfero.adaptation.fused import fused_call
from interfero.adaptation.method import Batch
from interfero.codecs.codec import quantile_loss
from interfero.errors import InterferoError
from interfero.metrics.rate_distortion import rd_loss
from trainables.member import training_precision

if TYPE_CHECKING:
    from trainables.member import Member


def bundles(members: Sequence[Member]) -> list[list[Member]]:
    """Members that step together, in the order of each bundle's first; one is alone if nothing is like it."""
    found: dict[tuple[object, ...], list[Member]] = {}
    for member in members:
        loop = member.cell.loop
        may_fuse = loop.fused and loop.workers == 1 and member.method.fuses
        fuses = may_fuse and not member.steps_alone
        alike = member.cell.hyperparameters.shape if fuses else (member.cell.key,)
        found.setdefault(alike, []).append(member)
    return list(found.values())


def gradients_together(members: Sequence[Member], batch: Batch) -> Tensor:
    """Leave in each member's parameters its gradient of a step, clipped.

    Returns:
        (members, 5) on the CPU: `member.CURVE`, and the gradient's norm before clipping.

    Raises:
        RuntimeError: it cannot be computed for all at once, for lack of memory, say. Nothing has changed but
            gradients, which the next `begin` clears.
    """
    device = next(iter(batch.images.values())).device
    loop = members[0].cell.loop
    for member in members:
        member.begin(batch.noise.step)
    with training_precision(loop, device):
        losses = [member.loss for member in members]
        bpp, mse, total = fused_call(losses, (members[0].adapted.source,), batch)
    # Each member's loss has its own parameters alone: the sum's gradient is that of each.
    total.sum().backward()
    norms = [nn.utils.clip_grad_norm_(member.learning, loop.clip_norm) for member in members]
    rd = rd_loss(bpp, mse, batch.rd_lambda)
    # One transfer: a GPU waits for each.
    return torch.stack([bpp, mse, rd, total, torch.stack(norms)], dim=1).detach().cpu()


def learn_together(members: Sequence[Member], values: Tensor, step: int) -> None:
    """Let members follow their gradients, each by its own optimiser; those that cannot have failed.

    Args:
        members: With the gradients of `gradients_together`.
        values: What it returned.
        step: Its index.
    """
    learned = []
    for member, row in zip(members, values, strict=True):
        try:
            member.check(row[3], row[4], step)
            member.main.step()
        except (InterferoError, RuntimeError) as error:
            member.fail(error, step)
        else:
            member.note(row[:4], step)
            learned.append(member)
    if learned and learned[0].auxiliary is not None:
        _train_quantiles(learned, step)


def _train_quantiles(members: Sequence[Member], step: int) -> None:
    """One step of all members' quantiles."""
    together = len(members) > 1 and _quantile_gradients(members)
    for member in members:
        try:
            if together and member.auxiliary is not None:
                member.auxiliary.step()
            else:
                member.train_quantiles()
        except RuntimeError as error:
            member.fail(error, step)


def _quantile_gradients(members: Sequence[Member]) -> bool:
    """Leave in all members' quantiles their gradients; False where that cannot be done at once."""
    for member in members:
        assert member.auxiliary is not None
        member.auxiliary.zero_grad()
    try:
        (losses,) = fused_call([_QuantileLoss(member.adapted) for member in members], ())
        losses.sum().backward()
    except RuntimeError:
        return False
    return True


class _QuantileLoss(nn.Module):
    """`quantile_loss` of a codec's bottlenecks, without what else the codec holds."""

    def __init__(self, adapted: nn.Module) -> None:
        super().__init__()
        found = [m for m in adapted.modules() if isinstance(m, EntropyBottleneck)]
        self.bottlenecks = nn.ModuleList(found)

    def forward(self) -> tuple[Tensor]:
        return (quantile_loss(self),)
