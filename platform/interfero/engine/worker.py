"""What a training loop sees of the machine it runs on. Loops take a `Worker` and never import Ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch

from interfero.records import CellRecord

if TYPE_CHECKING:
    from interfero.engine.packs import Pack

Metrics = Mapping[str, float]


class Leaving(BaseException):
    """The machine is being taken away: states are written, and the pack goes on elsewhere.

    No `Exception`: it is no failure, and nothing on its way may make a failed record of it.
    """


class Worker(Protocol):
    """One process of a training run."""

    @property
    def device(self) -> torch.device:
        """Where tensors of the loop live."""

    @property
    def rank(self) -> int:
        """Index of this process, 0 to `world_size - 1`."""

    @property
    def world_size(self) -> int:
        """Processes that share one global batch."""

    @property
    def folder(self) -> Path:
        """Where this run keeps its checkpoint and what it makes; survives the process."""

    @property
    def rungs(self) -> Sequence[int]:
        """Steps after which the loop reports validation and asks whether it should stop."""

    @property
    def leaving(self) -> bool:
        """Whether a machine is being taken away: the loop writes states after its step, and ends."""

    def report(self, name: str, step: int, metrics: Metrics) -> None:
        """Publish one point of the learning curve called `name`."""

    def should_stop(self) -> bool:
        """Whether the loop is asked to write a checkpoint and return."""


@dataclass
class LocalWorker:
    """A worker in this process: for training by hand and for tests."""

    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    world_size: int = 1
    rungs: Sequence[int] = ()
    on_report: Callable[[str, int, Metrics], None] | None = None
    stop_after: int | None = None
    """Ask the loop to stop after this many reports; None never does."""
    leaving: bool = False
    curve: list[tuple[str, int, dict[str, float]]] = field(default_factory=list)

    def report(self, name: str, step: int, metrics: Metrics) -> None:
        """Keep the point and hand it to `on_report`."""
        self.curve.append((name, step, dict(metrics)))
        if self.on_report is not None:
            self.on_report(name, step, metrics)

    def should_stop(self) -> bool:
        """True once `stop_after` points were reported."""
        return self.stop_after is not None and len(self.curve) >= self.stop_after


@dataclass
class TrialWorker:
    """The worker of a pack that trains inside one of Ray's processes."""

    folder: Path
    device: torch.device
    rank: int = 0
    world_size: int = 1
    rungs: Sequence[int] = ()
    notice: Callable[[], bool] | None = None
    """Says whether a machine of the pack's is being taken away; of a group, the first process asks."""

    @property
    def leaving(self) -> bool:
        """See `Worker`."""
        return self.notice is not None and self.notice()

    def report(self, name: str, step: int, metrics: Metrics) -> None:
        """Curves travel with the record."""

    def should_stop(self) -> bool:
        """Packs are never stopped early."""
        return False


class PackRunner(Protocol):
    """What a trainable gives the engine: does a pack, one record a node."""

    def __call__(self, pack: Pack, worker: Worker) -> Iterator[CellRecord]:
        """One record a node, in the order of the pack."""


@runtime_checkable
class Shippable(Protocol):
    """A `PackRunner` that would take its data along, and can leave them in the storage instead."""

    def shipped(self, storage: Path) -> PackRunner:
        """The same runner for a cluster: each node fetches what it needs from the storage, once."""
