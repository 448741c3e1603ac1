"""Convolutions in integers: the same numbers on every machine, in whatever order they are summed.

A value is an integer times 2^-12, a weight an integer times 2^-16. Both are held in float64, which adds
and multiplies integers exactly below 2^53, so instruction set, threads, batch, memory format and device
cannot matter. What a layer reads is clipped to 2^24 (4096 as a value), which bounds the sums by the
weights alone: a layer whose sums could pass 2^53 is refused (`check_bound`). What it gives back is
clipped likewise, so that float32 holds it exactly too.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from compressai.layers import MaskedConv2d
from torch import Tensor, nn
from torch.nn import functional

from interfero.errors import CodecError

VALUE_BITS = 12
WEIGHT_BITS = 16
LIMIT = 1 << 24
"""Largest magnitude of an integer that stands for a value: 4096."""
EXACT = 1 << 53
"""float64 holds every integer up to here."""
VALUE, WEIGHT = float(1 << VALUE_BITS), float(1 << WEIGHT_BITS)

Convolution = nn.Conv2d | nn.ConvTranspose2d


def to_integers(values: Tensor) -> Tensor:
    """Integers that stand for values, in float64: rounded down, clipped; NaN stays."""
    return values.double().mul_(VALUE).floor_().clamp_(-LIMIT, LIMIT)


def to_values(integers: Tensor) -> Tensor:
    """What integers stand for, in float32; exact."""
    return integers.mul(1 / VALUE).float()


def rescaled(sums: Tensor) -> Tensor:
    """Sums of values times weights to integers that stand for values, in place."""
    return sums.mul_(1 / WEIGHT).floor_().clamp_(-LIMIT, LIMIT)


def rectified(values: Tensor, negative_slope: float) -> Tensor:
    """(Leaky) ReLU: `max(x, 0) + slope * min(x, 0)`, the slope a weight."""
    integers = to_integers(values)
    slope = float(round(negative_slope * WEIGHT))
    below = rescaled(integers.clamp(max=0).mul_(slope))
    return to_values(integers.clamp_(min=0).add_(below))


def snapped(values: Tensor) -> Tensor:
    """Values on the grid of 2^-12, in float32."""
    return to_values(to_integers(values))


def is_on_grid(values: Tensor) -> bool:
    """Whether all values are multiples of 2^-12; NaN is none, and counts as one."""
    scaled = values.double().mul_(VALUE)
    return bool(((scaled == scaled.floor()) | scaled.isnan()).all())


@dataclass(frozen=True, eq=False)
class IntegerConvolution:
    """A convolution or transposed convolution whose weights and sums are integers."""

    matrix: Tensor
    """Weights: (out, in * height * width) of a convolution, (out * height * width, in) of a transposed
    one; float64."""
    bias: Tensor | None
    """(out, 1), at the scale of the sums; float64."""
    taps: Tensor
    """Columns of a convolution's `matrix` that are not zero throughout."""
    tap_matrix: Tensor
    """Those columns (see `at`)."""
    layer_weight: Tensor
    layer_bias: Tensor | None
    """What it was made from."""

    def made_from(self, weight: Tensor, bias: Tensor | None) -> bool:
        """Whether these are the numbers it was made from."""
        if weight.device != self.layer_weight.device or not torch.equal(self.layer_weight, weight):
            return False
        if bias is None or self.layer_bias is None:
            return bias is self.layer_bias
        return torch.equal(self.layer_bias, bias)

    def convolve(self, layer: nn.Conv2d, x_BCHW: Tensor) -> Tensor:
        """What `layer` does, on values in float32."""
        integers = to_integers(x_BCHW)
        size = (_reach(layer, integers.shape[2], 0), _reach(layer, integers.shape[3], 1))
        if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
            columns = integers[:, :, :: layer.stride[0], :: layer.stride[1]].flatten(2)
        else:
            columns = functional.unfold(
                integers, layer.kernel_size, layer.dilation, _padding(layer), layer.stride
            )
        return _finished(_product(self.matrix, columns, self.bias)).reshape(len(columns), -1, *size)

    def transpose_convolve(self, layer: nn.ConvTranspose2d, x_BCHW: Tensor) -> Tensor:
        """What `layer` does, on values in float32."""
        integers = to_integers(x_BCHW)
        size = tuple(
            (side - 1) * stride - 2 * padding + kernel + more
            for side, stride, padding, kernel, more in zip(
                integers.shape[2:], layer.stride, _padding(layer), layer.kernel_size,
                layer.output_padding, strict=True,
            )
        )  # fmt: skip
        columns = _product(self.matrix, integers.flatten(2), None)
        sums = functional.fold(
            columns, size, layer.kernel_size, padding=_padding(layer), stride=layer.stride
        ).flatten(2)
        if self.bias is not None:
            sums += self.bias
        return _finished(sums).reshape(len(columns), -1, *size)

    def at(self, crop_1CHW: Tensor) -> Tensor:
        """One position of a convolution, from what lies under its kernel: (1, out, 1, 1)."""
        integers = to_integers(crop_1CHW.flatten()[self.taps])
        sums = _product(self.tap_matrix, integers[None, :, None], self.bias)
        return _finished(sums)[..., None]


