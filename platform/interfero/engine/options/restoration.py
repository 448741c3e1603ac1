"""Options of sweeps that train segmentation models on compressed and restored images."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from interfero.engine.options.base import SweepOptions
from interfero.engine.options.marks import FREE, HIDDEN, QUESTION, TRAINING, OptionGroup
from interfero.engine.options.rules import (
    Rule,
    list_rules,
    number_rules,
    parted_rules,
    seed_rules,
    size_rule,
)
from interfero.engine.restoration.configs import (
    CONFIGURATIONS,
    Augmentation,
    Configuration,
    Generator,
    RestorationSplit,
    Schedule,
)
from interfero.errors import nearest

UNCOMPRESSED_BPP = 24
"""Of 8-bit RGB, which is what copies are made of."""
Restoration = Literal["gan", "regression", "nafnet"]
OWN = "own"
"""Of `--restorer-codecs`: the codec of the images that are restored."""
MODELS = OptionGroup("models")


class RestorationOptions(SweepOptions):
    """Options of sweeps that train segmentation models on compressed and restored images."""

    domains: Annotated[tuple[str, ...], QUESTION] = ("mosaics",)
    """Labelled domains: mosaics, digits, or NAME=PATH for a folder of images and label maps in the layout of
    CamVid, Cityscapes, VOC or others, or of images in folders by class (docs/compressed_learning.md)."""
    tasks: Annotated[tuple[Literal["own", "dominant", "edges"], ...], QUESTION] = ("own",)
    """What models are trained for: own, the domain's labels; dominant, the class that has most pixels of an
    image; edges, where classes meet; on the same copies and restored images."""
    init_seeds: Annotated[tuple[int, ...], QUESTION] = (0,)
    """Seeds that draw segmentation models."""
    codecs: Annotated[tuple[str, ...], QUESTION] = ("mbt2018-mean", "jpeg")
    """Codecs that compress the images: bundled NAMEs, paths, compressai:NAME, or jpeg, jpeg2000, webp, avif,
    heif, jpegxl."""
    rates: Annotated[tuple[float, ...], QUESTION] = (0.3, 0.8)
    """Rates in bits per pixel, headers included, matched on training images; the rate reached is logged."""
    configurations: Annotated[tuple[str, ...], QUESTION] = ("OO", "CC", "CO", "OC")
    """Images a model is trained on, then tested on: O original, C compressed, R restored, M originals and
    compressed mixed, A compressed at all --rates, F the model of OO fine-tuned on a few compressed images, T
    compressed by a codec adapted for the model of OO. Choose from OO CC CO OC OT RO RR MO AO AC FC FO."""
    restorations: Annotated[tuple[Restoration, ...], QUESTION] = ("gan", "regression")
    """How restorers are trained, for RO and RR: gan, against discriminators; regression, without; nafnet,
    regression with --generator nafnet."""
    restoration_splits: Annotated[tuple[RestorationSplit, ...], QUESTION] = ("disjoint",)
    """Images restorers are trained on: disjoint, images that are never restored, or same, the images they
    restore later."""
    restorer_seeds: Annotated[tuple[int, ...], QUESTION] = (0,)
    """Seeds that draw restorers, for RO and RR: with several, intervals contain the luck of a restorer."""
    restorer_codecs: Annotated[tuple[str, ...], QUESTION] = (OWN,)
    """Codecs of the images that restorers learn from: own, that of the images they restore, or others named
    as in --codecs."""
    task_methods: Annotated[tuple[str, ...], QUESTION] = ("lora",)
    """How codecs are adapted for a model, for OT: methods that keep the source codec (docs/methods.md)."""
    task_weights: Annotated[tuple[float, ...], QUESTION] = (0.0, 3.0)
    """Weights of the task's loss in bits per pixel per nat, for OT; 0 adapts to the images alone."""
    task_size: Annotated[int, TRAINING] = 4
    """Adapter size of --task-methods, in the method's unit."""
    task_steps: Annotated[int, TRAINING] = 200
    """Optimiser steps of a codec's adaptation, for OT."""
    task_learning_rate: Annotated[float, TRAINING] = 3e-3
    """Peak learning rate of a codec's adaptation, for OT."""
    max_images: Annotated[int, QUESTION] = 0
    """Maximum number of images per portion (train, restoration, test); 0 is all."""
    max_side: Annotated[int, QUESTION] = 1024
    """Longest side of an image in pixels; larger images are cut to their centre."""
    num_steps: Annotated[int, TRAINING] = 200
    """Optimiser steps per segmentation model."""
    restoration_steps: Annotated[int, TRAINING] = 200
    """Optimiser steps per restorer."""
    finetune_images: Annotated[tuple[int, ...], QUESTION] = (8,)
    """Numbers of compressed labelled training images that FC and FO are fine-tuned on; 0 is all."""
    finetune_steps: Annotated[int, TRAINING] = 50
    """Optimiser steps of fine-tuning, for FC and FO."""
    finetune_rate: Annotated[float, TRAINING] = 0.1
    """Peak learning rate of fine-tuning over --learning-rate."""
    architecture: Annotated[str, MODELS] = "unet"
    """Architecture of the segmentation model, a name in segmentation-models-pytorch."""
    encoder: Annotated[str, MODELS] = "tu-tf_mobilenetv3_small_minimal_100"
    """Encoder of the segmentation model, a name in segmentation-models-pytorch."""
    encoder_depth: Annotated[int, MODELS] = 3
    """Stages of the encoder of a U-Net, 3 to 5; each halves the resolution."""
    encoder_weights: Annotated[str, MODELS] = "none"
    """Weights the encoder starts from: none (drawn by a seed), pretrained (those of an installed package,
    for tu-tf_efficientnet_lite0), or the PATH of a safetensors or PyTorch file."""
    decoder_width: Annotated[int, MODELS] = 16
    """Channels of the decoder: a U-Net's last stage has so many and each earlier one twice as many, DeepLab's
    has 16 times as many."""
    learning_rate: Annotated[float, TRAINING] = 4e-3
    """Peak learning rate of segmentation models."""
    encoder_rate: Annotated[float, TRAINING] = 1.0
    """Learning rate of the encoder over that of the decoder."""
    schedule: Annotated[Schedule, TRAINING] = "cosine"
    """Learning rate after the warm-up: cosine to zero, or poly, (1 - progress)^0.9."""
    ema_decay: Annotated[float, TRAINING] = 0.0
    """Decay per step of the moving average of parameters that is tested; 0 tests the last parameters."""
    validations: Annotated[int, TRAINING] = 0
    """Number of times a model is scored on restoration images while it trains (val/score); nothing is chosen
    by it."""
    restorer_validations: Annotated[int, TRAINING] = 0
    """Number of times a restorer is scored while it trains, on training images, or on restoration images with
    --restoration-splits same; nothing is chosen by it."""
    batch_size: Annotated[int, TRAINING] = 8
    """Crops per step."""
    crop_size: Annotated[int, TRAINING] = 64
    """Side of a training crop in pixels; a multiple of 32."""
    class_weights: Annotated[Literal["none", "median_frequency"], TRAINING] = "none"
    """Class weights in the segmentation loss."""
    augmentations: Annotated[tuple[Augmentation, ...], TRAINING] = ("mirror", "turn")
    """Augmentations of training crops: mirror (left to right), turn (any orientation), jitter (brightness and
    contrast), scale (0.75 to 1.33 times), zoom (0.5 to 2 times, filtered), colour (also hue)."""
    generator: Annotated[Generator, MODELS] = "residual"
    """Network of restorers of gan and regression."""
    restorer_width: Annotated[int, MODELS] = 32
    """Channels of restorers."""
    restorer_blocks: Annotated[int, MODELS] = 4
    """Blocks of restorers."""
    adversary: Annotated[Literal["lsgan", "hinge"], TRAINING] = "lsgan"
    """Loss of the discriminators."""
    adversarial_weight: Annotated[float, TRAINING] = 0.02
    """Weight of the adversarial loss relative to the mean absolute error of pixels in [0, 1]."""
    feature_weight: Annotated[float, TRAINING] = 0.1
    """Weight of feature matching in the restorers' loss."""
    perceptual_weight: Annotated[float, TRAINING] = 0.0
    """Weight of LPIPS in the restorers' loss; needs --perceptual-weights."""
    perceptual_weights: Annotated[str | None, MODELS] = None
    """Local safetensors file of LPIPS weights; none by default."""
    restoration_learning_rate: Annotated[float, TRAINING] = 1e-3
    """Peak learning rate of restorers."""
    precision: Annotated[Literal["float32", "bfloat16"], TRAINING] = "float32"
    """Training precision. Tests always run in float32."""

    packs: Annotated[bool, HIDDEN, FREE] = True
    """No effect: this kind of sweep has no packs."""

    def rules(self) -> list[Rule]:
        """See `SweepOptions`."""
        return [*_axis_rules(self), *_training_rules(self), *_meaningless(self)]

    def smallest(self) -> Self:
        """See `SweepOptions`: every stage runs, on little data."""
        return self.model_copy(
            update={
                "num_steps": min(self.num_steps, 4),
                "validations": min(self.validations, 1),
                "restoration_steps": min(self.restoration_steps, 4),
                "restorer_validations": min(self.restorer_validations, 2),
                "restorer_seeds": self.restorer_seeds[:1],
                "finetune_steps": min(self.finetune_steps, 2),
                "task_steps": min(self.task_steps, 2),
                "task_methods": self.task_methods[:1],
                "task_weights": self.task_weights[-1:],
                "finetune_images": (min(self.finetune_images[0] or 2, 2),),
                "batch_size": 2 * self.workers_per_trial,
                "crop_size": 32,
                "domains": self.domains[:1],
                "codecs": self.codecs[:1],
                "rates": self.rates[: 2 if _at_all_rates(self) else 1],
                "restoration_splits": self.restoration_splits[:1],
                "data_seeds": self.data_seeds[:1],
                "init_seeds": self.init_seeds[:1],
                "max_images": min(self.max_images or 3, 3),
            }
        )


