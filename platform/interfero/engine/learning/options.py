"""What a sweep about learning from compressed images takes on its command line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import tyro

from interfero.engine.learning.configs import Augmentation, Generator
from interfero.engine.learning.steps import CONFIGURATIONS, Configuration, RestorationSplit
from interfero.engine.option_rules import (
    Rule,
    list_rules,
    number_rules,
    parted_rules,
    refuse_broken,
    sweep_rules,
)
from interfero.engine.options import EarlyStopping, Sampler, SweepOptions
from interfero.errors import nearest

Restoration = Literal["gan", "regression"]


class LearningOptions(SweepOptions):
    """Options of sweeps that train segmentation models on compressed and restored images."""

    source: str = "mbt2018-mean"
    """Refused here: codecs are named by --codecs."""
    source_domain: str = "photos"
    """Refused here: nothing is adapted."""
    init_seeds: tuple[int, ...] = (0,)
    """Seeds that draw segmentation models."""
    sampler: Sampler = "grid"
    """Only grid: there is nothing to choose."""
    num_samples: int = 16
    """Of samplers other than grid, which are refused here."""
    early_stopping: EarlyStopping = "none"
    """Refused here: a cell is tested at its last step."""
    calibrate: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Refused here: steps of the graph are timed as they are done."""
    smoke: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The smallest honest run: 4 steps a model, 3 images a portion, every configuration, and the first value
    of every other axis."""
    domains: tuple[str, ...] = ("mosaics",)
    """Labelled domains: mosaics, or NAME=PATH for a folder in CamVid's, Cityscapes', VOC's or the plain
    layout of images and label maps."""
    codecs: tuple[str, ...] = ("mbt2018-mean", "jpeg")
    """Codecs that compress: bundled NAMEs, paths, compressai:NAME, or jpeg, jpeg2000, webp, avif, heif,
    jpegxl."""
    rates: tuple[float, ...] = (0.3, 0.8)
    """Rates in bits per pixel, headers included, matched on training images; the rate reached is logged."""
    configurations: tuple[str, ...] = ("OO", "CC", "CO", "OC")
    """What a model is trained on, then tested on: O original, C compressed, R restored, M originals and
    compressed mixed. OO CC CO OC RO RR MO."""
    restorations: tuple[Restoration, ...] = ("gan", "regression")
    """How restorers are trained, for RO and RR: against discriminators, or by regression alone."""
    restoration_splits: tuple[RestorationSplit, ...] = ("disjoint",)
    """What restorers are trained on: disjoint, images that are restored by none, or same, the ones they
    restore later."""
    num_steps: int = 200
    """Optimiser steps of a segmentation model."""
    restoration_steps: int = 200
    """Optimiser steps of a restorer."""
    architecture: str = "unet"
    """Architecture of segmentation-models-pytorch."""
    encoder: str = "tu-tf_mobilenetv3_small_minimal_100"
    """Encoder of segmentation-models-pytorch."""
    encoder_depth: int = 3
    """Stages of the encoder of a U-Net; each halves the resolution."""
    encoder_weights: str | None = None
    """Local safetensors file of the encoder's state; without it the weights are drawn by a seed."""
    learning_rate: float = 4e-3
    """Peak learning rate of segmentation models."""
    batch_size: int = 8
    """Crops a step."""
    crop_size: int = 64
    """Side of a training crop in pixels, a multiple of 32."""
    class_weights: Literal["none", "median_frequency"] = "none"
    """Weights of classes in the loss."""
    augmentations: tuple[Augmentation, ...] = ("mirror", "turn")
    """mirror: left to right; turn: any way round; jitter: brightness and contrast; scale."""
    generator: Generator = "residual"
    """Of restorers."""
    adversary: Literal["lsgan", "hinge"] = "lsgan"
    """Loss of the discriminators."""
    adversarial_weight: float = 0.02
    """Of the adversarial loss beside the mean absolute error, pixels in [0, 1]."""
    feature_weight: float = 0.1
    """Of feature matching."""
    perceptual_weight: float = 0.0
    """Of LPIPS; needs --perceptual-weights."""
    perceptual_weights: str | None = None
    """Local safetensors file of LPIPS weights."""
    restoration_learning_rate: float = 1e-3
    """Peak learning rate of restorers."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of training; what is tested is computed in float32."""
    max_images: int = 0
    """Images of each portion (train, restoration, test) at most; 0 is all."""
    max_side: int = 1024
    """Longer images are cut to their centre, in pixels."""


