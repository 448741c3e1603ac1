"""Train a generator that restores compressed images, with discriminators or by regression alone.

Dataset restoration (arXiv:2004.10497): the compressed training images of a downstream model are
restored before it trains on them. Nothing here knows the codec or the task.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from interfero.adam import Adam
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.coding import pixel_mse
from interfero.domains.batches import image_tensor
from interfero.domains.images import UInt8Array
from interfero.engine.distributed import Group
from interfero.engine.restoration.configs import RestorationConfig
from interfero.engine.worker import Worker
from interfero.metrics.lpips import Lpips, load_lpips
from interfero.metrics.rate_distortion import PEAK, psnr_db
from interfero.randomness import Role
from trainables.loop import CHECKPOINT_SECONDS
from trainables.paired_batches import Scene, draw_scenes
from trainables.restoration_networks import (
    STRIDE,
    MultiScaleDiscriminator,
    build_discriminator,
    build_generator,
)
from trainables.scene_training import (
    GAIN,
    SceneTraining,
    Seeds,
    average,
    mixed,
    seeded,
    validation_steps,
)

LABEL = "restoration"
BETAS = (0.5, 0.999)
"""Of Adam, as in pix2pix (arXiv:1611.07004)."""


@dataclass
class _Networks:
    """What trains."""

    generator: nn.Module
    averaged: nn.Module
    """Moving average of the generator; it restores."""
    discriminator: MultiScaleDiscriminator | None
    perceptual: Lpips | None


def train_restorer(
    config: RestorationConfig, scenes: Sequence[Scene], seeds: Seeds, worker: Worker, key: str,
    checkpoint_seconds: float = CHECKPOINT_SECONDS, held_out: Sequence[Scene] = (),
) -> tuple[nn.Module, SceneTraining]:  # fmt: skip
    """Train on scenes of two pictures, the compressed one and the original.

    Args:
        config: The networks and their training.
        scenes: (compressed, original) pictures.
        seeds: Of crops and initial parameters.
        worker: This process.
        key: Names the training's states in `worker.folder`.
        checkpoint_seconds: Between states.
        held_out: What it is scored on `config.validations` times while it trains; nothing is chosen by it.

    Returns:
        The averaged generator, and how its training went.

    Raises:
        ConfigError: the file of LPIPS weights cannot be used; of several processes, `GroupError`.
        DivergedError: a loss is no number any more.
    """
    group = Group(worker)
    with group.together():
        nets = _build(config, seeds.init, worker.device)
    trained = (
        [nets.generator] if nets.discriminator is None else [nets.generator, nets.discriminator]
    )
    optimizers = [
        Adam(n.parameters(), lr=config.learning_rate, betas=BETAS, fused=True) for n in trained
    ]
    modules: dict[str, nn.Module] = {"generator": nets.generator, "averaged": nets.averaged}
    if nets.discriminator is not None:
        modules["discriminator"] = nets.discriminator
    training = SceneTraining(config, modules, optimizers, group, key=key)
    share = group.share(config.batch_size, halves=False)
    count = config.validations if held_out and group.rank == 0 else 0
    due = validation_steps(config.num_steps, count)
    for step in training.steps(worker, checkpoint_seconds):
        batch = draw_scenes(
            scenes, seed=seeds.data, step=step, batch_size=share.size, crop_size=config.crop_size,
            label=LABEL, augmentations=("mirror", "turn"), first_index=share.first_index,
        ).to(worker.device)  # fmt: skip
        compressed, original = batch.pictures
        losses = _step(config, nets, compressed, original, optimizers, group)
        average(nets.averaged, nets.generator, config.ema_decay, step)
        training.note(**losses)
        if step + 1 in due:
            gain = gain_db(nets.averaged, held_out, worker.device)
            training.curve.append((step + 1, {GAIN: gain}))
    return nets.averaged.eval(), training


def _build(config: RestorationConfig, init_seed: int, device: torch.device) -> _Networks:
    with seeded(init_seed, Role.INIT, LABEL):
        generator = build_generator(config)
        discriminator = None if config.adversary == "none" else build_discriminator(config)
    for module in (generator, discriminator):
        if module is not None:
            to_channels_last(module, device)
    averaged = copy.deepcopy(generator).requires_grad_(False)
    perceptual = perceptual_loss(config)
    if perceptual is not None:
        perceptual.to(device)
    return _Networks(generator, averaged, discriminator, perceptual)


def perceptual_loss(config: RestorationConfig) -> Lpips | None:
    """LPIPS on the CPU, if the config weighs it.

    Raises:
        ConfigError: its file of weights cannot be used.
    """
    if config.perceptual_weight == 0 or config.perceptual_weights is None:
        return None
    return load_lpips(Path(config.perceptual_weights))


def _step(
    config: RestorationConfig, nets: _Networks, compressed: Tensor, original: Tensor,
    optimizers: Sequence[torch.optim.Optimizer], group: Group,
) -> dict[str, Tensor]:  # fmt: skip
    """One step of the discriminators, if any, and one of the generator."""
    losses: dict[str, Tensor] = {}
    with mixed(config):
        restored = nets.generator(compressed)
    if nets.discriminator is not None:
        nets.discriminator.requires_grad_(True)
        with mixed(config):
            real = nets.discriminator(original, compressed)
            fake = nets.discriminator(restored.detach(), compressed)
        losses["discriminator"] = discriminator_loss(config, real, fake)
        _update(optimizers[1], losses["discriminator"], nets.discriminator, group)
        nets.discriminator.requires_grad_(False)
    losses["l1"] = F.l1_loss(restored.float(), original)
    total = config.l1_weight * losses["l1"]
    if nets.discriminator is not None:
        with mixed(config):
            with torch.no_grad():
                real = nets.discriminator(original, compressed)
            fake = nets.discriminator(restored, compressed)
        losses["adversarial"] = generator_loss(config, fake)
        losses["features"] = feature_loss(real, fake)
        total = total + config.adversarial_weight * losses["adversarial"]
        total = total + config.feature_weight * losses["features"]
    if nets.perceptual is not None:
        pictures = restored.float() * PEAK, original * PEAK
        losses["perceptual"] = nets.perceptual(*pictures).mean()
        total = total + config.perceptual_weight * losses["perceptual"]
    _update(optimizers[0], total, nets.generator, group)
    return {"loss": total, **losses}


def _update(
    optimizer: torch.optim.Optimizer, loss: Tensor, module: nn.Module, group: Group
) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    group.average_gradients(module.parameters())
    optimizer.step()


def discriminator_loss(
    config: RestorationConfig, real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Mean over scales: least squares to 1 and 0 (LSGAN), or hinges at 1 and -1; lower is better."""
    total = []
    for one, other in zip(real, fake, strict=True):
        yes, no = one[-1].float(), other[-1].float()
        if config.adversary == "hinge":
            total.append(F.relu(1 - yes).mean() + F.relu(1 + no).mean())
        else:
            total.append(0.5 * ((yes - 1) ** 2).mean() + 0.5 * (no**2).mean())
    return torch.stack(total).mean()


