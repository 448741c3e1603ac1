"""What one trial of Tune does, whatever the sweep: cells that train together, or a job of a graph."""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import Any

from pydantic import TypeAdapter

from interfero.engine.cells import Cell, Pack
from interfero.engine.learning.jobs import Job, JobPack

AnyPack = Pack | JobPack

_ANY_PACK: TypeAdapter[AnyPack] = TypeAdapter(AnyPack)


def read_pack(value: Any) -> AnyPack:
    """A pack from what `model_dump` made of it."""
    return _ANY_PACK.validate_python(value)


def without(pack: AnyPack, done: Set[str]) -> AnyPack | None:
    """What is left of a pack, if anything is."""
    if isinstance(pack, Pack):
        cells = tuple(cell for cell in pack.cells if cell.key not in done)
        return Pack(cells=cells) if cells else None
    jobs = tuple(job for job in pack.cells if job.key not in done)
    return JobPack(cells=jobs) if jobs else None


def members(pack: AnyPack) -> Iterator[Cell | Job]:
    """Its cells or jobs: each has a key and params."""
    yield from pack.cells
