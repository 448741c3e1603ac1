"""What every way to adapt a codec has in common.

A method builds an `AdaptedCodec` from a source codec and says what a training step minimises. The
training loop sees the loss and the trainable parameters; the evaluation sees a coder in source or
target mode.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.table import ONE, WHOLE_CODEC, TrainsOn
from interfero.codecs.bitstream import ID_BYTES
from interfero.codecs.codec import Codec, entropy_tables
from interfero.codecs.coding import codec_id
from interfero.codecs.noise import NoiseKey
from interfero.errors import CodecError
from interfero.metrics.rate_distortion import estimated_bpp, mse_255, rd_loss
from interfero.store.tensors import state_hash

Mode = Literal["source", "target"]
Role = Literal["target", "source"]
Strings = list[list[bytes]]
"""CompressAI's layout: one list a latent, one string an image."""

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "encoder": ("g_a",),
    "decoder": ("g_s",),
    "hyper": ("h_a", "h_s"),
    "entropy": (
        "entropy_bottleneck",
        "context_prediction",
        "entropy_parameters",
        "channel_context",
    ),
}
"""Parts of a CompressAI codec, each by its modules; every parameter is in one of them."""


@dataclass(frozen=True)
class Output:
    """What a training step needs of one batch."""

    x_hat: Tensor
    """(batch, 3, height, width) reconstruction, not clamped."""
    likelihoods: Mapping[str, Tensor]
    """Probabilities of the noisy latents, by latent."""


@dataclass(frozen=True)
class Batch:
    """What one training step is given."""

    images: Mapping[Role, Tensor]
    """Images by domain: (batch, 3, height, width) in [0, 1]. A method that trains on both domains uses the
    first half of the target's and the second half of the source's."""
    noise: NoiseKey
    rd_lambda: float
    strength: float = 1.0
    """Weight of the method's own term, in its own unit."""
    shared: Any = None
    """What `Method.shared_pass` gave for this batch."""


@dataclass(frozen=True)
class StepLoss:
    """What one step minimises, and the parts of it that the learning curve shows."""

    bpp: Tensor
    """Estimated bits per pixel of what it learns to code."""
    mse: Tensor
    """Mean squared error on the 0-255 scale."""
    total: Tensor
    """Rate, distortion and the method's own term."""


def rd_step(output: Output, image_BCHW: Tensor, rd_lambda: float) -> StepLoss:
    """The rate-distortion loss of one pass."""
    bpp = estimated_bpp(output.likelihoods.values(), image_BCHW[:, 0].numel())
    mse = mse_255(output.x_hat, image_BCHW)
    return StepLoss(bpp, mse, rd_loss(bpp, mse, rd_lambda))


class AdaptedCodec(nn.Module, ABC):
    """A source codec with what a method added to it or made of it."""

    def __init__(self, source: Codec) -> None:
        """Keep the source codec for its identity; subclasses hold modules."""
        super().__init__()
        self.codec_id = codec_id(source)
        self.source_hash = source.weights_hash
        self.source_table_hash = source.table_hash
        self.rd_lambda = source.rd_lambda
        self.stride = source.stride
        self.mode: Mode = "target"
        # Not a submodule: its parameters are no parameters of the adapter.
        self._source = (source.model,)
        self._adapter_id: bytes | None = None

    @property
    def source(self) -> CompressionModel:
        """The source codec it was built on."""
        return self._source[0]

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

    def train_parameters(self) -> None:
        """Let exactly the parameters learn that the method trains; all of them by default."""
        self.requires_grad_(True)

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
        """Round to what the file holds, and compute the entropy tables that belong to it."""

    @abstractmethod
    def frozen_source_state(self) -> dict[str, Tensor] | None:
        """Parameters and tables of the embedded source codec, or None if it was changed."""

    def with_components(self, names: frozenset[str]) -> nn.Module:
        """A codec whose named components (see `COMPONENTS`) are adapted, the others the source's.

        It is called on a batch and gives rounded latents, as `forward` does; it is not for coding.

        Raises:
            CodecError: the method adds latents of its own, which no component can be parted from.
        """
        raise CodecError("forgetting cannot be attributed to components of this method")


