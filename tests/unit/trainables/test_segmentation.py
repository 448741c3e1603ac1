"""The segmentation loop: it learns, forgets nothing when killed, and downloads nothing."""

from contextlib import contextmanager

import numpy as np
import pytest
import safetensors.torch
import torch

from interfero.domains.labelled import VOID
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.worker import LocalWorker
from interfero.errors import ConfigError
from interfero.metrics.segmentation import mean_iou
from interfero.store.tensors import state_hash
from trainables.paired_batches import Scene, draw_scenes, recoloured
from trainables.scene_training import Seeds, average
from trainables.schedule import POLY_POWER, schedule
from trainables.segmentation import build_segmenter, segment, train_segmenter
from trainables.tasks import MODELS

CONFIG = SegmentationConfig(
    num_steps=12, batch_size=4, crop_size=32, learning_rate=3e-3, decoder_width=4,
    encoder="tu-tf_mobilenetv3_small_minimal_100",
)  # fmt: skip
SEEDS = Seeds(data=0, init=0)


@pytest.fixture(scope="module")
def scenes():
    """Bright left of dark, or the other way round; a void column between."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(6):
        labels = np.zeros((48, 48), dtype=np.uint8)
        labels[:, 24:] = 1
        labels = labels if i % 2 else 1 - labels
        grey = np.where(labels == 1, 190, 60) + rng.integers(-30, 30, (48, 48))
        labels[:, 23:25] = VOID
        made.append(Scene((np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8),), labels))
    return made


def train(scenes, folder, config=CONFIG, seeds=SEEDS, **options):
    return train_segmenter(config, scenes, 2, seeds, LocalWorker(folder), "k", **options)


def miou(model, scenes):
    found = [
        MODELS["segmentation"].count(
            segment(model, s.pictures[0], torch.device("cpu")), s.labels_HW, 2
        )
        for s in scenes
    ]
    sums = [sum(getattr(c, n) for c in found) for n in ("hits", "labelled", "predicted")]
    return float(mean_iou(*sums))


def test_it_learns(scenes, tmp_path):
    config = CONFIG.model_copy(update={"num_steps": 40})
    model, training = train(scenes, tmp_path, config)
    first, last = training.curve[0][1]["loss"], training.curve[-1][1]["loss"]
    assert last < 0.6 * first
    assert miou(model, scenes) > 0.8


def test_same_seeds_same_weights_and_other_seeds_others(scenes, tmp_path):
    hashes = {
        name: state_hash(train(scenes, tmp_path / name, seeds=seeds)[0].state_dict().items())
        for name, seeds in (("a", SEEDS), ("b", SEEDS), ("c", Seeds(1, 0)), ("d", Seeds(0, 1)))
    }
    assert hashes["a"] == hashes["b"]
    assert len(set(hashes.values())) == 3


@contextmanager
def killed_at_step_7(monkeypatch):
    import trainables.segmentation as module

    drawn = module.draw_scenes

    def dies(*args, step, **options):
        if step == 7:
            raise KeyboardInterrupt
        return drawn(*args, step=step, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "draw_scenes", dies)
        with pytest.raises(KeyboardInterrupt):
            yield


def test_who_was_killed_goes_on_to_the_same_weights(scenes, tmp_path, monkeypatch):
    whole, _ = train(scenes, tmp_path / "whole")
    with killed_at_step_7(monkeypatch):
        train(scenes, tmp_path / "killed", checkpoint_seconds=0)
    resumed, training = train(scenes, tmp_path / "killed", checkpoint_seconds=0)
    assert training.start == 7
    assert [step for step, _ in training.curve] == list(range(1, 13))
    assert state_hash(resumed.state_dict().items()) == state_hash(whole.state_dict().items())


def test_median_frequency_weights_help_the_rare_class(scenes):
    from trainables.segmentation import _class_weights

    labels = np.zeros((48, 48), dtype=np.uint8)
    labels[:12] = 1
    rare = [Scene(scenes[0].pictures, labels)]
    weighted = CONFIG.model_copy(update={"class_weights": "median_frequency"})
    weights = _class_weights(weighted, rare, 2, torch.device("cpu"))
    # Frequencies 3/4 and 1/4, median 1/2.
    assert weights.tolist() == pytest.approx([2 / 3, 2])
    assert _class_weights(CONFIG, rare, 2, torch.device("cpu")) is None


def test_encoder_weights_come_from_a_file(tmp_path):
    donor = build_segmenter(CONFIG, 2, init_seed=5)
    path = tmp_path / "encoder.safetensors"
    safetensors.torch.save_file(donor.network.encoder.state_dict(), path)
    config = CONFIG.model_copy(update={"encoder_weights": str(path)})
    model = build_segmenter(config, 3, init_seed=0)
    assert state_hash(model.network.encoder.state_dict().items()) == state_hash(
        donor.network.encoder.state_dict().items()
    )
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="--encoder-weights"):
        build_segmenter(config, 3, init_seed=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [({"architecture": "unett"}, "did you mean 'unet'"), ({"encoder": "resnet19"}, "did you mean")],
)
def test_unknown_models_get_the_nearest_name(change, said):
    with pytest.raises(ConfigError, match=said):
        build_segmenter(CONFIG.model_copy(update=change), 2, 0)


def test_pictures_and_labels_are_cut_at_one_place():
    grey = np.arange(80 * 80, dtype=np.uint32).reshape(80, 80) % 251
    pixels = np.repeat(grey[..., None], 3, axis=-1).astype(np.uint8)
    scene = Scene((pixels, pixels), grey.astype(np.uint8))
    batch = draw_scenes([scene], seed=0, step=3, batch_size=6, crop_size=32, label="x",
                        augmentations=("mirror", "turn", "scale"))  # fmt: skip
    values = (batch.pictures[0][:, 0] * 255).round().long()
    assert torch.equal(values, batch.labels_BHW)
    assert torch.equal(batch.pictures[0], batch.pictures[1])


def test_a_small_scene_is_reflected_and_its_labels_void():
    scene = Scene((np.full((20, 40, 3), 7, np.uint8),), np.ones((20, 40), np.uint8))
    batch = draw_scenes([scene], seed=0, step=0, batch_size=1, crop_size=32, label="x")
    assert (batch.labels_BHW[0] == VOID).sum() == 12 * 32
    assert torch.allclose(batch.pictures[0], torch.tensor(7 / 255))


STRONG = CONFIG.model_copy(
    update={"augmentations": ("mirror", "zoom", "colour"), "schedule": "poly", "ema_decay": 0.9,
            "encoder_rate": 0.1, "validations": 3}
)  # fmt: skip


def test_who_was_killed_goes_on_with_its_average_and_its_scores(scenes, tmp_path, monkeypatch):
    whole, first = train(scenes, tmp_path / "whole", STRONG, validation=scenes[:2])
    with killed_at_step_7(monkeypatch):
        train(scenes, tmp_path / "killed", STRONG, checkpoint_seconds=0, validation=scenes[:2])
    again, second = train(
        scenes, tmp_path / "killed", STRONG, checkpoint_seconds=0, validation=scenes[:2]
    )
    assert second.start == 7
    assert [step for step, values in second.curve if "val_score" in values] == [4, 8, 12]
    assert second.curve == first.curve
    assert state_hash(again.state_dict().items()) == state_hash(whole.state_dict().items())


def test_the_last_score_is_that_of_the_model_that_is_handed_out(scenes, tmp_path):
    model, training = train(scenes, tmp_path, STRONG, validation=scenes)
    assert training.curve[-1] == (12, {"val_score": pytest.approx(miou(model, scenes))})


def test_scoring_while_it_trains_changes_nothing(scenes, tmp_path):
    for name, ema_decay in (("last", 0.0), ("average", 0.9)):
        config = STRONG.model_copy(update={"ema_decay": ema_decay})
        scored, _ = train(scenes, tmp_path / name / "a", config, validation=scenes)
        other, _ = train(scenes, tmp_path / name / "b", config)
        assert state_hash(scored.state_dict().items()) == state_hash(other.state_dict().items())


def test_an_encoder_that_learns_slower_moves_less(scenes, tmp_path):
    start = build_segmenter(CONFIG, 2, init_seed=0).network.encoder.state_dict()

    def moved(encoder_rate):
        config = CONFIG.model_copy(update={"encoder_rate": encoder_rate, "num_steps": 3})
        model, _ = train(scenes, tmp_path / str(encoder_rate), config)
        now = dict(model.network.encoder.named_parameters())
        return sum(float((now[n].detach() - start[n]).abs().sum()) for n in now)

    assert moved(0.01) < 0.1 * moved(1.0)


def test_poly_falls_by_its_power():
    # One step of warm-up, then 10 that fall: half-way the rate is 0.5^0.9 of its peak.
    assert schedule(6, 11, 1, power=POLY_POWER) == pytest.approx(0.5**0.9)
    assert schedule(1, 11, 1, power=POLY_POWER) == 1.0
    assert schedule(11, 11, 1, power=POLY_POWER) == 0.0


def test_an_average_moves_by_its_decay_and_keeps_counts():
    kept, now = torch.nn.BatchNorm1d(1), torch.nn.BatchNorm1d(1)
    with torch.no_grad():
        now.weight.fill_(3)
        now.running_mean.fill_(8)
        now.num_batches_tracked.fill_(7)
    average(kept, now, decay=0.75, step=1000)
    assert (kept.weight.item(), kept.running_mean.item()) == (1.5, 2.0)
    assert kept.num_batches_tracked == 7
    # At first fast: (1 + 0) / (10 + 0) is kept.
    average(kept, now, decay=0.75, step=0)
    assert kept.weight.item() == pytest.approx(0.1 * 1.5 + 0.9 * 3)


def test_a_model_shifts_and_scales_by_itself():
    model = build_segmenter(CONFIG, 2, init_seed=0).eval()
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(model(image), model.network((image - 0.45) / 0.25))
    assert {"mean", "spread"} <= model.state_dict().keys()


def test_zoomed_pictures_and_labels_stay_together():
    rows, columns = np.mgrid[:90, :120]
    ramp = (rows + columns).astype(np.uint8)
    scene = Scene((np.repeat(ramp[..., None], 3, axis=-1),), ramp)
    found = draw_scenes([scene], seed=0, step=3, batch_size=40, crop_size=32, label="x",
                        augmentations=("mirror", "zoom"))  # fmt: skip
    values = found.pictures[0][:, 0] * 255
    assert (found.labels_BHW != VOID).all()
    assert float((values - found.labels_BHW).abs().max()) <= 3
    slopes = (values[:, 30, 16] - values[:, 2, 16]) / 28
    # Twice as large is half as steep; a picture of 90 rows is never shrunk by more than 90 / 32.
    assert slopes.min() < 0.65
    assert slopes.max() > 1.6


def test_a_picture_no_larger_than_a_crop_is_only_enlarged():
    scene = Scene((np.full((32, 32, 3), 9, np.uint8),), np.zeros((32, 32), np.uint8))
    found = draw_scenes([scene], seed=0, step=0, batch_size=8, crop_size=32, label="x",
                        augmentations=("zoom",))  # fmt: skip
    assert (found.labels_BHW == 0).all()


def test_colours_change_and_grey_stays_grey():
    grey = np.full((2, 2, 3), 0.3, np.float32)
    assert np.allclose(recoloured(grey, (0, 0, 1, 1)), grey, atol=1e-6)
    # Contrast 1.4 around 0.5, then 0.2 brighter.
    assert np.allclose(recoloured(grey, (1, 1, 0, 0)), (0.3 - 0.5) * 1.4 + 0.5 + 0.2, atol=1e-6)
    red = np.zeros((1, 1, 3), np.float32)
    red[..., 0] = 0.5
    paler = recoloured(red, (0, 0, -1, 0))[0, 0]
    # 0.6 of the colour and 0.4 of its luma, 0.299 * 0.5.
    assert paler.tolist() == pytest.approx([0.6 * 0.5 + 0.4 * 0.1495, 0.0598, 0.0598])
    turned = recoloured(red, (0, 0, 0, 1))[0, 0]
    assert turned[1] != turned[2]


def test_half_precision_trains_on_a_cpu(scenes, tmp_path):
    config = CONFIG.model_copy(update={"precision": "bfloat16", "num_steps": 40})
    model, training = train(scenes, tmp_path, config)
    assert training.curve[-1][1]["loss"] < 0.6 * training.curve[0][1]["loss"]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert miou(model, scenes) > 0.8
