"""What an adaptation changed of the source codec's weights, so that several can be added up."""

from __future__ import annotations

import torch
from torch import Tensor

from interfero.adaptation.branched import BranchedCodec
from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.lora import LowRank
from interfero.adaptation.method import AdaptedCodec
from interfero.errors import AdapterError


@torch.no_grad()
def weight_changes(adapted: AdaptedCodec) -> dict[str, Tensor]:
    """The differences from the source codec's parameters, by their names; those without one are left out.

    Of a copy that learned they are differences of the parameters, of low-rank updates the kernels that these
    come to. Added to the source codec they make one codec of it, which codes as the adapted one does but for
    rounding.

    Raises:
        AdapterError: what it changed is not the weights of the source codec.
    """
    if isinstance(adapted, CopiedCodec):
        given = dict(adapted.source.named_parameters())
        return {n: p.detach() - given[n] for n, p in adapted.codec.named_parameters()}
    if isinstance(adapted, BranchedCodec):
        kernels = {
            f"{name.replace('/', '.')}.weight": branch.update().detach()
            for name, branch in adapted.branches.items()
            if isinstance(branch, LowRank)
        }
        if len(kernels) == len(adapted.branches):
            return kernels
    raise AdapterError(
        f"{type(adapted).__name__} leaves the source codec's weights as they are: only what changes them can "
        "be merged into one codec"
    )
