"""Train a source codec on the source domain: `python -m trainables.source --help`.

Training can be interrupted: the state is written every minute, and the same command resumes from it. Train
the highest lambda longest and warm-start the lower ones from it. The last steps run in float32.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from compressai.entropy_models import EntropyBottleneck
from compressai.models import CompressionModel
from pydantic import Field
from pytorch_optimizer.optimizer.soap import SOAP
from torch import Tensor, nn

from interfero.adam import Adam
from interfero.codecs.channels_last import to_channels_last
from interfero.codecs.checkpoint import (
    copy_parameters,
    copy_transforms,
    freeze_codec,
    read_codec,
    save_codec,
)
from interfero.codecs.codec import (
    Shape,
    build_model,
    quantile_loss,
    quantile_parameters,
    rd_parameters,
)
from interfero.codecs.imported import import_codec
from interfero.codecs.noise import NoiseKey, explicit_noise
from interfero.codecs.torch_checkpoint import is_torch_file
from interfero.config import Config
from interfero.domains.batches import draw_batch
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain, check_channels
from interfero.domains.images import ImageRules
from interfero.engine.checkpoints import Checkpoints, load_state
from interfero.engine.worker import LocalWorker, Metrics, Worker
from interfero.errors import ConfigError, InterferoError
from interfero.metrics.rate_distortion import estimated_bpp, mse_255, rd_loss
from interfero.randomness import Role, seed_for, torch_generator
from trainables.loop import Loop, Resumable
from trainables.schedule import schedule

STATE = "state"
"""Name of the training state in the worker's folder."""


class SourceConfig(Config):
    """How a source codec is trained."""

    rd_lambda: float = Field(gt=0)
    """Weight of distortion: bits per pixel per unit of MSE on the 0-255 scale."""
    num_steps: int = Field(gt=0)
    """Optimiser steps."""
    architecture: str = "mbt2018-mean"
    """Name of the CompressAI architecture (docs/codecs.md)."""
    num_channels: int = Field(default=64, gt=0)
    """N, the number of channels of the transforms."""
    num_latents: int = Field(default=96, gt=0)
    """M, the number of channels of the latent."""
    image_channels: int = Field(default=3, gt=0)
    """Number of channels of the images: 1 for one band, 12 for twelve (docs/domains.md)."""

    @property
    def shape(self) -> Shape:
        """Architecture and channel counts of the codec."""
        return Shape(self.architecture, self.num_channels, self.num_latents, self.image_channels)

    @property
    def settings(self) -> dict[str, Any]:
        """JSON without newer fields at their default: states and cards of RGB codecs stay the same."""
        usual = {"image_channels"} if self.image_channels == 3 else set()
        return self.model_dump(mode="json", exclude={"warm_start", *usual})

    batch_size: int = Field(default=8, gt=0)
    """Crops per step."""
    crop_size: int = Field(default=128, ge=64, multiple_of=64)
    """Side of a crop in pixels."""
    learning_rate: float = Field(default=3e-3, gt=0)
    """Peak learning rate of SOAP (Adam in Shampoo's eigenbasis, arXiv:2409.11321)."""
    prior_rate_scale: float = Field(default=1.0, gt=0)
    """Learning rate of entropy bottlenecks relative to that of the transforms; above 1 if the transforms are
    warm-started and the prior is new."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """Learning-rate schedule; `constant` is for a first training from which other lambdas start."""
    warmup_steps: int = Field(default=200, ge=0)
    """Steps of linear warm-up."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Maximum gradient norm; larger gradients are clipped."""
    float32_share: float = Field(default=0.1, ge=0, le=1)
    """Share of the steps, at the end, that run in float32; the others run in bfloat16 autocast."""
    gradient_share: float = Field(default=0.0, ge=0, le=1)
    """Share of crops placed on a smooth gradient of saturated colours. Photographs hardly contain such
    surfaces, and a hyper-decoder that has never seen one extrapolates: 6 bpp for an empty sky."""
    seed: int = 0
    """Seed of crops, noise and initial weights."""
    warm_start: Path | None = None
    """Codec file, PyTorch checkpoint of CompressAI, or training state, to start from."""


