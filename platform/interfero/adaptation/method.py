"""What every way to adapt a codec has in common.

A method builds an `AdaptedCodec` from a source codec. The training loop sees the adapted codec's
`forward` and its trainable parameters; the evaluation sees it as a coder in source or target mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from interfero.codecs.bitstream import ID_BYTES
from interfero.codecs.codec import Codec, entropy_tables, state_hash
from interfero.codecs.coding import codec_id
from interfero.codecs.noise import NoiseKey

Mode = Literal["source", "target"]
TrainsOn = Literal["target", "source"]
Strings = list[list[bytes]]
"""CompressAI's layout: one list a latent, one string an image."""


@dataclass(frozen=True)
class Output:
    """What a training step needs of one batch."""

    x_hat: Tensor
    """(batch, 3, height, width) reconstruction, not clamped."""
    likelihoods: Mapping[str, Tensor]
    """Probabilities of the noisy latents, by latent."""


class AdaptedCodec(nn.Module, ABC):
    """A source codec with what a method added to it or made of it."""

    def __init__(self, source: Codec) -> None:
        """Keep the source codec for its identity; subclasses hold modules."""
        super().__init__()
        self.codec_id = codec_id(source)
        self.source_hash = source.weights_hash
        self.mode: Mode = "target"
        self._adapter_id: bytes | None = None

    @property
    def model(self) -> nn.Module:
        """Itself: it codes like a CompressAI model in its present mode."""
        return self

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """Modules that hold all entropy models; an embedded source codec is one of them."""
        return (self,)

    @property
    def adapter_id(self) -> bytes | None:
        """The bytes that name it in a header; None in source mode."""
        if self.mode == "source":
            return None
        if self._adapter_id is None:
            self.name_adapter()
        return self._adapter_id

    def name_adapter(self) -> None:
        """Take the name from the present parameters and tables; call it after they change."""
        digest = state_hash(self.adapter_state().items())
        self._adapter_id = bytes.fromhex(digest)[:ID_BYTES]

    @abstractmethod
    def adapter_state(self) -> dict[str, Tensor]:
        """What the adapter file holds: all that, with the source codec, makes this codec."""

    @abstractmethod
    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `adapter_state` gave, in full.

        Raises:
            AdapterError: names or shapes differ.
        """

    @abstractmethod
    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """One training pass in target mode.

        Args:
            image_BCHW: (batch, 3, height, width) in [0, 1].
            noise: Names the quantisation noise.
            shared: What `Method.shared_pass` gave for this batch, if anything.
        """

    @abstractmethod
    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents in the present mode: `x_hat` and `likelihoods`, as in CompressAI."""

    @abstractmethod
    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """`strings` and `shape`, as in CompressAI, in the present mode."""

    @abstractmethod
    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """`x_hat` in [0, 1], as in CompressAI, in the present mode."""

    @abstractmethod
    def refresh_tables(self) -> None:
        """Compute the entropy tables that belong to the trained parameters, before saving."""

    @abstractmethod
    def frozen_source_state(self) -> dict[str, Tensor] | None:
        """Parameters and tables of the embedded source codec, or None if it was changed."""


class Method(ABC):
    """A way to adapt a codec; one subclass, one file, one name."""

    name: ClassVar[str]
    """The command line's word, the file's name and MLflow's value."""
    paper: ClassVar[str]
    """Where it comes from."""
    size_unit: ClassVar[str | None]
    """Unit of `adapter_size`; None where the method adds no capacity and has one size, 0."""
    detaches: ClassVar[bool]
    """Whether source mode is the source codec."""
    random_init: ClassVar[bool] = True
    """Whether the initial seed changes anything; if not, several seeds would be one."""
    trains_on: ClassVar[TrainsOn] = "target"
    """The domain whose training images it sees."""

    @abstractmethod
    def build(self, source: Codec, adapter_size: int, init_seed: int) -> AdaptedCodec:
        """The codec before training.

        Raises:
            CodecError: the architecture has a layer the method cannot adapt.
        """

    def shared_pass(self, source: Codec, image_BCHW: Tensor, noise: NoiseKey) -> Any:
        """What all members of a pack can use of one batch; None if nothing is shared."""
        return None


def tables_of(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Entropy tables below `module`, names prefixed."""
    return {f"{prefix}{name}": table for name, table in entropy_tables(module).items()}
