"""What a sweep script takes on its command line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import tyro

from interfero.adaptation import METHODS
from interfero.config import Config
from interfero.engine.option_rules import (
    Rule,
    folder_of,
    list_rules,
    number_rules,
    parted_rules,
    refuse_broken,
    sweep_rules,
)

Sampler = Literal["grid", "random", "tpe", "nsga2"]
EarlyStopping = Literal["none", "asha"]
ALL_IMAGES = "all"


class SweepOptions(Config):
    """Options every sweep has."""

    source: str = "mbt2018-mean"
    """Source codec: a bundled NAME, a codec file, a folder of them, or compressai:NAME."""
    domains: tuple[str, ...] = ()
    """Target domains: bundled NAMEs, or NAME=PATH for a folder of images or a Parquet file."""
    source_domain: str = "photos"
    """Domain whose images may get worse: NAME or NAME=PATH."""
    data_seeds: tuple[int, ...] = (0,)
    """Seeds that draw training subsets, crops and noise."""
    init_seeds: tuple[int, ...] = (0,)
    """Seeds that draw initial custom parameters."""
    num_steps: int = 200
    """Optimiser steps a cell."""
    sampler: Sampler = "grid"
    """How hyperparameters are chosen inside each block."""
    num_samples: int = 16
    """Cells a block, for samplers other than grid."""
    early_stopping: EarlyStopping = "none"
    """Which cells a search by random or tpe ends early: asha stops those whose gain on validation,
    after a ninth and a third of the steps, is not in the best third so far. Its packs have one cell."""
    name: str | None = None
    """Name of this sweep; by default made of its kind, the date and the time."""
    storage: str = "interfero-storage"
    """Folder that keeps records, adapters and figures: a PATH, or file:///PATH."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on with the sweep called --name: what is finished is kept."""
    reuse: bool = True
    """Take over cells that an earlier sweep in the same storage has computed."""
    packs: bool = True
    """Train cells of one block together."""
    max_failed: int = 0
    """Failed cells that still let the command exit with 0."""
    dry_run: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print blocks, packs, cells and a cost estimate; train nothing."""
    list_cells: bool = True
    """With --dry-run, a line for every cell and its key; --no-list-cells names them by their axes."""
    calibrate: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Time a few steps of each method first and keep the times: a cost estimate needs them."""
    smoke: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The smallest honest run: at most 10 steps, 3 coded images, every method, and the first value of every
    other axis."""
    accept_code_change: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Let --resume go on although the training code has changed."""
    workers_per_trial: int = 1
    """Processes that train one pack, each on its part of every batch (torch's DistributedDataParallel)."""
    cpus_per_trial: float = 1.0
    """CPUs each process of a pack takes; it uses as many threads."""
    gpus_per_trial: float = 0.0
    """GPUs each process of a pack takes; fractions share one."""
    checkpoint_seconds: float = 60.0
    """Seconds of training between checkpoints, from which an interrupted cell goes on."""
    max_concurrent: int = 0
    """Packs at once; 0 is as many as there is room for now. A cluster that grows is asked for so many."""
    address: str | None = None
    """Address of a Ray cluster; by default this machine alone."""
    max_domain_memory: float | None = None
    """GiB of decoded images that all domains together hold in memory; what does not fit is decoded to
    files once a node and mapped. By default an eighth of the machine's memory."""
    halve_jpeg: bool = True
    """Halve JPEG files in size, so that their artefacts do not pass for detail."""


