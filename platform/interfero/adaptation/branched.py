"""The source codec, untouched, and branches that join its layers for the time of a pass.

A branch is a module called with a layer's input and output; what it returns takes the output's place.
It is attached by a forward hook that is removed again, so that source mode is the source codec itself,
several adapters share one codec, and switching them is choosing which object to call.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from compressai.entropy_models import EntropyModel
from compressai.layers import GDN, MaskedConv2d
from compressai.models import CompressionModel
from torch import Tensor, nn

from interfero.adaptation.method import COMPONENTS, AdaptedCodec, Output, Strings, half
from interfero.adaptation.subpixel import swift_transposed
from interfero.codecs.channels_last import StridedPointwise
from interfero.codecs.codec import Codec
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.errors import AdapterError, CodecError

Convolution = nn.Conv2d | nn.ConvTranspose2d


class BranchedCodec(AdaptedCodec):
    """The source codec with branches at some of its layers; entropy tables are always the source's."""

    def __init__(self, source: Codec, branches: Mapping[str, nn.Module]) -> None:
        """Hold branches by the name of the layer they join."""
        super().__init__(source)
        # A module's name may hold no dot.
        self.branches = nn.ModuleDict({n.replace(".", "/"): b for n, b in branches.items()})

    @property
    def roots(self) -> tuple[nn.Module, ...]:
        """The source codec: it holds all entropy models."""
        return (self.source,)

    @contextmanager
    def attached(self, prefixes: tuple[str, ...] = ("",)) -> Iterator[None]:
        """Join the branches to their layers, in target mode, below the given modules."""
        handles = []
        if self.mode == "target":
            for key, branch in self.branches.items():
                name = key.replace("/", ".")
                if is_below(name, prefixes):
                    layer = self.source.get_submodule(name)
                    handles.append(layer.register_forward_hook(_joined(branch)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def adapter_state(self) -> dict[str, Tensor]:
        """The branches' parameters, in half precision."""
        return {n: p.detach().half() for n, p in self.named_parameters()}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Replace the branches' parameters."""
        own = dict(self.named_parameters())
        wrong = set(own) ^ set(state) or {n for n in own if own[n].shape != state[n].shape}
        if wrong:
            raise AdapterError(f"adapter does not fit this codec: {min(wrong)!r}")
        with torch.no_grad():
            for name, value in own.items():
                value.copy_(state[name].float())

    def forward_noisy(self, image_BCHW: Tensor, noise: NoiseKey, shared: Any = None) -> Output:
        """The source codec's training pass with the branches joined."""
        self.source.train()
        try:
            noisy = explicit_noise(self.source, noise)
            with self.attached(), noisy, swift_transposed(self.source):
                output = self.source(image_BCHW)
        finally:
            self.source.eval()
        return Output(output["x_hat"], output["likelihoods"])

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        """Rounded latents in the present mode."""
        with self.attached():
            output: dict[str, Any] = self.source(image_BCHW)
        return output

    def compress(self, image_BCHW: Tensor) -> dict[str, Any]:
        """The source codec's strings, of the latents that the branches changed."""
        with self.attached():
            output: dict[str, Any] = self.source.compress(image_BCHW)
        return output

    def decompress(self, strings: Strings, shape: torch.Size) -> dict[str, Tensor]:
        """Decode as the source codec does, with the branches joined."""
        with self.attached():
            output: dict[str, Tensor] = self.source.decompress(strings, shape)
        return output

    def refresh_tables(self) -> None:
        """Round to what the file holds; the tables are the source's."""
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(half(parameter))
        self.name_adapter()

    def frozen_source_state(self) -> dict[str, Tensor]:
        """The source codec's parameters and tables."""
        return dict(self.source.state_dict())

    def with_components(self, names: frozenset[str]) -> nn.Module:
        """The source codec with the branches of the named parts alone."""
        unknown = names - set(COMPONENTS)
        if unknown:
            raise CodecError(f"unknown component {min(unknown)!r}: {', '.join(COMPONENTS)}")
        parts = tuple(f"{module}." for name in names for module in COMPONENTS[name])
        return _Partly(self, parts)


class _Partly(nn.Module):
    """A branched codec with some of its branches."""

    def __init__(self, adapted: BranchedCodec, prefixes: tuple[str, ...]) -> None:
        super().__init__()
        self._adapted = (adapted,)
        self._prefixes = prefixes

    def forward(self, image_BCHW: Tensor) -> dict[str, Any]:
        (adapted,) = self._adapted
        with adapted.attached(self._prefixes):
            output: dict[str, Any] = adapted.source(image_BCHW)
        return output


def is_below(name: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a module's name, or the rest of it from some level on, starts with one of these."""
    return any(f".{prefix}" in f".{name}." for prefix in prefixes)


def _joined(branch: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        joined: Tensor = branch(inputs[0], output)
        return joined

    return hook


def convolutions(source: Codec, method: str) -> dict[str, Convolution]:
    """Every convolution a branch can join, by name; GDN, context and entropy models are left alone.

    Masked convolutions stay as they are: decoders read their weights past the module's forward pass,
    pixel by pixel, and a branch beside them would have to be masked as well.

    Raises:
        CodecError: a layer with parameters that is none of these; names it.
    """
    found: dict[str, Convolution] = {}
    entropy_models = tuple(
        f"{n}." for n, m in source.model.named_modules() if isinstance(m, EntropyModel)
    )
    for name, layer in source.model.named_modules():
        if name.startswith(entropy_models):
            continue
        if isinstance(layer, Convolution) and not isinstance(layer, MaskedConv2d):
            _check_convolution(name, layer, method)
            found[name] = layer
        elif not _left_alone(layer):
            raise CodecError(
                f"layer {name!r} ({type(layer).__name__}) cannot be adapted by {method}: it joins "
                "convolutions and transposed convolutions, and leaves GDN, masked convolutions and "
                "entropy models alone"
            )
    return found


def _left_alone(layer: nn.Module) -> bool:
    """Whether a layer has no parameters of its own, or is of a kind that is never changed."""
    own = next(layer.parameters(recurse=False), None)
    return own is None or isinstance(layer, GDN | MaskedConv2d | EntropyModel)


def _check_convolution(name: str, layer: Convolution, method: str) -> None:
    plain = type(layer) in (nn.Conv2d, nn.ConvTranspose2d, StridedPointwise)
    if not plain or layer.groups != 1 or set(layer.dilation) != {1}:
        raise CodecError(
            f"layer {name!r} ({type(layer).__name__}) cannot be adapted by {method}: it is "
            "grouped, dilated or reparametrised"
        )


def like(
    layer: Convolution, num_in: int, num_out: int, *, kernel: int | None = None
) -> Convolution:
    """A convolution without bias that maps between the same grids as `layer`.

    Args:
        layer: Gives stride and kind.
        num_in: Channels it reads.
        num_out: Channels it writes.
        kernel: Odd side of its kernel, not above the layer's; the layer's own by default.
    """
    size = layer.kernel_size[0] if kernel is None else kernel
    padding, stride = size // 2, layer.stride[0]
    if isinstance(layer, nn.ConvTranspose2d):
        spare = stride - 1
        return nn.ConvTranspose2d(num_in, num_out, size, stride, padding, spare, bias=False)
    return nn.Conv2d(num_in, num_out, size, stride, padding, bias=False)


@runtime_checkable
class KernelUpdate(Protocol):
    """A branch that does what a change of its layer's kernel would do."""

    def update(self) -> Tensor:
        """The change, in the kernel's layout."""


def merge(adapted: BranchedCodec) -> CompressionModel:
    """The adapted codec as a plain CompressAI model: updates added to its kernels.

    It gives the same pictures to float precision, at the source codec's cost, and cannot be detached.

    Raises:
        CodecError: a branch is no update of a kernel.
    """
    merged = copy.deepcopy(adapted.source)
    for key, branch in adapted.branches.items():
        name = key.replace("/", ".")
        if not isinstance(branch, KernelUpdate):
            raise CodecError(f"the branch at {name!r} ({type(branch).__name__}) cannot be merged")
        with torch.no_grad():
            merged.get_parameter(f"{name}.weight").add_(branch.update())
    return merged
