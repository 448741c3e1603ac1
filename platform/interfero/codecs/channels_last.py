"""The memory format that convolutions train fastest in, without what is broken in it."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class StridedPointwise(nn.Conv2d):
    """A 1x1 convolution on the points that its stride meets, and the same numbers as `nn.Conv2d`'s.

    In channels_last, the gradient of oneDNN's own (torch 2.15: 3 to 16 or 128 channels, say) writes
    outside its memory, and the process dies at some later time.
    """

    def forward(self, input: Tensor) -> Tensor:
        """B, `in_channels`, H, W to B, `out_channels`, H / stride, W / stride, both rounded up."""
        rows, columns = self.stride
        points = input[:, :, ::rows, ::columns]
        return nn.functional.conv2d(points, self.weight, self.bias, groups=self.groups)


def to_channels_last(module: nn.Module, device: torch.device) -> nn.Module:
    """Move a module to a device and into channels_last, in place; returns it."""
    for layer in module.modules():
        if type(layer) is nn.Conv2d and _is_strided_pointwise(layer):
            layer.__class__ = StridedPointwise
    return module.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def _is_strided_pointwise(layer: nn.Conv2d) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.stride) > 1 and layer.padding == (0, 0)
