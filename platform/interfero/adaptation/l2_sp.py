"""L2-SP: a penalty on the distance from the source codec's weights.

Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483: `strength * REFERENCE / 2 * |w - w_source|^2`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss
from interfero.codecs.codec import rd_parameters

REFERENCE = 0.01
"""The paper's alpha."""


class L2Sp(Finetune):
    """Fine-tuning that is pulled back to its start."""

    name: ClassVar[str] = "l2_sp"
    paper: ClassVar[str] = "arXiv:1802.01483"
    strength_unit: ClassVar[str | None] = "the paper's alpha of 0.01"

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target's loss and the pull."""
        assert isinstance(adapted, CopiedCodec)
        coded = super().loss(adapted, batch)
        weight = batch.strength * REFERENCE / 2
        return StepLoss(coded.bpp, coded.mse, coded.total + weight * _distance(adapted))


def _distance(adapted: CopiedCodec) -> Tensor:
    """Squared distance from the source codec over all weights."""
    pairs = zip(rd_parameters(adapted.codec), rd_parameters(adapted.source), strict=True)
    return torch.stack([(own - given.detach()).square().sum() for own, given in pairs]).sum()
