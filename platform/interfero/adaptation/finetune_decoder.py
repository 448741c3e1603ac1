"""Fine-tuning of all that the receiver runs: synthesis, hyper-synthesis and entropy model.

Receiver-side adaptation as in van Rozendaal et al., "Overfitting for Fun and Profit: Instance-Adaptive
Data Compression", arXiv:2101.08687, here for a domain and without sending the update in the stream.
The latents stay what they were; the entropy tables and the pictures made of them change.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.finetune import Finetune
from interfero.adaptation.table import LARGER_STEPS
from interfero.codecs.codec import lies_in


class FinetuneDecoder(Finetune):
    """Fine-tuning of everything but the analysis transforms."""

    name: ClassVar[str] = "finetune_decoder"
    paper: ClassVar[str] = "after arXiv:2101.08687"
    learning_rates: ClassVar[tuple[float, ...]] = LARGER_STEPS

    @staticmethod
    def learns(parameter: str) -> bool:
        """All but `g_a` and `h_a`."""
        return not lies_in(parameter, "g_a", "h_a")
