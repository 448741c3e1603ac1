"""Fine-tuning of the transforms with a frozen entropy model: old streams keep their symbols.

`g_a` and `g_s` learn; hyper-transforms, context model and entropy bottleneck stay, tables included, so
that a stream coded before is parsed into the same latents and only its picture changes. Balle et
al.'s factorized prior has no hyper-transforms: its entropy bottleneck is what stays.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.finetune import Finetune


class FreezeEntropy(Finetune):
    """Fine-tuning of analysis and synthesis alone."""

    name: ClassVar[str] = "freeze_entropy"
    paper: ClassVar[str] = "control: bitstream-compatible fine-tuning"

    @staticmethod
    def learns(parameter: str) -> bool:
        """`g_a` and `g_s`."""
        return parameter.startswith(("g_a.", "g_s."))
