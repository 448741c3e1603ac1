"""Fine-tuning: every parameter of the source codec learns, and its entropy tables are made anew.

The baseline of Katakol et al., "DANICE", arXiv:2104.09370, and the one that forgets. Streams coded
before are decoded with other tables and another synthesis transform.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.copied import CopiedCodec
from interfero.adaptation.method import Method
from interfero.codecs.codec import Codec


class Finetune(Method):
    """Fine-tuning of the codec on the target domain; subclasses fine-tune a part of it."""

    name: ClassVar[str] = "finetune"
    paper: ClassVar[str] = "baseline of arXiv:2104.09370"
    detaches: ClassVar[bool] = False
    fuses: ClassVar[bool] = True
    random_init: ClassVar[bool] = False

    @staticmethod
    def learns(parameter: str) -> bool:
        """Whether the parameter of that name is trained."""
        return True

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> CopiedCodec:
        """A copy of the source codec, the chosen part of it trainable."""
        return CopiedCodec(source, self.learns)
