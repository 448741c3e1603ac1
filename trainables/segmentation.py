"""Train a segmentation model on any images with labels, and count what it gets right.

The models are segmentation-models-pytorch's. Encoder weights come from a local file or are drawn;
a worker never downloads anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_confusion_matrix

from interfero.codecs.channels_last import to_channels_last
from interfero.domains.batches import image_tensor
from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.worker import Worker
from interfero.errors import ConfigError, nearest
from interfero.metrics.segmentation import IntArray
from interfero.randomness import Role
from trainables.loop import CHECKPOINT_SECONDS
from trainables.paired_batches import Scene, SceneBatch, draw_scenes
from trainables.scene_training import SceneTraining, Seeds, mixed, seeded

MEAN, SPREAD = 0.45, 0.25
"""What images are shifted and scaled by before the model: about those of photographs in [0, 1]."""
LABEL = "segmentation"


@dataclass(frozen=True)
class Counts:
    """Pixels of each class in one image or several."""

    hits: IntArray
    """(classes,) predicted right."""
    labelled: IntArray
    """(classes,)."""
    predicted: IntArray
    """(classes,)."""


def build_segmenter(config: SegmentationConfig, num_classes: int, init_seed: int) -> nn.Module:
    """The untrained model, its encoder's weights from the config's file if it names one.

    Raises:
        ConfigError: no such architecture or encoder, or a file of another encoder.
    """
    architectures = {kind.__name__.lower() for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}
    if config.architecture.lower() not in architectures:
        raise ConfigError(
            f"unknown --architecture {config.architecture!r}: "
            f"{nearest(config.architecture, architectures)}"
        )
    known = smp.encoders.get_encoder_names()
    # smp loads what is called tu-... through timm, weights or not.
    if config.encoder not in known and not config.encoder.startswith("tu-"):
        raise ConfigError(f"unknown --encoder {config.encoder!r}: {nearest(config.encoder, known)}")
    options: dict[str, Any] = {}
    if config.architecture.lower() in {"unet", "unetplusplus"}:
        depth = config.encoder_depth
        widths = tuple(config.decoder_width * 2**i for i in reversed(range(depth)))
        options = {"encoder_depth": depth, "decoder_channels": widths}
    with seeded(init_seed, Role.INIT, LABEL):
        try:
            model: nn.Module = smp.create_model(
                config.architecture, config.encoder, encoder_weights=None, classes=num_classes,
                **options,
            )  # fmt: skip
        except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"--architecture {config.architecture} with --encoder {config.encoder} cannot be built "
                f"({error}): choose another pair"
            ) from error
    if config.encoder_weights is not None:
        _load_encoder(model, Path(config.encoder_weights))
    return model


def _load_encoder(model: nn.Module, path: Path) -> None:
    encoder: Any = model.encoder
    try:
        state = safetensors.torch.load_file(path)
        encoder.load_state_dict(state)
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise ConfigError(
            f"--encoder-weights {path} must be a safetensors file of the encoder's own state "
            f"({str(error)[:300]})"
        ) from error


def train_segmenter(
    config: SegmentationConfig, scenes: Sequence[Scene], num_classes: int, seeds: Seeds,
    worker: Worker, key: str, checkpoint_seconds: float = CHECKPOINT_SECONDS,
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

    Returns:
        The model in evaluation mode, and how its training went.

    Raises:
        ConfigError: as `build_segmenter`; of several processes, `GroupError`.
        DivergedError: the loss is no number any more.
    """
    group = Group(worker)
    with group.together():
        model = build_segmenter(config, num_classes, seeds.init)
    to_channels_last(model, worker.device)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
    training = SceneTraining(config, {"model": model}, [optimizer], group, key=key)
    weights = _class_weights(config, scenes, num_classes)
    if weights is not None:
        weights = weights.to(worker.device)
    share = group.share(config.batch_size, halves=False)
    for step in training.steps(worker, checkpoint_seconds):
        batch = draw_scenes(
            scenes, seed=seeds.data, step=step, batch_size=share.size, crop_size=config.crop_size,
            label=LABEL, augmentations=config.augmentations, first_index=share.first_index,
        ).to(worker.device)  # fmt: skip
        # Some architectures have dropout, which draws from torch's own generator.
        with seeded(seeds.data, Role.CROP, f"{LABEL} layers", step), mixed(config):
            loss = _loss(model, batch, weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        group.average_gradients(model.parameters())
        optimizer.step()
        training.note(loss=loss)
    return model.eval(), training


def _loss(model: nn.Module, batch: SceneBatch, weights: Tensor | None) -> Tensor:
    """Cross-entropy over pixels that are not void; 0 where all are."""
    assert batch.labels_BHW is not None
    logits = model(normalised(batch.pictures[0])).float()
    each = F.cross_entropy(logits, batch.labels_BHW, weights, ignore_index=VOID, reduction="sum")
    return each / (batch.labels_BHW != VOID).sum().clamp(min=1)


def normalised(images_BCHW: Tensor) -> Tensor:
    """Images in [0, 1] as the model takes them."""
    return (images_BCHW - MEAN) / SPREAD


def _class_weights(
    config: SegmentationConfig, scenes: Sequence[Scene], num_classes: int
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
    return torch.from_numpy(weights).float()


def segment(model: nn.Module, pixels_HWC: UInt8Array, device: torch.device) -> UInt8Array:
    """Predicted class of every pixel, (height, width) uint8, in float32."""
    height, width = pixels_HWC.shape[:2]
    stride = 32
    image = normalised(image_tensor(pixels_HWC)[None].to(device))
    padded = F.pad(image, (0, -width % stride, 0, -height % stride), mode="replicate")
    with torch.inference_mode():
        logits = model(padded)[0, :, :height, :width]
    labels: UInt8Array = logits.argmax(dim=0).to(torch.uint8).cpu().numpy()
    return labels


def count_pixels(predicted_HW: UInt8Array, labels_HW: UInt8Array, num_classes: int) -> Counts:
    """Counts of one image by torchmetrics; void pixels count nowhere."""
    matrix = multiclass_confusion_matrix(
        torch.from_numpy(predicted_HW.astype(np.int64)),
        torch.from_numpy(labels_HW.astype(np.int64)),
        num_classes,
        ignore_index=VOID,
    ).numpy()
    return Counts(np.diag(matrix).copy(), matrix.sum(axis=1), matrix.sum(axis=0))
