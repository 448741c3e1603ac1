"""CompressAI's entropy models without their detours: the same strings and latents, bit for bit.

Each function stands in for the method of that name. What is left out: tables as Python lists on each
call, a pass over the latent for each of 64 scales, and both again for each pixel of an
autoregressive codec. What decides a symbol, every convolution and rounding, is CompressAI's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from torch import Tensor
from torch.nn import functional

from interfero.codecs.entropy_tables import Int32Array, tables_of
from interfero.codecs.exact import exact_form
from interfero.codecs.integers import weights_of
from interfero.codecs.recording import RecordingCoder


def compress(
    module: EntropyModel,
    coder: RecordingCoder,
    inputs: Tensor,
    indexes: Tensor,
    means: Tensor | None = None,
) -> list[bytes]:
    """`EntropyModel.compress`: one string per image.

    Args:
        module: The entropy model.
        coder: Codes and records.
        inputs: (batch, channels, ...) latents.
        indexes: Of the same shape: row of the table.
        means: What is subtracted before rounding.
    """
    if inputs.dim() < 2 or inputs.shape != indexes.shape:
        raise ValueError(
            f"latents {tuple(inputs.shape)} and indexes {tuple(indexes.shape)}: one shape, of at "
            "least two dimensions, is needed"
        )
    given = coder.next_given()
    if given is not None:
        inputs = given
    coder.check_decided(module, means)
    symbols = module.quantize(inputs, "symbols", means)
    tables = tables_of(module)
    pairs = zip(symbols, indexes, strict=True)
    return [coder.encode(_flat(latent), _flat(rows), tables) for latent, rows in pairs]


def decompress(
    module: EntropyModel,
    coder: RecordingCoder,
    strings: Sequence[bytes],
    indexes: Tensor,
    dtype: torch.dtype = torch.float,
    means: Tensor | None = None,
) -> Tensor:
    """`EntropyModel.decompress`: strings, one per image, to latents of the shape of `indexes`."""
    if len(strings) != len(indexes) or indexes.dim() < 2:
        raise ValueError(
            f"{len(strings)} strings and indexes {tuple(indexes.shape)}: one string an image of at "
            "least one dimension is needed"
        )
    tables = tables_of(module)
    outputs = module._quantized_cdf.new_empty(indexes.shape)
    for output, string, rows in zip(outputs, strings, indexes, strict=True):
        symbols = coder.decode(string, _flat(rows), tables)
        output.copy_(torch.from_numpy(symbols).reshape(output.shape))
    coder.check_decided(module, means)
    latents: Tensor = module.dequantize(outputs, means, dtype)
    coder.keep(latents)
    return latents


def compress_bottleneck(
    module: EntropyBottleneck, coder: RecordingCoder, inputs: Tensor
) -> list[bytes]:
    """`EntropyBottleneck.compress`: one row of the table per channel, medians as means."""
    means = _medians(module, len(inputs), inputs.dim() - 2)
    return compress(module, coder, inputs, module._build_indexes(inputs.size()), means)


def decompress_bottleneck(
    module: EntropyBottleneck, coder: RecordingCoder, strings: Sequence[bytes], size: Sequence[int]
) -> Tensor:
    """`EntropyBottleneck.decompress`: `size` is that of one channel."""
    tables = module._quantized_cdf
    indexes = module._build_indexes((len(strings), len(tables), *size)).to(tables.device)
    means = _medians(module, len(strings), len(size))
    return decompress(module, coder, strings, indexes, means.dtype, means)


def _medians(module: EntropyBottleneck, batch: int, spatial_dims: int) -> Tensor:
    medians = module._extend_ndims(module._get_medians().detach(), spatial_dims)
    expanded: Tensor = medians.expand(batch, *([-1] * (spatial_dims + 1)))
    return expanded


def build_indexes(module: GaussianConditional, coder: RecordingCoder, scales: Tensor) -> Tensor:
    """`GaussianConditional.build_indexes`: how many entries of the scale table a scale exceeds.

    A bisection counts the same where the table ascends, and gives NaN the last row, as it does.
    """
    coder.check_decided(module, scales)
    return _row_chooser(module)(scales)


def _row_chooser(module: GaussianConditional) -> Callable[[Tensor], Tensor]:
    """`build_indexes` of a module whose table stays as it is meanwhile."""
    table = module.scale_table
    if len(table) < 2 or not bool((table[1:] >= table[:-1]).all()):
        return partial(GaussianConditional.build_indexes, module)
    bound, rows = module.lower_bound_scale.bound, table[:-1].contiguous()

    def choose(scales: Tensor) -> Tensor:
        if scales.dtype != rows.dtype:
            counted: Tensor = GaussianConditional.build_indexes(module, scales)
            return counted
        return torch.bucketize(torch.max(scales, bound).contiguous(), rows, out_int32=True)

    return choose


def compress_pixels(
    module: Any,
    coder: RecordingCoder,
    y_hat: Tensor,
    params: Tensor,
    height: int,
    width: int,
    kernel_size: int,
    padding: int,
) -> bytes:
    """`JointAutoregressiveHierarchicalPriors._compress_ar`: one image, pixel after pixel.

    Args:
        module: The codec.
        coder: Codes and records.
        y_hat: (1, M, height + 2 padding, width + 2 padding) latents; becomes the rounded ones.
        params: (1, 2 M, height, width) what the hyperprior says.
        height: Of the latent.
        width: Of the latent.
        kernel_size: Of the context's convolution.
        padding: What `y_hat` has more on each side.
    """
    conditional = module.gaussian_conditional
    given = coder.next_given()
    if given is not None:
        y_hat = functional.pad(given, 4 * (padding,))
    context = _context(module.context_prediction)
    choose = _row_chooser(conditional)
    symbols, rows = [], []
    for h in range(height):
        for w in range(width):
            y_crop = y_hat[:, :, h : h + kernel_size, w : w + kernel_size]
            scales, means = _predict(module, context(y_crop), params, h, w)
            coder.check_pixel(conditional, scales, means, w)
            means = means[:, :, 0, 0]
            y_q = conditional.quantize(y_crop[:, :, padding, padding], "symbols", means)
            y_hat[:, :, h + padding, w + padding] = y_q + means
            symbols.append(y_q)
            rows.append(choose(scales))
    return coder.encode(_flat(torch.cat(symbols)), _flat(torch.cat(rows)), tables_of(conditional))


def decompress_pixels(
    module: Any,
    coder: RecordingCoder,
    y_string: bytes,
    y_hat: Tensor,
    params: Tensor,
    height: int,
    width: int,
    kernel_size: int,
    padding: int,
) -> None:
    """`JointAutoregressiveHierarchicalPriors._decompress_ar`: fills `y_hat`, zeros before.

    Args:
        module: The codec.
        coder: Decodes and records.
        y_string: What `compress_pixels` gave.
        y_hat: (1, M, height + 2 padding, width + 2 padding), filled in place.
        params: (1, 2 M, height, width) what the hyperprior says.
        height: Of the latent.
        width: Of the latent.
        kernel_size: Of the context's convolution.
        padding: What `y_hat` has more on each side.
    """
    conditional = module.gaussian_conditional
    context = _context(module.context_prediction)
    count, choose = y_hat.shape[1] * height * width, _row_chooser(conditional)
    with coder.open(y_string, count, tables_of(conditional)) as decode:
        for h in range(height):
            for w in range(width):
                y_crop = y_hat[:, :, h : h + kernel_size, w : w + kernel_size]
                scales, means = _predict(module, context(y_crop), params, h, w)
                coder.check_pixel(conditional, scales, means, w)
                symbols = torch.from_numpy(decode(_flat(choose(scales))))
                y_hat[:, :, h + padding, w + padding] = conditional.dequantize(
                    symbols.reshape(1, -1).float(), means[:, :, 0, 0]
                )
    coder.keep(y_hat[:, :, padding:-padding, padding:-padding])


def _context(prediction: Any) -> Callable[[Tensor], Tensor]:
    """What the masked convolution says of the pixel in the middle of a crop: (1, 2 M, 1, 1)."""
    exact = exact_form(prediction)
    if exact is not None:
        return exact.form.at
    return partial(functional.conv2d, weight=weights_of(prediction), bias=prediction.bias)


def _predict(module: Any, context: Tensor, params: Tensor, h: int, w: int) -> tuple[Tensor, Tensor]:
    """Scales and means of one pixel, each (1, M, 1, 1), from its context and the hyperprior."""
    both = torch.cat((params[:, :, h : h + 1, w : w + 1], context), dim=1)
    scales, means = module.entropy_parameters(both).chunk(2, 1)
    return scales, means


def _flat(values: Tensor) -> Int32Array:
    flat: Int32Array = values.reshape(-1).int().cpu().numpy()
    return flat
