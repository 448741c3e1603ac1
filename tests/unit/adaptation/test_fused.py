"""Several modules called as one: the same numbers, gradients for each, and nothing left behind."""

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck
from compressai.layers import MaskedConv2d
from compressai.ops.bound_ops import LowerBound
from torch import nn

from interfero.adaptation.fused import fused_call
from interfero.codecs.noise import NoiseKey, explicit_noise

IMAGE = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


class Small(nn.Module):
    """A convolution each way, a bound that lies inside the values, and noise."""

    def __init__(self, seed, width=4):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.down = nn.Conv2d(3, width, 3, 2, 1)
            self.up = nn.ConvTranspose2d(width, 3, 5, 2, 2, 1)
            self.bottleneck = EntropyBottleneck(width)
        self.bound = LowerBound(0.1)

    def forward(self, image):
        with explicit_noise(self, NoiseKey(0, 0, len(image))):
            latent, likelihoods = self.bottleneck(self.bound(self.down(image)), training=True)
        return likelihoods.log2().sum(), self.up(latent)


def losses(bits, picture):
    """Sensitive to the bound from both sides."""
    return bits + 100 * (picture - 0.3).square().sum(
        dim=tuple(range(picture.dim() - 4, picture.dim()))
    )


def gradients(module):
    return {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}


@pytest.fixture
def modules():
    return [Small(seed) for seed in range(3)]


def test_results_and_gradients_are_those_of_each(modules):
    alone = []
    for module in modules:
        results = module(IMAGE)
        losses(*results).backward()
        alone.append((results, gradients(module)))
        module.zero_grad()
    bits, pictures = fused_call(modules, (), IMAGE)
    losses(bits, pictures).sum().backward()
    for i, (module, ((own_bits, own_picture), expected)) in enumerate(
        zip(modules, alone, strict=True)
    ):
        assert bits[i].item() == pytest.approx(own_bits.item(), rel=1e-5)
        assert torch.allclose(pictures[i], own_picture, atol=1e-5)
        found = gradients(module)
        assert found.keys() == expected.keys()
        largest = max(g.abs().max() for g in expected.values())
        for name, value in expected.items():
            assert (found[name] - value).abs().max() < 1e-5 * largest, name


class Bounded(nn.Module):
    """Values below, at and above a bound."""

    def __init__(self):
        super().__init__()
        self.values = nn.Parameter(torch.tensor([-1.0, -1.0, 0.5, 2.0, 2.0]))
        self.bound = LowerBound(0.5)

    def forward(self, slopes):
        return ((self.bound(self.values) * slopes).sum(),)


def test_gradients_at_a_bound_are_compressais():
    slopes = torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0])
    alone = Bounded()
    alone(slopes)[0].backward()
    both = [Bounded(), Bounded()]
    (totals,) = fused_call(both, (), slopes)
    totals.sum().backward()
    assert alone.values.grad.tolist() == [0.0, -1.0, 1.0, 1.0, -1.0]
    for module in both:
        assert torch.equal(module.values.grad, alone.values.grad)


class Reads(nn.Module):
    """A weight before a module of somebody else's."""

    def __init__(self, other):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))
        self._other = (other,)

    def forward(self, image):
        return (self._other[0](self.weight * image).sum(),)


def test_modules_that_are_called_and_not_held_are_named():
    bound = LowerBound(0.5)
    pair = [Reads(bound), Reads(bound)]
    (totals,) = fused_call(pair, (bound,), IMAGE)
    assert totals.tolist() == [pair[0](IMAGE)[0].item()] * 2
    with pytest.raises(RuntimeError, match="setup_context"):
        fused_call(pair, (), IMAGE)


def test_nothing_is_left_behind(modules):
    fused_call(modules, (), IMAGE)
    with pytest.raises(RuntimeError):
        fused_call([*modules, Small(3, width=5)], (), IMAGE)
    with pytest.raises(RuntimeError):
        fused_call(modules, (), IMAGE[:, :2])
    for module in modules:
        assert "lower_bound" not in vars(module.bound)
        assert "quantize" not in vars(module.bottleneck)
        module(IMAGE)


def test_what_does_not_learn_gets_no_gradient(modules):
    for module in modules:
        module.down.requires_grad_(False)
    bits, _ = fused_call(modules, (), IMAGE)
    bits.sum().backward()
    assert all(p.grad is None for m in modules for p in m.down.parameters())
    assert all(m.bottleneck.matrices[0].grad is not None for m in modules)


class Picture(nn.Module):
    """The dtypes that two convolutions leave."""

    def __init__(self, seed):
        super().__init__()
        self.small = Small(seed)

    def forward(self, image):
        latent = self.small.down(image)
        return latent, nn.functional.conv_transpose2d(latent, weight=self.small.up.weight)


def test_autocast_reaches_convolutions():
    """Autocast alone does not see them below vmap."""
    pair = [Picture(0), Picture(1)]
    with torch.autocast("cpu", torch.bfloat16):
        expected = [module(IMAGE) for module in pair]
        found = fused_call(pair, (), IMAGE)
    for i in range(2):
        for own, fused in zip(expected[i], found, strict=True):
            assert fused.dtype == own.dtype == torch.bfloat16
            assert torch.allclose(fused[i].float(), own.float(), atol=1e-2)
    assert fused_call(pair, (), IMAGE)[0].dtype == torch.float32


class Context(nn.Module):
    """A masked convolution as context models have them."""

    def __init__(self, seed):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.predict = MaskedConv2d(3, 4, kernel_size=5, padding=2)

    def forward(self, image):
        return (self.predict(image).square().sum(),)


def test_masked_convolutions_are_masked():
    pair, alone = [Context(0), Context(1)], [Context(0), Context(1)]
    assert pair[0].predict.weight[..., -1, -1].abs().sum() > 0
    (totals,) = fused_call(pair, (), IMAGE)
    totals.sum().backward()
    for i, (module, expected) in enumerate(zip(pair, alone, strict=True)):
        (own,) = expected(IMAGE)
        own.backward()
        assert totals[i].item() == pytest.approx(own.item(), rel=1e-5)
        assert torch.equal(module.predict.weight, expected.predict.weight)
        gradient = expected.predict.weight.grad
        assert (module.predict.weight.grad - gradient).abs().max() < 1e-5 * gradient.abs().max()
        assert "forward" not in vars(module.predict)
