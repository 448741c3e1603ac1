"""Fine-tuning of what the sender alone runs: old and new streams decode with the old decoder.

Encoder-side adaptation as in Campos et al., "Content Adaptive Optimization for Neural Image
Compression", arXiv:1906.01223, here for a domain, not an image: analysis transforms learn, the
decoder and the entropy model stay.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.finetune import Finetune
from interfero.codecs.codec import lies_in


class FinetuneEncoder(Finetune):
    """Fine-tuning of the analysis transforms."""

    name: ClassVar[str] = "finetune_encoder"
    paper: ClassVar[str] = "after arXiv:1906.01223"

    @staticmethod
    def learns(parameter: str) -> bool:
        """`g_a` and `h_a`."""
        return lies_in(parameter, "g_a", "h_a")
