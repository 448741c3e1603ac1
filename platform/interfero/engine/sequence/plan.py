"""The plan of a sweep over sequences of domains: its rows, and every node that they need."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property

from interfero.codecs.codec import Codec
from interfero.domains.domain import Domain
from interfero.engine.adaptation.grid import blocks_of, grid_hyperparameters
from interfero.engine.adaptation.loading import Loaded
from interfero.engine.adaptation.nodes import Block, Cell, Hyperparameters
from interfero.engine.adaptation.plan import AdaptationPlan, make_plan
from interfero.engine.adaptation.precision import PrecisionChoice
from interfero.engine.code import library_versions
from interfero.engine.node import Node
from interfero.engine.options.sequence import SequenceOptions
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.sequence.nodes import (
    SOURCE_METHOD,
    Archive,
    Memory,
    Merged,
    MetDomain,
    Stage,
    StageRow,
    Tested,
    Trained,
)
from interfero.engine.sequence.strategies import STRATEGIES, Strategy

GATE_LIBRARIES = ("scikit-learn",)
"""Those that decide which way a gate sends an image."""
_ORDER = ("stage", "merged", "archive", "row")
"""Chains first: whatever else there is waits for them."""


@dataclass(frozen=True)
class SequencePlan(Plan):
    """A sweep over sequences of domains, resolved."""

    options: SequenceOptions
    base: AdaptationPlan
    """The same domains, met one by one: blocks, training and memory of its first stages."""
    rows: tuple[StageRow, ...]

    @property
    def leaves(self) -> Sequence[StageRow]:
        """See `Plan`."""
        return self.rows

    @property
    def num_cells(self) -> int:
        """See `Plan`."""
        return len(self.rows)

    @property
    def content(self) -> dict[str, str]:
        """See `Plan`."""
        more = {f"version of {n}": v for n, v in library_versions(GATE_LIBRARIES).items()}
        return {**self.base.content, **more}

    @property
    def code(self) -> str:
        """See `Plan`."""
        return self.base.code

    def check(self) -> None:
        """See `Plan`."""
        self.base.check()

    def needs(self, node: Node) -> tuple[Node, ...]:
        """See `Plan`."""
        return node.inputs

    def packs(
        self, cells: Sequence[Node], done: Set[str] = frozenset(), at_once: int | None = None
    ) -> list[Pack]:
        """See `Plan`: stages that differ in nothing but hyperparameters train together; chains first."""
        groups: dict[object, list[Node]] = {}
        for node in [*self.behind(cells, done).values(), *cells]:
            groups.setdefault(_together(node), []).append(node)
        parts = [part for nodes in groups.values() for part in self._parts(nodes)]
        packs = [
            Pack.of(nodes, {need.key for node in nodes for need in self.needs(node)} - done)
            for nodes in parts
        ]
        return sorted(packs, key=lambda p: _ORDER.index(p.nodes[0].kind))

    def _parts(self, nodes: Sequence[Node]) -> Iterator[Sequence[Node]]:
        """As many at once as fit the memory, if they train."""
        first = nodes[0]
        most = len(nodes)
        if isinstance(first, Stage):
            most = self.base.max_members(first.cell.hyperparameters.method)
        for begin in range(0, len(nodes), most):
            yield nodes[begin : begin + most]


def _together(node: Node) -> object:
    """What nodes of one pack have in common."""
    if isinstance(node, Stage):
        before = node.before.key if node.before else None
        union = tuple(met.text for met in node.union)
        return (node.cell.block, node.cell.loop, node.cell.hyperparameters.method, before,
                node.memory, node.anchor, union)  # fmt: skip
    if isinstance(node, StageRow):
        return tuple(archive.key for archive in node.bank)
    return node.key


def make_sequence_plan(
    options: SequenceOptions, loaded: Loaded, code: str, precision: PrecisionChoice
) -> SequencePlan:
    """List the rows of a sweep; nothing is trained, and nothing is written.

    Args:
        options: As they were given.
        loaded: Codecs and domains of `options.trainings`.
        code: Hash of all code that decides a number.
        precision: Of training.

    Raises:
        ConfigError, DomainError: names the value, the rule and the remedy.
    """
    base = make_plan(loaded, code, precision)
    rows = {row.key: row for row in _Maker(options, base).rows()}
    return SequencePlan(options, base, tuple(rows.values()))


@dataclass(frozen=True)
class _Setting:
    """What all stages of a sequence have in common."""

    rd_lambda: float
    data_seed: int
    images_asked: str
    num_steps: int
    name: str
    """The strategy's."""
    hyperparameters: Hyperparameters
    memory: Memory | None

    @property
    def strategy(self) -> Strategy:
        return STRATEGIES[self.name]


