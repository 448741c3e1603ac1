"""Several processes that train one pack: which samples each takes, and what they agree on.

The loop asks a `Group`, which is silent where there is one process. It speaks through torch's process
group, which whoever starts the processes has opened (gloo on a CPU, nccl on GPUs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from interfero.engine.worker import Worker
from interfero.errors import ConfigError, GroupError, InterferoError

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """The samples of the global batch that one process takes."""

    size: int
    """Samples."""
    first_index: int = 0
    """Index of the first one in the global batch."""
    skip: int = 0
    """Samples of other processes between the first half of these and the second."""

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """(first index, samples) of each unbroken run of indices."""
        if not self.skip:
            return ((self.first_index, self.size),)
        middle = self.size // 2
        second = self.first_index + middle + self.skip
        return ((self.first_index, middle), (second, self.size - middle))


def share_of(batch_size: int, rank: int, world_size: int, *, halves: bool) -> Share:
    """Part of a global batch: samples `[rank * size, (rank + 1) * size)`.

    Args:
        batch_size: Of the global batch.
        rank: Of the process.
        world_size: Processes.
        halves: Whether the first half of the global batch is trained on otherwise than the second (on
            another domain): then the part is made of an equal part of each half.

    Raises:
        ConfigError: the batch, or its halves, cannot be parted equally.
    """
    if world_size == 1:
        return Share(batch_size)
    parts = 2 * world_size if halves else world_size
    if batch_size % parts:
        raise ConfigError(
            f"a batch of {batch_size} crops cannot be parted into {parts} equal parts"
        )
    size = batch_size // world_size
    if not halves:
        return Share(size, rank * size)
    return Share(size, rank * size // 2, (batch_size - size) // 2)


class Group:
    """The processes that train one pack, as one of them sees them."""

    def __init__(self, worker: Worker) -> None:
        """The group of a worker; torch's process group is open if it has more than one process."""
        self.rank = worker.rank
        self.world_size = worker.world_size
        self._device = worker.device

    @property
    def alone(self) -> bool:
        """Whether there is one process, and nothing to agree on."""
        return self.world_size == 1

    @property
    def survivable(self) -> tuple[type[Exception], ...]:
        """What a training may raise without ending the process.

        In a group, what only one process knows of must end it: the others wait for it. The group then
        starts again from the last checkpoint.
        """
        return (InterferoError, RuntimeError) if self.alone else (GroupError,)

    def share(self, batch_size: int, *, halves: bool) -> Share:
        """This process's part of a batch (see `share_of`)."""
        return share_of(batch_size, self.rank, self.world_size, halves=halves)

    def wrap(self, module: nn.Module) -> nn.Module:
        """A module that gives every process the mean gradient of all, and the first one's parameters.

        Parameters without a gradient are looked for in every pass: quantiles never have one here. It also
        keeps the order in which gradients are summed: without it, DDP packs them anew after its first
        step, and a training that goes on from a checkpoint would differ in its last bits.
        """
        if self.alone:
            return module
        return DistributedDataParallel(module, broadcast_buffers=False, find_unused_parameters=True)

    def mean(self, values: Tensor) -> Tensor:
        """Mean over the processes; NaN if it is NaN in one of them."""
        if self.alone:
            return values
        total = values.detach() / self.world_size
        dist.all_reduce(total)
        return total

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Give every process the mean gradient of all; for modules that are not wrapped."""
        if self.alone:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients]) / self.world_size
        dist.all_reduce(flat)
        start = 0
        for gradient in gradients:
            gradient.copy_(flat[start : start + gradient.numel()].view_as(gradient))
            start += gradient.numel()

    def from_first(self, value: Callable[[], T]) -> T:
        """What the first process finds; the others do not look."""
        if self.alone:
            return value()
        found = [value() if self.rank == 0 else None]
        dist.broadcast_object_list(found, src=0)
        return found[0]  # type: ignore[return-value]

    @contextmanager
    def together(self) -> Iterator[None]:
        """A part that succeeds in all processes or in none.

        Raises:
            GroupError: it failed in one of them; the message says where and how. A process that is
                alone gets its own error.
        """
        if self.alone:
            yield
            return
        failure = ""
        try:
            yield
        except (InterferoError, RuntimeError) as error:
            failure = f"{type(error).__name__} in worker {self.rank}: {error}"
        failed = torch.tensor(float(bool(failure)), device=self._device)
        dist.all_reduce(failed)
        if failed.item():
            texts = [""] * self.world_size
            dist.all_gather_object(texts, failure)
            raise GroupError(next(text for text in texts if text))
