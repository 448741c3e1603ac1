"""What penalties, distillation, replay and the gate add to fine-tuning: worked out apart from them."""

import copy

import pytest
import torch

from interfero.adaptation import METHODS
from interfero.adaptation.l2_sp import REFERENCE
from interfero.adaptation.method import Batch, rd_step
from interfero.adaptation.rehearsal import decode_old, old_latents
from interfero.codecs.checkpoint import read_codec
from interfero.codecs.codec import rd_parameters
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.metrics.rate_distortion import estimated_bpp, mse_255

LAMBDA = 0.013
STEP = 1e-2


@pytest.fixture
def codec(tiny_codec_file):
    return read_codec(tiny_codec_file, "tiny")


@pytest.fixture
def images():
    random = torch.Generator().manual_seed(0)
    return {name: torch.rand(4, 3, 64, 64, generator=random) for name in ("target", "source")}


def batch(images, strength=1.0, step=0):
    return Batch(images, NoiseKey(0, step, 4), LAMBDA, strength)


def displaced(name, codec):
    """A method after every weight moved by `STEP`."""
    adapted = METHODS[name].build(codec, 0, 0)
    adapted.train_parameters()
    with torch.no_grad():
        for parameter in rd_parameters(adapted.codec):
            parameter.add_(STEP)
    return adapted


def finetuning(adapted, images, strength=1.0):
    """The loss of plain fine-tuning, at the same weights."""
    return METHODS["finetune"].loss(adapted, batch(images, strength)).total.item()


def test_l2_sp_adds_the_papers_quadratic(codec, images):
    adapted = displaced("l2_sp", codec)
    count = sum(p.numel() for p in rd_parameters(adapted.codec))
    for strength in (100.0, 5000.0):
        added = METHODS["l2_sp"].loss(adapted, batch(images, strength)).total.item()
        added -= finetuning(adapted, images)
        # Each weight moved by STEP: alpha / 2 * count * STEP^2.
        assert added == pytest.approx(strength * REFERENCE / 2 * count * STEP**2, rel=1e-3)


def single_source_batch(images):
    def make(index):
        one = {"source": images["source"][index % 4 : index % 4 + 1]}
        return Batch(one, NoiseKey(0, index, 1), LAMBDA)

    return make


def test_ewc_weighs_each_weight_by_its_squared_gradient_on_source_crops(codec, images, monkeypatch):
    monkeypatch.setattr("interfero.adaptation.ewc.NUM_CROPS", 4)
    method, adapted = METHODS["ewc"], METHODS["ewc"].build(codec, 0, 0)
    adapted.train_parameters()
    make = single_source_batch(images)
    method.prepare(adapted, make)
    model = copy.deepcopy(codec.model).requires_grad_(True).train()
    expected = 0.0
    for i in range(4):
        image = make(i).images["source"]
        with explicit_noise(model, make(i).noise):
            output = model(image)
        loss = estimated_bpp(output["likelihoods"].values(), 64 * 64)
        loss = loss + LAMBDA * mse_255(output["x_hat"], image)
        (gradient,) = torch.autograd.grad(loss, [model.g_s[6].weight])
        expected = expected + gradient.square() * 64 * 64 / 4
    index = [n for n, _ in adapted.codec.named_parameters() if not n.endswith(".quantiles")].index(
        "g_s.6.weight"
    )
    assert torch.allclose(adapted.importance[index], expected, rtol=1e-4, atol=1e-8)
    assert method.loss(adapted, batch(images)).total.item() == pytest.approx(
        finetuning(adapted, images)
    )
    with torch.no_grad():
        adapted.codec.g_s[6].weight.add_(STEP)
    added = method.loss(adapted, batch(images, 3.0)).total.item() - finetuning(adapted, images)
    assert added == pytest.approx(3.0 / 2 * (expected * STEP**2).sum().item(), rel=1e-3)


def test_old_latents_are_the_source_codecs_and_skip_the_new_encoder(codec, images):
    adapted = displaced("replay", codec)
    image = images["source"]
    latents = old_latents(codec.model, image)
    y = codec.model.g_a(image)
    assert torch.equal(latents["g_a"], y)
    assert torch.equal(latents["h_a"], codec.model.h_a(y))
    shown = decode_old(adapted, image, latents, NoiseKey(0, 0, 4)).x_hat
    shown.square().mean().backward()
    assert all(p.grad is None for p in adapted.codec.g_a.parameters())
    assert adapted.codec.g_s[0].weight.grad.abs().sum() > 0
    assert not torch.equal(adapted.codec.g_a(image), y), "the new encoder answers for itself again"


