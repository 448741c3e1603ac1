"""From options to a plan: what is loaded, which blocks there are, which cells each has."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import torch

from interfero.adaptation import find_method
from interfero.adaptation.method import Method
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import Codec
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain
from interfero.domains.images import ImageRules
from interfero.engine.cells import (
    Block,
    Cell,
    Hyperparameters,
    Identity,
    LoopConfig,
    Pack,
    make_packs,
)
from interfero.engine.fingerprint import library_versions
from interfero.engine.options import ALL_IMAGES, AdaptationOptions, check_options
from interfero.errors import ConfigError, InterferoError

T = TypeVar("T")

MAX_PACK_MEMBERS = 8
"""More members share more of the frozen source pass, but leave fewer packs to spread over workers."""


@dataclass(frozen=True)
class Plan:
    """A sweep, resolved: nothing is left to decide but what a sampler may choose."""

    options: AdaptationOptions
    blocks: tuple[Block, ...]
    codecs: dict[float, Codec]
    """By lambda."""
    domains: dict[str, Domain]
    """Target domains by name."""
    source_domain: Domain
    loop: LoopConfig
    loop_hash: str
    cells: tuple[Cell, ...]
    """The whole grid; empty where a sampler chooses."""

    @property
    def num_cells(self) -> int:
        """Cells of the grid, or those a sampler may ask for."""
        return len(self.cells) or self.options.num_samples * len(self.blocks)

    def cell(self, block: Block, hyperparameters: Hyperparameters) -> Cell:
        """A cell of this sweep."""
        codec, domain = self.codecs[block.rd_lambda], self.domains[block.domain]
        identity = Identity(
            codec=codec.name,
            codec_hash=codec.weights_hash,
            table_hash=codec.table_hash,
            domain_hash=domain.fingerprint_for(block.num_images, block.data_seed),
            image_unit=domain.unit,
            source_domain=self.source_domain.name,
            source_domain_hash=self.source_domain.fingerprint,
            loop_hash=self.loop_hash,
            versions=library_versions(),
        )
        return Cell(block=block, hyperparameters=hyperparameters, loop=self.loop, identity=identity)

    def packs(self, cells: Sequence[Cell]) -> list[Pack]:
        """Cells grouped for training, the largest packs first: they would be waited for last."""
        packs = make_packs(cells, MAX_PACK_MEMBERS if self.options.packs else 1)
        return sorted(packs, key=lambda pack: -len(pack.cells))


def make_plan(options: AdaptationOptions, loop_hash: str) -> Plan:
    """Check everything that can be checked before training, and list the cells.

    Raises:
        ConfigError, DomainError, CodecError: names the value, the rule and the remedy.
    """
    check_options(options)
    codecs, domains, source_domain = _load(options)
    blocks = tuple(_blocks(options, domains, source_domain))
    plan = Plan(
        options, blocks, codecs, domains, source_domain, _loop(options), loop_hash, cells=()
    )
    for codec in codecs.values():
        for name in options.methods:
            # Refused here, before training, where an architecture cannot be adapted.
            method = find_method(name)
            if method.trains_on == "both" and options.batch_size < 2:
                raise ConfigError(
                    f"--batch-size must be 2 or more for {name}, half of whose crops come from the "
                    f"source domain; got {options.batch_size}"
                )
            method.build(codec, min(sizes_of(method, options)), 0)
    if options.sampler != "grid":
        return plan
    grid = grid_hyperparameters(options)
    cells = tuple(plan.cell(block, point) for block in blocks for point in grid)
    return Plan(**{**plan.__dict__, "cells": cells})


def _load(options: AdaptationOptions) -> tuple[dict[float, Codec], dict[str, Domain], Domain]:
    """Codecs by lambda, target domains by name, and the source domain; all problems at once."""
    problems = _Problems()
    for name in options.methods:
        problems.attempt(find_method, name)
    found = {
        value: problems.attempt(load_codec, options.source, value) for value in options.lambdas
    }
    rules = ImageRules(halve_jpeg=options.halve_jpeg)
    most = max((int(n) for n in options.num_images if n != ALL_IMAGES), default=0)
    load_target = partial(load_domain, num_images=most, data_seeds=options.data_seeds)
    targets = [problems.attempt(load_target, spec, rules) for spec in options.domains]
    source_domain = problems.attempt(load_domain, options.source_domain, rules)
    problems.check()
    assert source_domain is not None
    domains = {domain.name: domain for domain in targets if domain is not None}
    if len(domains) < len(targets):
        raise ConfigError(
            f"--domains names one domain twice: {', '.join(options.domains)}; a name stands for "
            "one domain"
        )
    codecs = {value: codec for value, codec in found.items() if codec is not None}
    return codecs, domains, source_domain


class _Problems:
    """Collects what cannot be loaded, so that a user mends all of it at once."""

    def __init__(self) -> None:
        self._errors: list[InterferoError] = []

    def attempt(self, load: Callable[..., T], *arguments: Any) -> T | None:
        """The value, or None if it cannot be had."""
        try:
            return load(*arguments)
        except InterferoError as error:
            self._errors.append(error)
            return None

    def check(self) -> None:
        """Raise what was collected: one error as it is, several in one, each text once."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise ConfigError("\n".join(dict.fromkeys(str(e) for e in self._errors)))


def grid_hyperparameters(options: AdaptationOptions) -> list[Hyperparameters]:
    """Methods x sizes x strengths x learning rates x initial seeds, as far as a method has them."""
    points = []
    for name in options.methods:
        method = find_method(name)
        # A method that draws nothing would only repeat itself, and pass for several seeds.
        seeds = options.init_seeds if method.random_init else options.init_seeds[:1]
        axes = sizes_of(method, options), strengths_of(method, options), options.learning_rates
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
    """The strengths asked for; 0 alone where a method has no term of its own."""
    return options.strengths if method.strength_unit else (0.0,)


def _blocks(
    options: AdaptationOptions, domains: dict[str, Domain], source_domain: Domain
) -> list[Block]:
    blocks: list[Block] = []
    seeds = options.data_seeds
    # Validation keeps photographs whole, so seeds leave different numbers of images; `all` is what
    # every seed has, or the seeds would be different settings.
    everything = {
        d.name: min(len(d.split(ALL_IMAGES, s).training) for s in seeds) for d in domains.values()
    }
    for domain, value, count, seed in itertools.product(
        domains.values(), options.lambdas, options.num_images, options.data_seeds
    ):
        source_domain.split("all", seed)
        number = everything[domain.name] if count == ALL_IMAGES else int(count)
        domain.split(number, seed)
        block = Block(domain=domain.name, rd_lambda=value, num_images=number, data_seed=seed)
        # `all` and the same number in figures are one block.
        if block not in blocks:
            blocks.append(block)
    return blocks


def _loop(options: AdaptationOptions) -> LoopConfig:
    return LoopConfig(
        num_steps=options.num_steps,
        batch_size=options.batch_size,
        crop_size=options.crop_size,
        precision=resolve_precision(options.precision),
        device="cuda" if options.gpus_per_trial else "cpu",
        threads=max(1, int(options.cpus_per_trial)),
        max_source_images=options.max_source_images,
        max_target_images=options.max_target_images,
        attribute=options.attribute,
        delta_rank=options.delta_rank,
    )


def resolve_precision(
    asked: Literal["auto", "bfloat16", "float32"],
) -> Literal["bfloat16", "float32"]:
    """What `auto` means on this machine: bfloat16 only where the processor computes it natively."""
    if asked != "auto":
        return asked
    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float32"
    return "bfloat16" if torch.cpu.get_capabilities().get("avx512_bf16", False) else "float32"
