"""Adapt a learned codec for what a trained model sees, and code images with the adapted codec.

The loss is `bpp + lambda * mse + weight * task loss`, the last one of the frozen model on the decoded
picture, after Adapt-ICMH (arXiv:2407.09853). Rate and picture keep their places, so that a weight of 0 is the
same adaptation without the task. The adapter detaches: streams of the source codec stay what they are.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from interfero.adaptation import find_method, load_adapter, save_adapter
from interfero.adaptation.method import AdaptedCodec, StepLoss, rd_step
from interfero.codecs.catalogue import load_codec
from interfero.codecs.channels_last import to_channels_last, to_coding_format
from interfero.codecs.codec import Codec, quantile_loss
from interfero.codecs.coding import SourceCoder, decode, encode
from interfero.codecs.lossy import Lossy, LossyCodec, LossyLearned, Setting
from interfero.codecs.noise import NoiseKey
from interfero.domains.images import Sample, UInt8Array
from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import TaskCodecConfig
from interfero.engine.worker import Worker
from interfero.errors import CodecError
from trainables.member import QUANTILE_LEARNING_RATE, learning, make_optimizers
from trainables.paired_batches import Scene, SceneBatch, draw_scenes
from trainables.scene_training import SceneTraining, Seeds, mixed
from trainables.tasks import TaskModel

LABEL = "task codec"
CLIP_NORM = 1.0
"""Of the gradient, as where codecs are adapted without a task."""


def source_codec(codec: LossyCodec, setting: Setting) -> Codec:
    """The learned codec at the lambda of a setting.

    Raises:
        CodecError: the codec is classical.
    """
    if not isinstance(codec, LossyLearned):
        raise CodecError(f"{codec.name} has nothing that learns: name a learned codec")
    return load_codec(codec.sources[setting.value], setting.value)


def train_task_codec(
    config: TaskCodecConfig, source: Codec, task: TaskModel, model: nn.Module,
    scenes: Sequence[Scene], seeds: Seeds, worker: Worker, key: str, checkpoint_seconds: float,
) -> tuple[AdaptedCodec, SceneTraining]:  # fmt: skip
    """Train an adapter of a source codec; the model that looks at the pictures does not change.

    Args:
        config: The adapter and its training.
        source: The codec at one lambda.
        task: What the model is for.
        model: In evaluation mode; its parameters are kept from learning.
        scenes: Originals with their labels.
        seeds: Of crops, noise and initial parameters.
        worker: This process.
        key: Names the training's states in `worker.folder`.
        checkpoint_seconds: Between states.

    Returns:
        The adapted codec in target mode on the CPU, its tables refreshed, and how its training went.

    Raises:
        CodecError: the method cannot adapt the codec.
        DivergedError: the loss is no number any more.
    """
    adapted, frozen = _adaptable(config, source, seeds, worker)
    model.requires_grad_(False)
    main, quantiles = _optimizers(adapted, config)
    optimizers = [main] if quantiles is None else [main, quantiles]
    training = SceneTraining(config, {"adapted": adapted}, optimizers, Group(worker), key=key)
    learned = [p for group in main.param_groups for p in learning(group["params"])]
    for step in training.steps(worker, checkpoint_seconds):
        batch = draw_scenes(
            scenes, seed=seeds.data, step=step, batch_size=config.batch_size,
            crop_size=config.crop_size, label=LABEL, augmentations=("mirror",),
        ).to(worker.device)  # fmt: skip
        for optimizer in optimizers:
            optimizer.zero_grad(set_to_none=True)
        noise = NoiseKey(seeds.data, step, config.batch_size)
        coded, task_loss = _losses(config, adapted, source.rd_lambda, task, model, batch, noise)
        total = coded.total + config.task_weight * task_loss.to(coded.total.device)
        total.backward()
        torch.nn.utils.clip_grad_norm_(learned, CLIP_NORM)
        main.step()
        if quantiles is not None:
            quantile_loss(adapted).backward()
            quantiles.step()
        training.note(loss=total, bpp=coded.bpp, mse_255=coded.mse, task_loss=task_loss)
    for module in (adapted, frozen):
        to_coding_format(module)
    adapted.refresh_tables()
    return adapted.eval(), training


def _adaptable(
    config: TaskCodecConfig, source: Codec, seeds: Seeds, worker: Worker
) -> tuple[AdaptedCodec, nn.Module]:
    """The codec with a new adapter, ready to train on the worker's device, and the source model inside it."""
    # Of its own: it moves to a device and to another memory format.
    frozen = copy.deepcopy(source.model).requires_grad_(False)
    to_channels_last(frozen, worker.device)
    own = replace(source, model=frozen)
    adapted = find_method(config.method).build(own, config.adapter_size, seeds.init)
    to_channels_last(adapted, worker.device)
    adapted.train_parameters()
    adapted.train()
    return adapted, frozen


