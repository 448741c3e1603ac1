"""What a kind of sweep adds to the engine: its plan of nodes, what does them, and how it ends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence, Set
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from rich.console import Console

from interfero.engine.adaptation.halving import Halving
from interfero.engine.ending import Ending
from interfero.engine.node import Node
from interfero.engine.options.base import SweepOptions
from interfero.engine.packs import Pack
from interfero.engine.plan import Plan
from interfero.engine.sweep_run import InputsOf, SweepRun
from interfero.engine.worker import PackRunner
from interfero.store.sweep import SweepStore
from interfero.tracking.operations import DatasetUse

if TYPE_CHECKING:
    from interfero.engine.adaptation.search import BlockSearch

OptionsT = TypeVar("OptionsT", bound=SweepOptions)
PlanT = TypeVar("PlanT", bound=Plan)


class Study(ABC, Generic[OptionsT, PlanT]):
    """One kind of sweep."""

    @abstractmethod
    def code(self) -> str:
        """Hash of all code that decides its numbers, as settings keep it."""

    @abstractmethod
    def plan(self, options: OptionsT, code: str, store: SweepStore) -> PlanT:
        """Load what the options name, check it, and list the cells; nothing is trained.

        Raises:
            ConfigError, DomainError, CodecError: names the value, the rule and the remedy.
        """

    @abstractmethod
    def runner(self, plan: PlanT) -> PackRunner:
        """What does the packs; refuses a plan whose models cannot be built."""

    @abstractmethod
    def show(
        self,
        console: Console,
        title: str,
        question: str,
        plan: PlanT,
        store: SweepStore,
        done: Set[str],
    ) -> None:
        """Print the plan; all of it for `--dry-run`. `done` has keys of cells and of other nodes."""

    @abstractmethod
    def end(
        self, question: str, plan: PlanT, run: SweepRun, searches: Sequence[Any], command: str
    ) -> Ending:
        """Write tables, figures and the report."""

    @abstractmethod
    def inputs(self, plan: PlanT, store: SweepStore) -> InputsOf:
        """Finds the data sets that a cell uses, for MLflow."""

    def all_inputs(self, plan: PlanT, inputs: InputsOf) -> list[DatasetUse]:
        """The data sets of the whole sweep, each once."""
        found = {
            (use.name, use.digest): use
            for cell in plan.leaves
            for use in inputs(cell.key, cell.params)
        }
        return list(found.values())

    def prepare(self, plan: PlanT, store: SweepStore, done: Set[str]) -> None:
        """What has to be known before the first pack; may take seconds, and trains nothing that is kept.

        Raises:
            InterferoError: something cannot be run.
        """

    def searches(self, plan: PlanT, store: SweepStore) -> list[BlockSearch]:
        """Searches of a sampler; none where every cell is wanted."""
        return []

    def halving(self, plan: PlanT, store: SweepStore) -> Halving | None:
        """Which cells go on, where only some of the planned ones do."""
        return None

    def packs(
        self,
        plan: PlanT,
        left: Sequence[Node],
        done: Set[str],
        store: SweepStore,
        at_once: int | None = None,
    ) -> list[Pack]:
        """What is to be done, with everything that it needs and that is not done."""
        return plan.packs(left, done, at_once)

    def cells_at_once(self, plan: PlanT, packs_at_once: int) -> int:
        """Cells that a search is asked for together."""
        return 1

    def say_cost(
        self, console: Console, plan: PlanT, packs: Sequence[Pack], store: SweepStore
    ) -> None:
        """Print what the packs will cost, as far as it is known; nothing where it is not."""

    def ended(self, plan: PlanT, run: SweepRun, began: float) -> None:
        """All packs are done; `began` is when Ray was started, Unix time in seconds."""