def check_learning_options(options: LearningOptions) -> None:
    """Refuse what cannot be run, all problems at once, before anything is loaded.

    Raises:
        ConfigError: names each value, its rule and the remedy.
    """
    refuse_broken(
        [
            *sweep_rules(options),
            *_axis_rules(options),
            *_training_rules(options),
            *_meaningless(options),
        ]
    )


def _axis_rules(o: LearningOptions) -> list[Rule]:
    lists = {
        "--codecs": o.codecs, "--rates": o.rates, "--configurations": o.configurations,
        "--restorations": o.restorations, "--restoration-splits": o.restoration_splits,
    }  # fmt: skip
    return [
        *list_rules(lists),
        *number_rules({}, {}, {"--rates": o.rates}),
        *(
            (
                c not in CONFIGURATIONS,
                f"--configurations: unknown {c!r}; {nearest(c, CONFIGURATIONS)}",
            )
            for c in o.configurations
        ),
        (any(v <= 0 for v in o.rates), f"--rates must be above 0 bpp, got {o.rates}"),
    ]


def _training_rules(o: LearningOptions) -> list[Rule]:
    weights = {
        "--adversarial-weight": o.adversarial_weight, "--feature-weight": o.feature_weight,
        "--perceptual-weight": o.perceptual_weight,
    }  # fmt: skip
    positive = {"--restoration-steps": o.restoration_steps, "--batch-size": o.batch_size}
    rates = {"--learning-rate": o.learning_rate,
             "--restoration-learning-rate": o.restoration_learning_rate}  # fmt: skip
    return [
        *number_rules(
            positive,
            {"--max-images": o.max_images, **weights},
            {k: (v,) for k, v in weights.items()},
        ),
        *((not 0 < v < 1, f"{k} must lie between 0 and 1, got {v}") for k, v in rates.items()),
        (
            o.crop_size < 32 or o.crop_size % 32 != 0,
            f"--crop-size must be a multiple of 32 pixels, got {o.crop_size}",
        ),
        (o.max_side < 64, f"--max-side must be 64 pixels or more, got {o.max_side}"),
        (not 3 <= o.encoder_depth <= 5, f"--encoder-depth must be 3 to 5, got {o.encoder_depth}"),
        (
            o.perceptual_weight > 0 and o.perceptual_weights is None,
            f"--perceptual-weight {o.perceptual_weight:g} needs --perceptual-weights FILE",
        ),
        *parted_rules(o.batch_size, o.workers_per_trial),
        (
            o.crop_size < 64 and o.batch_size < 2 * o.workers_per_trial,
            f"--batch-size {o.batch_size} leaves a worker less than two crops, and batch normalisation has "
            f"one value a channel of a crop of {o.crop_size} pixels: take more crops, or larger ones",
        ),
    ]


def _meaningless(o: LearningOptions) -> list[Rule]:
    """Options that would ask for something this sweep does not do: refused, not ignored.

    `--no-packs` and `--num-samples` ask for what it does anyway: no packs, and no samplers to count for.
    """
    default = SweepOptions()
    unused: dict[str, tuple[str, Callable[[SweepOptions], object]]] = {
        "--source": ("codecs are named by --codecs", lambda s: s.source),
        "--source-domain": ("nothing is adapted here", lambda s: s.source_domain),
        "--sampler": (
            "there is nothing to search, every cell is wanted",
            lambda s: s.sampler,
        ),
        "--early-stopping": ("a cell is tested at its last step", lambda s: s.early_stopping),
        "--calibrate": ("steps of a graph are timed as they are done", lambda s: s.calibrate),
    }
    return [
        (
            value(o) != value(default),
            f"{name}{'' if isinstance(value(o), bool) else f' {value(o)}'}: {why}; leave it out",
        )
        for name, (why, value) in unused.items()
    ]


def smoke_learning_options(options: LearningOptions) -> LearningOptions:
    """The smallest honest run of the same options: every step happens, on little."""
    return options.model_copy(
        update={
            "num_steps": min(options.num_steps, 4),
            "restoration_steps": min(options.restoration_steps, 4),
            "batch_size": 2 * options.workers_per_trial,
            "crop_size": 32,
            "domains": options.domains[:1],
            "codecs": options.codecs[:1],
            "rates": options.rates[:1],
            "restoration_splits": options.restoration_splits[:1],
            "data_seeds": options.data_seeds[:1],
            "init_seeds": options.init_seeds[:1],
            "max_images": min(options.max_images or 3, 3),
        }
    )


def configurations_of(options: LearningOptions) -> tuple[Configuration, ...]:
    """The configurations asked for, in the order of the table."""
    return tuple(c for c in CONFIGURATIONS if c in options.configurations)
