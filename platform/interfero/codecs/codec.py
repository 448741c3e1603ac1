"""A source codec: a CompressAI model, the lambda it was trained for, and hashes of what defines it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from compressai.layers import MaskedConv2d
from compressai.models import (
    Cheng2020Anchor,
    Cheng2020Attention,
    CompressionModel,
    FactorizedPrior,
    FactorizedPriorReLU,
    JointAutoregressiveHierarchicalPriors,
    MeanScaleHyperprior,
    ScaleHyperprior,
)
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from interfero.codecs.channels_last import to_coding_format
from interfero.codecs.nested import CheckerboardCodec, ElicCodec
from interfero.errors import CodecError, nearest
from interfero.store.tensors import state_hash

Architecture = Callable[..., CompressionModel]


def _one_width(architecture: Architecture) -> Architecture:
    """Cheng et al. use one number of channels throughout."""

    def build(N: int, M: int) -> CompressionModel:
        if N != M:
            raise CodecError(f"cheng2020 codecs have one width: N must equal M, got {N} and {M}")
        return architecture(N=N)

    return build


ARCHITECTURES: dict[str, Architecture] = {
    "bmshj2018-factorized": FactorizedPrior,
    "bmshj2018-factorized-relu": FactorizedPriorReLU,
    "bmshj2018-hyperprior": ScaleHyperprior,
    "mbt2018-mean": MeanScaleHyperprior,
    "mbt2018": JointAutoregressiveHierarchicalPriors,
    "cheng2020-anchor": _one_width(Cheng2020Anchor),
    "cheng2020-attn": _one_width(Cheng2020Attention),
    "cheng2020-anchor-checkerboard": CheckerboardCodec,
    "elic2022-official": ElicCodec,
}
"""Architecture name to class: Balle et al. 2018, Minnen et al. 2018, Cheng et al. 2020, He et al. 2021 and
2022."""

ANY_CHANNELS = (
    "bmshj2018-factorized", "bmshj2018-factorized-relu", "bmshj2018-hyperprior", "mbt2018-mean",
)  # fmt: skip
"""Architectures whose images may have any number of channels."""

_CONSTANTS = 1 << 16
"""Numbers that a model's constants and their making take at most."""

TABLE_BUFFERS = ("_quantized_cdf", "_offset", "_cdf_length", "scale_table")
"""Buffers of an entropy model that are part of the bitstream format."""


@dataclass(frozen=True)
class Shape:
    """The architecture and channel counts that define a codec's modules."""

    architecture: str
    num_channels: int
    """N, channels of the transforms."""
    num_latents: int
    """M, channels of the latent."""
    image_channels: int = 3
    """Channels of the images it codes."""


@dataclass
class Codec:
    """A codec with frozen entropy tables, ready to code."""

    shape: Shape
    rd_lambda: float
    """Weight of the distortion it was trained for: bits per pixel per unit of MSE (0-255)."""
    name: str
    model: CompressionModel = field(repr=False)
    card: dict[str, Any] = field(default_factory=dict, repr=False)
    """How it was trained; carried in the file's metadata."""

    @property
    def weights_hash(self) -> str:
        """Content hash of every parameter and table, byte for byte."""
        return state_hash(self.model.state_dict().items())

    @property
    def table_hash(self) -> str:
        """Content hash of only the entropy tables, which define the bitstream format."""
        return table_hash(self.model)

    @property
    def stride(self) -> int:
        """Images are padded to a multiple of this many pixels: 16, or 64 with a hyperprior."""
        return int(self.model.downsampling_factor)

    @property
    def num_params(self) -> int:
        """Parameters of the rate-distortion loss; quantiles do not count."""
        return sum(p.numel() for p in rd_parameters(self.model))


def build_model(shape: Shape) -> CompressionModel:
    """The untrained model of a shape.

    Raises:
        CodecError: unknown architecture, or one that codes three channels only.
    """
    if shape.architecture not in ARCHITECTURES:
        raise CodecError(
            f"unknown architecture {shape.architecture!r}: "
            f"{nearest(shape.architecture, ARCHITECTURES)}"
        )
    model = ARCHITECTURES[shape.architecture](N=shape.num_channels, M=shape.num_latents)
    if shape.image_channels != 3:
        _widen(model, shape)
    to_coding_format(model)
    return model


