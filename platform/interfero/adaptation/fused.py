"""Modules of equal shape as one computation: what a pack's members cost a GPU one by one is launches.

The parameters of all modules are stacked, and the first module is called with them under torch's vmap. What
all of them read alike, such as the frozen source's activations, goes through one convolution with all
kernels side by side; what each reads of its own goes through one with a group a module. No group reads
another's channels, so that a NaN stays in the module it comes from. Float sums are taken in another order
than by one module: results agree to rounding, not to the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from compressai.layers import MaskedConv2d
from compressai.ops.bound_ops import LowerBound
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.overrides import TorchFunctionMode

from interfero.codecs.codec import mask_context

CONVOLUTIONS = (torch.conv2d, torch.conv_transpose2d)


def fused_call(
    modules: Sequence[nn.Module], roots: Sequence[nn.Module], *arguments: Any
) -> tuple[Tensor, ...]:
    """`module(*arguments)` of every module, at once; gradients reach each module's own parameters.

    Args:
        modules: Of equal shape; beside the parameters that learn, all are what the first one is.
        roots: Modules that the first one calls and that are not below it.
        arguments: What each is called with.

    Returns:
        What the modules return, each tensor with a first dimension of one entry a module.

    Raises:
        RuntimeError: a shape differs, memory is short, or an operation has no batched form.
    """
    first = modules[0]
    for module in (*modules, *roots):
        # Masked convolutions do so in their own forward pass, which below vmap they cannot.
        mask_context(module)
    own = [{n: p for n, p in module.named_parameters() if p.requires_grad} for module in modules]
    stacked = {name: torch.stack([each[name] for each in own]) for name in own[0]}
    device = next(iter(stacked.values())).device

    def call(parameters: Mapping[str, Tensor]) -> Any:
        return functional_call(first, dict(parameters), arguments)

    with _batched_forms(first, *roots), _autocast_convolutions(device):
        # Noise is a function of step and sample: whoever draws it draws it for all.
        results: tuple[Tensor, ...] = vmap(call, randomness="same")(stacked)
    return results


class _Bound(torch.autograd.Function):
    """CompressAI's LowerBound in the form that vmap takes: `max(x, bound)`, gradients towards the bound."""

    @staticmethod
    def forward(x: Tensor, bound: Tensor) -> Tensor:
        return torch.max(x, bound)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        x, bound = ctx.saved_tensors
        (gradient,) = gradients
        return ((x >= bound) | (gradient < 0)) * gradient, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: Tensor, bound: Tensor) -> tuple[Any, int]:
        """One bound for all entries: nothing depends on which dimension is the batch."""
        return _Bound.apply(x, bound), in_dims[0]


@contextmanager
def _batched_forms(*roots: nn.Module) -> Iterator[None]:
    """Let what vmap does not take, below some modules, answer in a form that it takes."""
    found = {module for root in roots for module in root.modules()}
    bounds = [module for module in found if isinstance(module, LowerBound)]
    masked = [module for module in found if isinstance(module, MaskedConv2d)]
    for module in bounds:
        module.lower_bound = _bounded(module.bound)
    for module in masked:
        # Their weights are masked already.
        module.forward = partial(nn.Conv2d.forward, module)
    try:
        yield
    finally:
        for module in bounds:
            del module.lower_bound
        for module in masked:
            del module.forward


def _bounded(bound: Tensor) -> Callable[[Tensor], Any]:
    return lambda x: _Bound.apply(x, bound)


def _autocast_convolutions(device: torch.device) -> AbstractContextManager[object]:
    if not torch.is_autocast_enabled(device.type):
        return nullcontext()
    return _AutocastConvolutions(torch.get_autocast_dtype(device.type))


class _AutocastConvolutions(TorchFunctionMode):
    """What autocast does to convolutions: it does not see those that vmap batches (torch 2.15)."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self._dtype = dtype

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = kwargs or {}
        if func in CONVOLUTIONS:
            args = tuple(self._cast(value) for value in args)
            given = {name: self._cast(value) for name, value in given.items()}
        return func(*args, **given)

    def _cast(self, value: Any) -> Any:
        floats = isinstance(value, Tensor) and value.dtype == torch.float32
        return value.to(self._dtype) if floats else value