def _optimizers(
    adapted: AdaptedCodec, config: TaskCodecConfig
) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer | None]:
    """Of what learns by the loss, and of the entropy model's quantiles if they do."""
    main, quantiles = make_optimizers(adapted, config.learning_rate)
    for group in () if quantiles is None else quantiles.param_groups:
        group["share"] = QUANTILE_LEARNING_RATE / config.learning_rate
    return main, quantiles


def _losses(
    config: TaskCodecConfig, adapted: AdaptedCodec, rd_lambda: float, task: TaskModel, model: nn.Module,
    batch: SceneBatch, noise: NoiseKey,
) -> tuple[StepLoss, torch.Tensor]:  # fmt: skip
    """Rate and distortion of a batch, and the task's loss on what is decoded; 0 with a weight of 0."""
    image, labels = batch.pictures[0], batch.labels_BHW
    assert labels is not None
    with mixed(config):
        output = adapted.forward_noisy(image, noise)
        coded = rd_step(output, image, rd_lambda)
        seen = model(output.x_hat.clamp(0, 1)) if config.task_weight else None
    return coded, torch.zeros(()) if seen is None else task.loss(seen.float(), labels, None)


def save_task_codec(
    adapted: AdaptedCodec, config: TaskCodecConfig, path: Path, key: str, domain: str
) -> None:
    """Write the adapter file, which `interfero decode --adapter` takes like any other."""
    record = {"key": key, "steps": config.num_steps, "learning_rate": config.learning_rate,
              "task_weight": config.task_weight}  # fmt: skip
    save_adapter(
        adapted, path, method=config.method, adapter_size=config.adapter_size, record=record,
        domain=domain,
    )  # fmt: skip


def source_kept_share(adapted: AdaptedCodec, source: Codec, samples: Sequence[Sample]) -> float:
    """Share of images whose bytes in source mode are those of the source codec; 1 is what it must be."""
    before, coder = adapted.mode, SourceCoder(source)
    adapted.mode = "source"
    try:
        same = [
            encode(adapted, s.pixels_HWC).data == encode(coder, s.pixels_HWC).data for s in samples
        ]
    finally:
        adapted.mode = before
    return sum(same) / len(same)


@dataclass(frozen=True)
class LossyAdapted:
    """A learned codec with an adapter, at the setting of its source codec."""

    source: LossyCodec
    setting: Setting
    adapted: AdaptedCodec
    """In target mode."""
    adapter: str
    """Names what the adapter was trained on and how."""

    @classmethod
    def load(cls, source: LossyCodec, setting: Setting, adapter: Path) -> LossyAdapted:
        """Put an adapter file on the source codec.

        Raises:
            AdapterError: the file is damaged or of another codec.
        """
        adapted, metadata = load_adapter(adapter, source_codec(source, setting))
        return cls(source, setting, adapted, str(metadata["adapter_hash"]))

    @property
    def name(self) -> str:
        """See `LossyCodec`."""
        return self.source.name

    @property
    def identity(self) -> str:
        """See `LossyCodec`."""
        return f"{self.source.identity} adapted by {self.adapter}"

    def setting_for(self, images: Sequence[Sample], rate_bpp: float) -> Setting:
        """See `LossyCodec`: nothing is searched, an adapter belongs to one lambda."""
        return self.setting

    def transcode(self, pixels_HWC: UInt8Array, setting: Setting) -> Lossy:
        """See `LossyCodec`: one bitstream in target mode, decoded again."""
        data = encode(self.adapted, pixels_HWC).data
        return Lossy(len(data), decode(self.adapted, data).pixels_HWC)

    def transcode_all(self, images: Sequence[UInt8Array], setting: Setting) -> list[Lossy]:
        """See `LossyCodec`: one after the other."""
        return [self.transcode(pixels_HWC, setting) for pixels_HWC in images]