class AdaptationOptions(SweepOptions):
    """Options of sweeps that adapt codecs."""

    methods: tuple[str, ...] = ("finetune", "cawf", "continue_source")
    """Ways to adapt."""
    adapter_sizes: tuple[int, ...] = (1, 2, 4, 8)
    """Adapter sizes, in each method's unit (channels, rank, kernel side); methods without one run once."""
    strengths: tuple[float, ...] = (1.0,)
    """Weights of a method's own term (penalty, teacher, replay), in its own unit, or a sampler's range."""
    num_images: tuple[str, ...] = (ALL_IMAGES,)
    """Target training images: counts, or `all`."""
    lambdas: tuple[float, ...] = (0.013,)
    """Weights of distortion the source codec has been trained for: bits per pixel per unit of MSE."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3)
    """Grid of peak learning rates, or the ends of a sampler's range."""
    attribute: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Also measure which part of the codec the forgetting comes from."""
    fuse_packs: Literal["auto", "on", "off"] = "auto"
    """Let members of a pack that are of one method and size compute their gradients at once: less time,
    and numbers to rounding instead of to the bit. auto is on with --gpus-per-trial, off without."""
    delta_rank: int = 0
    """Rank of what fine-tuned codecs keep of each kernel's difference from the source; 0 is all."""
    batch_size: int = 8
    """Crops a step."""
    crop_size: int = 128
    """Side of a training crop in pixels, a multiple of 64."""
    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of training; auto is bfloat16 where the hardware has it and is faster with it, measured once a
    storage. Evaluation is always float32."""
    max_forgetting: float | None = None
    """Percent of the source's validation loss that a search lets a cell lose and still calls feasible:
    `val/forgetting_percent`, routed, so that a method whose adapter detaches always is."""
    max_source_images: int = 24
    """Source test images that are coded, at most."""
    max_target_images: int = 24
    """Target test images that are coded, at most."""


def check_options(options: AdaptationOptions) -> None:
    """Refuse what cannot be run, all problems at once, before anything is loaded.

    Raises:
        ConfigError: names each value, its rule and the remedy.
    """
    refuse_broken(
        [
            *sweep_rules(options),
            *_axis_rules(options),
            *_cell_rules(options),
            *_search_rules(options),
            *_fusing_rules(options),
            *_worker_rules(options),
        ]
    )


def _axis_rules(o: AdaptationOptions) -> list[Rule]:
    lists = {
        "--methods": o.methods, "--lambdas": o.lambdas, "--learning-rates": o.learning_rates,
        "--num-images": o.num_images, "--adapter-sizes": o.adapter_sizes, "--strengths": o.strengths,
    }  # fmt: skip
    finite = {
        "--lambdas": o.lambdas, "--learning-rates": o.learning_rates, "--strengths": o.strengths,
    }  # fmt: skip
    counts = [n for n in o.num_images if n != ALL_IMAGES and not (n.isdigit() and int(n) > 0)]
    return [
        *list_rules(lists),
        *number_rules({}, {}, finite),
        (any(v <= 0 for v in o.lambdas), f"--lambdas must be above 0, got {o.lambdas}"),
        (
            any(not 0 < v < 1 for v in o.learning_rates),
            f"--learning-rates must lie between 0 and 1, got {o.learning_rates}",
        ),
        (
            any(v < 1 for v in o.adapter_sizes),
            f"--adapter-sizes must be 1 or more, got {o.adapter_sizes}",
        ),
        (any(v <= 0 for v in o.strengths), f"--strengths must be above 0, got {o.strengths}"),
        (bool(counts), f"--num-images takes counts of 1 or more, or `all`, got {counts}"),
    ]


def _cell_rules(o: AdaptationOptions) -> list[Rule]:
    positive = {
        "--batch-size": o.batch_size, "--max-source-images": o.max_source_images,
        "--max-target-images": o.max_target_images,
    }  # fmt: skip
    return [
        *number_rules(positive, {"--delta-rank": o.delta_rank}, {}),
        (
            o.crop_size < 64 or o.crop_size % 64 != 0,
            f"--crop-size must be a multiple of 64 pixels, got {o.crop_size}",
        ),
    ]


def _search_rules(o: AdaptationOptions) -> list[Rule]:
    stops, limit = o.early_stopping != "none", o.max_forgetting
    asked = f"--early-stopping {o.early_stopping} with"
    return [
        (
            o.sampler != "grid" and len(o.init_seeds) > 1,
            f"--sampler {o.sampler} takes one of --init-seeds, got {o.init_seeds}: it would take "
            "luck for skill; search first, then repeat the best with --sampler grid",
        ),
        (
            stops and o.sampler == "grid",
            f"{asked} --sampler grid: cells that feed scaling fits are never stopped early; leave it "
            "out, or search with --sampler random or tpe",
        ),
        (
            stops and o.sampler == "nsga2",
            f"{asked} --sampler nsga2: it compares cells by one objective, and nsga2 has three; leave "
            "it out, or search with --sampler random or tpe",
        ),
        (
            stops and o.workers_per_trial > 1,
            f"{asked} --workers-per-trial {o.workers_per_trial}: only a cell that one process trains "
            "can be stopped; use 1, or leave it out",
        ),
        (
            limit is not None and o.sampler == "grid",
            f"--max-forgetting {limit} with --sampler grid: it guides a search, and a grid trains "
            "every cell; leave it out, or search with --sampler random, tpe or nsga2",
        ),
        (
            limit is not None and not 0 <= limit < math.inf,
            f"--max-forgetting must be 0 or more, got {limit}",
        ),
    ]


def fuses_packs(options: AdaptationOptions) -> bool:
    """Whether members of one method and size step as one computation."""
    there_are = options.packs and options.early_stopping == "none"
    if options.fuse_packs == "off" or not there_are or options.workers_per_trial > 1:
        return False
    return options.fuse_packs == "on" or options.gpus_per_trial > 0


def _fusing_rules(o: AdaptationOptions) -> list[Rule]:
    asked = o.fuse_packs == "on"
    return [
        (
            asked and not o.packs,
            "--fuse-packs on with --no-packs: cells of a pack fuse; leave one of them out",
        ),
        (
            asked and o.early_stopping != "none",
            f"--fuse-packs on with --early-stopping {o.early_stopping}: its packs have one cell; leave "
            "one of them out",
        ),
        (
            asked and o.workers_per_trial > 1,
            f"--fuse-packs on with --workers-per-trial {o.workers_per_trial}: cells that one process "
            "trains fuse; use 1, or leave it out",
        ),
    ]


def _worker_rules(o: AdaptationOptions) -> list[Rule]:
    """What several processes that train one pack ask for."""
    workers, crops = o.workers_per_trial, o.batch_size
    if workers < 2:
        return []
    halving = [n for n in o.methods if n in METHODS and METHODS[n].trains_on == "both"]
    return [
        (
            o.calibrate,
            f"--calibrate with --workers-per-trial {workers}: it times one process, and a group's steps "
            "take another time; leave it out: a sweep's own cells are times as well",
        ),
        *parted_rules(crops, workers),
        (
            crops % workers == 0 and crops % (2 * workers) != 0 and bool(halving),
            f"--batch-size {crops} cannot be parted equally among --workers-per-trial {workers} for "
            f"{', '.join(halving)}, half of whose crops come from the source domain: choose a multiple of "
            f"{2 * workers}",
        ),
    ]


def smoke_options(options: AdaptationOptions) -> AdaptationOptions:
    """The smallest honest run of the same options: everything happens, on little."""
    return options.model_copy(
        update={
            "num_steps": min(options.num_steps, 10),
            "adapter_sizes": options.adapter_sizes[:1],
            "learning_rates": options.learning_rates[:1],
            "strengths": options.strengths[:1],
            "lambdas": options.lambdas[:1],
            "data_seeds": options.data_seeds[:1],
            "init_seeds": options.init_seeds[:1],
            "domains": options.domains[:1],
            "num_images": options.num_images[:1],
            "num_samples": min(options.num_samples, 3),
            "max_source_images": min(options.max_source_images, 3),
            "max_target_images": min(options.max_target_images, 3),
        }
    )


def storage_folder(options: SweepOptions) -> Path:
    """Where sweeps are kept."""
    folder = folder_of(options.storage)
    assert folder is not None, "options were checked"
    return folder
