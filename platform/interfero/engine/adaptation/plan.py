"""The plan of an adaptation sweep: which blocks and cells there are, what they need, and their packs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from interfero.adaptation import find_method
from interfero.adaptation.method import Method
from interfero.codecs.codec import Codec
from interfero.domains.domain import Domain, spread
from interfero.engine.adaptation.cost import CostModel, Work, pack_cost
from interfero.engine.adaptation.design import SweepDesign
from interfero.engine.adaptation.grid import blocks_of, grid_hyperparameters, loop_of, sizes_of
from interfero.engine.adaptation.loading import Loaded
from interfero.engine.adaptation.memory import Footprint, footprint, mebibytes, room_for_pack
from interfero.engine.adaptation.nodes import (
    Block,
    Cell,
    Distance,
    Hyperparameters,
    Identity,
    LoopConfig,
    Rate,
    Reference,
    Train,
)
from interfero.engine.adaptation.packing import make_packs
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.engine.code import library_versions
from interfero.engine.node import Node
from interfero.engine.options.adaptation import AdaptationOptions
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.resources import packs_at_once_here
from interfero.engine.timing import megapixels, setting_of
from interfero.errors import ConfigError
from interfero.records import StepSetting

MAX_PACK_MEMBERS = 8
"""More members share more of the frozen source pass, but leave fewer packs to spread over workers."""
SHARED_STEPS = 1.0
"""The frozen source pass, in steps of a member that uses it, where neither has been timed.

