"""What training and testing need to know of a task, besides its score: network, loss, answer and counts.

The label map of an image that has one class is that class in every pixel, so that crops, compressed copies
and restored images are the same for every task.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_confusion_matrix

from interfero.domains.images import UInt8Array
from interfero.domains.labelled import VOID
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.errors import ConfigError, nearest
from interfero.metrics.segmentation import IntArray
from interfero.metrics.tasks import CLASSIFICATION, EDGES, SEGMENTATION, Task


@dataclass(frozen=True)
class Counts:
    """What was counted of each class, in one image or several: pixels, or images."""

    hits: IntArray
    """(classes,) predicted right."""
    labelled: IntArray
    """(classes,)."""
    predicted: IntArray
    """(classes,)."""


class TaskModel(ABC):
    """One task: a subclass, and a line in `MODELS`."""

    task: ClassVar[Task]

    @abstractmethod
    def network(self, config: SegmentationConfig, num_classes: int) -> nn.Module:
        """The network, with its encoder as `encoder`; weights are drawn from torch's generator.

        Raises:
            ConfigError: no network of this config.
        """

    @abstractmethod
    def loss(self, outputs: Tensor, labels_BHW: Tensor, weights: Tensor | None) -> Tensor:
        """Mean over what is labelled, `VOID` left out; 0 where all is void.

        Args:
            outputs: What the network made of a batch, in float32.
            labels_BHW: Class of every pixel.
            weights: (classes,) of the loss, if any.
        """

    @abstractmethod
    def answer(self, outputs: Tensor, size: tuple[int, int]) -> UInt8Array:
        """(height, width) predicted classes of one image, from what the network made of it, padded or not."""

    def count(self, predicted_HW: UInt8Array, labels_HW: UInt8Array, num_classes: int) -> Counts:
        """Counts of one image by torchmetrics; void pixels count nowhere."""
        matrix = multiclass_confusion_matrix(
            torch.from_numpy(predicted_HW.astype(np.int64)),
            torch.from_numpy(labels_HW.astype(np.int64)),
            num_classes,
            ignore_index=VOID,
        ).numpy()
        return Counts(np.diag(matrix).copy(), matrix.sum(axis=1), matrix.sum(axis=0))


class SegmentationModel(TaskModel):
    """A class for every pixel, by any architecture of segmentation-models-pytorch."""

    task = SEGMENTATION

    def network(self, config: SegmentationConfig, num_classes: int) -> nn.Module:
        """See `TaskModel`."""
        architectures = {kind.__name__.lower() for kind in smp.MODEL_ARCHITECTURES_MAPPING.values()}
        if config.architecture.lower() not in architectures:
            raise ConfigError(
                f"unknown --architecture {config.architecture!r}: "
                f"{nearest(config.architecture, architectures)}"
            )
        try:
            network: nn.Module = smp.create_model(
                config.architecture, config.encoder, encoder_weights=None, classes=num_classes,
                **_decoder_options(config),
            )  # fmt: skip
        except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"--architecture {config.architecture} with --encoder {config.encoder} cannot be built "
                f"({error}): choose another pair"
            ) from error
        return network

    def loss(self, outputs: Tensor, labels_BHW: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy over pixels."""
        each = F.cross_entropy(outputs, labels_BHW, weights, ignore_index=VOID, reduction="sum")
        return each / (labels_BHW != VOID).sum().clamp(min=1)

    def answer(self, outputs: Tensor, size: tuple[int, int]) -> UInt8Array:
        """See `TaskModel`."""
        inside = outputs[0, :, : size[0], : size[1]]
        labels: UInt8Array = inside.argmax(dim=0).to(torch.uint8).cpu().numpy()
        return labels


class EdgeModel(SegmentationModel):
    """Whether a pixel is an edge, by the architectures of segmentation."""

    task = EDGES

    def loss(self, outputs: Tensor, labels_BHW: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy over pixels, and 1 less the soft Dice coefficient of edges in the batch.

        Edges are few: cross-entropy alone would have the network find none (the sum is arXiv:1809.10486's).
        """
        known = labels_BHW != VOID
        edge = ((labels_BHW == 1) & known).float()
        found = outputs.softmax(dim=1)[:, 1] * known
        dice = (2 * (found * edge).sum() + 1) / (found.sum() + edge.sum() + 1)
        return super().loss(outputs, labels_BHW, weights) + 1 - dice


class ClassificationModel(TaskModel):
    """A class for every image: the encoder, the mean over places, and one layer."""

    task = CLASSIFICATION

    def network(self, config: SegmentationConfig, num_classes: int) -> nn.Module:
        """See `TaskModel`."""
        try:
            encoder = smp.encoders.get_encoder(
                config.encoder, depth=config.encoder_depth, weights=None
            )
        except (ValueError, KeyError, RuntimeError, NotImplementedError) as error:
            raise ConfigError(
                f"--encoder {config.encoder} cannot be built ({error}): choose another"
            ) from error
        return Classifier(encoder, num_classes)

    def loss(self, outputs: Tensor, labels_BHW: Tensor, weights: Tensor | None) -> Tensor:
        """Cross-entropy over images."""
        # A crop that is larger than its image is void beside it, and VOID is the highest number.
        labels = labels_BHW.flatten(1).amin(dim=1)
        return F.cross_entropy(outputs, labels, weights)

    def answer(self, outputs: Tensor, size: tuple[int, int]) -> UInt8Array:
        """See `TaskModel`."""
        return np.full(size, int(outputs[0].argmax()), dtype=np.uint8)

    def count(self, predicted_HW: UInt8Array, labels_HW: UInt8Array, num_classes: int) -> Counts:
        """One image is one count, whatever its size."""
        return super().count(predicted_HW[:1, :1], labels_HW[:1, :1], num_classes)


class Classifier(nn.Module):
    """The deepest features of an encoder, averaged over places, and one layer."""

    def __init__(self, encoder: Any, num_classes: int) -> None:
        """Weights are drawn."""
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.out_channels[-1], num_classes)

    def forward(self, images_BCHW: Tensor) -> Tensor:
        """B, 3, H, W to B, classes."""
        outputs: Tensor = self.head(self.encoder(images_BCHW)[-1].mean(dim=(2, 3)))
        return outputs


def _decoder_options(config: SegmentationConfig) -> dict[str, Any]:
    match config.architecture.lower():
        case "unet" | "unetplusplus":
            depth = config.encoder_depth
            widths = tuple(config.decoder_width * 2**i for i in reversed(range(depth)))
            return {"encoder_depth": depth, "decoder_channels": widths}
        case "deeplabv3" | "deeplabv3plus":
            return {"decoder_channels": 16 * config.decoder_width}
        case _:
            return {}


MODELS: Mapping[str, TaskModel] = {
    model.task.name: model for model in (SegmentationModel(), ClassificationModel(), EdgeModel())
}
"""By the task's name."""
