"""Which networks decide symbols, and how they are evaluated in integers while images are coded.

A symbol is decided by the scales and means it is coded with, so by everything between decoded latents and
those: hyper-synthesis, context models, entropy parameters, and whatever an adapter adds to them. In
`exact_networks` their layers compute as `interfero.codecs.integers` does; training and estimated rates
keep floats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from interfero.codecs.integers import (
    Convolution,
    IntegerConvolution,
    check_bound,
    integer_convolution,
    rectified,
)
from interfero.errors import CodecError

DECIDING = frozenset(
    ("h_s", "entropy_parameters", "context_prediction", "channel_context", "context")
)
"""Names of networks that decide symbols, in CompressAI's codecs and in adapters."""

_EXACT_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.ReLU, nn.LeakyReLU)
_KEEP_INTEGERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.PixelShuffle, nn.Identity)
"""Modules that compute nothing themselves, or only move values."""


class ExactModule(Protocol):
    """A module of ours that may stand in a network that decides symbols."""

    exact: ClassVar[bool]
    """True: with exact layers inside, it adds and moves multiples of 2^-12 and does nothing else. One
    with parameters of its own has a method `exactly`, which stands in for its `forward`."""


@runtime_checkable
class OwnKernel(Protocol):
    """A module that convolves with a kernel it makes, where symbols are decided."""

    def deciding(self) -> Convolution:
        """That convolution, as it is now."""


class ExactForward:
    """What a layer answers while images are coded: its integer form, fetched at first use."""

    def __init__(self, name: str, layer: nn.Module) -> None:
        """Name the layer for errors."""
        self._name = name
        self._layer = layer
        self._form: IntegerConvolution | None = None

    @property
    def form(self) -> IntegerConvolution:
        """The layer's integer form; its weights are compared with the layer's once a pass."""
        if self._form is None:
            assert isinstance(self._layer, Convolution)
            self._form = integer_convolution(self._name, self._layer)
        return self._form

    def __call__(self, x_BCHW: Tensor, *others: Tensor) -> Tensor:
        """Compute the layer as its `forward` does."""
        layer: Any = self._layer
        if hasattr(layer, "exactly"):
            exact: Tensor = layer.exactly(x_BCHW, *others)
            return exact
        if isinstance(layer, nn.ConvTranspose2d):
            return self.form.transpose_convolve(layer, x_BCHW)
        if isinstance(layer, nn.Conv2d):
            return self.form.convolve(layer, x_BCHW)
        return rectified(x_BCHW, float(getattr(layer, "negative_slope", 0.0)))


def exact_form(layer: nn.Module) -> ExactForward | None:
    """What stands in for a layer's `forward` at present; None outside `exact_networks`."""
    answer = vars(layer).get("forward")
    return answer if isinstance(answer, ExactForward) else None


def deciding_layers(roots: Iterable[nn.Module]) -> dict[nn.Module, str]:
    """Layers below `roots` whose results decide symbols, each with its name.

    Raises:
        CodecError: one is of a kind that has no integer form; names it.
    """
    found: dict[nn.Module, str] = {}
    for root in roots:
        for name, module in root.named_modules():
            if module not in found and not DECIDING.isdisjoint(re.split(r"[./]", name)):
                if isinstance(module, _EXACT_LAYERS) or hasattr(module, "exactly"):
                    found[module] = name
                elif not (isinstance(module, _KEEP_INTEGERS) or _declared_exact(module)):
                    raise CodecError(
                        f"layer {name!r} ({type(module).__name__}) decides symbols and has no "
                        "integer form: convolutions, transposed convolutions and ReLUs have one; "
                        "streams would not decode on other machines"
                    )
    return found


def _declared_exact(module: nn.Module | ExactModule) -> bool:
    return bool(getattr(module, "exact", False))


def check_exact(*roots: nn.Module) -> None:
    """Prove that the networks that decide symbols are exact on every machine.

    Raises:
        CodecError: a layer has no integer form, or sums that could be inexact; names it.
    """
    for layer, name in deciding_layers(roots).items():
        if isinstance(layer, Convolution):
            check_bound(name, layer)
        elif isinstance(layer, OwnKernel):
            check_bound(name, layer.deciding())


@contextmanager
def exact_networks(roots: Iterable[nn.Module]) -> Iterator[None]:
    """Evaluate all that decides symbols below `roots` in integers while it lasts.

    Raises:
        CodecError: a layer has no integer form; or, when it is used, sums that could be inexact.
    """
    before: list[tuple[dict[str, Any], Callable[..., Any] | None]] = []
    try:
        for layer, name in deciding_layers(roots).items():
            before.append((vars(layer), vars(layer).get("forward")))
            vars(layer)["forward"] = ExactForward(name, layer)
        yield
    finally:
        for attributes, forward in reversed(before):
            attributes.pop("forward")
            if forward is not None:
                attributes["forward"] = forward


def joined(layer: nn.Module, *parts_BCHW: Tensor | None) -> Tensor | None:
    """`layer` of several inputs as one, if it computes in integers at present; else None."""
    exact = exact_form(layer)
    there = [part for part in parts_BCHW if part is not None]
    return None if exact is None else exact(torch.cat(there, dim=1))