def _axis_rules(o: RestorationOptions) -> list[Rule]:
    lists = {
        "--codecs": o.codecs, "--rates": o.rates, "--configurations": o.configurations,
        "--restorations": o.restorations, "--restoration-splits": o.restoration_splits,
        "--finetune-images": o.finetune_images, "--restorer-seeds": o.restorer_seeds,
        "--restorer-codecs": o.restorer_codecs, "--tasks": o.tasks,
        "--task-methods": o.task_methods, "--task-weights": o.task_weights,
    }  # fmt: skip
    return [
        *list_rules(lists),
        *number_rules({}, {}, {"--rates": o.rates, "--task-weights": o.task_weights}),
        *(
            (
                c not in CONFIGURATIONS,
                f"--configurations: unknown {c!r}; {nearest(c, CONFIGURATIONS)}",
            )
            for c in o.configurations
        ),
        *seed_rules({"--restorer-seeds": o.restorer_seeds}),
        (
            _at_all_rates(o) and len(o.rates) < 2,
            f"--configurations AO AC train on all --rates: give two or more, got {o.rates}",
        ),
        (
            any(v < 0 for v in o.task_weights),
            f"--task-weights must be 0 or more bits per pixel per nat, got {o.task_weights}",
        ),
        (any(v <= 0 for v in o.rates), f"--rates must be above 0 bpp, got {o.rates}"),
        *(
            (
                v > UNCOMPRESSED_BPP,
                f"--rates {v:g}: an 8-bit RGB image that is not compressed has {UNCOMPRESSED_BPP} bits per "
                "pixel; ask for fewer",
            )
            for v in o.rates
        ),
        (
            any(n < 0 for n in o.finetune_images),
            f"--finetune-images must be 0 (all) or more, got {o.finetune_images}",
        ),
    ]


