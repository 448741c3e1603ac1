"""The plan of a restoration sweep: its cells, and every node that they need."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

from interfero.codecs.lossy import LossyCodec, LossyLearned, find_lossy
from interfero.domains.labelled import LabelledDomain
from interfero.domains.labelled_catalogue import load_labelled
from interfero.domains.memory import GIB, MemoryBudget
from interfero.domains.views import VIEWS
from interfero.engine.code import MODEL_LIBRARIES, library_versions
from interfero.engine.node import Node
from interfero.engine.options.restoration import OWN, RestorationOptions
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.restoration.cells import CellMaker, StepCode
from interfero.engine.restoration.nodes import TestCell, needs_of
from interfero.engine.restoration.training_configs import check_task_codecs, segmentation_config
from interfero.errors import ConfigError

_ORDER = ("compress", "restoration", "restore", "segmentation", "finetune", "adapt", "test")
"""Long chains first: a restorer is waited for by more than a model is."""


@dataclass(frozen=True)
class RestorationPlan(Plan):
    """A sweep about learning from compressed and restored images, resolved."""

    options: RestorationOptions
    domains: dict[str, LabelledDomain]
    codecs: dict[str, LossyCodec]
    """As `--codecs` and `--restorer-codecs` name them."""
    cells: tuple[TestCell, ...]
    step_code: StepCode

    @property
    def leaves(self) -> Sequence[TestCell]:
        """See `Plan`."""
        return self.cells

    @property
    def num_cells(self) -> int:
        """See `Plan`."""
        return len(self.cells)

    @property
    def code(self) -> str:
        """See `Plan`."""
        return self.step_code.text

    @property
    def content(self) -> dict[str, str]:
        """See `Plan`."""
        return {
            **{f"codec {c.name}": c.identity for c in self.codecs.values()},
            **{f"domain {n}": d.fingerprint for n, d in self.domains.items()},
            **{f"version of {n}": v for n, v in library_versions(MODEL_LIBRARIES).items()},
        }

    def needs(self, node: Node) -> tuple[Node, ...]:
        """See `Plan`."""
        return needs_of(node)

    def packs(
        self, cells: Sequence[Node], done: Set[str] = frozenset(), at_once: int | None = None
    ) -> list[Pack]:
        """See `Plan`: a node each, and the cells that test one model together; long chains first."""
        tests: dict[str, list[TestCell]] = {}
        for cell in cells:
            assert isinstance(cell, TestCell)
            tests.setdefault(cell.segmenter.key, []).append(cell)
        groups: list[tuple[Node, ...]] = [(node,) for node in self.behind(cells, done).values()]
        groups += [tuple(members) for members in tests.values()]
        packs = [
            Pack.of(nodes, {need.key for node in nodes for need in self.needs(node)} - done)
            for nodes in groups
        ]
        return sorted(packs, key=lambda p: _ORDER.index(p.nodes[0].kind))


def make_plan(options: RestorationOptions, code: StepCode) -> RestorationPlan:
    """Check everything that can be checked before training, and list the cells.

    Raises:
        ConfigError, DomainError, CodecError: names the value, the rule and the remedy.
    """
    options.check()
    check_task_codecs(options)
    segmentation = segmentation_config(options)
    asked = dict.fromkeys((*options.codecs, *options.restorer_codecs))
    codecs = {name: find_lossy(name) for name in asked if name != OWN}
    if "OT" in options.configurations:
        # A restorer may still learn from a classical codec's images.
        for name in options.codecs:
            if not isinstance(codecs[name], LossyLearned):
                raise ConfigError(
                    f"--configurations OT adapts a codec by training, and {name} has nothing that learns: "
                    "name learned --codecs, or leave OT out"
                )
    names = [codec.name for codec in codecs.values()]
    if len(set(names)) < len(names):
        where = "--codecs" if len(codecs) == len(options.codecs) else "--codecs, --restorer-codecs"
        raise ConfigError(f"{where} names one codec twice: {', '.join(codecs)}")
    given = options.max_domain_memory
    budget = MemoryBudget(None if given is None else int(given * GIB))
    domains: dict[str, LabelledDomain] = {}
    for spec in options.domains:
        domain = load_labelled(
            spec, max_images=options.max_images, max_side=options.max_side, budget=budget
        )
        for view in (VIEWS[task](domain) for task in options.tasks):
            if view.name in domains:
                raise ConfigError(f"--domains names one domain twice: {', '.join(options.domains)}")
            domains[view.name] = view
    maker = CellMaker(options, segmentation, codecs, code)
    cells: dict[str, TestCell] = {}
    for domain in domains.values():
        for cell in maker.cells(domain):
            cells.setdefault(cell.key, cell)
    return RestorationPlan(options, domains, codecs, tuple(cells.values()), code)
