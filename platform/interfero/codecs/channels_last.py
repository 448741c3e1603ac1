"""The memory format that convolutions train fastest in, without what is broken or slow in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution on the points that its stride meets, and the same numbers as `nn.Conv2d`'s.

    In channels_last, the gradient of oneDNN's own (torch 2.15: 3 to 16 or 128 channels, say) writes
    outside its memory, and the process dies at some later time.
    """

    def forward(self, input: Tensor) -> Tensor:
        """B, `in_channels`, H, W to B, `out_channels`, H / stride, W / stride, both rounded up."""
        rows, columns = self.stride
        points = input[:, :, ::rows, ::columns]
        return F.conv2d(points, self.weight, self.bias, groups=self.groups)


class WideDepthwise(nn.Conv2d):
    """A depthwise convolution with a large or dilated kernel: the numbers of `nn.Conv2d`, gradients sooner.

    oneDNN has fast gradients of plain 3x3 kernels alone (torch 2.15). For 8 x 1152 channels of 6x6 and a 5x5
    kernel of dilation 2, one core takes 10 ms for that of the input and 22 ms for that of the weights; as
    convolutions forward they take 0.3 and 1.2 ms.
    """

    def forward(self, input: Tensor) -> Tensor:
        """B, C, H, W to B, C, H', W'; in float32 and float64 on the CPU, else `nn.Conv2d`'s own."""
        batch = input.dim() == 4 and len(input) > 0
        if not batch or input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        out: Tensor = _Depthwise.apply(input, self.weight, self.padding, self.dilation)
        return out if self.bias is None else out + self.bias[:, None, None]


class _Depthwise(torch.autograd.Function):
    """Depthwise convolution of stride 1 whose gradients are convolutions."""

    @staticmethod
    def forward(
        ctx: Any,
        x_BCHW: Tensor,
        weight: Tensor,
        padding: tuple[int, int],
        dilation: tuple[int, int],
    ) -> Tensor:
        ctx.save_for_backward(x_BCHW, weight)
        ctx.padding, ctx.dilation = padding, dilation
        return F.conv2d(x_BCHW, weight, None, 1, padding, dilation, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        (out_BCHW,) = grads
        x_BCHW, weight = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            reach = [d * (k - 1) for d, k in zip(ctx.dilation, weight.shape[2:], strict=True)]
            around = [r - p for r, p in zip(reach, ctx.padding, strict=True)]
            flipped = weight.flip(2, 3)
            to_x = F.conv2d(out_BCHW, flipped, None, 1, around, ctx.dilation, groups=len(weight))
        if ctx.needs_input_grad[1]:
            # Each image's channel is a group of its own, and what comes out is its kernel.
            batch, channels = x_BCHW.shape[:2]
            x = x_BCHW.reshape(1, batch * channels, *x_BCHW.shape[2:])
            out = out_BCHW.reshape(batch * channels, 1, *out_BCHW.shape[2:])
            each = F.conv2d(x, out, None, ctx.dilation, ctx.padding, 1, groups=batch * channels)
            to_weight = each.view(batch, *weight.shape).sum(0)
        return to_x, to_weight, None, None


def to_channels_last(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module to a device and into channels_last, in place; returns it."""
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _is_strided_pointwise(layer):
            layer.__class__ = StridedPointwise
        elif type(layer) is nn.Conv2d and _is_wide_depthwise(layer):
            layer.__class__ = WideDepthwise
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def to_coding_format(module: nn.Module) -> nn.Module:
    """Move what trained to the CPU and into the memory format that codecs are loaded in; returns it.

    Syntheses are in channels_last, where transposed convolutions are faster (`benchmarks/coding.py`). What is
    coded is summed in the order of CompressAI's networks, which gives the same strings.
    """
    module.to("cpu").to(memory_format=torch.contiguous_format)
    for name, part in module.named_modules():
        if name.rpartition(".")[2] == "g_s":
            to_channels_last(part, torch.device("cpu"))
    return module


def _is_strided_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.padding == (0, 0)


def _is_wide_depthwise(layer: nn.Conv2d) -> bool:
    kernel, dilation, padding = layer.kernel_size, layer.dilation, layer.padding
    if not layer.groups == layer.in_channels == layer.out_channels > 1:
        return False
    if isinstance(padding, str) or layer.padding_mode != "zeros" or layer.stride != (1, 1):
        return False
    # As a convolution the gradient needs a padding that is not negative.
    fits = all(p <= d * (k - 1) for p, d, k in zip(padding, dilation, kernel, strict=True))
    return fits and (max(kernel) > 3 or max(dilation) > 1)
