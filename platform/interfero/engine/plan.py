"""What every plan is to the engine: cells, the nodes behind them, and packs of those that are ready."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass

from interfero.engine.node import Node
from interfero.engine.options.base import SweepOptions
from interfero.engine.packs import Pack


@dataclass(frozen=True)
class Plan(ABC):
    """A sweep, resolved: nothing is left to decide but what a sampler may choose."""

    options: SweepOptions

    @property
    @abstractmethod
    def leaves(self) -> Sequence[Node]:
        """The cells; none where a sampler chooses."""

    @property
    @abstractmethod
    def num_cells(self) -> int:
        """Cells of the grid, or those a sampler may ask for."""

    @property
    @abstractmethod
    def content(self) -> dict[str, str]:
        """What else than options a resumption must not change: hashes, versions, resolved settings."""

    @property
    @abstractmethod
    def code(self) -> str:
        """Hash of the code behind it, as settings keep it."""

    @abstractmethod
    def needs(self, node: Node) -> tuple[Node, ...]:
        """What has to be done before a node."""

    @abstractmethod
    def packs(
        self, cells: Sequence[Node], done: Set[str] = frozenset(), at_once: int | None = None
    ) -> list[Pack]:
        """Cells that are left and what they still need, grouped for trials.

        Args:
            cells: What is to be done.
            done: Keys of other nodes that are done.
            at_once: Packs at once; as many as this machine has room for by default.
        """

    def check(self) -> None:  # noqa: B027 - most plans have nothing to refuse here
        """Refuse what cannot run on this machine, past what options alone tell.

        Raises:
            ConfigError: names the value, the rule and the remedy.
        """

    def behind(self, cells: Iterable[Node], done: Set[str] = frozenset()) -> dict[str, Node]:
        """Every node that some cells need, by key, what is needed first; nothing behind what is done."""
        found: dict[str, Node] = {}
        for cell in cells:
            for node in self._behind(cell, done, found):
                found[node.key] = node
        return found

    def _behind(self, node: Node, done: Set[str], found: dict[str, Node]) -> Iterator[Node]:
        for needed in self.needs(node):
            if needed.key not in done and needed.key not in found:
                yield from self._behind(needed, done, found)
                yield needed