def build_within(shape: Shape, held: int) -> CompressionModel:
    """`build_model` of a shape that a file states; nothing is made that the file could not fill.

    Args:
        shape: Its.
        held: Numbers in the file's tensors, tables included.

    Raises:
        CodecError: also where the file holds far too few.
    """
    with _Budget(4 * held + _CONSTANTS):
        return build_model(shape)


class _Budget(TorchDispatchMode):
    """Inside, no more numbers than these are made."""

    def __init__(self, numbers: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.left = numbers

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Else the first tensor made would import torch's compiler: 4 seconds and 160 MiB (2.15)."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        sizes = [
            a for a in args if isinstance(a, list | tuple) and all(isinstance(n, int) for n in a)
        ]
        if func is torch.ops.aten.eye.default:
            sizes = [(args[0], args[0])]
        self.left -= sum(math.prod(size) for size in sizes)
        if self.left < 0:
            raise CodecError("its layers hold fewer numbers than such a model has")
        return func(*args, **(kwargs or {}))


def _widen(model: CompressionModel, shape: Shape) -> None:
    """Make first and last layer anew, in place: CompressAI builds them for three channels."""
    if shape.architecture not in ANY_CHANNELS:
        raise CodecError(
            f"{shape.architecture} codes images of 3 channels, {shape.image_channels} are asked for: choose "
            f"{', '.join(ANY_CHANNELS)}"
        )
    first, last = model.g_a[0], model.g_s[-1]
    options = {k: getattr(first, k) for k in ("kernel_size", "stride", "padding")}
    model.g_a[0] = nn.Conv2d(shape.image_channels, first.out_channels, **options)
    model.g_s[-1] = nn.ConvTranspose2d(
        last.in_channels, shape.image_channels, output_padding=last.output_padding, **options
    )


def rd_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Parameters the rate-distortion loss trains; quantiles have their own loss and optimiser."""
    return [p for n, p in model.named_parameters() if not n.endswith(".quantiles")]


def mask_context(model: nn.Module) -> None:
    """Zero the weights of masked convolutions that are never used.

    CompressAI's do so in their first forward pass, which would change a codec's hash by using it.
    """
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, MaskedConv2d):
                module.weight.mul_(module.mask)


def lies_in(name: str, *parts: str) -> bool:
    """Whether a parameter or layer of that name lies in one of these parts, at whatever depth."""
    return not set(parts).isdisjoint(name.split("."))


def part_owners(model: nn.Module, part: str) -> list[nn.Module]:
    """Modules that hold a part (`g_a`, `h_s`, ...) of a codec as an attribute."""
    paths = [n for n, _ in model.named_modules() if n.rpartition(".")[2] == part]
    return [model.get_submodule(path.rpartition(".")[0]) for path in paths]


def quantile_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Quantiles of the entropy bottlenecks, trained only by `aux_loss`."""
    return [p for n, p in model.named_parameters() if n.endswith(".quantiles")]


def quantile_loss(model: nn.Module) -> Tensor:
    """CompressAI's `aux_loss`: how far the quantiles are from where they should be."""
    losses = [m.loss() for m in model.modules() if isinstance(m, EntropyBottleneck)]
    return torch.stack(losses).sum()


def entropy_tables(model: nn.Module) -> dict[str, Tensor]:
    """Every entropy-coding table below `model`, by state-dict name."""
    tables = {}
    for prefix, module in model.named_modules():
        if isinstance(module, EntropyBottleneck | GaussianConditional):
            for buffer in TABLE_BUFFERS:
                if hasattr(module, buffer):
                    tables[f"{prefix}.{buffer}"] = getattr(module, buffer)
    return tables


def load_state(model: CompressionModel, state: Mapping[str, Tensor]) -> None:
    """Replace every parameter and table of `model`.

    CompressAI resizes table buffers only while they are empty, so they are emptied first.

    Raises:
        KeyError, RuntimeError: names or shapes differ.
    """
    for module in model.modules():
        for buffer in TABLE_BUFFERS:
            if isinstance(getattr(module, buffer, None), Tensor):
                setattr(module, buffer, getattr(module, buffer).new_empty(0))
    model.load_state_dict(dict(state))


def table_hash(model: nn.Module) -> str:
    """Content hash of the entropy-coding tables below `model`."""
    return state_hash(entropy_tables(model).items())
