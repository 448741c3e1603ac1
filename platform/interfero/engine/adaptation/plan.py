"""The plan of an adaptation sweep: what is loaded, which blocks and cells there are, and what they need."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from interfero.adaptation import find_method
from interfero.adaptation.method import Method
from interfero.codecs.catalogue import load_codec
from interfero.codecs.codec import Codec
from interfero.domains.catalogue import load_domain
from interfero.domains.domain import Domain, check_channels, spread
from interfero.domains.images import ImageRules
from interfero.domains.memory import GIB, MemoryBudget
from interfero.engine.adaptation.cost import CostModel, Work, pack_cost
from interfero.engine.adaptation.memory import Footprint, footprint, mebibytes, room_for_pack
from interfero.engine.adaptation.nodes import (
    Block,
    Cell,
    Distance,
    Hyperparameters,
    Identity,
    LoopConfig,
    Reference,
    Train,
)
from interfero.engine.adaptation.packing import make_packs
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.engine.code import library_versions
from interfero.engine.node import Node
from interfero.engine.options.adaptation import (
    AdaptationOptions,
    check_options,
    fuses_packs,
    mapping_of,
)
from interfero.engine.options.base import ALL_IMAGES
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.resources import packs_at_once_here
from interfero.engine.timing import megapixels, setting_of
from interfero.errors import ConfigError, DomainError, InterferoError
from interfero.records import StepSetting

T = TypeVar("T")

MAX_PACK_MEMBERS = 8
"""More members share more of the frozen source pass, but leave fewer packs to spread over workers."""
SHARED_STEPS = 1.0
"""The frozen source pass, in steps of a member that uses it, where neither has been timed.

