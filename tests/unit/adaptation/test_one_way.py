"""Custom layers compute what their definition says, however they are computed."""

import pytest
import torch
from compressai.models import MeanScaleHyperprior
from compressai.models.utils import conv, deconv
from torch import nn

from interfero.adaptation.base_layer import walk_swiftly
from interfero.adaptation.one_way import OneWayChain, OneWayGDN, walk
from interfero.adaptation.subpixel import subpixel_kernel, swift_transposed, transposed


@pytest.fixture(autouse=True)
def seeded():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("layer", [deconv(5, 3), deconv(5, 3, kernel_size=3), deconv(5, 6)])
@pytest.mark.parametrize("biased", [True, False])
def test_a_transposed_convolution_may_be_a_plain_one(layer, biased):
    x = torch.randn(2, 5, 6, 7)
    bias = layer.bias if biased else None
    expected = nn.functional.conv_transpose2d(
        x, layer.weight, bias, layer.stride, layer.padding, layer.output_padding
    )
    found = transposed(layer, x, layer.weight, bias)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    "layer", [deconv(5, 3), deconv(5, 6), nn.ConvTranspose2d(6, 6, 3, groups=2), conv(5, 6)]
)
def test_layers_that_answer_faster_learn_the_same(layer):
    x = torch.randn(2, layer.in_channels, 6, 7, requires_grad=True)
    learning = [x, *layer.parameters()]
    wanted = torch.autograd.grad(layer(x).square().sum(), learning)
    with swift_transposed(nn.Sequential(layer)):
        y = layer(x)
    given = torch.autograd.grad(y.square().sum(), learning)
    for one, other in zip(given, wanted, strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5 * float(other.abs().max()))
    with torch.no_grad():
        expected = layer(x)
    assert "forward" not in vars(layer)
    assert torch.allclose(y, expected, atol=1e-5)


def test_one_pixel_spreads_by_the_kernel():
    weight = torch.arange(25.0).reshape(1, 1, 5, 5)
    kernel = subpixel_kernel(weight)
    assert kernel.shape == (4, 1, 3, 3)
    # Even rows and columns are written by kernel rows and columns 4, 2, 0 of the inputs around them.
    assert kernel[0, 0].tolist() == [[24, 22, 20], [14, 12, 10], [4, 2, 0]]


@pytest.mark.parametrize("layer", [conv(4 + 2, 3), deconv(4 + 2, 3), deconv(4 + 2, 7)])
def test_source_and_custom_channels_give_what_joined_ones_would(layer):
    source_layer = type(layer)(
        4, 8, layer.kernel_size, layer.stride, layer.padding,
        **({"output_padding": 1} if isinstance(layer, nn.ConvTranspose2d) else {}),
    )  # fmt: skip
    width = layer.out_channels
    chain = OneWayChain(nn.Sequential(source_layer), num_custom=2, custom_in=2, custom_out=width)
    chain.head.load_state_dict(layer.state_dict())
    source, custom = torch.randn(2, 4, 8, 8), torch.randn(2, 2, 8, 8, requires_grad=True)
    found = chain((source,), custom)
    joined = layer(torch.cat([source, custom], dim=1))
    assert torch.allclose(found, joined, atol=1e-5)
    (wanted,) = torch.autograd.grad(joined.square().sum(), custom)
    (given,) = torch.autograd.grad(found.square().sum(), custom)
    assert torch.allclose(given, wanted, atol=1e-4)


@pytest.mark.parametrize("inverse", [True, False])
def test_custom_channels_are_normalised_by_both(inverse):
    gdn = OneWayGDN(4, 2, inverse=inverse)
    nn.init.uniform_(gdn.gamma, 0.1, 0.5)
    source, custom = torch.randn(1, 4, 3, 3), torch.randn(1, 2, 3, 3)
    gamma, beta = gdn.gamma_reparam(gdn.gamma), gdn.beta_reparam(gdn.beta)
    both = torch.cat([source, custom], dim=1).square()
    norm = (torch.einsum("cd,bdhw->bchw", gamma, both) + beta[:, None, None]).sqrt()
    expected = custom * norm if inverse else custom / norm
    assert torch.allclose(gdn(source.square(), custom), expected, atol=1e-6)


@pytest.mark.parametrize("name", ["g_a", "g_s"])
def test_the_pass_for_training_is_the_source_codecs_but_for_the_last_bits(name):
    model = MeanScaleHyperprior(N=6, M=8)
    chain, channels = getattr(model, name), {"g_a": 3, "g_s": 8}[name]
    x = torch.randn(2, channels, 64 if name == "g_a" else 4, 64 if name == "g_a" else 4)
    with torch.no_grad():
        (inputs, output), (exact, whole) = walk_swiftly(chain, x), walk(chain, x)
    for found, expected in zip((*inputs, output), (*exact, whole), strict=True):
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-5)
