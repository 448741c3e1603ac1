"""Train a model of any task on images with labels, and predict with it.

The encoders are segmentation-models-pytorch's, and models take pictures in [0, 1]. Encoder weights come from
a local file or are drawn; a worker never downloads anything. What a task adds is in `trainables.tasks`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interfero.adam import Adam
from interfero.codecs.channels_last import to_channels_last
from interfero.domains.batches import image_tensor
from interfero.domains.images import UInt8Array
from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.restoration.encoders import (
    Normalised,
    fill_encoder,
    normalisation_of,
    read_encoder,
)
from interfero.engine.worker import Worker
from interfero.errors import ConfigError, nearest
from interfero.metrics.names import TaskName
from interfero.randomness import Role
from trainables.loop import CHECKPOINT_SECONDS
from trainables.paired_batches import Scene, SceneBatch, draw_scenes
from trainables.scene_training import (
    SceneTraining,
    Seeds,
    average,
    mixed,
    seeded,
    validation_steps,
)
from trainables.tasks import MODELS, TaskModel

LABEL = "segmentation"
VALIDATED = "val_score"
"""Name of the task's score on validation images, in a training's curve."""


def build_segmenter(config: SegmentationConfig, num_classes: int, init_seed: int) -> Normalised:
    """The untrained model, its encoder's weights from the config's file if it names one.

    Raises:
        ConfigError: no such architecture or encoder, or a file of another encoder.
    """
    known = smp.encoders.get_encoder_names()
    # smp loads what is called tu-... through timm, weights or not.
    if config.encoder not in known and not config.encoder.startswith("tu-"):
        raise ConfigError(f"unknown --encoder {config.encoder!r}: {nearest(config.encoder, known)}")
    with seeded(init_seed, Role.INIT, LABEL):
        network = MODELS[config.task].network(config, num_classes)
    if config.encoder_weights is None:
        return Normalised(network, normalisation_of(config.encoder, None))
    weights = read_encoder(Path(config.encoder_weights))
    encoder: Any = network.encoder
    fill_encoder(encoder, weights, config.encoder)
    return Normalised(network, normalisation_of(config.encoder, weights))


def train_segmenter(
    config: SegmentationConfig, scenes: Sequence[Scene], num_classes: int, seeds: Seeds,
    worker: Worker, key: str, checkpoint_seconds: float = CHECKPOINT_SECONDS,
    validation: Sequence[Scene] = (), start: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, SceneTraining]:  # fmt: skip
    """Train on scenes of one picture and its labels.

    Args:
        config: The model and its training.
        scenes: What it learns from, each as likely as any other.
        num_classes: Classes; `VOID` is none.
        seeds: Of crops and initial parameters.
        worker: This process.
        key: Names the training's states in `worker.folder`.
        checkpoint_seconds: Between states.
        validation: What it is scored on `config.validations` times while it trains; nothing is chosen by it.
        start: Weights and buffers of a model of this architecture that it goes on from; None draws them,
            or reads them from the config's file.

    Returns:
        The model in evaluation mode, and how its training went.

    Raises:
        ConfigError: as `build_segmenter`; of several processes, `GroupError`.
        DivergedError: the loss is no number any more.
    """
    group, task = Group(worker), MODELS[config.task]
    with group.together():
        model = build_started(config, num_classes, seeds.init, start)
    to_channels_last(model, worker.device).train()
    modules: dict[str, nn.Module] = {"model": model}
    if config.ema_decay > 0:
        modules["averaged"] = copy.deepcopy(model).requires_grad_(False).eval()
    tested = modules.get("averaged", model)
    optimizer = Adam(_parameters(config, model), lr=config.learning_rate, fused=True)
    training = SceneTraining(config, modules, [optimizer], group, key=key)
    weights = _class_weights(config, scenes, num_classes, worker.device)
    share = group.share(config.batch_size, halves=False)
    count = config.validations if validation and group.rank == 0 else 0
    due = validation_steps(config.num_steps, count)
    for step in training.steps(worker, checkpoint_seconds):
        batch = draw_scenes(
            scenes, seed=seeds.data, step=step, batch_size=share.size, crop_size=config.crop_size,
            label=LABEL, augmentations=config.augmentations, first_index=share.first_index,
        ).to(worker.device)  # fmt: skip
        # Some architectures have dropout, which draws from torch's own generator.
        with seeded(seeds.data, Role.CROP, f"{LABEL} layers", step), mixed(config):
            loss = _loss(task, model, batch, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        group.average_gradients(model.parameters())
        optimizer.step()
        if tested is not model:
            average(tested, model, config.ema_decay, step)
        training.note(loss=loss)
        if step + 1 in due:
            score = validate(tested, validation, num_classes, worker.device, config.task)
            training.curve.append((step + 1, {VALIDATED: score}))
    return tested.eval(), training


def build_started(
    config: SegmentationConfig, num_classes: int, init_seed: int,
    start: Mapping[str, Tensor] | None,
) -> Normalised:  # fmt: skip
    """As `build_segmenter`, or with the state of a trained model, which has every weight."""
    if start is None:
        return build_segmenter(config, num_classes, init_seed)
    model = build_segmenter(config.model_copy(update={"encoder_weights": None}), num_classes, 0)
    model.load_state_dict(start)
    return model


def _parameters(config: SegmentationConfig, model: Normalised) -> list[dict[str, Any]]:
    """Those of the encoder, with their share of the learning rate, and the others."""
    encoder: Any = model.network.encoder
    inside = set(map(id, encoder.parameters()))
    return [
        {"params": list(encoder.parameters()), "share": config.encoder_rate},
        {"params": [p for p in model.parameters() if id(p) not in inside], "share": 1.0},
    ]


def _loss(task: TaskModel, model: nn.Module, batch: SceneBatch, weights: Tensor | None) -> Tensor:
    assert batch.labels_BHW is not None
    return task.loss(model(batch.pictures[0]).float(), batch.labels_BHW, weights)


def validate(
    model: nn.Module, scenes: Sequence[Scene], num_classes: int, device: torch.device,
    task: TaskName = "segmentation",
) -> float:  # fmt: skip
    """The task's score over some scenes together; the model stays in the mode it was in."""
    was = model.training
    model.eval()
    total = np.zeros((3, num_classes), dtype=np.int64)
    for scene in scenes:
        assert scene.labels_HW is not None
        found = segment(model, scene.pictures[0], device, task)
        counts = MODELS[task].count(found, scene.labels_HW, num_classes)
        total += np.stack([counts.hits, counts.labelled, counts.predicted])
    model.train(was)
    return float(MODELS[task].task.score(*total))


def _class_weights(
    config: SegmentationConfig, scenes: Sequence[Scene], num_classes: int, device: torch.device
) -> Tensor | None:
    """(classes,) median class frequency over each class's own."""
    if config.class_weights == "none":
        return None
    counts = np.zeros(256)
    for scene in scenes:
        assert scene.labels_HW is not None
        counts += np.bincount(scene.labels_HW.reshape(-1), minlength=256)
    present = counts[:num_classes]
    weights = np.median(present[present > 0]) / present.clip(min=1)
    return torch.from_numpy(weights).float().to(device)


def segment(
    model: nn.Module, pixels_HWC: UInt8Array, device: torch.device, task: TaskName = "segmentation"
) -> UInt8Array:
    """Predicted class of every pixel, (height, width) uint8, in float32; of images, one class in all."""
    height, width = pixels_HWC.shape[:2]
    stride = 32
    image = image_tensor(pixels_HWC)[None].to(device)
    padded = F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
    with torch.inference_mode():
        return MODELS[task].answer(model(padded), (height, width))
