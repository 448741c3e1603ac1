"""The grid of an adaptation sweep: its blocks, and the hyperparameters inside each."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from interfero.adaptation import find_method
from interfero.adaptation.method import Method
from interfero.domains.domain import Domain
from interfero.engine.adaptation.nodes import Block, Hyperparameters, LoopConfig
from interfero.engine.options.adaptation import AdaptationOptions, fuses_packs, schedule_of
from interfero.engine.options.base import ALL_IMAGES
from interfero.errors import ConfigError


def grid_hyperparameters(options: AdaptationOptions) -> list[Hyperparameters]:
    """Methods x sizes x strengths x learning rates x initial seeds, as far as a method has them."""
    points = []
    for name in options.methods:
        method = find_method(name)
        # A method that draws nothing would only repeat itself, and pass for several seeds.
        seeds = options.init_seeds if method.random_init else options.init_seeds[:1]
        axes = sizes_of(method, options), strengths_of(method, options), rates_of(method, options)
        for size, strength, rate, seed in itertools.product(*axes, seeds):
            points.append(
                Hyperparameters(
                    method=name,
                    adapter_size=size,
                    strength=strength,
                    learning_rate=rate,
                    init_seed=seed,
                )
            )
    return points


def sizes_of(method: Method, options: AdaptationOptions) -> tuple[int, ...]:
    """The sizes asked for that a method has; 0 alone where it has no size.

    Raises:
        ConfigError: it has none of them.
    """
    if method.size_unit is None:
        return (0,)
    sizes = tuple(size for size in options.adapter_sizes if method.accepts(size))
    if not sizes:
        raise ConfigError(
            f"--adapter-sizes {options.adapter_sizes}: {method.name} ({method.size_unit}) has none of "
            "these sizes; add one that it has, or leave the method out"
        )
    return sizes


def strengths_of(method: Method, options: AdaptationOptions) -> tuple[float, ...]:
    """The strengths asked for, the method's own where none are; 0 alone where it has no term of its own."""
    return (options.strengths or method.strengths) if method.strength_unit else (0.0,)


def rates_of(method: Method, options: AdaptationOptions) -> tuple[float, ...]:
    """The learning rates asked for; the method's own where none are."""
    return options.learning_rates or method.learning_rates


def blocks_of(
    options: AdaptationOptions, domains: dict[str, Domain], source_domain: Domain
) -> list[Block]:
    """Domains x lambdas x image counts x data seeds; `all` and the same number in figures are one block."""
    blocks: dict[Block, None] = {}
    numbers = {count: training_images(options, domains, count) for count in options.num_images}
    for domain, value, count, seed in itertools.product(
        domains.values(), options.lambdas, options.num_images, options.data_seeds
    ):
        source_domain.split("all", seed)
        number = numbers[count][domain.name]
        domain.split(number, seed)
        block = Block(domain=domain.name, rd_lambda=value, num_images=number, data_seed=seed)
        blocks[block] = None
    return list(blocks)


def training_images(
    options: AdaptationOptions, domains: Mapping[str, Domain], count: str
) -> dict[str, int]:
    """How many target training images a value of `--num-images` is, by domain.

    Validation keeps photographs whole, so seeds leave different numbers of images; `all` is what every
    seed has, or the seeds would be different settings.
    """
    if count != ALL_IMAGES:
        return dict.fromkeys(domains, int(count))
    seeds = options.data_seeds
    return {n: min(len(d.split(count, s).training) for s in seeds) for n, d in domains.items()}


def loop_of(options: AdaptationOptions) -> LoopConfig:
    """How the longest cells are trained, in float32."""
    return LoopConfig(
        num_steps=max(options.budgets),
        schedule=schedule_of(options),
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        workers=options.workers_per_trial,
        fused=fuses_packs(options),
        max_source_images=options.max_source_images,
        max_target_images=options.max_target_images,
        attribute=options.attribute,
        delta_rank=options.delta_rank,
    )
