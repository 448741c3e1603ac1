"""Distillation: the old codec teaches the new one on target images; no source image is needed.

Li and Hoiem, "Learning without Forgetting", arXiv:1606.09282, in the terms of a codec. The new decoder
is to show what the old one shows of the old latents, and the new entropy model is to code them as
cheaply: `rate_new(y_old) + lambda * mse(g_s_new(y_old), g_s_old(y_old))`. The rate is, up to the old
codec's own, the divergence of the two entropy models.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss, rd_step
from interfero.adaptation.rehearsal import decode_old, old_latents, teacher_pass
from interfero.codecs.noise import NoiseKey
from interfero.randomness import Role


class Distill(Finetune):
    """Fine-tuning with the source codec as teacher."""

    name: ClassVar[str] = "distill"
    paper: ClassVar[str] = "arXiv:1606.09282, for codecs"
    strength_unit: ClassVar[str | None] = "weight of the teacher's loss against the target's"

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target's loss, and the loss of old latents against the teacher's pictures."""
        assert isinstance(adapted, CopiedCodec)
        image = batch.images["target"]
        new = rd_step(adapted.forward_noisy(image, batch.noise), image, batch.rd_lambda)
        noise = NoiseKey(
            batch.noise.seed,
            batch.noise.step,
            batch.noise.batch_size,
            Role.REPLAY_NOISE,
            batch.noise.first_index,
        )
        taught = teacher_pass(adapted.source, image, noise)
        latents = old_latents(adapted.source, image)
        old = rd_step(decode_old(adapted, image, latents, noise), taught, batch.rd_lambda)
        return StepLoss(new.bpp, new.mse, new.total + batch.strength * old.total)