def test_replay_learns_from_source_images_and_by_its_strength(codec, images):
    method = METHODS["replay"]
    other = {**images, "source": images["source"].flip(-1).square()}

    def gradient(given, strength):
        adapted = displaced("replay", codec)
        method.loss(adapted, batch(given, strength)).total.backward()
        return adapted.codec.g_s[0].weight.grad

    base = gradient(images, 1.0)
    assert not torch.allclose(base, gradient(other, 1.0))
    assert not torch.allclose(base, gradient(images, 10.0))
    # The first half of source crops is not used, nor the second half of target crops.
    unused = {
        "target": torch.cat([images["target"][:2], torch.zeros(2, 3, 64, 64)]),
        "source": torch.cat([torch.zeros(2, 3, 64, 64), images["source"][2:]]),
    }
    assert torch.equal(base, gradient(unused, 1.0))


def test_replays_loss_is_the_mean_of_three_rate_distortion_losses(codec, images):
    """At the start, by the source codec alone: target half, source half, old latents."""
    adapted = METHODS["replay"].build(codec, 0, 0)
    with torch.no_grad():
        total = METHODS["replay"].loss(adapted, batch(images, 2.0)).total.item()
        both = torch.cat([images["target"][:2], images["source"][2:]])
        output = adapted.forward_noisy(both, NoiseKey(0, 0, 4))
        halves = []
        for part in (slice(0, 2), slice(2, 4)):
            likelihoods = [p[part] for p in output.likelihoods.values()]
            bpp = estimated_bpp(likelihoods, 2 * 64 * 64)
            halves.append((bpp + LAMBDA * mse_255(output.x_hat[part], both[part])).item())
    # Old latents of an unchanged codec cost what new ones cost, but for the noise.
    assert total == pytest.approx((halves[0] + 2.0 * halves[1]) / 3, rel=0.05)


def test_distillation_asks_for_the_teachers_pictures_of_its_own_latents(codec, images):
    method = METHODS["distill"]
    adapted = METHODS["distill"].build(codec, 0, 0)
    with torch.no_grad():
        added = method.loss(adapted, batch(images)).total.item() - finetuning(adapted, images)
        image, noise = images["target"], NoiseKey(0, 0, 4)
        output = rd_step(adapted.forward_noisy(image, noise), image, LAMBDA)
        # A student that is the teacher shows the same pictures: only the rate of old latents is left.
        assert added == pytest.approx(output.bpp.item(), rel=0.1)
        adapted.codec.g_s[6].bias.add_(0.1)
        moved = method.loss(adapted, batch(images)).total.item() - finetuning(adapted, images)
    # Every pixel is 0.1 brighter than the teacher's.
    assert moved - added == pytest.approx(LAMBDA * (0.1 * 255) ** 2, rel=0.02)


def test_the_gate_opens_for_target_pictures_and_closes_for_source_ones(codec):
    random = torch.Generator().manual_seed(1)
    dark = torch.rand(8, 3, 64, 64, generator=random) * 0.2
    bright = 1 - torch.rand(8, 3, 64, 64, generator=random) * 0.2
    method, adapted = METHODS["gated_adapters"], METHODS["gated_adapters"].build(codec, 2, 0)
    adapted.train_parameters()
    optimizer = torch.optim.Adam(adapted.gate.parameters(), lr=3e-2)
    for step in range(60):
        optimizer.zero_grad()
        given = Batch({"target": dark, "source": bright}, NoiseKey(0, step, 8), LAMBDA, 1.0)
        method.loss(adapted, given).total.backward()
        optimizer.step()
    with torch.no_grad():
        adapted(torch.cat([dark, bright]))
    shares = adapted.logits.sigmoid()
    assert shares[:8].min() > 0.8
    assert shares[8:].max() < 0.2


def test_a_closed_gate_shows_the_source_codecs_picture(codec, images):
    adapted = METHODS["gated_adapters"].build(codec, 2, 0)
    image = images["target"]
    with torch.no_grad():
        for parameter in adapted.branches.parameters():
            parameter.add_(0.1)
        expected = codec.model(image)["x_hat"]
        assert not torch.allclose(adapted(image)["x_hat"], expected, atol=1e-3)
        adapted.gate.layers[-1].bias.fill_(-50.0)
        assert torch.allclose(adapted(image)["x_hat"], expected, atol=1e-6)