class SourceCommand(SourceConfig):
    """Train a source codec on a folder of images."""

    domain: str
    """Source domain: a bundled NAME, or NAME=PATH."""
    data_licence: str = "not stated"
    """Licence of its images, for the card of the codec file."""
    out: Path
    """Codec file to write (.safetensors); the training state is written next to it."""
    threads: int = Field(default=1, gt=0)
    """Number of CPU threads."""


def learning_rate_at(config: SourceConfig, step: int) -> float:
    """Learning rate at a step: linear warm-up, then cosine to zero, or constant."""
    if config.schedule == "constant" and step >= config.warmup_steps:
        return config.learning_rate
    return schedule(step, config.num_steps, config.warmup_steps, config.learning_rate)


@dataclass
class SourceTraining(Resumable):
    """A source codec while it trains."""

    config: SourceConfig
    model: CompressionModel
    main: torch.optim.Optimizer
    auxiliary: torch.optim.Optimizer

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that a resumed training must share with the interrupted one."""
        return self.config.settings

    def tensors(self) -> Mapping[str, Tensor]:
        """See `Resumable`."""
        return dict(self.model.named_parameters())

    def optimizers(self) -> Sequence[torch.optim.Optimizer]:
        """See `Resumable`."""
        return self.main, self.auxiliary

    def info(self) -> dict[str, Any]:
        """See `Resumable`."""
        return {**super().info(), "config": self.settings}

    def go_on(self, info: Mapping[str, Any]) -> None:
        """See `Resumable`.

        Raises:
            ConfigError: the state was made with other settings.
        """
        if info["config"] != self.settings:
            raise ConfigError(
                f"{STATE}.safetensors was made with other settings: delete it or restore them"
            )
        super().go_on(info)


def train_source(config: SourceConfig, domain: Domain, worker: Worker) -> CompressionModel:
    """Train, going on from the state in `worker.folder` if there is one.

    Returns:
        The trained model in float32, without entropy tables.
    """
    model = _initial_model(config)
    to_channels_last(model, worker.device)
    # Measured from scratch (N=64, M=96, lambda 0.013): SOAP reached at 200 steps the loss that Adam
    # reached at about 1500, for 1.5 times the cost of a step.
    main = SOAP(_groups(model, config), lr=config.learning_rate, weight_decay=0.0)
    auxiliary = Adam(quantile_parameters(model), lr=1e-3)
    training = SourceTraining(config, model, main, auxiliary, key=STATE)
    loop = Loop([training], config.num_steps, worker, checkpoints=Checkpoints(worker.folder, ""))
    loop.restore(training)
    for step in loop.steps():
        for group in main.param_groups:
            group["lr"] = group["scale"] * learning_rate_at(config, step)
        losses = _step(config, model, domain, step, main, auxiliary, worker.device)
        done = step + 1
        if done % 100 == 0 or done == config.num_steps:
            worker.report("source", done, losses)
        if worker.should_stop() or done == config.num_steps:
            loop.stop()
    return model.float().cpu()


def _groups(model: CompressionModel, config: SourceConfig) -> list[dict[str, Any]]:
    """Transforms, and entropy bottlenecks with a learning rate of their own if one is asked for."""
    parameters = rd_parameters(model)
    if config.prior_rate_scale == 1:
        return [{"params": parameters, "scale": 1.0}]
    bottlenecks = [m for m in model.modules() if isinstance(m, EntropyBottleneck)]
    prior = {id(p) for m in bottlenecks for p in m.parameters()}
    return [
        {"params": [p for p in parameters if id(p) not in prior], "scale": 1.0},
        {"params": [p for p in parameters if id(p) in prior], "scale": config.prior_rate_scale},
    ]


def _initial_model(config: SourceConfig) -> CompressionModel:
    shape = config.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(config.seed, 0, Role.INIT))
        model = build_model(shape)
    if config.warm_start is None:
        return model
    if config.warm_start.name == f"{STATE}.safetensors":
        load_state(config.warm_start, dict(model.named_parameters()), ())
        return model
    if is_torch_file(config.warm_start):
        source = import_codec(config.warm_start, config.rd_lambda, "warm start")
    else:
        source = read_codec(config.warm_start, "warm start")
    if source.shape == shape:
        copy_parameters(source.model, model)
    elif not copy_transforms(source.model, model):
        raise ConfigError(
            f"--warm-start is {source.shape}, the run asks for {shape}: their transforms differ"
        )
    return model


def _step(
    config: SourceConfig,
    model: CompressionModel,
    domain: Domain,
    step: int,
    main: torch.optim.Optimizer,
    auxiliary: torch.optim.Optimizer,
    device: torch.device,
) -> dict[str, float]:
    image = draw_batch(
        domain.train,
        seed=config.seed,
        step=step,
        batch_size=config.batch_size,
        crop_size=config.crop_size,
    )
    image = on_gradients(image, config, step).to(device, memory_format=torch.channels_last)
    noise = NoiseKey(config.seed, step, config.batch_size)
    half = step < config.num_steps * (1 - config.float32_share)
    precision: AbstractContextManager[object] = (
        torch.autocast(device.type, torch.bfloat16) if half else nullcontext()
    )
    with precision, explicit_noise(model, noise):
        output = model(image)
    likelihoods: list[Tensor] = list(output["likelihoods"].values())
    bpp = estimated_bpp(likelihoods, image.shape[0] * config.crop_size**2)
    mse = mse_255(output["x_hat"], image)
    loss = rd_loss(bpp, mse, config.rd_lambda)
    main.zero_grad()
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(rd_parameters(model), config.clip_norm)
    if not torch.isfinite(norm):
        raise ConfigError(
            f"gradient is {norm} at step {step}: lower --learning-rate and start from the last state"
        )
    main.step()
    auxiliary.zero_grad()
    quantile_loss(model).backward()
    auxiliary.step()
    return {"bpp": bpp.item(), "mse_255": mse.item(), "rd_loss": loss.item()}


def on_gradients(image_BCHW: Tensor, config: SourceConfig, step: int) -> Tensor:
    """Some crops fainter, on a gradient between four random colours, many of them saturated."""
    mixed = []
    for i, crop in enumerate(image_BCHW):
        random = torch_generator(config.seed, step, Role.GRADIENT, i)
        chosen, strength = torch.rand(2, generator=random).tolist()
        if chosen >= config.gradient_share:
            mixed.append(crop)
            continue
        # Stretched and cut at both ends: half of all channel values are 0 or 1.
        corners = (torch.rand(1, crop.shape[0], 2, 2, generator=random) * 2 - 0.5).clamp(0, 1)
        ground = nn.functional.interpolate(
            corners, crop.shape[1:], mode="bilinear", align_corners=True
        )[0]
        mixed.append((ground + strength**2 * (crop - crop.mean())).clamp(0, 1))
    return torch.stack(mixed)


def main() -> None:
    """Command line."""
    command = tyro.cli(SourceCommand, description=__doc__)
    torch.set_num_threads(command.threads)
    domain = load_domain(command.domain, ImageRules(channels=command.image_channels))
    check_channels(domain, command.image_channels)
    started = time.monotonic()

    def show(_: str, step: int, metrics: Metrics) -> None:
        values = "  ".join(f"{k} {v:.4f}" for k, v in metrics.items())
        sys.stdout.write(f"step {step}  {values}  {time.monotonic() - started:.0f} s\n")
        sys.stdout.flush()

    config = SourceConfig(**command.model_dump(include=set(SourceConfig.model_fields)))
    worker = LocalWorker(command.out.with_suffix(""), on_report=show)
    model = train_source(config, domain, worker)
    card = training_card(config, domain, command.data_licence)
    codec = freeze_codec(model, config.shape, config.rd_lambda, command.out.stem, card)
    save_codec(codec, command.out)
    sys.stdout.write(f"{command.out}: weights {codec.weights_hash}, tables {codec.table_hash}\n")


def training_card(config: SourceConfig, domain: Domain, data_licence: str) -> dict[str, Any]:
    """What a reader needs to judge or repeat a training; kept in the codec file."""
    settings = config.settings
    start = config.warm_start
    warm_start = f"{start.parent.name}/{start.name}" if start else None
    flags = [f"--{k.replace('_', '-')} {v}" for k, v in settings.items()]
    flags += [f"--warm-start {warm_start}"] if warm_start else []
    command = (
        f"python -m trainables.source --domain {domain.name}=PATH {' '.join(flags)} --out FILE"
    )
    return {
        "command": command,
        "training": settings,
        "warm_start": warm_start,
        "domain": {
            "name": domain.name,
            "fingerprint": domain.fingerprint,
            "images": len(domain.train),
            "licence": data_licence,
        },
        "torch": torch.__version__,
    }


if __name__ == "__main__":
    try:
        main()
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
