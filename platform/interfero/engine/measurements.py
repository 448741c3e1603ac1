"""What a storage knows about the time that cells take: its records, and what was timed on purpose.

STORAGE/timings.json    steps timed by --calibrate, and what sweeps took to start, by machine
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from pydantic import ValidationError

from interfero.engine.adaptation.cost import START_UP_S
from interfero.errors import StorageError
from interfero.records import Timing
from interfero.store.files import read_json, write_json
from interfero.store.locks import locked

FILE = "timings.json"
MAX_RECORDS = 1000
"""The newest records that are read: more say nothing new, and take seconds."""
MAX_KEPT = 500
MAX_STARTS = 20


@dataclass(frozen=True)
class Measurements:
    """Times of cells, of any sweep of a storage."""

    timings: tuple[Timing, ...] = ()
    evaluated: frozenset[tuple[str, float, str]] = frozenset()
    """(codec, lambda, domain) whose source codec results are kept already."""
    start_up_seconds: float = START_UP_S
    """Until the first pack trains."""


def read_measurements(storage: Path, machine: str) -> Measurements:
    """All that a storage knows; nothing where it does not exist. Damaged files count as not there."""
    timings: dict[str, Timing] = {}
    evaluated = set()
    files = storage.glob("*/cells/*.json") if storage.is_dir() else ()
    newest = sorted(files, key=_modified, reverse=True)[:MAX_RECORDS]
    for path in newest:
        record = json_object(path)
        params, timing = record.get("params", {}), _timing(record.get("timing"))
        if timing is None or record.get("status") != "finished":
            continue
        # A cell that was taken over has a record in each of the sweeps.
        timings[path.stem] = timing
        if {"codec", "rd_lambda", "domain"} <= params.keys():
            evaluated.add((params["codec"], params["rd_lambda"], params["domain"]))
    kept = json_object(storage / FILE)
    timed = [t for t in map(_timing, kept.get("timings", ())) if t is not None]
    starts = kept.get("starts", {}).get(machine, ())
    return Measurements(
        timings=(*timings.values(), *timed),
        evaluated=frozenset(evaluated),
        start_up_seconds=median(starts) if starts else START_UP_S,
    )


def keep_timings(storage: Path, timings: Sequence[Timing]) -> None:
    """Add timings to those that the storage keeps.

    Raises:
        StorageError: the storage cannot be written.
    """
    with changed_json(storage / FILE) as kept:
        every = [*kept.get("timings", ()), *(t.model_dump(mode="json") for t in timings)]
        kept["timings"] = every[-MAX_KEPT:]


def keep_start(storage: Path, machine: str, seconds: float) -> None:
    """Add what a sweep took to start.

    Raises:
        StorageError: the storage cannot be written.
    """
    with changed_json(storage / FILE) as kept:
        starts = kept.setdefault("starts", {})
        starts[machine] = [*starts.get(machine, ()), round(seconds, 2)][-MAX_STARTS:]


@contextmanager
def changed_json(path: Path) -> Iterator[dict[str, Any]]:
    """A file's content, written back whole; one process at a time."""
    with locked(path.with_name(f".{path.name}.lock")):
        kept = json_object(path)
        yield kept
        write_json(path, kept)


def json_object(path: Path) -> dict[str, Any]:
    """A file's content; nothing of one that is damaged or not there."""
    try:
        found = read_json(path)
    except StorageError:
        return {}
    return found if isinstance(found, dict) else {}


def _timing(value: Any) -> Timing | None:
    try:
        return Timing.model_validate(value)
    except ValidationError:
        return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0  # Gone meanwhile.
