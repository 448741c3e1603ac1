"""Strided 1x1 and wide depthwise convolutions: the same numbers as torch's, and memory that stays whole."""

import copy
import subprocess
import sys

import pytest
import torch
from torch import nn

from interfero.codecs.channels_last import StridedPointwise, WideDepthwise, to_channels_last

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("stride", "groups", "bias"), [(2, 1, True), (3, 2, False), ((1, 2), 1, True)]
)
def test_values_and_gradients_are_those_of_the_plain_convolution(stride, groups, bias):
    torch.manual_seed(0)
    plain = nn.Conv2d(4, 6, 1, stride, groups=groups, bias=bias)
    ours = to_channels_last(copy.deepcopy(plain), CPU)
    assert isinstance(ours, StridedPointwise)
    x = torch.rand(2, 4, 9, 12)
    inputs = [x.clone().requires_grad_(), x.to(memory_format=torch.channels_last).requires_grad_()]
    outputs = [layer(i) for layer, i in zip((plain, ours), inputs, strict=True)]
    torch.testing.assert_close(outputs[1], outputs[0])
    weight = torch.rand_like(outputs[0])
    for output in outputs:
        (output * weight).sum().backward()
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


WIDE = [
    {"kernel_size": 5, "padding": 2},
    {"kernel_size": (3, 7), "padding": (1, 3), "bias": False},
    {"kernel_size": 3, "padding": 2, "dilation": 2},
    {"kernel_size": 3, "padding": 12, "dilation": 12},
    {"kernel_size": (5, 3), "padding": (0, 1), "dilation": (1, 3)},
    {"kernel_size": (1, 5)},
]


@pytest.mark.parametrize("options", WIDE, ids=str)
def test_gradients_of_wide_depthwise_convolutions(options):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, groups=6, **options).double()
    ours = to_channels_last(copy.deepcopy(plain), CPU)
    assert isinstance(ours, WideDepthwise)
    x = torch.rand(3, 6, 9, 12, dtype=torch.float64)
    inputs = [x.clone().requires_grad_(), x.to(memory_format=torch.channels_last).requires_grad_()]
    outputs = [layer(i) for layer, i in zip((plain, ours), inputs, strict=True)]
    weight = torch.rand_like(outputs[0])
    # Twice: a penalty on gradients needs those of gradients.
    for module, i, output in zip((plain, ours), inputs, outputs, strict=True):
        (first,) = torch.autograd.grad((output * weight).square().sum(), i, create_graph=True)
        (first.square().sum() + output.sum()).backward()
        assert module.weight.grad is not None
    torch.testing.assert_close(outputs[1], outputs[0])
    torch.testing.assert_close(inputs[1].grad, inputs[0].grad)
    for mine, theirs in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad)


def test_half_precision_of_wide_depthwise_convolutions_is_torchs():
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 5, padding=2, groups=6)
    ours = to_channels_last(copy.deepcopy(plain), CPU)
    x = torch.rand(3, 6, 9, 12)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [layer(x) for layer in (plain, ours)]
    assert outputs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outputs[1], outputs[0])
    outputs[1].sum().backward()
    assert ours.weight.grad.dtype == torch.float32


def test_wide_depthwise_convolutions_without_gradients_batches_or_images():
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 6, 5, padding=2, groups=6)
    ours = copy.deepcopy(to_channels_last(copy.deepcopy(plain), CPU))
    assert isinstance(ours, WideDepthwise)
    x = torch.rand(2, 6, 9, 12)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x), plain(x))
    torch.testing.assert_close(ours(x[0]), plain(x[0]))
    empty = torch.rand(0, 6, 9, 12, requires_grad=True)
    ours(empty).sum().backward()
    assert ours.weight.grad.count_nonzero() == 0


def test_other_convolutions_stay_what_they_are():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 1),
        nn.Conv2d(8, 8, 3, 2, 1),
        nn.Conv2d(8, 8, 1, 2, padding=1),
        nn.Conv2d(8, 8, 3, 1, 1, groups=8),
        nn.Conv2d(8, 8, 5, 1, 2, groups=4),
        nn.Conv2d(8, 16, 5, 1, 2, groups=8),
        nn.Conv2d(8, 8, 5, 2, 2, groups=8),
        nn.Conv2d(8, 8, 5, 1, "same", groups=8),
        nn.Conv2d(8, 8, 5, 1, 6, groups=8),
        nn.Conv2d(8, 8, 5, 1, 2, groups=8, padding_mode="reflect"),
    )
    assert {type(layer) for layer in to_channels_last(module, CPU)} == {nn.Conv2d}


TRAINING = """
import sys, torch
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.codec import Shape, build_model
torch.set_num_threads(1)
for architecture in sys.argv[1:]:
    print(architecture, flush=True)
    model = build_model(Shape(architecture, 8, 8))
    to_channels_last(model, torch.device("cpu"))
    for _ in range(30):
        x = torch.rand(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
        model.train()(x)["x_hat"].square().mean().backward()
"""


def test_training_writes_nowhere_else():
    """Thirty steps died without fail of what the strided 1x1 convolutions had overwritten."""
    command = [sys.executable, "-W", "ignore", "-c", TRAINING, "cheng2020-anchor", "cheng2020-attn"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
