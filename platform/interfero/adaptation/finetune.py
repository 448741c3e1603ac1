"""Fine-tuning: every parameter of the source codec learns, and its entropy tables are made anew.

The baseline of Katakol et al., "DANICE", arXiv:2104.09370, and the one that forgets. Streams coded
before are decoded with other tables and another synthesis transform.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from compressai.models import CompressionModel
from torch import Tensor

from interfero.adaptation.method import AdaptedCodec, Method, Output, Strings
from interfero.codecs.codec import Codec, load_state
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.errors import AdapterError


class FinetunedCodec(AdaptedCodec):
    """A full copy of the source codec that learns; it has no source mode."""

    def __init__(self, source: Codec) -> None:
        """Start from the source codec."""
        super().__init__(source)
        self.codec: CompressionModel = copy.deepcopy(source.model)

    def adapter_state(self) -> dict[str, Tensor]:
        """Every parameter and table."""
        return {f"codec.{n}": v for n, v in self.codec.state_dict().items()}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Replace every parameter and table."""
        try:
            load_state(self.codec, {n.removeprefix("codec."): v for n, v in state.items()})
        except (KeyError, RuntimeError) as error:
            raise AdapterError(f"adapter does not fit this codec ({error})") from error

    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """CompressAI's training pass."""
        self.codec.train()
        with explicit_noise(self.codec, noise):
            output = self.codec(image_BCHW)
        return Output(output["x_hat"], output["likelihoods"])

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """CompressAI's evaluation pass."""
        output: dict[str, Any] = self.codec.eval()(image_BCHW)
        return output

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """As CompressAI's."""
        output: dict[str, Any] = self.codec.compress(image_BCHW)
        return output

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """As CompressAI's."""
        output: dict[str, Tensor] = self.codec.decompress(strings, shape)
        return output

    def refresh_tables(self) -> None:
        """Exact quantiles by bisection, then new tables."""
        self.codec.update(force=True, update_quantiles=True)
        self.name_adapter()

    def frozen_source_state(self) -> None:
        """Nothing of the source codec is kept."""
        return


class Finetune(Method):
    """Fine-tuning of the whole codec on the target domain."""

    name: ClassVar[str] = "finetune"
    paper: ClassVar[str] = "baseline of arXiv:2104.09370"
    size_unit: ClassVar[str | None] = None
    detaches: ClassVar[bool] = False
    random_init: ClassVar[bool] = False

    def build(self, source: Codec, adapter_size: int, init_seed: int) -> FinetunedCodec:
        """A copy of the source codec, all of it trainable."""
        return FinetunedCodec(source)
