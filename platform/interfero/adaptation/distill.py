"""Distillation: the old codec teaches the new one on target images; no source image is needed.

Li and Hoiem, "Learning without Forgetting", arXiv:1606.09282, in the terms of a codec. The new decoder
is to show what the old one shows of the old latents, and the new entropy model is to code them as
cheaply: `rate_new(y_old) + lambda * mse(g_s_new(y_old), g_s_old(y_old))`. The rate is, up to the old
codec's own, the divergence of the two entropy models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from compressai.models import CompressionModel
from torch import Tensor

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss, rd_step
from interfero.adaptation.rehearsal import decode_old, old_latents, teacher_pass
from interfero.codecs.codec import Codec
from interfero.codecs.noise import NoiseKey
from interfero.randomness import Role


@dataclass(frozen=True)
class Taught:
    """What the source codec does with one batch."""

    x_hat: Tensor
    """(batch, 3, height, width): what it shows of its noisy latents."""
    latents: dict[str, Tensor]
    """Before quantisation, by the transform that makes them."""


class Distill(Finetune):
    """Fine-tuning with the source codec as teacher."""

    name: ClassVar[str] = "distill"
    paper: ClassVar[str] = "arXiv:1606.09282, for codecs"
    strength_unit: ClassVar[str | None] = "weight of the teacher's loss against the target's"
    strengths: ClassVar[tuple[float, ...]] = (1.0, 3.0, 10.0)

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target's loss, and the loss of old latents against the teacher's pictures."""
        assert isinstance(adapted, CopiedCodec)
        image = batch.images["target"]
        new = rd_step(adapted.forward_noisy(image, batch.noise), image, batch.rd_lambda)
        taught = batch.shared or _teach(adapted.source, image, batch.noise)
        shown = decode_old(adapted, image, taught.latents, _old_noise(batch.noise))
        old = rd_step(shown, taught.x_hat, batch.rd_lambda)
        return StepLoss(new.bpp, new.mse, new.total + batch.strength * old.total)

    def shared_pass(self, source: Codec, image_BCHW: Tensor, noise: NoiseKey) -> Taught:
        """The teacher's lesson: the same for every member."""
        return _teach(source.model, image_BCHW, noise)


def _teach(source: CompressionModel, image_BCHW: Tensor, noise: NoiseKey) -> Taught:
    shown = teacher_pass(source, image_BCHW, _old_noise(noise))
    return Taught(shown, old_latents(source, image_BCHW))


def _old_noise(noise: NoiseKey) -> NoiseKey:
    """That of old latents, which the new ones' must not repeat."""
    return noise.with_role(Role.REPLAY_NOISE)
