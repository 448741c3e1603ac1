"""LoRA in the entropy model alone: hyper-transforms and context networks, not the transforms.

The other half of `lora_transforms`: with `lora`, which joins all layers, the two show what branches are
worth by their place. Chen et al., "S2-CoT", arXiv:2604.10017, find that naive adapters there harm.
"""

from __future__ import annotations

from typing import ClassVar

from interfero.adaptation.branched import BranchedCodec
from interfero.adaptation.lora import Lora
from interfero.codecs.codec import Codec
from interfero.errors import CodecError


class LoraEntropy(Lora):
    """Low-rank updates of every network that predicts latents; `g_a` and `g_s` stay the source's."""

    name: ClassVar[str] = "lora_entropy"
    paper: ClassVar[str] = "after arXiv:2604.10017"

    @staticmethod
    def joins(layer: str) -> bool:
        """All but `g_a` and `g_s`."""
        return not layer.startswith(("g_a.", "g_s."))

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> BranchedCodec:
        """A low-rank branch at every convolution of the entropy model.

        Raises:
            CodecError: the codec has a factorized prior, which has no such network.
        """
        built = super().build(source, adapter_size, init_seed)
        if not len(built.branches):
            raise CodecError(
                f"{self.name} does not adapt {source.shape.architecture!r}: it knows "
                "codecs that have a hyperprior; lora adapts all others"
            )
        return built