Four sizes of a branch on shared activations took 1.6 times less than one after the other.
"""
DRAWN_STEPS = 0.02
"""Drawing a batch, in steps of a member, where neither has been timed."""


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
    """Of the longest training; others have fewer steps."""
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
            # Resolved: `auto` and the CPUs of a trial mean something else on another machine. The numbers
            # of steps are options.
            **{
                f"{n} in training": v
                for n, v in self.loop.model_dump(exclude={"num_steps"}).items()
            },
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
        return (*shared, Train(cell=node)) if node.shares_training else shared

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

    def cell(
        self, block: Block, hyperparameters: Hyperparameters, num_steps: int | None = None
    ) -> Cell:
        """A cell of this sweep; of the longest training if no other is asked for."""
        if block not in self._identities:
            self._identities[block] = self._identity(block)
        return Cell(
            block=block,
            hyperparameters=hyperparameters,
            loop=self.loops[num_steps or self.loop.num_steps],
            identity=self._identities[block],
            rates=self._rates if find_method(hyperparameters.method).all_rates else (),
        )

    @cached_property
    def _rates(self) -> tuple[Rate, ...]:
        """The source codecs of all lambdas."""
        return tuple(
            Rate(rd_lambda=v, codec_hash=self._hashes_of(v)[0]) for v in sorted(self.codecs)
        )

    @cached_property
    def loops(self) -> Mapping[int, LoopConfig]:
        """How cells are trained, by their number of steps, rising."""
        return {n: self.loop.model_copy(update={"num_steps": n}) for n in self.options.budgets}

    def shorter(self, node: Cell | Train) -> Cell | Train | None:
        """The same training for the next smaller number of steps, which a longer one goes on from."""
        cell = node.cell if isinstance(node, Train) else node
        shorter = self._shorter_loop(cell.loop)
        if shorter is None or not self._has(cell, shorter.num_steps):
            return None
        found = self.cell(cell.block, cell.hyperparameters, shorter.num_steps)
        if isinstance(node, Train):
            return Train(cell=found)
        # Else it evaluates a training, which is a node of its own.
        return found if self.shared_trainings(cell) is None else None

    def _has(self, cell: Cell, num_steps: int) -> bool:
        """Whether a cell's setting is trained for so many steps, too."""
        return self._design.has(cell.block, cell.hyperparameters, num_steps)

    @cached_property
    def _design(self) -> SweepDesign:
        return SweepDesign(self.options, self.domains)

    def _shorter_loop(self, loop: LoopConfig) -> LoopConfig | None:
        fewer = [n for n in self.loops if n < loop.num_steps and loop.trunk_steps is not None]
        return self.loops[max(fewer)] if fewer else None

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
            block, steps = node.cell.block, node.cell.loop.num_steps
            method = node.cell.hyperparameters.method
            # One that takes all lambdas in turns sees a target domain: batches are those of a block.
            seen = block.text if node.cell.rates else (block.rd_lambda, block.data_seed)
            alike[seen, method, steps].append(node)
        packs = [Pack.of([node]) for node in behind if not isinstance(node, Train)]
        for members in alike.values():
            most = self.max_members(members[0].cell.hyperparameters.method)
            for part in range(0, len(members), most):
                packs.append(Pack(nodes=tuple(members[part : part + most])))
        packs += self.cell_packs(own, done, at_once, model)
        return self._in_order(packs, [*trainings, *own])

    def _in_order(self, packs: list[Pack], trained: Sequence[Cell | Train]) -> list[Pack]:
        """Packs that know which trainings they go on from, and which of theirs others go on from."""
        if len(self.loops) == 1 or self.loop.trunk_steps is None:
            return packs
        keys = {node.key for node in trained}
        shorter = {n.key: s.key for n in trained if (s := self.shorter(n)) is not None}
        halving = self.options.sampler == "halving"
        # With halving, what goes on is not known yet: all but the longest may.
        going_on = {
            node.key for node in trained if halving and _steps(node) < self.loop.num_steps
        } or set(shorter.values())
        return [
            pack.model_copy(
                update={
                    "after": frozenset(shorter[k] for k in pack.keys if shorter.get(k) in keys),
                    "continued": frozenset(going_on.intersection(pack.keys)),
                }
            )
            for pack in packs
        ]

    def behind(self, cells: Iterable[Node], done: Set[str] = frozenset()) -> dict[str, Node]:
        """See `Plan`; and what a sampler's cells will need, whichever it asks for."""
        found = super().behind(cells, done)
        if self.options.searches:
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
        return Train(cell=cell).key if cell.shares_training else None

    def _seconds(self, model: CostModel | None, pack: Pack) -> float:
        """What a pack of cells takes; in steps of a member where it was never timed."""
        cost = pack_cost(pack, model, self.work) if model else None
        if cost is not None:
            return cost.total.middle
        cells = [node for node in pack.nodes if isinstance(node, Cell)]
        method = find_method(cells[0].hyperparameters.method)
        if cells[0].shares_training:
            return DRAWN_STEPS * len(cells)
        shares = type(method).shared_pass
        once = DRAWN_STEPS if shares is Method.shared_pass else SHARED_STEPS
        return once + len(cells)

    def work(self, cell: Cell) -> Work:
        """What a cell's evaluation looks at, and the steps that a shorter training has done for it."""
        if cell.block not in self._works:
            self._works[cell.block] = self._work(cell.block)
        shorter = self._shorter_loop(cell.loop)
        if shorter is None or not self._has(cell, shorter.num_steps):
            return self._works[cell.block]
        return self._works[cell.block]._replace(taken_up=shorter.trunk_steps or 0)

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
    design = SweepDesign(options, loaded.domains)
    every = blocks_of(options, loaded.domains, loaded.source_domain)
    blocks = tuple(filter(design.has_block, every))
    loop = loop_of(options).model_copy(update={"precision": precision.precision})
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
    if options.searches:
        return plan
    grid = grid_hyperparameters(options)
    cells = tuple(
        plan.cell(block, point, steps)
        for block in blocks
        for steps in options.budgets
        for point in grid
        if design.has(block, point, steps)
    )
    return replace(plan, cells=cells)


def _steps(node: Cell | Train) -> int:
    return (node.cell if isinstance(node, Train) else node).loop.num_steps


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