def _training_rules(o: RestorationOptions) -> list[Rule]:
    weights = {
        "--adversarial-weight": o.adversarial_weight, "--feature-weight": o.feature_weight,
        "--perceptual-weight": o.perceptual_weight,
    }  # fmt: skip
    positive = {"--restoration-steps": o.restoration_steps, "--batch-size": o.batch_size,
                "--restorer-width": o.restorer_width, "--restorer-blocks": o.restorer_blocks,
                "--decoder-width": o.decoder_width, "--finetune-steps": o.finetune_steps,
                "--task-steps": o.task_steps, "--task-size": o.task_size}  # fmt: skip
    rates = {"--learning-rate": o.learning_rate, "--task-learning-rate": o.task_learning_rate,
             "--restoration-learning-rate": o.restoration_learning_rate}  # fmt: skip
    return [
        size_rule("--task-size", [o.task_size]),
        *number_rules(
            positive,
            {
                "--max-images": o.max_images,
                "--validations": o.validations,
                "--restorer-validations": o.restorer_validations,
                **weights,
            },
            {"--encoder-rate": (o.encoder_rate,), **{k: (v,) for k, v in weights.items()}},
        ),
        *((not 0 < v < 1, f"{k} must lie between 0 and 1, got {v}") for k, v in rates.items()),
        (
            o.crop_size < 32 or o.crop_size % 32 != 0,
            f"--crop-size must be a multiple of 32 pixels, got {o.crop_size}",
        ),
        (o.encoder_rate <= 0, f"--encoder-rate must be above 0, got {o.encoder_rate}"),
        (
            not 0 < o.finetune_rate * o.learning_rate < 1,
            f"--finetune-rate {o.finetune_rate} x --learning-rate {o.learning_rate} must lie between 0 and 1",
        ),
        (not 0 <= o.ema_decay < 1, f"--ema-decay must be 0 or below 1, got {o.ema_decay}"),
        (
            {"scale", "zoom"} <= set(o.augmentations),
            "--augmentations scale zoom: both change the size; take one of them",
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
            f"--batch-size {o.batch_size} leaves a worker fewer than two crops, and batch normalisation has "
            f"one value per channel for a crop of {o.crop_size} pixels: use more crops, or larger ones",
        ),
    ]


def _meaningless(o: RestorationOptions) -> list[Rule]:
    """Options for something this sweep does not do: refused, not ignored.

    `--no-packs` and `--num-samples` are accepted: there are no packs here, and no sampler to limit.
    """
    default = RestorationOptions()
    unused = {
        "source": "codecs are named by --codecs",
        "source_domain": "nothing is adapted here",
        "sampler": "there is nothing to search, every cell is wanted",
        "early_stopping": "a cell is tested at its last step",
        "calibrate": "nodes of a graph are timed as they are done",
    }
    return [
        (
            getattr(o, name) != getattr(default, name),
            f"--{name.replace('_', '-')}"
            f"{'' if isinstance(getattr(o, name), bool) else f' {getattr(o, name)}'}: {why}; leave it out",
        )
        for name, why in unused.items()
    ]


def _at_all_rates(o: RestorationOptions) -> bool:
    """Whether a model trains on copies at all rates."""
    return any(c.startswith("A") for c in o.configurations)


def configurations_of(options: RestorationOptions) -> tuple[Configuration, ...]:
    """The requested configurations, in the order of the table."""
    return tuple(c for c in CONFIGURATIONS if c in options.configurations)
