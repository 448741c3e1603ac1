"""How a sweep's options say that its models and restorers are trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from interfero.adaptation import METHODS
from interfero.adaptation.table import METHOD_TABLE
from interfero.engine.options.restoration import Restoration, RestorationOptions
from interfero.engine.restoration.configs import (
    Generator,
    RestorationConfig,
    SegmentationConfig,
    TaskCodecConfig,
)
from interfero.engine.restoration.pretrained import encoder_file
from interfero.errors import ConfigError, nearest
from interfero.store.keys import bytes_key


def segmentation_config(options: RestorationOptions) -> SegmentationConfig:
    """How the sweep's segmentation models are trained.

    Raises:
        ConfigError: the weights of their encoder are not there.
    """
    weights = encoder_file(options.encoder, options.encoder_weights)
    return SegmentationConfig(
        **_common(options),
        num_steps=options.num_steps,
        learning_rate=options.learning_rate,
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
        **_common(options),
        num_steps=options.restoration_steps,
        learning_rate=options.restoration_learning_rate,
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


def task_codec_config(
    options: RestorationOptions, method: str, task_weight: float
) -> TaskCodecConfig:
    """How a codec is adapted for a model: by one process, since an adapter is small."""
    sized = METHOD_TABLE[method].size_unit is not None
    return TaskCodecConfig(
        **{**_common(options), "workers": 1},
        num_steps=options.task_steps,
        learning_rate=options.task_learning_rate,
        method=method,
        adapter_size=options.task_size if sized else 0,
        task_weight=task_weight,
    )


def check_task_codecs(options: RestorationOptions) -> None:
    """Refuse methods that cannot adapt a codec for a model.

    Raises:
        ConfigError: no such method, or one without a source mode; names those that there are.
    """
    if "OT" not in options.configurations:
        return
    for name in options.task_methods:
        if name not in METHOD_TABLE:
            raise ConfigError(f"--task-methods: unknown {name!r}; {nearest(name, METHOD_TABLE)}")
        fit = [
            m.name
            for m in METHODS.values()
            if m.detaches and m.trains and m.trains_on == "target" and not m.all_rates
        ]
        if name not in fit:
            raise ConfigError(
                f"--task-methods {name}: source streams must stay what they are, and training must need "
                f"the domain's images alone; choose from {', '.join(fit)}"
            )


def _common(options: RestorationOptions) -> dict[str, Any]:
    """What all trainings of a sweep share."""
    return {
        "batch_size": options.batch_size,
        "crop_size": options.crop_size,
        "precision": options.precision,
        "device": "cuda" if options.gpus_per_trial else "cpu",
        "threads": max(1, int(options.cpus_per_trial)),
        "workers": options.workers_per_trial,
    }


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
