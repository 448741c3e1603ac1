"""The restoration loop: what it starts from, that it restores, that it goes on after a kill."""

import numpy as np
import pytest
import safetensors.torch
import torch

from interfero.engine.restoration.configs import RestorationConfig
from interfero.engine.worker import LocalWorker
from interfero.metrics.lpips import Lpips, _names
from interfero.store.tensors import state_hash
from trainables.paired_batches import Scene
from trainables.restoration import (
    discriminator_loss,
    feature_loss,
    gain_db,
    generator_loss,
    restore,
    train_restorer,
)
from trainables.restoration_networks import build_discriminator, build_generator, local_mean
from trainables.scene_training import DivergedError, Seeds

CONFIG = RestorationConfig(
    num_steps=6, batch_size=2, crop_size=32, learning_rate=2e-3, width=8, blocks=1,
    discriminator_width=4, ema_decay=0.5,
)  # fmt: skip
REGRESSION = CONFIG.model_copy(update={"adversary": "none"})
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scenes():
    """(compressed, original): compression darkens by a half."""
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 256, (4, 6, 6, 3), dtype=np.uint8).repeat(8, 1).repeat(8, 2)
    return [Scene((original // 2, original)) for original in originals]


def lpips_file(path):
    """Random weights under the names of the lpips package."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        state = Lpips().state_dict()
    # Weights of the distances are positive.
    renamed = {
        theirs: state[ours].abs() if "linear" in ours else state[ours] for ours, theirs in _names()
    }
    safetensors.torch.save_file(renamed, path)
    return path


def train(scenes, folder, config=CONFIG, **options):
    return train_restorer(config, scenes, Seeds(0, 0), LocalWorker(folder), "k", **options)


def error(model, scenes):
    pairs = [(restore(model, s.pictures[0], CPU), s.pictures[1]) for s in scenes]
    return np.mean([np.abs(a.astype(int) - b.astype(int)).mean() for a, b in pairs])


@pytest.mark.parametrize("kind", ["residual", "unet", "nafnet"])
def test_an_untrained_generator_changes_nothing(kind, scenes):
    model = build_generator(CONFIG.model_copy(update={"generator": kind}))
    odd = scenes[0].pictures[0][:37, :41]
    assert np.array_equal(restore(model, odd, CPU), odd)


def test_regression_restores(scenes, tmp_path):
    config = REGRESSION.model_copy(update={"num_steps": 80, "ema_decay": 0.9})
    model, training = train(scenes, tmp_path, config)
    before = np.mean([np.abs(s.pictures[0].astype(int) - s.pictures[1]).mean() for s in scenes])
    assert error(model, scenes) < 0.5 * before
    assert set(training.curve[-1][1]) == {"loss", "l1"}


def test_nafnet_restores_by_regression_and_as_a_generator_of_the_gan(scenes, tmp_path):
    config = REGRESSION.model_copy(
        update={"num_steps": 80, "ema_decay": 0.9, "generator": "nafnet", "learning_rate": 4e-3}
    )
    model, _ = train(scenes, tmp_path, config)
    before = np.mean([np.abs(s.pictures[0].astype(int) - s.pictures[1]).mean() for s in scenes])
    assert error(model, scenes) < 0.5 * before
    _, training = train(scenes, tmp_path / "gan", CONFIG.model_copy(update={"generator": "nafnet"}))
    assert "adversarial" in training.curve[-1][1]


def test_means_of_attention_are_of_windows_as_large_as_crops():
    x = torch.arange(5.0).reshape(1, 1, 1, 5).expand(1, 2, 4, 5)
    assert local_mean(x, 8).flatten().tolist() == [2.0, 2.0]
    # Windows of 3 places along a row: 0 1 2, 1 2 3, 2 3 4; the ends have their neighbours'.
    found = local_mean(x, 3)
    assert found.shape == x.shape
    assert found[0, 0, 0].tolist() == pytest.approx([1, 1, 2, 3, 3])
    assert local_mean(x, 4)[0, 1, 3].tolist() == pytest.approx([1.5, 1.5, 2.5, 2.5, 2.5])


def test_it_is_scored_on_held_out_images_while_it_trains(scenes, tmp_path, monkeypatch):
    config = REGRESSION.model_copy(update={"num_steps": 12, "validations": 3})
    _, training = train(scenes[:2], tmp_path / "a", config, held_out=scenes[2:])
    gains = [(step, v["val_gain_db"]) for step, v in training.curve if "val_gain_db" in v]
    assert [step for step, _ in gains] == [4, 8, 12]
    assert gains[0][1] < gains[-1][1]
    # Nothing is chosen by it: the weights are those of a training without.
    blind, _ = train(scenes[:2], tmp_path / "b", config.model_copy(update={"validations": 0}))
    seen, _ = train(scenes[:2], tmp_path / "c", config, held_out=scenes[2:])
    assert state_hash(blind.state_dict().items()) == state_hash(seen.state_dict().items())


def test_a_gain_by_hand(scenes):
    """Compression halved all values: a generator that changes nothing gains nothing, the original all."""
    model = build_generator(CONFIG)
    assert gain_db(model, scenes, CPU) == 0.0
    flat = np.full((8, 8, 3), 100, dtype=np.uint8)
    near = torch.nn.Module()
    near.forward = lambda x: x + 9 / 255
    # The error falls from 10 to 1 levels: 20 dB.
    assert gain_db(near, [Scene((flat - 10, flat))], CPU) == pytest.approx(20.0)


@pytest.mark.parametrize("adversary", ["lsgan", "hinge"])
def test_every_loss_is_reported(adversary, scenes, tmp_path):
    config = CONFIG.model_copy(update={"adversary": adversary})
    _, training = train(scenes, tmp_path, config)
    assert set(training.curve[-1][1]) == {"loss", "l1", "discriminator", "adversarial", "features"}


def test_the_adversary_changes_the_generator(scenes, tmp_path):
    with_one, _ = train(scenes, tmp_path / "a")
    without, _ = train(scenes, tmp_path / "b", REGRESSION)
    assert state_hash(with_one.state_dict().items()) != state_hash(without.state_dict().items())


def test_who_was_killed_goes_on_to_the_same_weights(scenes, tmp_path, monkeypatch):
    whole, _ = train(scenes, tmp_path / "whole")
    import trainables.restoration as module

    average = module.average

    def dies(kept, now, decay, step):
        if step == 4:
            raise KeyboardInterrupt
        average(kept, now, decay, step)

    monkeypatch.setattr(module, "average", dies)
    with pytest.raises(KeyboardInterrupt):
        train(scenes, tmp_path / "killed", checkpoint_seconds=0)
    monkeypatch.setattr(module, "average", average)
    resumed, training = train(scenes, tmp_path / "killed", checkpoint_seconds=0)
    assert training.start == 4
    assert [step for step, _ in training.curve] == [1, 2, 3, 4, 5, 6]
    assert state_hash(resumed.state_dict().items()) == state_hash(whole.state_dict().items())


def test_losses_by_hand():
    real, fake = (
        [[torch.tensor([1.0]), torch.tensor([0.5])]],
        [[torch.tensor([3.0]), torch.tensor([-2.0])]],
    )
    hinge = CONFIG.model_copy(update={"adversary": "hinge"})
    assert discriminator_loss(CONFIG, real, fake) == pytest.approx(0.5 * 0.25 + 0.5 * 4)
    assert discriminator_loss(hinge, real, fake) == pytest.approx(0.5)
    assert generator_loss(CONFIG, fake) == pytest.approx(9.0)
    assert generator_loss(hinge, fake) == pytest.approx(2.0)
    assert feature_loss(real, fake) == pytest.approx(2.0)  # judgements are no features


def test_spectral_norm_bounds_every_layer():
    net = build_discriminator(CONFIG).eval()
    for layer in net.scales[0].layers:
        matrix = layer.weight.flatten(1)
        assert torch.linalg.matrix_norm(matrix, 2) < 1.6  # a few power iterations from exact
    assert hasattr(net.scales[0].layers[0], "parametrizations")
    plain = build_discriminator(CONFIG.model_copy(update={"spectral_norm": False}))
    assert not hasattr(plain.scales[0].layers[0], "parametrizations")


def test_a_diverging_training_says_so(scenes, tmp_path):
    config = REGRESSION.model_copy(update={"learning_rate": 1e30, "num_steps": 30})
    with pytest.raises(DivergedError, match=r"is (nan|inf) at step"):
        train(scenes, tmp_path, config)


def test_perception_counts_with_local_weights(scenes, tmp_path):
    path = lpips_file(tmp_path / "lpips.safetensors")
    seen = CONFIG.model_copy(
        update={"perceptual_weight": 1.0, "perceptual_weights": str(path), "num_steps": 3}
    )
    blind = seen.model_copy(update={"perceptual_weight": 0.0})
    with_it, training = train(scenes, tmp_path / "a", seen)
    without, _ = train(scenes, tmp_path / "b", blind)
    last = training.curve[-1][1]
    assert last["perceptual"] > 0
    parts = last["l1"] + 0.02 * last["adversarial"] + 0.1 * last["features"] + last["perceptual"]
    assert last["loss"] == pytest.approx(parts, rel=1e-4)
    assert state_hash(with_it.state_dict().items()) != state_hash(without.state_dict().items())


def test_half_precision_trains_on_a_cpu_and_stores_single(scenes, tmp_path):
    config = CONFIG.model_copy(update={"precision": "bfloat16"})
    model, training = train(scenes, tmp_path, config)
    assert all(np.isfinite(list(values.values())).all() for _, values in training.curve)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    single, _ = train(scenes, tmp_path / "single")
    assert error(model, scenes) == pytest.approx(error(single, scenes), rel=0.1)


def test_the_average_restores_and_not_the_last_step(scenes, tmp_path):
    """With no memory the average is the generator; with one it lags behind."""
    hashes = {
        decay: state_hash(
            train(scenes, tmp_path / f"{decay}", CONFIG.model_copy(update={"ema_decay": decay}))[0]
            .state_dict().items()
        )
        for decay in (0.0, 0.9)
    }  # fmt: skip
    assert hashes[0.0] != hashes[0.9]
