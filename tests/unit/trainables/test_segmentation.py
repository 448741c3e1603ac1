"""The segmentation loop: it learns, forgets nothing when killed, and downloads nothing."""

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
from trainables.paired_batches import Scene, draw_scenes
from trainables.scene_training import Seeds
from trainables.segmentation import build_segmenter, count_pixels, segment, train_segmenter

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
        count_pixels(segment(model, s.pictures[0], torch.device("cpu")), s.labels_HW, 2)
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


def test_who_was_killed_goes_on_to_the_same_weights(scenes, tmp_path, monkeypatch):
    whole, _ = train(scenes, tmp_path / "whole")
    import trainables.segmentation as module

    drawn = module.draw_scenes

    def dies(*args, step, **options):
        if step == 7:
            raise KeyboardInterrupt
        return drawn(*args, step=step, **options)

    monkeypatch.setattr(module, "draw_scenes", dies)
    with pytest.raises(KeyboardInterrupt):
        train(scenes, tmp_path / "killed", checkpoint_seconds=0)
    monkeypatch.setattr(module, "draw_scenes", drawn)
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
    weights = _class_weights(weighted, rare, 2)
    # Frequencies 3/4 and 1/4, median 1/2.
    assert weights.tolist() == pytest.approx([2 / 3, 2])
    assert _class_weights(CONFIG, rare, 2) is None


def test_encoder_weights_come_from_a_file(tmp_path):
    donor = build_segmenter(CONFIG, 2, init_seed=5)
    path = tmp_path / "encoder.safetensors"
    safetensors.torch.save_file(donor.encoder.state_dict(), path)
    config = CONFIG.model_copy(update={"encoder_weights": str(path)})
    model = build_segmenter(config, 3, init_seed=0)
    assert state_hash(model.encoder.state_dict().items()) == state_hash(
        donor.encoder.state_dict().items()
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


def test_half_precision_trains_on_a_cpu(scenes, tmp_path):
    config = CONFIG.model_copy(update={"precision": "bfloat16", "num_steps": 40})
    model, training = train(scenes, tmp_path, config)
    assert training.curve[-1][1]["loss"] < 0.6 * training.curve[0][1]["loss"]
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert miou(model, scenes) > 0.8
