"""Elastic weight consolidation: weights that matter on the source domain are held harder.

Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", arXiv:1612.00796:
`strength / 2 * sum_i F_i (w_i - w_source_i)^2`. The importance F is the mean squared gradient of the
source codec's loss over single source crops. Loss is bits a pixel, a log-likelihood spread over the
pixels of a crop, so F carries their number: at strength 1 the penalty weighs as much as one crop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss, rd_step
from interfero.codecs.codec import Codec, rd_parameters

NUM_CROPS = 24
"""Source crops the importance is averaged over."""


class EwcCodec(CopiedCodec):
    """A copy of the source codec that knows how much each weight matters."""

    importance: tuple[Tensor, ...] = ()
    """One tensor a trained parameter, in `rd_parameters` order."""
    earlier: tuple[Tensor, ...] = ()
    """Importances from before the source domain, which add up in a sequence of domains; often none.

    Schwarz et al., "Progress & Compress", arXiv:1805.06370, without its decay: one penalty, around the codec
    of the stage before.
    """


class Ewc(Finetune):
    """Fine-tuning that is pulled back where the source domain would suffer."""

    name: ClassVar[str] = "ewc"
    paper: ClassVar[str] = "arXiv:1612.00796"
    strength_unit: ClassVar[str | None] = "one source crop's evidence"
    strengths: ClassVar[tuple[float, ...]] = (1.0, 3.0, 10.0)

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> EwcCodec:
        """A copy of the source codec; its importances come with `prepare`."""
        return EwcCodec(source, self.learns)

    def prepare(self, adapted: AdaptedCodec, source_batch: Callable[[int], Batch]) -> None:
        """Mean squared gradients of the start over single source crops."""
        assert isinstance(adapted, EwcCodec)
        parameters = rd_parameters(adapted.codec)
        sums = [torch.zeros_like(p) for p in parameters]
        for i in range(NUM_CROPS):
            batch = source_batch(i)
            image = batch.images["source"]
            coded = rd_step(adapted.forward_noisy(image, batch.noise), image, batch.rd_lambda)
            gradients = torch.autograd.grad(coded.total, parameters, allow_unused=True)
            for total, gradient in zip(sums, gradients, strict=True):
                if gradient is not None:
                    total += gradient.square() * image[0, 0].numel()
        importance = tuple(total / NUM_CROPS for total in sums)
        if adapted.earlier:
            importance = tuple(map(torch.add, importance, adapted.earlier))
        adapted.importance = importance

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target's loss and the pull."""
        assert isinstance(adapted, EwcCodec)
        coded = super().loss(adapted, batch)
        return StepLoss(coded.bpp, coded.mse, coded.total + batch.strength / 2 * _pull(adapted))


def _pull(adapted: EwcCodec) -> Tensor:
    """Squared distance from the source codec, each weight by its importance."""
    own, given = rd_parameters(adapted.codec), rd_parameters(adapted.source)
    return torch.stack(
        [
            (f * (w - w_source.detach()).square()).sum()
            for f, w, w_source in zip(adapted.importance, own, given, strict=True)
        ]
    ).sum()
