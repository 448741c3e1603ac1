"""Explicit noise: a function of its key, per sample, and gone when the step ends."""

import pytest
import torch
from compressai.entropy_models import EntropyBottleneck, EntropyModel, GaussianConditional
from torch import nn

from interfero.codecs.codec import Shape, build_model
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.randomness import Role


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(Shape("mbt2018-mean", 8, 12)).train()


@pytest.fixture(scope="module")
def batch():
    return torch.rand(4, 3, 64, 128, generator=torch.Generator().manual_seed(0))


def noisy(module, values_BCHW, key):
    """What an entropy model adds to its input."""
    with explicit_noise(module, key), torch.no_grad():
        if isinstance(module, EntropyBottleneck):
            output, _ = module(values_BCHW)
        else:
            output, _ = module(values_BCHW, torch.ones_like(values_BCHW))
    return output - values_BCHW


@pytest.fixture(params=["bottleneck", "gaussian"])
def build(request):
    """Entropy models of any number of channels."""

    def make(channels: int) -> EntropyModel:
        if request.param == "bottleneck":
            return EntropyBottleneck(channels).train()
        return GaussianConditional([0.11, 1.0, 10.0]).train()

    return make


def test_noise_lies_in_the_rounding_interval(build):
    noise = noisy(build(6), torch.zeros(4, 6, 8, 9), NoiseKey(0, 0, 4))
    assert noise.min() >= -0.5
    assert noise.max() < 0.5
    assert noise.std() > 0.2


def test_noise_of_a_sample_does_not_see_the_batch(build):
    whole = noisy(build(6), torch.zeros(4, 6, 8, 9), NoiseKey(0, 3, batch_size=4))
    part = noisy(build(6), torch.zeros(2, 6, 8, 9), NoiseKey(0, 3, batch_size=2))
    assert torch.equal(whole[:2], part)
    later = noisy(build(6), torch.zeros(2, 6, 8, 9), NoiseKey(0, 3, 2, first_index=2))
    assert torch.equal(whole[2:], later)


def test_noise_of_a_channel_does_not_see_the_others(build):
    key = NoiseKey(0, 3, 4)
    wide = noisy(build(8), torch.zeros(4, 8, 8, 9), key)
    assert torch.equal(wide[:, :6], noisy(build(6), torch.zeros(4, 6, 8, 9), key))


def test_noise_does_not_see_the_input(build):
    key = NoiseKey(0, 3, 4)
    # Multiples of 1/2 below 64 leave 24 - 7 bits of the noise exact.
    values = torch.arange(4 * 6 * 8 * 9).reshape(4, 6, 8, 9).remainder(97) / 2
    assert torch.allclose(
        noisy(build(6), values, key), noisy(build(6), torch.zeros(4, 6, 8, 9), key), atol=1e-5
    )


def test_both_kinds_of_entropy_model_draw_the_same_stream():
    # A latent may move from one kind to the other without changing its noise.
    key = NoiseKey(0, 3, 4)
    bottleneck = noisy(EntropyBottleneck(6).train(), torch.zeros(4, 6, 8, 9), key)
    gaussian = noisy(GaussianConditional([1.0]).train(), torch.zeros(4, 6, 8, 9), key)
    assert torch.equal(bottleneck, gaussian)


@pytest.mark.parametrize(
    "key",
    [NoiseKey(1, 3, 4), NoiseKey(0, 4, 4), NoiseKey(0, 3, 4, Role.CUSTOM_NOISE)],
    ids=["seed", "step", "role"],
)
def test_the_key_names_the_noise(build, key):
    first = noisy(build(6), torch.zeros(4, 6, 8, 9), NoiseKey(0, 3, 4))
    assert not torch.equal(first, noisy(build(6), torch.zeros(4, 6, 8, 9), key))


def test_a_training_step_repeats_whatever_the_global_generator(model, batch):
    outputs = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        state = torch.get_rng_state()
        with explicit_noise(model, NoiseKey(0, 3, 4)):
            outputs.append(model(batch)["likelihoods"])
        assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(outputs[0]["y"], outputs[1]["y"])
    assert torch.equal(outputs[0]["z"], outputs[1]["z"])


def test_latents_of_one_model_have_noise_of_their_own():
    latents = nn.ModuleDict({name: EntropyBottleneck(6).train() for name in "yz"})
    zeros = torch.zeros(4, 6, 8, 9)
    with explicit_noise(latents, NoiseKey(0, 3, 4)):
        y, z = (module(zeros)[0] for module in latents.values())
    assert not torch.equal(y, z)


def test_rounding_is_left_alone(model, batch):
    model.eval()
    try:
        with torch.no_grad():
            plain = model(batch)["x_hat"]
            with explicit_noise(model, NoiseKey(0, 3, 4)):
                assert torch.equal(model(batch)["x_hat"], plain)
    finally:
        model.train()


def test_gradients_pass(model, batch):
    with explicit_noise(model, NoiseKey(0, 3, 4)):
        model(batch)["likelihoods"]["y"].log2().sum().backward()
    gradient = model.g_a[0].weight.grad
    assert gradient is not None
    assert gradient.abs().sum() > 0
    model.zero_grad()


def test_quantize_is_restored_even_after_an_error(model, batch):
    modules = [m for m in model.modules() if isinstance(m, EntropyModel)]
    with explicit_noise(model, NoiseKey(0, 3, 4)):
        assert all("quantize" in vars(m) for m in modules)
    assert not any("quantize" in vars(m) for m in modules)
    with pytest.raises(RuntimeError, match="stop"), explicit_noise(model, NoiseKey(0, 3, 4)):
        raise RuntimeError("stop")
    assert not any("quantize" in vars(m) for m in modules)
    # CompressAI's own noise again: it follows the global generator.
    torch.manual_seed(0)
    first = model(batch)["likelihoods"]["y"]
    assert not torch.equal(model(batch)["likelihoods"]["y"], first)
