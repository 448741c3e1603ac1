"""How restorers and segmentation models are built and trained."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field, field_validator

from interfero.config import Config
from interfero.metrics.names import TaskName

Augmentation = Literal["mirror", "turn", "jitter", "scale", "zoom", "colour"]
Schedule = Literal["cosine", "poly"]
Adversary = Literal["none", "lsgan", "hinge"]
Generator = Literal["residual", "unet", "nafnet"]
Configuration = Literal["OO", "CC", "CO", "OC", "OT", "RO", "RR", "MO", "AO", "AC", "FC", "FO"]
"""Trained on, then tested on: original, compressed, restored, mixed (originals and compressed); A is
compressed at all rates of the sweep, F the model of OO, fine-tuned on a few compressed images, T compressed
by a codec that was adapted for the model of OO."""
CONFIGURATIONS: tuple[Configuration, ...] = get_args(Configuration)
RestorationSplit = Literal["disjoint", "same"]
"""Whether a restorer trains on images that it does not restore later, or on the same ones."""
PATHS = frozenset({"encoder_weights", "perceptual_weights"})
"""Fields that name local files: a key has the hash of the file instead."""


class TrainingConfig(Config):
    """What both trainings have in common."""

    later: ClassVar[frozenset[str]] = frozenset({"schedule"})
    """Fields that keys of earlier releases do not know."""

    num_steps: int = Field(gt=0)
    """Optimiser steps."""
    batch_size: int = Field(default=8, gt=0)
    """Crops a step, over all workers."""
    crop_size: int = Field(default=64, ge=32, multiple_of=32)
    """Side of a training crop in pixels."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of Adam; linear warm-up, then `schedule`."""
    warmup_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""
    schedule: Schedule = "cosine"
    """After the warm-up: cosine to zero, or poly, (1 - progress)^0.9 (arXiv:1606.00915)."""
    precision: Literal["bfloat16", "float32"] = "float32"
    """Of training; evaluation is always float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it trains."""
    threads: int = Field(default=1, gt=0)
    """CPU threads of a training process: float sums change in their last bits with them."""
    workers: int = Field(default=1, gt=0)
    """Processes that share a batch."""

    def identity(self) -> dict[str, Any]:
        """What a key has of it: a field of a later release counts where it differs from its default."""
        fields = type(self).model_fields
        usual = {name for name in self.later if getattr(self, name) == fields[name].default}
        return self.model_dump(mode="json", exclude={*PATHS, *usual})


class SegmentationConfig(TrainingConfig):
    """A model of a task, segmentation or another, and its training."""

    later: ClassVar[frozenset[str]] = TrainingConfig.later | {
        "encoder_rate", "ema_decay", "validations", "task",
    }  # fmt: skip

    task: TaskName = "segmentation"
    """What it is trained for; classification has no decoder."""
    architecture: str = "unet"
    """Any of segmentation-models-pytorch."""
    encoder: str = "resnet18"
    """Any encoder it has."""
    encoder_depth: int = Field(default=3, ge=3, le=5)
    """Stages of the encoder; each halves the resolution."""
    decoder_width: int = Field(default=16, gt=0)
    """Channels of a U-Net's last decoder stage; each stage before has one such width more."""
    encoder_weights: str | None = None
    """Local file with the encoder's weights (`interfero.engine.restoration.encoders`); None draws them.
    Nothing is ever downloaded."""
    encoder_hash: str = ""
    """Of that file."""
    class_weights: Literal["none", "median_frequency"] = "none"
    """Weight of a class in the loss; median_frequency is the median class frequency over its own
    (Eigen and Fergus, arXiv:1411.4734)."""
    augmentations: tuple[Augmentation, ...] = ("mirror", "turn")
    """mirror: left to right. turn: also upside down and over the diagonal. jitter: contrast and
    brightness. scale: 0.75 to 1.33 times as large, nearest pixels. zoom: half to twice as large, filtered, as
    far as a picture is large enough. colour: contrast, brightness, saturation and hue."""
    encoder_rate: float = Field(default=1.0, gt=0)
    """The encoder's learning rate over that of the decoder."""
    ema_decay: float = Field(default=0.0, ge=0, lt=1)
    """Of the moving average of parameters, which is the model; less at first. 0 takes the last parameters."""
    validations: int = Field(default=0, ge=0)
    """How often a model is scored on restoration images while it trains; nothing is chosen by it."""

    @field_validator("encoder")
    @classmethod
    def _with_its_padding(cls, encoder: str) -> str:
        # segmentation-models-pytorch builds what it calls timm-tf_efficientnet_lite* without TensorFlow's
        # padding and epsilon, which the published weights were trained with; timm's own has both.
        return re.sub(r"^timm-(?=tf_efficientnet_lite\d$)", "tu-", encoder)


class TaskCodecConfig(TrainingConfig):
    """An adapter of a learned codec that is trained for what a model of a task sees, and its training."""

    method: str
    """How the codec is adapted; a method that detaches, so that source streams stay what they are."""
    adapter_size: int = Field(ge=0)
    """In the method's unit; 0 where it has none."""
    task_weight: float = Field(ge=0)
    """Of the task's loss, in bits per pixel per nat; 0 adapts to the images alone."""


class RestorationConfig(TrainingConfig):
    """A generator that restores compressed images, and what it is trained against."""

    later: ClassVar[frozenset[str]] = TrainingConfig.later | {"validations"}

    generator: Generator = "residual"
    """residual: blocks at half resolution, added to the input. unet: the same over three scales. nafnet: the
    blocks of NAFNet (arXiv:2204.04676) at half resolution."""
    width: int = Field(default=32, gt=0)
    """Channels of the generator."""
    blocks: int = Field(default=4, gt=0)
    """Residual blocks."""
    adversary: Adversary = "lsgan"
    """Loss of the discriminators (arXiv:1611.04076, arXiv:1705.02894); none is plain regression."""
    scales: int = Field(default=2, ge=1, le=3)
    """Patch discriminators, each at half the resolution of the one before (arXiv:1711.11585)."""
    discriminator_width: int = Field(default=24, gt=0)
    """Channels of a discriminator's first layer."""
    spectral_norm: bool = True
    """Whether discriminators are spectrally normalised (arXiv:1802.05957)."""
    l1_weight: float = Field(default=1.0, ge=0)
    """Of the mean absolute error, pixels in [0, 1]."""
    adversarial_weight: float = Field(default=0.02, ge=0)
    """Of the adversarial loss."""
    feature_weight: float = Field(default=0.1, ge=0)
    """Of feature matching: mean absolute difference of the discriminators' features."""
    perceptual_weight: float = Field(default=0.0, ge=0)
    """Of LPIPS; above 0 it needs `perceptual_weights`."""
    perceptual_weights: str | None = None
    """Local safetensors file of LPIPS (see `interfero.metrics.lpips`)."""
    perceptual_hash: str = ""
    """Of that file."""
    ema_decay: float = Field(default=0.99, ge=0, lt=1)
    """Of the moving average of the generator's parameters, which is what restores; less at first."""
    validations: int = Field(default=0, ge=0)
    """How often it is scored on other images while it trains; nothing is chosen by it."""
