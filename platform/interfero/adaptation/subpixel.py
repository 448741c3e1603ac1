"""Transposed convolutions faster than by torch's own layer, for training on a processor.

Those to few channels are computed as convolutions to four times as many.

A transposed convolution with stride 2 writes each output pixel by one of four sub-kernels, by the parity of
its row and column (Shi et al., arXiv:1609.07009). As one 3x3 convolution and a shuffle of pixels it costs
a third more multiplications, but a processor's vectors are filled by twelve outputs and not by three:
64 channels to 3 of 128x128 took 3.9 ms a batch instead of 8.2 ms, one thread of an AMD EPYC.

The bias that learns is added afterwards: in bfloat16 its gradient costs oneDNN as much as that of the input
(torch 2.15: 7.9 of 25.8 ms a batch of 64 channels of 64x64, where the sum it is takes 0.1 ms).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from interfero.adaptation.patching import answering

MAX_CHANNELS = 4
"""Outputs up to which it pays; with 8, forward and backward together take as long either way."""


def transposed(
    layer: nn.ConvTranspose2d,
    x_BCHW: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    *others: tuple[Tensor, Tensor],
) -> Tensor:
    """What `layer` does with another kernel, up to the order of float sums.

    Args:
        layer: Gives stride and padding.
        x_BCHW: (batch, in, height, width).
        weight: (in, out, height, width).
        bias: (out,), if any.
        others: More inputs, of other channels, with their kernels; what they give is added.
    """
    subpixels = weight.shape[1] <= MAX_CHANNELS and _is_doubling(layer)
    convolve = _subpixels if subpixels else _plainly
    total = convolve(layer, x_BCHW, weight, bias)
    for other_BCHW, kernel in others:
        total = total + convolve(layer, other_BCHW, kernel, None)
    return functional.pixel_shuffle(total, 2) if subpixels else total


@contextmanager
def swift_transposed(model: nn.Module) -> Iterator[None]:
    """Let the transposed convolutions below a model answer faster, up to the order of float sums.

    On a processor alone, and until the context ends. For training: a decoder's pictures are to be the same
    to the bit wherever they are made.
    """
    with ExitStack() as stack:
        for layer in model.modules():
            if type(layer) is nn.ConvTranspose2d and layer.groups == 1 and layer.dilation == (1, 1):
                stack.enter_context(answering(layer, partial(_swift, layer)))
        yield


def _swift(layer: nn.ConvTranspose2d, x_BCHW: Tensor) -> Tensor:
    if x_BCHW.device.type != "cpu":
        return nn.ConvTranspose2d.forward(layer, x_BCHW)
    return transposed(layer, x_BCHW, layer.weight, layer.bias)


def _plainly(layer: nn.ConvTranspose2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    assert not isinstance(layer.padding, str)
    later = bias is not None and bias.requires_grad and torch.is_grad_enabled()
    y = functional.conv_transpose2d(
        x, weight, None if later else bias, layer.stride, layer.padding, layer.output_padding
    )
    return y + bias.to(y.dtype)[:, None, None] if bias is not None and later else y


def _subpixels(layer: nn.ConvTranspose2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """(batch, 4 * out, height, width), to be shuffled."""
    repeated = None if bias is None else bias.repeat_interleave(4)
    return functional.conv2d(x, subpixel_kernel(weight), repeated, padding=1)


def _is_doubling(layer: nn.ConvTranspose2d) -> bool:
    """Whether it is CompressAI's `deconv`: twice the side, by a 5x5 kernel."""
    return (
        layer.kernel_size == (5, 5)
        and layer.stride == (2, 2)
        and layer.padding == (2, 2)
        and layer.output_padding == (1, 1)
        and layer.groups == 1
    )


def subpixel_kernel(weight: Tensor) -> Tensor:
    """(in, out, 5, 5) of a transposed convolution to (4 * out, in, 3, 3) of a plain one.

    Output row 2q + r reads input rows q + 1 - m by kernel rows r + 2m; a row of zeros makes them six.
    """
    num_in, num_out = weight.shape[:2]
    rows = functional.pad(weight, (0, 1, 0, 1)).reshape(num_in, num_out, 3, 2, 3, 2).flip(2, 4)
    return rows.permute(1, 3, 5, 0, 2, 4).reshape(4 * num_out, num_in, 3, 3)
