"""Integer convolutions: Python's own integers, whatever the layout, and the proof that they are exact."""

import math
from itertools import product

import pytest
import torch
from compressai.layers import MaskedConv2d
from torch import nn

from interfero.codecs.integers import (
    LIMIT,
    check_bound,
    integer_convolution,
    is_on_grid,
    rectified,
    snapped,
    to_integers,
)
from interfero.errors import CodecError


def random(*shape, scale=1.0, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def layer_of(kind, *args, **kwargs):
    torch.manual_seed(5)
    layer = kind(*args, **kwargs)
    with torch.no_grad():
        layer.weight.mul_(8)
    return layer


LAYERS = [
    layer_of(nn.Conv2d, 3, 4, 3, padding=1),
    layer_of(nn.Conv2d, 3, 2, 5, stride=2, padding=2),
    layer_of(nn.Conv2d, 3, 2, 1, bias=False),
    layer_of(nn.Conv2d, 3, 2, 1, stride=2),
    layer_of(nn.Conv2d, 3, 2, 3, padding=2, dilation=2),
    layer_of(nn.ConvTranspose2d, 3, 4, 5, stride=2, padding=2, output_padding=1),
    layer_of(nn.ConvTranspose2d, 3, 4, 3, stride=1, padding=1, bias=False),
    layer_of(MaskedConv2d, 3, 4, 5, padding=2),
]


def exact(layer, x):
    form = integer_convolution("layer", layer)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return form.transpose_convolve(layer, x) if transposed else form.convolve(layer, x)


def by_hand(layer, x):
    """What the layer is to give, in Python's integers: sums over kernel positions, one by one."""
    weight = layer.weight * layer.mask if isinstance(layer, MaskedConv2d) else layer.weight
    integers = [math.floor(v * 2**12) for v in x.flatten().tolist()]
    weights = [round(v * 2**16) for v in weight.flatten().tolist()]
    bias = [0] * 9 if layer.bias is None else [round(v * 2**28) for v in layer.bias.tolist()]
    (_, channels, height, width), out = x.shape, layer(x).shape
    kh, kw = layer.kernel_size
    stride, pad, dilation = layer.stride[0], layer.padding[0], layer.dilation[0]
    result = torch.zeros(out)
    for o, r, c in product(*map(range, out[1:])):
        total = bias[o]
        for i, a, b in product(range(channels), range(kh), range(kw)):
            if isinstance(layer, nn.ConvTranspose2d):
                row, spare_r = divmod(r + pad - a, stride)
                col, spare_c = divmod(c + pad - b, stride)
                position = ((i * out[1] + o) * kh + a) * kw + b
                hit = not spare_r and not spare_c
            else:
                row, col = r * stride - pad + a * dilation, c * stride - pad + b * dilation
                position = ((o * channels + i) * kh + a) * kw + b
                hit = True
            if hit and 0 <= row < height and 0 <= col < width:
                total += weights[position] * integers[(i * height + row) * width + col]
        result[0, o, r, c] = max(-LIMIT, min(LIMIT, total // 2**16)) / 2**12
    return result


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_a_layer_gives_what_integers_give(layer):
    x = random(1, 3, 5, 6, scale=20)
    with torch.inference_mode():
        found = exact(layer, x)
        assert torch.equal(found, by_hand(layer, x))
        # And what the layer means, to the precision of the grid.
        assert torch.allclose(found, layer(x), atol=0.02)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_batch_memory_format_and_threads_change_nothing(layer):
    x = random(3, 3, 8, 10, scale=20)
    before = torch.get_num_threads()
    try:
        with torch.inference_mode():
            torch.set_num_threads(1)
            one_by_one = torch.cat([exact(layer, image[None]) for image in x])
            torch.set_num_threads(2)
            assert torch.equal(exact(layer, x), one_by_one)
            swapped = x.to(memory_format=torch.channels_last)
            assert torch.equal(exact(layer, swapped), one_by_one)
    finally:
        torch.set_num_threads(before)


def test_one_position_is_that_of_the_whole():
    layer = LAYERS[-1]
    x = random(1, 3, 9, 9, scale=20)
    form = integer_convolution("layer", layer)
    whole = form.convolve(layer, x)
    assert torch.equal(form.at(x[:, :, 2:7, 3:8])[0, :, 0, 0], whole[0, :, 4, 5])
    assert len(form.taps) == 3 * 12


def test_a_changed_weight_is_noticed():
    layer = layer_of(nn.Conv2d, 1, 1, 1)
    x = torch.ones(1, 1, 1, 1)
    before = exact(layer, x)
    assert integer_convolution("a", layer) is integer_convolution("a", layer)
    layer.weight.data += 1
    assert torch.equal(exact(layer, x), before + 1)
    layer.bias.data -= 1
    assert torch.equal(exact(layer, x), before)


def test_values_are_rounded_down_and_clipped():
    values = torch.tensor([1.0, -(2.0**-13), 2.0**-13, 1e9, -math.inf, math.nan])
    assert to_integers(values)[:5].tolist() == [4096, -1, 0, LIMIT, -LIMIT]
    assert snapped(values)[:5].tolist() == [1, -(2.0**-12), 0, 4096, -4096]
    assert snapped(values)[5].isnan()
    assert is_on_grid(snapped(values))
    assert not is_on_grid(values)


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.3])
def test_relus_are_integers_too(slope):
    x = snapped(random(1000, scale=9))
    factor = round(slope * 2**16)
    expected = [v if v >= 0 else (factor * int(v * 4096) // 2**16) / 4096 for v in x.tolist()]
    assert rectified(x, slope).tolist() == expected


def test_the_bound_is_on_the_worst_input_there_is():
    layer = nn.Conv2d(2, 1, 1)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([4096.0, -4095.0]).reshape(1, 2, 1, 1))
        layer.bias.fill_(0)
    # 2^24 * 2^16 * 8191 = 2^53 - 2^40.
    check_bound("h_s.0", layer)
    x = torch.tensor([4096.0, -4096.0]).reshape(1, 2, 1, 1)
    assert exact(layer, x).item() == 4096
    with torch.no_grad():
        layer.weight[0, 1] = -4096
    with pytest.raises(CodecError, match=r"'h_s.0' decides symbols, .* may reach 9.01e\+15"):
        check_bound("h_s.0", layer)
    with pytest.raises(CodecError, match="lower learning rate"):
        integer_convolution("h_s.0", layer)


def test_a_diverged_layer_is_refused():
    layer = nn.ConvTranspose2d(2, 1, 1)
    with torch.no_grad():
        layer.weight[0] = math.nan
    with pytest.raises(CodecError, match="may reach nan"):
        check_bound("h_s.0", layer)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
        nn.ConvTranspose2d(4, 4, 3, dilation=2),
    ],
)
def test_a_layer_without_an_integer_form_is_named(layer):
    with pytest.raises(CodecError, match=r"'h_s.2' .* has no integer form"):
        check_bound("h_s.2", layer)