def generator_loss(config: RestorationConfig, fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean over scales of what the generator pays for being found out."""
    judged = [features[-1].float() for features in fake]
    if config.adversary == "hinge":
        return torch.stack([-no.mean() for no in judged]).mean()
    return torch.stack([((no - 1) ** 2).mean() for no in judged]).mean()


def feature_loss(real: Sequence[Sequence[Tensor]], fake: Sequence[Sequence[Tensor]]) -> Tensor:
    """Mean absolute difference of features, over layers and scales (arXiv:1711.11585)."""
    pairs = [
        F.l1_loss(b.float(), a.float())
        for one, other in zip(real, fake, strict=True)
        for a, b in zip(one[:-1], other[:-1], strict=True)
    ]
    return torch.stack(pairs).mean()


def gain_db(generator: nn.Module, scenes: Sequence[Scene], device: torch.device) -> float:
    """PSNR of restored pictures less that of the compressed ones, mean over scenes of both; in dB."""
    gains = [
        psnr_db(pixel_mse(restore(generator, compressed, device), original))
        - psnr_db(pixel_mse(compressed, original))
        for compressed, original in (scene.pictures for scene in scenes)
    ]
    return float(np.mean(gains))


def restore(generator: nn.Module, pixels_HWC: UInt8Array, device: torch.device) -> UInt8Array:
    """One image restored: (height, width, 3) uint8, in float32."""
    height, width = pixels_HWC.shape[:2]
    image = image_tensor(pixels_HWC)[None].to(device)
    padded = F.pad(image, (0, -width % STRIDE, 0, -height % STRIDE), mode="replicate")
    with torch.inference_mode():
        output = generator(padded)[0, :, :height, :width]
    scaled = output.clamp(0, 1).mul(PEAK).round().to(torch.uint8)
    pixels: UInt8Array = np.ascontiguousarray(scaled.permute(1, 2, 0).cpu().numpy())
    return pixels
