"""What a sweep script takes on its command line."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Literal

import tyro

from interfero.adaptation import METHODS
from interfero.config import Config
from interfero.errors import ConfigError

Sampler = Literal["grid", "random", "tpe", "nsga2"]
EarlyStopping = Literal["none", "asha"]
SHARED_FOLDERS = ("content", "evaluations", "products")
"""Names below a storage that are no sweep's."""
ALL_IMAGES = "all"
MAX_SEED = 2**63 - 1
"""What a hash, a table and MLflow hold."""


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
    """Folder that keeps records, adapters and figures."""
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
    list_cells: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """With --dry-run, a line for every cell and its key, however many there are."""
    calibrate: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Time a few steps of each method first and keep the times: a cost estimate needs them."""
    smoke: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """The smallest honest run: at most 10 steps, 3 coded images, and the first value of every axis."""
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
    problems = [text for wrong, text in _rules(options) if wrong]
    if problems:
        raise ConfigError("\n".join(problems))


def _rules(o: AdaptationOptions) -> list[tuple[bool, str]]:
    lists = {
        "--domains": o.domains, "--methods": o.methods, "--lambdas": o.lambdas,
        "--learning-rates": o.learning_rates, "--num-images": o.num_images,
        "--adapter-sizes": o.adapter_sizes, "--strengths": o.strengths,
        "--data-seeds": o.data_seeds, "--init-seeds": o.init_seeds,
    }  # fmt: skip
    positive = {
        "--num-steps": o.num_steps, "--num-samples": o.num_samples, "--batch-size": o.batch_size,
        "--cpus-per-trial": o.cpus_per_trial, "--workers-per-trial": o.workers_per_trial,
        "--max-source-images": o.max_source_images, "--max-target-images": o.max_target_images,
    }  # fmt: skip
    not_negative = {
        "--max-failed": o.max_failed, "--delta-rank": o.delta_rank,
        "--max-concurrent": o.max_concurrent, "--checkpoint-seconds": o.checkpoint_seconds,
        "--gpus-per-trial": o.gpus_per_trial,
    }  # fmt: skip
    numbers = {
        "--lambdas": o.lambdas, "--learning-rates": o.learning_rates, "--strengths": o.strengths,
        "--cpus-per-trial": (o.cpus_per_trial,), "--gpus-per-trial": (o.gpus_per_trial,),
        "--checkpoint-seconds": (o.checkpoint_seconds,),
        "--max-domain-memory": (o.max_domain_memory or 0,),
    }  # fmt: skip
    seeds = {"--data-seeds": o.data_seeds, "--init-seeds": o.init_seeds}
    counts = [n for n in o.num_images if n != ALL_IMAGES and not (n.isdigit() and int(n) > 0)]
    return [
        *((not v, f"{k} is empty: name at least one") for k, v in lists.items()),
        *((len(set(v)) < len(v), f"{k} names one value twice: {v}") for k, v in lists.items()),
        *((v <= 0, f"{k} must be above 0, got {v}") for k, v in positive.items()),
        *((v < 0, f"{k} must not be negative, got {v}") for k, v in not_negative.items()),
        *(
            (not all(map(math.isfinite, v)), f"{k} takes finite numbers, got {v}")
            for k, v in numbers.items()
        ),
        *(
            (max(v, default=0) > MAX_SEED, f"{k} must be below 2^63, got {v}")
            for k, v in seeds.items()
        ),
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
        (any(v < 0 for v in (*o.data_seeds, *o.init_seeds)), "seeds must not be negative"),
        (
            o.max_domain_memory is not None and o.max_domain_memory < 0,
            f"--max-domain-memory must not be negative, got {o.max_domain_memory}; 0 maps every "
            "folder and Parquet file",
        ),
        (bool(counts), f"--num-images takes counts of 1 or more, or `all`, got {counts}"),
        (
            o.crop_size < 64 or o.crop_size % 64 != 0,
            f"--crop-size must be a multiple of 64 pixels, got {o.crop_size}",
        ),
        (
            o.name is not None and not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", o.name),
            f"--name may hold letters, digits, dots, dashes and underscores, got {o.name!r}",
        ),
        (
            o.name in SHARED_FOLDERS,
            f"--name {o.name}: a folder of that name beside the sweeps holds what they share; choose "
            "another",
        ),
        (
            o.sampler != "grid" and len(o.init_seeds) > 1,
            f"--sampler {o.sampler} takes one of --init-seeds, got {o.init_seeds}: it would take "
            "luck for skill; search first, then repeat the best with --sampler grid",
        ),
        *_search_rules(o),
        *_fusing_rules(o),
        (o.resume and o.name is None, "--resume needs --name: say which sweep goes on"),
        *_worker_rules(o),
        (
            "://" in o.storage,
            f"--storage {o.storage!r}: this release keeps results in a folder; give its path",
        ),
    ]


def _search_rules(o: AdaptationOptions) -> list[tuple[bool, str]]:
    stops, limit = o.early_stopping != "none", o.max_forgetting
    asked = f"--early-stopping {o.early_stopping} with"
    return [
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


def _fusing_rules(o: AdaptationOptions) -> list[tuple[bool, str]]:
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


def _worker_rules(o: AdaptationOptions) -> list[tuple[bool, str]]:
    """Every process takes equally many crops of a batch."""
    workers, crops = o.workers_per_trial, o.batch_size
    if workers < 2:
        return []
    halving = [n for n in o.methods if n in METHODS and METHODS[n].trains_on == "both"]
    parted = f"--batch-size {crops} cannot be parted equally among --workers-per-trial {workers}"
    return [
        (
            o.calibrate,
            f"--calibrate with --workers-per-trial {workers}: it times one process, and a group's steps "
            "take another time; leave it out: a sweep's own cells are times as well",
        ),
        (
            crops % workers != 0,
            f"{parted}: choose a multiple of {workers}",
        ),
        (
            crops % workers == 0 and crops % (2 * workers) != 0 and bool(halving),
            f"{parted} for {', '.join(halving)}, half of whose crops come from the source domain: "
            f"choose a multiple of {2 * workers}",
        ),
        (
            o.gpus_per_trial > 1,
            f"--gpus-per-trial {o.gpus_per_trial:g}: each of several processes trains on one GPU at "
            "most; use 1 or less, and more --workers-per-trial",
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
    return Path(options.storage).expanduser()