def _finished(sums_BCL: Tensor) -> Tensor:
    return to_values(rescaled(sums_BCL))


def _product(matrix: Tensor, columns_BKL: Tensor, bias: Tensor | None) -> Tensor:
    """(batch, rows of the matrix, positions) sums of products."""

    def product(columns_KL: Tensor) -> Tensor:
        return matrix @ columns_KL if bias is None else torch.addmm(bias, matrix, columns_KL)

    if len(columns_BKL) == 1:
        return product(columns_BKL[0])[None]
    return torch.stack([product(columns) for columns in columns_BKL])


def _padding(layer: Convolution) -> tuple[int, int]:
    assert not isinstance(layer.padding, str)
    first, second = layer.padding
    return first, second


def _reach(layer: nn.Conv2d, side: int, axis: int) -> int:
    """Positions of the kernel along an axis."""
    covered = layer.dilation[axis] * (layer.kernel_size[axis] - 1) + 1
    return (side + 2 * _padding(layer)[axis] - covered) // layer.stride[axis] + 1


def weights_of(layer: Convolution) -> Tensor:
    """The kernel as it is used: a masked convolution's without what the mask hides."""
    weight = layer.weight.detach()
    return weight * layer.mask if isinstance(layer, MaskedConv2d) else weight


def integer_convolution(name: str, layer: Convolution) -> IntegerConvolution:
    """The integer form of a layer as it is now; made again only after its numbers have changed.

    Raises:
        CodecError: it has none, or its sums could pass 2^53; names it.
    """
    weight = weights_of(layer)
    bias = None if layer.bias is None else layer.bias.detach()
    known = _CACHE.get(layer)
    if known is None or not known.made_from(weight, bias):
        known = _made(name, layer, weight, bias)
        _CACHE[layer] = known
    return known


_CACHE: WeakKeyDictionary[nn.Module, IntegerConvolution] = WeakKeyDictionary()


def _made(name: str, layer: Convolution, weight: Tensor, bias: Tensor | None) -> IntegerConvolution:
    check_bound(name, layer)
    integers = weight.double().mul_(WEIGHT).round_()
    if isinstance(layer, nn.ConvTranspose2d):
        matrix = integers.flatten(1).t().contiguous()
    else:
        matrix = integers.flatten(1)
    taps = matrix.any(dim=0).nonzero()[:, 0]
    tap_matrix = matrix if len(taps) == matrix.shape[1] else matrix[:, taps].contiguous()
    scaled = None if bias is None else bias.double().mul_(WEIGHT * VALUE).round_()[:, None]
    # Copies: a parameter can be written into, and nothing tells.
    kept = None if bias is None else bias.clone()
    return IntegerConvolution(matrix, scaled, taps, tap_matrix, weight.clone(), kept)


def check_bound(name: str, layer: Convolution) -> None:
    """Prove that no sum of a layer can pass 2^53, whatever it reads.

    An output sums `weight * value + bias`: at most `LIMIT * sum(|weight|) + |bias|`.

    Raises:
        CodecError: it can, or the layer is of a kind that has no integer form; names it.
    """
    plain = layer.groups == 1 and layer.padding_mode == "zeros" and layer.padding != "same"
    if not plain or (isinstance(layer, nn.ConvTranspose2d) and set(layer.dilation) != {1}):
        raise CodecError(
            f"layer {name!r} ({type(layer).__name__}) decides symbols and has no integer form: it is "
            "grouped, padded by other than zeros, or dilated; streams would not decode on other machines"
        )
    weight = weights_of(layer).double().mul_(WEIGHT).round_().abs_()
    outputs = (0, 2, 3) if isinstance(layer, nn.ConvTranspose2d) else (1, 2, 3)
    sums = weight.sum(dim=outputs) * LIMIT
    if layer.bias is not None:
        sums += layer.bias.detach().double().mul_(WEIGHT * VALUE).round_().abs_()
    largest = float(sums.max())
    # Written so that NaN is refused.
    if not largest < EXACT:
        raise CodecError(
            f"layer {name!r} decides symbols, and its sums may reach {largest:.3g}: below 2^53 "
            f"({EXACT:.3g}) they are exact on every machine, which its weights do not warrant; the codec "
            "has diverged, train it with a lower learning rate"
        )
