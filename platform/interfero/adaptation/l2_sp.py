"""L2-SP: a penalty on the distance from the source codec's weights.

Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
arXiv:1802.01483: `strength * REFERENCE / 2 * |w - w_source|^2`.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import AdaptedCodec, Batch, StepLoss
from interfero.codecs.codec import Codec, rd_parameters

REFERENCE = 0.01
"""The paper's alpha."""


class L2SpCodec(CopiedCodec):
    """A copy of the source codec that is pulled to it, or to another one."""

    # In a tuple: its parameters are no parameters of the adapter.
    anchor: tuple[CompressionModel, ...] = ()
    """What it is pulled to; the source codec if empty."""


class L2Sp(Finetune):
    """Fine-tuning that is pulled back to its start."""

    name: ClassVar[str] = "l2_sp"
    paper: ClassVar[str] = "arXiv:1802.01483"
    strength_unit: ClassVar[str | None] = "the paper's alpha of 0.01"
    strengths: ClassVar[tuple[float, ...]] = (30.0, 100.0, 300.0)

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> L2SpCodec:
        """A copy of the source codec."""
        return L2SpCodec(source, self.learns)

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """The target's loss and the pull."""
        assert isinstance(adapted, L2SpCodec)
        coded = super().loss(adapted, batch)
        weight = batch.strength * REFERENCE / 2
        return StepLoss(coded.bpp, coded.mse, coded.total + weight * _distance(adapted))


def _distance(adapted: L2SpCodec) -> Tensor:
    """Squared distance from the anchor over all weights."""
    anchor = adapted.anchor[0] if adapted.anchor else adapted.source
    pairs = zip(rd_parameters(adapted.codec), rd_parameters(anchor), strict=True)
    return torch.stack([(own - given.detach()).square().sum() for own, given in pairs]).sum()