Four sizes of a branch on shared activations took 1.6 times less than one after the other.
"""
DRAWN_STEPS = 0.02
"""Drawing a batch, in steps of a member, where neither has been timed."""


@dataclass(frozen=True)
class Loaded:
    """What the options of a sweep name, checked and in memory."""

    options: AdaptationOptions
    codecs: dict[float, Codec]
    """By lambda."""
    domains: dict[str, Domain]
    """Target domains by name."""
    source_domain: Domain


@dataclass(frozen=True)
class AdaptationPlan(Plan):
    """An adaptation sweep, resolved: nothing is left to decide but what a sampler may choose."""

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
    precision: PrecisionChoice
    """That of `loop`, and why."""
    footprints: Mapping[str, Footprint] = field(default_factory=dict)
    """What a member of each method needs in memory, at the largest of its sizes."""
    at_once: int | None = None
    """Packs at once on this machine; None where a cluster decides."""
    room: int | None = None
    """Bytes of memory for each of the packs at once; None where it cannot be known."""
    _identities: dict[Block, Identity] = field(default_factory=dict, repr=False, compare=False)
    _hashes: dict[float, tuple[str, str]] = field(default_factory=dict, repr=False, compare=False)
    """Of each codec's weights and of its tables, by lambda: hashing megabytes takes a while."""
    _works: dict[Block, Work] = field(default_factory=dict, repr=False, compare=False)
    _shared: dict[Block, tuple[Node, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def leaves(self) -> Sequence[Cell]:
        """See `Plan`."""
        return self.cells

    @property
    def code(self) -> str:
        """See `Plan`."""
        return self.loop_hash

    @property
    def content(self) -> dict[str, str]:
        """See `Plan`."""
        return {
            **{f"codec for lambda {v:g}": self._hashes_of(v)[0] for v in self.codecs},
            **{f"domain {n}": d.fingerprint for n, d in self.domains.items()},
            f"source domain {self.source_domain.name}": self.source_domain.fingerprint,
            **{f"version of {n}": v for n, v in library_versions().items()},
            # Resolved: `auto` and the CPUs of a trial mean something else on another machine.
            **{f"{n} in training": v for n, v in self.loop.model_dump().items()},
        }

    @property
    def num_cells(self) -> int:
        """See `Plan`."""
        return len(self.cells) or self.options.num_samples * len(self.blocks)

    def needs(self, node: Node) -> tuple[Node, ...]:
        """See `Plan`: a cell needs what the source codec makes of both domains, and a shared training."""
        if not isinstance(node, Cell):
            return ()
        shared = self.shared(node.block)
        if find_method(node.hyperparameters.method).trains_on != "source":
            return shared
        return (*shared, Train(cell=node))

    def shared(self, block: Block) -> tuple[Node, ...]:
        """What all cells of a block need."""
        if block not in self._shared:
            target = self.domains[block.domain]
            codec, code = self._hashes_of(block.rd_lambda)[0], self.loop_hash
            sides = (
                (target, self.loop.max_target_images),
                (self.source_domain, self.loop.max_source_images),
            )
            references = (
                Reference(codec_hash=codec, rd_lambda=block.rd_lambda, domain=domain.name, num_images=limit,
                          domain_hash=domain.fingerprint, data_seed=block.data_seed, code=code)
                for domain, limit in sides
            )  # fmt: skip
            distance = Distance(
                codec_hash=codec, rd_lambda=block.rd_lambda, domain=target.name, code=code,
                domain_hash=target.fingerprint, source_domain_hash=self.source_domain.fingerprint,
            )  # fmt: skip
            self._shared[block] = (*references, distance)
        return self._shared[block]

    def cell(self, block: Block, hyperparameters: Hyperparameters) -> Cell:
        """A cell of this sweep."""
        if block not in self._identities:
            self._identities[block] = self._identity(block)
        return Cell(
            block=block,
            hyperparameters=hyperparameters,
            loop=self.loop,
            identity=self._identities[block],
        )

    def _identity(self, block: Block) -> Identity:
        codec, domain = self.codecs[block.rd_lambda], self.domains[block.domain]
        weights_hash, table_hash = self._hashes_of(block.rd_lambda)
        return Identity(
            codec=codec.name,
            codec_hash=weights_hash,
            table_hash=table_hash,
            domain_hash=domain.fingerprint_for(block.num_images, block.data_seed),
            image_unit=domain.unit,
            source_domain=self.source_domain.name,
            source_domain_hash=self.source_domain.fingerprint,
            loop_hash=self.loop_hash,
            versions=library_versions(),
        )

    def _hashes_of(self, rd_lambda: float) -> tuple[str, str]:
        if rd_lambda not in self._hashes:
            codec = self.codecs[rd_lambda]
            self._hashes[rd_lambda] = codec.weights_hash, codec.table_hash
        return self._hashes[rd_lambda]

    @property
    def setting(self) -> StepSetting:
        """What the time of its steps depends on."""
        shape = next(iter(self.codecs.values())).shape
        return setting_of(shape, self.loop, self.loop.device, self.options.workers_per_trial)

    def max_members(self, method: str) -> int:
        """Members of a pack, bounded by memory; at least one."""
        if not self.options.packs:
            return 1
        needed = self.footprints.get(method)
        if self.room is None or needed is None:
            return MAX_PACK_MEMBERS
        return max(1, min(MAX_PACK_MEMBERS, needed.members_in(self.room, fused=self.fuses(method))))

    @property
    def max_mixed_members(self) -> int:
        """Members of a pack of any of the methods, as a search makes them; bounded by memory."""
        return min(map(self.max_members, self.options.methods))

    def fuses(self, method: str) -> bool:
        """Whether members of a method step at the same time, and so need memory for all their steps."""
        return self.loop.fused and find_method(method).fuses

    def check(self) -> None:
        """Refuse what cannot fit this machine even in a pack of one.

        Raises:
            ConfigError: names the method, what it needs and what there is.
        """
        if self.room is None:
            return
        for method, needed in self.footprints.items():
            if needed.of_pack(1) > self.room:
                raise ConfigError(
                    f"one cell of {method} needs about {mebibytes(needed.of_pack(1))} (--batch-size "
                    f"{self.loop.batch_size}, --crop-size {self.loop.crop_size}), and each of "
                    f"{self.at_once or 1} packs at once has {mebibytes(max(0, self.room))} of this "
                    "machine's free memory: lower --max-concurrent, --batch-size or --crop-size"
                )

    def packs(
        self, cells: Sequence[Node], done: Set[str] = frozenset(), at_once: int | None = None,
        model: CostModel | None = None,
    ) -> list[Pack]:  # fmt: skip
        """See `Plan`; the longest packs of a kind first: they would be waited for last.

        Args:
            cells: What is to be trained.
            done: Keys of other nodes that are done.
            at_once: Packs at once; as many as this machine has room for by default.
            model: What is known of their time; else members count alike.
        """
        own = [cell for cell in cells if isinstance(cell, Cell)]
        behind = list(self.behind(own, done).values())
        trainings = [node for node in behind if isinstance(node, Train)]
        alike: dict[tuple[Any, ...], list[Train]] = defaultdict(list)
        for node in trainings:
            block = node.cell.block
            alike[block.rd_lambda, block.data_seed, node.cell.hyperparameters.method].append(node)
        packs = [Pack.of([node]) for node in behind if not isinstance(node, Train)]
        for members in alike.values():
            most = self.max_members(members[0].cell.hyperparameters.method)
            for part in range(0, len(members), most):
                packs.append(Pack(nodes=tuple(members[part : part + most])))
        return [*packs, *self.cell_packs(own, done, at_once, model)]

    def behind(self, cells: Iterable[Node], done: Set[str] = frozenset()) -> dict[str, Node]:
        """See `Plan`; and what a sampler's cells will need, whichever it asks for."""
        found = super().behind(cells, done)
        if self.options.sampler != "grid":
            for block in self.blocks:
                found.update((n.key, n) for n in self.shared(block) if n.key not in done)
        return found

    def cell_packs(
        self, cells: Sequence[Cell], done: Set[str] = frozenset(), at_once: int | None = None,
        model: CostModel | None = None,
    ) -> list[Pack]:  # fmt: skip
        """Cells grouped for training."""
        methods = {cell.hyperparameters.method for cell in cells}
        limits = {name: self.max_members(name) for name in methods}
        seconds = partial(self._seconds, model)
        made = make_packs(cells, limits, at_once or self.at_once, seconds)
        return [self.with_needs(pack, done) for pack in made]

    def with_needs(self, pack: Pack, done: Set[str] = frozenset()) -> Pack:
        """A pack that knows what it waits for."""
        needs = {need.key for node in pack.nodes for need in self.needs(node)}
        return pack.model_copy(update={"needs": frozenset(needs - done)})

    def shared_trainings(self, cell: Cell) -> str | None:
        """Key of the shared training that a cell evaluates, if it has none of its own."""
        trains = find_method(cell.hyperparameters.method).trains_on == "source"
        return Train(cell=cell).key if trains else None

    def _seconds(self, model: CostModel | None, pack: Pack) -> float:
        """What a pack of cells takes; in steps of a member where it was never timed."""
        cost = pack_cost(pack, model, self.work) if model else None
        if cost is not None:
            return cost.total.middle
        cells = [node for node in pack.nodes if isinstance(node, Cell)]
        method = find_method(cells[0].hyperparameters.method)
        if method.trains_on == "source":
            return DRAWN_STEPS * len(cells)
        shares = type(method).shared_pass
        once = DRAWN_STEPS if shares is Method.shared_pass else SHARED_STEPS
        return once + len(cells)

    def work(self, cell: Cell) -> Work:
        """What a cell's evaluation looks at."""
        if cell.block not in self._works:
            self._works[cell.block] = self._work(cell.block)
        return self._works[cell.block]

    def _work(self, block: Block) -> Work:
        target, seed = self.domains[block.domain], block.data_seed
        limits = (
            (target, self.loop.max_target_images),
            (self.source_domain, self.loop.max_source_images),
        )
        coded = sum(megapixels(spread(domain.test, limit)) for domain, limit in limits)
        both = (target, self.source_domain)
        return Work(coded, sum(megapixels(d.split(1, seed).validation) for d in both))


def make_plan(loaded: Loaded, loop_hash: str, precision: PrecisionChoice) -> AdaptationPlan:
    """List the blocks and cells of a sweep; nothing is trained, and nothing is written.

    Args:
        loaded: Codecs and domains.
        loop_hash: Of all code that decides a cell's numbers.
        precision: Of training.

    Raises:
        ConfigError, DomainError: names the value, the rule and the remedy.
    """
    options = loaded.options
    blocks = tuple(_blocks(options, loaded.domains, loaded.source_domain))
    loop = _loop(options).model_copy(update={"precision": precision.precision})
    plan = AdaptationPlan(
        options,
        blocks,
        loaded.codecs,
        loaded.domains,
        loaded.source_domain,
        loop,
        loop_hash,
        (),
        precision,
    )
    plan = replace(plan, **_bounds(plan))
    if options.sampler != "grid":
        return plan
    grid = grid_hyperparameters(options)
    cells = tuple(plan.cell(block, point) for block in blocks for point in grid)
    return replace(plan, cells=cells)


def _bounds(plan: AdaptationPlan) -> dict[str, Any]:
    """What bounds packs: how many train at once, and the memory each has and needs."""
    options = plan.options
    at_once = packs_at_once_here(options)
    codec = next(iter(plan.codecs.values()))
    methods = [find_method(name) for name in options.methods]
    return {
        "at_once": at_once,
        # The nodes of a cluster are not known before it is joined.
        "room": at_once and room_for_pack(at_once, plan.loop.device, options.gpus_per_trial),
        "footprints": {
            m.name: footprint(m, codec, max(sizes_of(m, options)), plan.loop) for m in methods
        },
    }


def load(options: AdaptationOptions) -> Loaded:
    """Load codecs and domains, and check everything that can be checked before training.

    Raises:
        ConfigError, DomainError, CodecError: all problems at once.
    """
    check_options(options)
    problems = _Problems()
    for name in options.methods:
        problems.attempt(find_method, name)
    found = {
        value: problems.attempt(load_codec, options.source, value) for value in options.lambdas
    }
    # Codecs of one source differ in lambda alone; those that could not be loaded are a problem already.
    channels = next((c.shape.image_channels for c in found.values() if c is not None), 3)
    rules = ImageRules(halve_jpeg=options.halve_jpeg, channels=channels)
    mapped = replace(rules, mapping=mapping_of(options))
    most = max((int(n) for n in options.num_images if n != ALL_IMAGES), default=0)
    given = options.max_domain_memory
    read = partial(load_domain, budget=MemoryBudget(None if given is None else int(given * GIB)))
    load_target = partial(read, num_images=most, data_seeds=options.data_seeds)
    targets = [problems.attempt(load_target, spec, mapped) for spec in options.domains]
    source_domain = problems.attempt(read, options.source_domain, rules)
    problems.check()
    assert source_domain is not None
    domains = {domain.name: domain for domain in targets if domain is not None}
    if len(domains) < len(targets):
        raise ConfigError(
            f"--domains names one domain twice: {', '.join(options.domains)}; a name stands for "
            "one domain"
        )
    for domain in (*domains.values(), source_domain):
        check_channels(domain, channels)
    for domain in domains.values():
        _check_apart(domain, source_domain)
        _check_apart(source_domain, domain)
    codecs = {value: codec for value, codec in found.items() if codec is not None}
    _check_methods(options, codecs)
    return Loaded(options, codecs, domains, source_domain)


def _check_methods(options: AdaptationOptions, codecs: Mapping[float, Codec]) -> None:
    """Refuse, before training, an architecture that a method cannot adapt."""
    for codec in codecs.values():
        for name in options.methods:
            method = find_method(name)
            if method.trains_on == "both" and options.batch_size < 2:
                raise ConfigError(
                    f"--batch-size must be 2 or more for {name}, half of whose crops come from the "
                    f"source domain; got {options.batch_size}"
                )
            method.build(codec, min(sizes_of(method, options)), 0)


def _check_apart(trained: Domain, tested: Domain) -> None:
    """Refuse test images that a method may train on under another domain's name.

    Raises:
        DomainError: names one of them.
    """
    spare = [s for samples in trained.reserve.values() for s in samples]
    copies = {s.digest: s.name for s in (*trained.train, *spare)}
    for sample in tested.test:
        if sample.digest in copies:
            raise DomainError(
                f"test image {sample.name!r} of domain {tested.name!r} is the training image "
                f"{copies[sample.digest]!r} of domain {trained.name!r}: its result would be learned by "
                "heart; remove one of them, or give both domains one folder with train/ and test/"
            )


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
    # A dictionary: `all` and the same number in figures are one block.
    blocks: dict[Block, None] = {}
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
        blocks[block] = None
    return list(blocks)


def _loop(options: AdaptationOptions) -> LoopConfig:
    return LoopConfig(
        num_steps=options.num_steps,
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