class Method(ABC):
    """A way to adapt a codec; one subclass, one file, one name."""

    name: ClassVar[str]
    """The command line's word, the file's name and MLflow's value."""
    paper: ClassVar[str]
    """Where it comes from."""
    size_unit: ClassVar[str | None] = None
    """Unit of `adapter_size`; None where the method adds no capacity and has one size, 0."""
    strength_unit: ClassVar[str | None] = None
    """What a strength of 1 means; None where the method has no term of its own."""
    strengths: ClassVar[tuple[float, ...]] = ONE
    """The strengths that a sweep gives it if it names none, a factor of about 3 apart: each is another place
    between gain and forgetting."""
    detaches: ClassVar[bool]
    """Whether source mode is the source codec."""
    random_init: ClassVar[bool] = True
    """Whether the initial seed changes anything; if not, several seeds would be one."""
    trains_on: ClassVar[TrainsOn] = "target"
    """The domain whose training images it sees."""
    learning_rates: ClassVar[tuple[float, ...]] = WHOLE_CODEC
    """The grid of peak learning rates that a sweep trains it with if it names none."""
    all_rates: ClassVar[bool] = False
    """Whether one training serves the source codecs of all lambdas: its steps take them in turns."""
    trains: ClassVar[bool] = True
    """Whether it has steps of training; if not, `settle` is told what a cell asks for."""
    starts_at_source: ClassVar[bool] = True
    """Whether training starts from the source codec's pictures."""

    fuses: ClassVar[bool] = False
    """Whether members of equal size may step as one computation (`interfero.adaptation.fused`): the loss
    depends on the batch and the parameters alone, and keeps nothing of them."""
    attributes: ClassVar[bool] = True
    """Whether its forgetting can be parted into the source codec's components."""

    @classmethod
    def accepts(cls, adapter_size: int) -> bool:
        """Whether the method has such a size."""
        return adapter_size >= 1 if cls.size_unit else adapter_size == 0

    @abstractmethod
    def build(self, source: Codec, adapter_size: int, init_seed: int) -> AdaptedCodec:
        """The codec before training.

        Raises:
            CodecError: the architecture has a layer the method cannot adapt; names it.
        """

    def settle(
        self, adapted: AdaptedCodec, learning_rate: float, num_steps: int, strength: float = 1.0
    ) -> None:
        """What a method that trains nothing does with a cell's learning rate, steps and strength."""
        return

    def prepare(self, adapted: AdaptedCodec, source_batch: Callable[[int], Batch]) -> None:
        """What the method has to know before the first step, from batches of the source domain.

        A cell that goes on from a checkpoint prepares again, from its untrained start: the result is to
        depend on the start and on `source_batch` alone.
        """
        return

    def shared_pass(self, source: Codec, image_BCHW: Tensor, noise: NoiseKey) -> Any:
        """What all members of a pack can use of one batch; None if nothing is shared."""
        return None

    def loss(self, adapted: AdaptedCodec, batch: Batch) -> StepLoss:
        """What a step minimises: rate and distortion on the domain it trains on."""
        assert self.trains_on != "both"
        image = batch.images[self.trains_on]
        output = adapted.forward_noisy(image, batch.noise, batch.shared)
        return rd_step(output, image, batch.rd_lambda)


def tables_of(module: nn.Module, prefix: str = "") -> dict[str, Tensor]:
    """Entropy tables below `module`, names prefixed."""
    return {f"{prefix}{name}": table for name, table in entropy_tables(module).items()}


def half(value: Tensor) -> Tensor:
    """What is left of a float tensor in an adapter file: half precision, exactly reloaded."""
    return value.detach().half().float()
