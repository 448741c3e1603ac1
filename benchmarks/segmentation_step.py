"""A step of segmentation training beside a bare PyTorch loop: `python benchmarks/segmentation_step.py`.

Both train the same network on the bundled mosaics: weights, crops, precision, memory format, loss and
optimiser. The bare loop's batches lie in memory, and its gradients are torch's. Ours draws batches by (seed,
step, sample), seeds the layers that draw, watches for losses that are no number, keeps a curve and the time,
and can be resumed. It has other gradients of wide depthwise convolutions, which the default model has not and
DeepLabV3+ on EfficientNet has:

    python benchmarks/segmentation_step.py --architecture DeepLabV3Plus --encoder tu-tf_efficientnet_lite0 \
        --encoder-depth 5 --decoder-width 8 --crop-size 96
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Literal

import torch
import tyro
from pydantic import Field
from torch import nn

from benchmarks._report import Target, finish, run
from benchmarks._rounds import Side, alternate, cpu, ratio
from interfero.codecs.channels_last import WideDepthwise, to_channels_last
from interfero.config import Config
from interfero.domains.mosaics import mosaics
from interfero.engine.restoration.configs import SegmentationConfig
from interfero.engine.worker import LocalWorker
from trainables.paired_batches import Scene, draw_scenes
from trainables.scene_training import Seeds, mixed
from trainables.segmentation import LABEL, build_segmenter, train_segmenter
from trainables.tasks import MODELS

TARGET = Target(">=", 0.97)
SEEDS = Seeds(data=0, init=0)


class SegmentationStep(Config):
    """What is timed."""

    steps: int = Field(default=20, gt=0)
    """A turn."""
    rounds: int = Field(default=8, gt=0)
    """Turns of each side."""
    batch_size: int = Field(default=8, gt=0)
    """Crops a step."""
    crop_size: int = Field(default=64, ge=32, multiple_of=32)
    """Side of a crop in pixels."""
    architecture: str = "unet"
    """Of segmentation-models-pytorch."""
    encoder_depth: int = Field(default=3, ge=3, le=5)
    """Stages of the encoder."""
    decoder_width: int = Field(default=16, gt=0)
    """Channels of the decoder, see `--decoder-width` of the sweeps."""
    encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """Of segmentation-models-pytorch, with drawn weights."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of training."""
    threads: int = Field(default=1, gt=0)
    """CPU threads, as a training on one CPU has."""
    json_path: Annotated[Path | None, tyro.conf.arg(name="json")] = None
    """File for every figure, with the machine's description."""

    def config(self) -> SegmentationConfig:
        """Both sides' training."""
        return SegmentationConfig(
            num_steps=self.steps, batch_size=self.batch_size, crop_size=self.crop_size, learning_rate=1e-3,
            architecture=self.architecture, encoder_depth=self.encoder_depth,
            decoder_width=self.decoder_width, encoder=self.encoder, precision=self.precision,
            threads=self.threads,
        )  # fmt: skip


def bundled_scenes() -> tuple[list[Scene], int]:
    """The training images of the bundled mosaics, and their number of classes."""
    found = mosaics()
    return [Scene((s.pixels_HWC,), s.labels_HW) for s in found.train], len(found.classes)


def bare_loop(config: SegmentationConfig) -> Callable[[], None]:
    """PyTorch as its tutorials have it, one batch after another."""
    torch.set_num_threads(config.threads)
    scenes, num_classes = bundled_scenes()
    batches = [
        draw_scenes(
            scenes, seed=SEEDS.data, step=step, batch_size=config.batch_size,
            crop_size=config.crop_size, label=LABEL, augmentations=config.augmentations,
        ).to(torch.device("cpu"))
        for step in range(config.num_steps)
    ]  # fmt: skip

    def train() -> None:
        model = build_segmenter(config, num_classes, SEEDS.init)
        to_channels_last(model, torch.device("cpu")).train()
        for layer in model.modules():
            if isinstance(layer, WideDepthwise):
                layer.__class__ = nn.Conv2d
        optimizer = torch.optim.Adam(model.parameters(), lr=config.learning_rate)
        for batch in batches:
            with mixed(config):
                output = model(batch.pictures[0]).float()
                loss = MODELS["segmentation"].loss(output, batch.labels_BHW, None)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return train


def our_loop(config: SegmentationConfig) -> Callable[[], None]:
    """A training as a worker does it."""
    torch.set_num_threads(config.threads)
    scenes, num_classes = bundled_scenes()

    def train() -> None:
        with TemporaryDirectory() as folder:
            train_segmenter(config, scenes, num_classes, SEEDS, LocalWorker(Path(folder)), "k")

    return train


def main() -> None:
    """Command line."""
    command = tyro.cli(SegmentationStep, description=__doc__)
    config = command.config()
    turns = alternate(
        {"bare": Side(bare_loop, (config,)), "ours": Side(our_loop, (config,))}, command.rounds
    )
    seconds = {name: [t / command.steps for t in cpu(taken)] for name, taken in turns.items()}
    for name, taken in seconds.items():
        print(f"{name:5s} {1000 * statistics.median(taken):.1f} ms of CPU a step")
    # CPU time: one process, and nothing in it waits.
    found = ratio(seconds["bare"], seconds["ours"])
    finish(
        "segmentation_step", found, "x", TARGET, TARGET.met(found), seconds, command.json_path,
    )  # fmt: skip


if __name__ == "__main__":
    run(main)
