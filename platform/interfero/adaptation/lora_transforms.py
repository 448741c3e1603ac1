"""LoRA without branches in the entropy model: analysis and synthesis transforms alone.

Chen et al., "S2-CoT", arXiv:2604.10017, find that naive adapters inside the entropy model harm. Against
`lora`, which joins every convolution, this method shows what those branches are worth. On a factorized
prior, which has no such network, the two are one.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.lora import Lora


class LoraTransforms(Lora):
    """Low-rank updates of `g_a` and `g_s`; hyper-transforms and context networks stay the source's."""

    name: ClassVar[str] = "lora_transforms"
    paper: ClassVar[str] = "after arXiv:2604.10017"

    @staticmethod
    def joins(layer: str) -> bool:
        """`g_a` and `g_s`."""
        return layer.startswith(("g_a.", "g_s."))
