"""Crops on gradients of saturated colours, and where a training starts from."""

import pytest
import torch

from interfero.codecs.checkpoint import freeze_codec, read_codec, save_codec
from interfero.codecs.codec import Shape, build_model
from interfero.errors import ConfigError
from trainables.source import SourceConfig, _groups, _initial_model, on_gradients

SHARED = {"rd_lambda": 0.013, "num_steps": 4, "num_channels": 8, "num_latents": 12}


@pytest.fixture
def image():
    return torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 0.5 + 0.25


def test_no_share_leaves_every_crop_as_it_is(image):
    assert torch.equal(on_gradients(image, SourceConfig(**SHARED), 3), image)


def test_a_share_of_the_crops_is_changed_and_is_the_same_every_time(image):
    config = SourceConfig(**SHARED, gradient_share=0.25)
    mixed = on_gradients(image, config, 3)
    changed = [not torch.equal(a, b) for a, b in zip(mixed, image, strict=True)]
    assert 6 <= sum(changed) <= 26
    assert torch.equal(mixed, on_gradients(image, config, 3))
    assert not torch.equal(mixed, on_gradients(image, config, 4))


def test_gradients_are_pictures_and_saturated(image):
    mixed = on_gradients(image, SourceConfig(**SHARED, gradient_share=1.0), 0)
    assert mixed.min() == 0
    assert mixed.max() == 1
    corners = mixed[:, :, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert ((corners == 0) | (corners == 1)).float().mean() > 0.2


def start(tmp_path, architecture, shape):
    """A codec file to start from."""
    torch.manual_seed(1)
    model = build_model(shape)
    path = tmp_path / "start.safetensors"
    save_codec(freeze_codec(model, shape, 0.013, "start", {}), path)
    return SourceConfig(**SHARED, architecture=architecture, warm_start=path)


def test_another_architecture_with_the_same_transforms_gives_them(tmp_path):
    config = start(tmp_path, "bmshj2018-factorized", Shape("mbt2018-mean", 8, 12))
    model = _initial_model(config)
    cold = _initial_model(config.model_copy(update={"warm_start": None}))
    assert config.warm_start is not None
    given = dict(read_codec(config.warm_start, "start").model.named_parameters())
    fresh = dict(cold.named_parameters())
    for name, value in model.named_parameters():
        expected = given if name.startswith(("g_a.", "g_s.")) else fresh
        assert torch.equal(value, expected[name]), name
    assert not torch.equal(given["g_a.0.weight"], fresh["g_a.0.weight"])


def test_transforms_of_another_width_are_refused(tmp_path):
    config = start(tmp_path, "bmshj2018-factorized", Shape("mbt2018-mean", 8, 16))
    with pytest.raises(ConfigError, match="their transforms differ"):
        _initial_model(config)


def test_the_prior_may_learn_faster_than_the_transforms():
    config = SourceConfig(**SHARED, prior_rate_scale=10.0)
    model = build_model(Shape("mbt2018-mean", 8, 12))
    transforms, prior = _groups(model, config)
    assert (transforms["scale"], prior["scale"]) == (1.0, 10.0)
    bottleneck = {id(p) for p in model.entropy_bottleneck.parameters()}
    assert {id(p) for p in prior["params"]} == bottleneck - {id(model.entropy_bottleneck.quantiles)}
    assert not bottleneck & {id(p) for p in transforms["params"]}


def test_a_checkpoint_of_compressai_is_a_start(tmp_path):
    model = build_model(Shape("mbt2018-mean", 8, 12))
    torch.save({"state_dict": model.state_dict()}, tmp_path / "start.pth.tar")
    config = SourceConfig(
        **SHARED, architecture="mbt2018-mean", warm_start=tmp_path / "start.pth.tar"
    )
    given = dict(model.named_parameters())
    assert all(torch.equal(v, given[n]) for n, v in _initial_model(config).named_parameters())