@dataclass(frozen=True)
class _Maker:
    """Makes the rows of a plan."""

    options: SequenceOptions
    base: AdaptationPlan
    _archives: dict[tuple[float, int, str | None], Archive] = field(default_factory=dict)
    _stages: dict[tuple[_Setting, tuple[str, ...]], Stage] = field(default_factory=dict)
    """Made once: the rows of an order share those of its prefixes, whose keys take a while."""

    def rows(self) -> Iterator[StageRow]:
        """The source codec's rows, then those of every setting and prefix."""
        for value, seed in itertools.product(self.options.lambdas, self.options.data_seeds):
            yield StageRow(
                method=SOURCE_METHOD,
                codec=self.base.codecs[value].name,
                source_domain=self.base.source_domain.name,
                banks=((self._archive(value, seed, None),),),
            )
        for setting in self._settings():
            for prefix in self._prefixes:
                yield self._row(setting, prefix)

    @cached_property
    def _prefixes(self) -> list[tuple[str, ...]]:
        """All that is met in any order up to some stage, each once, short ones first."""
        found = {
            order[:length]: None
            for order in self.options.order_list
            for length in range(1, len(order) + 1)
        }
        return sorted(found, key=len)

    def _settings(self) -> Iterator[_Setting]:
        options = self.options
        axes = options.lambdas, options.data_seeds, options.num_images, options.budgets
        for name in options.methods:
            strategy = STRATEGIES[name]
            one = options.model_copy(update={"methods": (strategy.method,)})
            memories: list[Memory | None] = [None]
            if strategy.rehearses:
                memories = [
                    Memory(buffer=buffer, num_images=count, form=form)
                    for buffer, count, form in itertools.product(
                        options.buffers, options.memory_images, options.memory_forms
                    )
                ]
            for value, seed, count, steps in itertools.product(*axes):
                for point, memory in itertools.product(grid_hyperparameters(one), memories):
                    yield _Setting(value, seed, count, steps, name, point, memory)

    def _row(self, setting: _Setting, prefix: tuple[str, ...]) -> StageRow:
        return StageRow(
            method=setting.name,
            sequence=prefix,
            cell=self._cell(setting, prefix[-1]),
            images_asked=setting.images_asked,
            memory=setting.memory,
            codec=self.base.codecs[setting.rd_lambda].name,
            source_domain=self.base.source_domain.name,
            banks=tuple(self._bank(setting, prefix[:n]) for n in range(len(prefix) + 1)),
        )

    def _bank(self, setting: _Setting, met: tuple[str, ...]) -> tuple[Archive, ...]:
        """What codes once some domains were met."""
        place = setting.rd_lambda, setting.data_seed
        if not met:
            return (self._archive(*place, None),)
        if setting.strategy.kind == "bank":
            adapted = [self._archive(*place, self._first(setting, name)) for name in met]
            return (self._archive(*place, None), *adapted)
        if setting.strategy.kind == "grown":
            grown = [self._chain(setting, met[:n]) for n in range(1, len(met) + 1)]
            return (self._archive(*place, None), *(self._archive(*place, g) for g in grown))
        return (self._archive(*place, self._trained(setting, met)),)

    def _trained(self, setting: _Setting, met: tuple[str, ...]) -> Stage | Merged:
        """The one codec that there is once some domains were met."""
        match setting.strategy.kind:
            case "joint":
                return self._joint(setting, met)
            case "merged":
                parts = tuple(self._first(setting, name) for name in sorted(met))
                return Merged(parts=parts, weights=setting.strategy.weights)
            case _:
                return self._chain(setting, met)

    def _first(self, setting: _Setting, name: str) -> Stage:
        """A training on one domain, from the source codec."""
        return self._chain(setting, (name,))

    def _chain(self, setting: _Setting, met: tuple[str, ...]) -> Stage:
        """A training that goes on from what was met before."""
        if (setting, met) not in self._stages:
            before = self._chain(setting, met[:-1]) if len(met) > 1 else None
            self._stages[setting, met] = Stage(
                cell=self._cell(setting, met[-1]),
                before=before,
                memory=setting.memory,
                # At the first stage both are one codec.
                anchor=setting.strategy.anchor if before else "before",
            )
        return self._stages[setting, met]

    def _joint(self, setting: _Setting, met: tuple[str, ...]) -> Stage:
        """A training on all at once, for as many steps as their stages have together."""
        names = sorted(met)
        cell = self._cell(setting, names[-1])
        steps = cell.loop.num_steps * len(names)
        cell = cell.model_copy(update={"loop": cell.loop.model_copy(update={"num_steps": steps})})
        union = tuple(self._met(setting, name) for name in names)
        return Stage(cell=cell, union=union)

    def _met(self, setting: _Setting, name: str) -> MetDomain:
        cell = self._cell(setting, name)
        return MetDomain(
            domain=name, domain_hash=cell.identity.domain_hash, num_images=cell.block.num_images
        )

    def _cell(self, setting: _Setting, name: str) -> Cell:
        """How a domain would be adapted to by itself."""
        place = name, setting.rd_lambda, setting.data_seed
        block = self._blocks[setting.images_asked][place]
        return self.base.cell(block, setting.hyperparameters, setting.num_steps)

    @cached_property
    def _blocks(self) -> Mapping[str, Mapping[tuple[str, float, int], Block]]:
        """Blocks by the images asked for, then by domain, lambda and data seed."""
        found = {}
        for asked in self.options.num_images:
            one = self.options.model_copy(update={"num_images": (asked,)})
            blocks = blocks_of(one, self.base.domains, self.base.source_domain)
            found[asked] = {(b.domain, b.rd_lambda, b.data_seed): b for b in blocks}
        return found

    def _archive(self, value: float, seed: int, trained: Trained | None) -> Archive:
        key = value, seed, trained.key if trained else None
        if key not in self._archives:
            self._archives[key] = Archive(
                trained=trained,
                codec_hash=self._codec_hashes[value],
                rd_lambda=value,
                tested=self._tested,
                data_seed=seed,
                code=self.base.code,
                versions=library_versions(GATE_LIBRARIES),
            )
        return self._archives[key]

    @cached_property
    def _codec_hashes(self) -> Mapping[float, str]:
        codecs: Mapping[float, Codec] = self.base.codecs
        return {value: codec.weights_hash for value, codec in codecs.items()}

    @cached_property
    def _tested(self) -> tuple[Tested, ...]:
        """The source domain, then the others by name: the order of `--domains` decides nothing."""

        def tested(domain: Domain, limit: int, *, source: bool = False) -> Tested:
            return Tested(
                domain=domain.name, domain_hash=domain.fingerprint, num_images=limit, source=source
            )

        options = self.options
        targets = sorted(self.base.domains.items())
        return (
            tested(self.base.source_domain, options.max_source_images, source=True),
            *(tested(domain, options.max_target_images) for _, domain in targets),
        )
