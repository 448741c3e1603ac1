"""Replay: half of every batch is source images, coded anew and decoded from their old latents.

Duan et al., "Towards Backward-Compatible Continual Learning of Image Compression", CVPR 2024,
arXiv:2402.18862. The old latents keep old streams readable: `mse(g_s_new(y_old), x)`, and their rate
under the new entropy model.
"""

from __future__ import annotations

from typing import ClassVar

import torch

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import (
    AdaptedCodec,
    Batch,
    Output,
    StepLoss,
    rd_step,
)
from interfero.adaptation.rehearsal import decode_old, old_latents
from interfero.adaptation.table import TrainsOn
from interfero.randomness import Role


class Replay(Finetune):
    """Fine-tuning with source training images and their old latents."""

    name: ClassVar[str] = "replay"
    paper: ClassVar[str] = "arXiv:2402.18862"
    strength_unit: ClassVar[str | None] = "weight of the source half against the target half"
    strengths: ClassVar[tuple[float, ...]] = (0.3, 1.0, 3.0)
    trains_on: ClassVar[TrainsOn] = "both"

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target half's loss and the source half's, new and old latents in equal parts."""
        assert isinstance(adapted, CopiedCodec)
        middle = len(batch.images["target"]) // 2
        target, source = batch.images["target"][:middle], batch.images["source"][middle:]
        both = adapted.forward_noisy(torch.cat([target, source]), batch.noise)
        new = rd_step(_part(both, slice(0, middle)), target, batch.rd_lambda)
        again = rd_step(_part(both, slice(middle, None)), source, batch.rd_lambda)
        noise = batch.noise.second_half().with_role(Role.REPLAY_NOISE)
        latents = old_latents(adapted.source, source)
        old = rd_step(decode_old(adapted, source, latents, noise), source, batch.rd_lambda)
        rehearsed = (again.total + old.total) / 2
        total = (new.total + batch.strength * rehearsed) / (1 + batch.strength)
        return StepLoss(new.bpp, new.mse, total)


def _part(output: Output, samples: slice) -> Output:
    likelihoods = {name: p[samples] for name, p in output.likelihoods.items()}
    return Output(output.x_hat[samples], likelihoods)
