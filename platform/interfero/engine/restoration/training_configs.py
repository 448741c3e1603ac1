"""How a sweep's options say that its models and restorers are trained."""

from __future__ import annotations

from pathlib import Path

from interfero.engine.options.restoration import Restoration, RestorationOptions
from interfero.engine.restoration.configs import Generator, RestorationConfig, SegmentationConfig
from interfero.engine.restoration.pretrained import encoder_file
from interfero.errors import ConfigError
from interfero.store.keys import bytes_key


def segmentation_config(options: RestorationOptions) -> SegmentationConfig:
    """How the sweep's segmentation models are trained.

    Raises:
        ConfigError: the weights of their encoder are not there.
    """
    weights = encoder_file(options.encoder, options.encoder_weights)
    return SegmentationConfig(
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        learning_rate=options.learning_rate,
        precision=options.precision,
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        workers=options.workers_per_trial,
        architecture=options.architecture,
        encoder=options.encoder,
        encoder_depth=options.encoder_depth,
        decoder_width=options.decoder_width,
        encoder_weights=None if weights is None else str(weights),
        encoder_hash=_file_hash("--encoder-weights", weights),
        encoder_rate=options.encoder_rate,
        class_weights=options.class_weights,
        augmentations=options.augmentations,
        schedule=options.schedule,
        ema_decay=options.ema_decay,
        validations=options.validations,
    )


def finetuning_config(
    options: RestorationOptions, config: SegmentationConfig
) -> SegmentationConfig:
    """How a model that was trained by a config is fine-tuned."""
    return config.model_copy(
        update={
            "num_steps": options.finetune_steps,
            "learning_rate": options.finetune_rate * options.learning_rate,
        }
    )


def restoration_config(options: RestorationOptions, restoration: Restoration) -> RestorationConfig:
    """How the sweep's restorers are trained."""
    generator: Generator = "nafnet" if restoration == "nafnet" else options.generator
    config = RestorationConfig(
        num_steps=options.restoration_steps,
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        learning_rate=options.restoration_learning_rate,
        precision=options.precision,
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        workers=options.workers_per_trial,
        generator=generator,
        width=options.restorer_width,
        blocks=options.restorer_blocks,
        validations=options.restorer_validations,
    )
    if restoration != "gan":
        return config.model_copy(
            update={"adversary": "none", "adversarial_weight": 0.0, "feature_weight": 0.0}
        )
    return config.model_copy(
        update={
            "adversary": options.adversary,
            "adversarial_weight": options.adversarial_weight,
            "feature_weight": options.feature_weight,
            "perceptual_weight": options.perceptual_weight,
            "perceptual_weights": _resolved(options.perceptual_weights),
            "perceptual_hash": _file_hash("--perceptual-weights", options.perceptual_weights),
        }
    )


def _resolved(path: str | None) -> str | None:
    # Workers run in folders of their own.
    return None if path is None else str(Path(path).expanduser().resolve())


def _file_hash(option: str, path: str | Path | None) -> str:
    if path is None:
        return ""
    try:
        data = Path(path).expanduser().read_bytes()
    except OSError as error:
        raise ConfigError(f"{option} {path} cannot be read ({error.strerror})") from error
    return bytes_key(data)
