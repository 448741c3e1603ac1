"""MS-SSIM of two images, as pytorch-msssim defines it, in about half its time on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the five scales, the finest first (Wang et al. 2003, table I)."""
WINDOW = 11
"""Pixels a side of the Gaussian window."""
SIGMA = 1.5
K1, K2 = 0.01, 0.03
MIN_SIDE = (WINDOW - 1) * 16 + 1
"""Pixels; on a smaller image the coarsest scale has no room for the window."""


def ms_ssim(a_BCHW: Tensor, b_BCHW: Tensor, peak: float) -> Tensor:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003), mean over channels.

    The five means that a scale needs are filtered together, channels last: a depthwise convolution
    of 3 channels uses a fraction of the processor.

    Args:
        a_BCHW: (batch, channels, height, width) image.
        b_BCHW: Another, of the same shape.
        peak: Largest value of a pixel.

    Returns:
        (batch,) in [0, 1], higher is better.

    Raises:
        ValueError: the shapes differ, or a side is below `MIN_SIDE`.
    """
    if a_BCHW.shape != b_BCHW.shape or min(a_BCHW.shape[-2:]) < MIN_SIDE:
        raise ValueError(
            f"MS-SSIM of {tuple(a_BCHW.shape)} and {tuple(b_BCHW.shape)}: one shape, of at least "
            f"{MIN_SIDE} pixels a side, is needed"
        )
    values = []
    for scale in range(len(SCALE_WEIGHTS)):
        if scale:
            # Odd sides are padded with zeros that count, as in pytorch-msssim.
            odd = [side % 2 for side in a_BCHW.shape[-2:]]
            a_BCHW, b_BCHW = (functional.avg_pool2d(x, 2, padding=odd) for x in (a_BCHW, b_BCHW))
        similarity, contrast = _ssim(a_BCHW, b_BCHW, peak)
        last = scale == len(SCALE_WEIGHTS) - 1
        values.append((similarity if last else contrast).flatten(2).mean(-1).relu())
    weights = a_BCHW.new_tensor(SCALE_WEIGHTS)[:, None, None]
    return (torch.stack(values) ** weights).prod(0).mean(-1)


def _ssim(a: Tensor, b: Tensor, peak: float) -> tuple[Tensor, Tensor]:
    """SSIM at each place, and its contrast and structure term without luminance."""
    products = torch.cat((a, b, a * a, b * b, a * b), 1)
    blurred = _blur(products.contiguous(memory_format=torch.channels_last))
    mean_a, mean_b, aa, bb, ab = blurred.chunk(5, 1)
    both, squares = mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    contrast = (2 * (ab - both) + c2) / (aa + bb - squares + c2)
    return (2 * both + c1) / (squares + c1) * contrast, contrast


def _blur(x: Tensor) -> Tensor:
    offsets = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    window = torch.exp(-(offsets**2) / (2 * SIGMA**2))
    window = (window / window.sum()).expand(x.shape[1], 1, 1, WINDOW)
    columns = functional.conv2d(x, window.transpose(2, 3).contiguous(), groups=x.shape[1])
    return functional.conv2d(columns, window.contiguous(), groups=x.shape[1])
