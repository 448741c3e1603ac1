"""Options of sweeps that adapt codecs, and their rules."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self

from pydantic import field_validator

from interfero.adaptation.table import METHOD_TABLE
from interfero.domains.graded_names import expanded
from interfero.domains.pixel_mapping import PixelMapping, problems_of
from interfero.domains.specs import DEFAULT_SOURCE
from interfero.engine.options.base import (
    ALL_IMAGES,
    FLAG,
    EarlyStopping,
    Sampler,
    SweepOptions,
)
from interfero.engine.options.marks import FREE, PLAN, QUESTION, SEARCH, TRAINING, Unset
from interfero.engine.options.rules import (
    Rule,
    list_rules,
    number_rules,
    parted_rules,
    size_rule,
)
from interfero.errors import nearest

OWN: Final = Unset("each method's own")


class AdaptationOptions(SweepOptions):
    """Options of sweeps that adapt codecs."""

    source: Annotated[str, QUESTION] = "mbt2018-mean"
    """Source codec: a bundled NAME, a codec file, a folder of them, compressai:NAME, or a PyTorch checkpoint
    of CompressAI, as FILE@LAMBDA (or FILE, if it contains its lambda)."""
    source_domain: Annotated[str, QUESTION] = DEFAULT_SOURCE
    """Source domain, on which forgetting is measured: NAME or NAME=PATH."""
    methods: Annotated[tuple[str, ...], QUESTION] = ("finetune", "cawf", "continue_source")
    """Adaptation methods (docs/methods.md)."""
    adapter_sizes: Annotated[tuple[int, ...], QUESTION] = (1, 2, 4, 8)
    """Adapter sizes, in each method's unit (channels, rank, kernel side); methods without one run once."""
    strengths: Annotated[tuple[float, ...], QUESTION, OWN] = ()
    """Weights of a method's own loss term (penalty, teacher, replay) in its own unit, or a search range
    (docs/methods.md)."""
    num_images: Annotated[tuple[str, ...], QUESTION] = (ALL_IMAGES,)
    """Numbers of target training images, or `all`."""
    design: Annotated[Literal["full", "star"], QUESTION] = "full"
    """Which points of the axes are visited. full: every combination. star: of --lambdas, --num-images,
    --num-steps and --adapter-sizes the first values are the centre, and only one of the four leaves it at a
    time; everything else is combined in full."""
    lambdas: Annotated[tuple[float, ...], QUESTION] = (0.013,)
    """Lambdas of the source codec (weights of distortion): bits per pixel per unit of MSE, 0-255 scale."""
    learning_rates: Annotated[tuple[float, ...], QUESTION, OWN] = ()
    """Grid of peak learning rates, or the ends of a search range (docs/learning_rates.md)."""
    attribute: Annotated[bool, FLAG, QUESTION] = False
    """Also measure which part of the codec the forgetting comes from."""
    halve_jpeg: Annotated[bool, QUESTION] = True
    """Halve JPEG files in size, so that their artefacts are not mistaken for detail."""
    bands: Annotated[tuple[int, ...], QUESTION] = ()
    """Bands that become the codec's channels, in order, counted from 1. This option and the next three apply
    to target domains with a path, unless they declare their own: NAME=PATH:bands=4,3,2 (docs/domains.md). By
    default all bands are taken as they come."""
    pixel_range: Annotated[tuple[float, float] | None, QUESTION] = None
    """Pixel values that become 0 and 255: NAME=PATH:range=0,4095. By default no range is declared:
    8-bit values stay as they are, and others are refused."""
    window: Annotated[tuple[float, float] | None, QUESTION] = None
    """The pixel range as centre and width: NAME=PATH:window=40,400. None by default."""
    percentiles: Annotated[tuple[float, float] | None, QUESTION] = None
    """The pixel range as percentiles of the training images, band by band: NAME=PATH:percentiles=2,98.
    None by default."""
    max_source_images: Annotated[int, QUESTION] = 24
    """Maximum number of source test images to code."""
    max_target_images: Annotated[int, QUESTION] = 24
    """Maximum number of target test images to code."""
    num_steps: Annotated[int | tuple[int, ...], TRAINING] = 200
    """Optimiser steps per cell. Several values form an axis: with the schedule wsd, a longer training
    continues from where a shorter one began to cool down (docs/budgets.md)."""
    schedule: Annotated[Literal["auto", "cosine", "wsd"], TRAINING] = "auto"
    """Learning-rate schedule after the warm-up: cosine to zero, or wsd: constant until a cool-down in the
    last fifth of the steps. auto uses cosine for one number of steps and wsd for several."""
    batch_size: Annotated[int, TRAINING] = 8
    """Crops per step."""
    crop_size: Annotated[int, TRAINING] = 128
    """Side of a training crop in pixels; a multiple of 64."""
    precision: Annotated[Literal["auto", "bfloat16", "float32"], TRAINING] = "auto"
    """Training precision. auto uses bfloat16 where a benchmark, run once per storage, shows that it is
    faster. Evaluation is always float32."""
    fuse_packs: Annotated[Literal["auto", "on", "off"], TRAINING] = "auto"
    """Compute the gradients of pack members with the same method and size together: faster, but results
    agree to rounding, not bit for bit. auto is on with --gpus-per-trial and off without."""
    delta_rank: Annotated[int, TRAINING] = 0
    """Rank to keep of each kernel's difference from the source, for fine-tuned codecs; 0 keeps all of it."""
    sampler: Annotated[Sampler, SEARCH] = "auto"
    """How hyperparameters are chosen inside each block. halving trains the whole grid for the smallest of
    --num-steps; at each larger one, the best learning rate by validation and the next larger one continue.
    With one number of steps it is the grid, widened where --widen-rates says so. auto is halving where there
    is something to halve or to widen, else grid."""
    widen_rates: Annotated[bool, SEARCH] = True
    """With halving, and without --learning-rates: where the best of a method's own learning rates is the
    highest or lowest that was tried, train the next one of 1, 3, 10, 30, ..., up to three times a setting."""
    num_samples: Annotated[int, SEARCH, FREE] = 16
    """Cells per block, for random, tpe and nsga2."""
    early_stopping: Annotated[EarlyStopping, SEARCH] = "none"
    """Which cells a search with random or tpe stops early. asha stops a cell whose validation gain, after a
    ninth and a third of the steps, is not in the best third so far; packs then have one cell."""
    max_forgetting: Annotated[float | None, SEARCH] = None
    """Limit for a search, in percent of the source's validation loss: cells with more routed forgetting
    (`val/forgetting_percent`) count as infeasible. Methods whose adapter detaches always pass. By
    default there is no limit."""
    calibrate: Annotated[bool, FLAG, PLAN, FREE] = False
    """Time a few steps of each method first and keep the times for cost estimates."""

    @field_validator("domains")
    @classmethod
    def _expanded(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        """Short names of many domains, such as `photographs.corruptions`, become theirs."""
        return expanded(domains)

    def rules(self) -> list[Rule]:
        """See `SweepOptions`."""
        return [
            *_axis_rules(self),
            *_cell_rules(self),
            *((True, problem) for problem in problems_of(mapping_of(self))),
            *_search_rules(self),
            *_fusing_rules(self),
            *_worker_rules(self),
        ]

    def settled(self) -> Self:
        """See `SweepOptions`."""
        searched = len(self.budgets) > 1 or self._may_widen
        if self.sampler == "auto" and searched:
            return self.model_copy(update={"sampler": "halving"})
        return super().settled()

    @property
    def widens(self) -> bool:
        """See `SweepOptions`: learning rates are added to a grid whose best is an end of it."""
        return self.sampler == "halving" and self._may_widen

    @property
    def _may_widen(self) -> bool:
        """Grids that a user names are kept to."""
        return self.widen_rates and not self.learning_rates

    def smallest(self) -> Self:
        """See `SweepOptions`: every stage runs, on little data."""
        return self.model_copy(
            update={
                "num_steps": _smallest(self.budgets),
                # One learning rate of one length is a grid.
                "sampler": "auto" if self.sampler == "halving" else self.sampler,
                "adapter_sizes": self.adapter_sizes[:1],
                "learning_rates": self.learning_rates[:1] or (1e-3,),
                "strengths": self.strengths[:1] or (1.0,),
                "lambdas": self.lambdas[:1],
                "data_seeds": self.data_seeds[:1],
                "init_seeds": self.init_seeds[:1],
                "domains": self.domains[:1],
                "num_images": self.num_images[:1],
                "num_samples": min(self.num_samples, 3),
                "max_source_images": min(self.max_source_images, 3),
                "max_target_images": min(self.max_target_images, 3),
            }
        )


def _smallest(budgets: tuple[int, ...]) -> int | tuple[int, ...]:
    """Few steps; two values where several were requested, so that one training continues another."""
    few = min(budgets[0], 10)
    return few if len(budgets) == 1 else (few, 2 * few)


def mapping_of(options: AdaptationOptions) -> PixelMapping:
    """The declaration that the options make about the target domains' files."""
    return PixelMapping(options.bands, options.pixel_range, options.window, options.percentiles)


def _axis_rules(o: AdaptationOptions) -> list[Rule]:
    lists = {
        "--methods": o.methods, "--lambdas": o.lambdas, "--num-images": o.num_images,
        "--adapter-sizes": o.adapter_sizes,
    }  # fmt: skip
    own = {"--learning-rates": o.learning_rates, "--strengths": o.strengths}
    lists |= {name: values for name, values in own.items() if values}
    finite = {
        "--lambdas": o.lambdas, "--learning-rates": o.learning_rates, "--strengths": o.strengths,
    }  # fmt: skip
    counts = [n for n in o.num_images if n != ALL_IMAGES and not (n.isdigit() and int(n) > 0)]
    return [
        *list_rules(lists),
        *(
            (m not in METHOD_TABLE, f"unknown method {m!r}: {nearest(m, METHOD_TABLE)}")
            for m in o.methods
        ),
        *(
            (
                METHOD_TABLE[m].all_rates and len(o.lambdas) == 1,
                f"--methods {m} with one of --lambdas, {o.lambdas[0]:g}: it trains one adapter for several; "
                "name them, as in --lambdas 0.0045 0.013 0.045, or take lora",
            )
            for m in o.methods
            if m in METHOD_TABLE and o.lambdas
        ),
        *number_rules({}, {}, finite),
        _each("--lambdas must be above 0", (v for v in o.lambdas if v <= 0), "for example 0.013"),
        _each(
            "--learning-rates must lie between 0 and 1",
            (v for v in o.learning_rates if not 0 < v < 1),
            "for example 1e-4, or leave the option out for each method's own",
        ),
        _each(
            "--adapter-sizes must be 1 or more",
            (v for v in o.adapter_sizes if v < 1),
            "for example 4",
        ),
        size_rule("--adapter-sizes", o.adapter_sizes),
        _each("--strengths must be above 0", (v for v in o.strengths if v <= 0), "for example 1"),
        (
            bool(counts),
            f"--num-images takes counts of 1 or more, or `all`, got {', '.join(counts)}",
        ),
    ]


def _each(rule: str, broken: Iterable[float], remedy: str) -> Rule:
    """A rule for each number of a list; the error names those that break it, as they are typed."""
    values = list(broken)
    return bool(values), f"{rule}, got {', '.join(f'{v:g}' for v in values)}; {remedy}"


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
            o.searches and len(o.init_seeds) > 1,
            f"--sampler {o.sampler} takes one of --init-seeds, got {o.init_seeds}: it would "
            "mistake luck for skill; search first, then repeat the best with --sampler grid",
        ),
        (
            stops and not o.searches,
            f"{asked} --sampler {o.sampler}: cells that feed scaling fits are never stopped early; leave it "
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
            limit is not None and not o.searches,
            f"--max-forgetting {limit} with --sampler {o.sampler}: it guides a search, and a grid is planned "
            "beforehand; leave it out, or search with --sampler random, tpe or nsga2",
        ),
        (
            o.searches and len(o.budgets) > 1,
            f"--sampler {o.sampler} takes one of --num-steps, got {o.num_steps}: gains of trials "
            "of different lengths cannot be compared; name one, or use --sampler halving or grid",
        ),
        (
            o.sampler == "halving" and len(o.budgets) < 2 and not o.widens,
            f"--sampler halving with --num-steps {o.num_steps} and "
            f"{'--learning-rates' if o.learning_rates else '--no-widen-rates'}: its rungs are the numbers of "
            "steps; name several, as in --num-steps 60 250, leave that option out, so that a grid may "
            "be widened, or use --sampler grid",
        ),
        (
            o.searches and o.design == "star",
            f"--design star with --sampler {o.sampler}: a star is planned, and a sampler chooses sizes by "
            "itself; use --sampler grid or halving, or --design full",
        ),
        (
            limit is not None and not 0 <= limit < math.inf,
            f"--max-forgetting must be 0 or more, got {limit}",
        ),
    ]


def schedule_of(options: AdaptationOptions) -> Literal["cosine", "wsd"]:
    """The learning-rate schedule, with `auto` resolved."""
    if options.schedule != "auto":
        return options.schedule
    return "cosine" if len(options.budgets) == 1 else "wsd"


def fuses_packs(options: AdaptationOptions) -> bool:
    """Whether pack members of one method and size compute their steps together."""
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
    """Rules for several processes that train one pack."""
    workers, crops = o.workers_per_trial, o.batch_size
    if workers < 2:
        return []
    halving = [n for n in o.methods if n in METHOD_TABLE and METHOD_TABLE[n].trains_on == "both"]
    return [
        (
            o.calibrate,
            f"--calibrate with --workers-per-trial {workers}: it times one process, and a group's steps "
            "take a different time; leave it out: the cells of a sweep are timed as well",
        ),
        *parted_rules(crops, workers),
        (
            crops % workers == 0 and crops % (2 * workers) != 0 and bool(halving),
            f"--batch-size {crops} cannot be divided equally among --workers-per-trial {workers} for "
            f"{', '.join(halving)}, half of whose crops come from the source domain: choose a multiple of "
            f"{2 * workers}",
        ),
    ]
