"""What a storage and this node's cache hold, how much of the disk it takes, and who needs it.

A sweep needs its records and files, the products behind its cells, and, until it has ended, what would
have to be made again to go on: shared trainings, checkpoints, products, evaluations. Only a sweep that
runs needs files shipped to its nodes, and decoded images.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.store.content import FOLDER as CONTENT
from interfero.store.content import cache_root
from interfero.store.headers import read_metadata
from interfero.store.keyed import KeyedStore
from interfero.store.products import FOLDER as PRODUCTS
from interfero.store.products import SETTINGS, Products, is_product_key
from interfero.store.reported import is_reported
from interfero.store.sweep import SHARED_LEASE, TRAINED, SweepStore

EVALUATIONS = "evaluations"
CHECKPOINTS = "checkpoints"
KINDS = ("sweep", "training", "checkpoint", "product", "setting", "evaluation", "content", "pixels",
         "copy", "codec", "rate")  # fmt: skip
"""`content` is shipped to nodes; `pixels`, `copy`, `codec` and `rate` lie in this node's cache."""
SHARED = (PRODUCTS, EVALUATIONS, CONTENT)
"""Folders of a storage that are no sweep's own."""
CACHED = {"pixels": "domains", "copy": CONTENT, "codec": "compressai", "rate": "rates"}
"""Folders of the cache, by kind."""
RECENT_S = 24 * 3600.0
"""What of the cache was used so lately may be in use: a cache has no lease."""


@dataclass(frozen=True)
class Kept:
    """One entry."""

    kind: str
    path: Path
    sweep: str = ""
    """That it belongs to; empty where sweeps share it."""
    needed_by: tuple[str, ...] = ()
    """Who would miss it."""
    in_use: bool = False
    """Whether a running sweep uses it."""
    left_out: tuple[str, ...] = field(default=(), repr=False)
    """Names in its folder that are entries of their own."""

    @cached_property
    def num_bytes(self) -> int:
        """Bytes of all its files; a file with several names counts in each."""
        return sum(size for size, _ in self._files())

    @cached_property
    def modified(self) -> float:
        """Unix time of its newest file, in seconds."""
        return max((when for _, when in self._files()), default=0.0)

    def _files(self) -> Iterator[tuple[int, float]]:
        paths = [self.path]
        if self.path.is_dir():
            paths = [
                p for p in self.path.rglob("*")
                if p.relative_to(self.path).parts[0] not in self.left_out
            ]  # fmt: skip
        for path in paths:
            if path.name.startswith(SHARED_LEASE):
                continue  # Of whoever looks.
            try:
                status = path.lstat()
            except OSError:
                continue  # Gone meanwhile.
            if not path.is_dir():
                yield status.st_size, status.st_mtime


@dataclass(frozen=True)
class SweepState:
    """A sweep as far as others depend on it."""

    store: SweepStore
    running: bool

    @property
    def name(self) -> str:
        """Its name."""
        return self.store.name

    @cached_property
    def reported(self) -> bool:
        """Whether its report is of the records that are there."""
        return is_reported(self.store.folder)

    @cached_property
    def ended(self) -> bool:
        """Whether it is reported, no cell failed, and no checkpoint is left."""
        states = self.store.folder / CHECKPOINTS
        return (
            self.reported
            and not (states.is_dir() and any(states.iterdir()))
            and not self.running
            and all(record.status != "failed" for record in self._records)
        )

    @cached_property
    def _records(self) -> tuple[CellRecord, ...]:
        return tuple(self.store.records().values())

    @cached_property
    def products(self) -> frozenset[str]:
        """Keys of the steps behind its cells, as far as cells have ended."""
        return frozenset(
            key
            for record in self._records
            for text in record.provenance.values()
            for key in text.split(" ")
            if is_product_key(key)
        )

    @cached_property
    def content(self) -> str:
        """Hashes of codecs and domains that it was started with, in one text."""
        try:
            return json.dumps(self.store.settings().get("content", {}))
        except (StorageError, AttributeError):
            return ""


def sweeps_of(storage: Path) -> list[SweepStore]:
    """The sweeps of a storage, by name."""
    names = sorted(p.parent.name for p in storage.glob("*/sweep.json"))
    return [SweepStore(storage, name) for name in names]


def is_storage(folder: Path) -> bool:
    """Whether a folder keeps a sweep, or what sweeps shared."""
    return bool(sweeps_of(folder)) or any((folder / name).is_dir() for name in SHARED)


def take_stock(storage: Path, states: list[SweepState]) -> list[Kept]:
    """Everything that a storage and this node's cache hold."""
    running = any(state.running for state in states)
    found = [entry for state in states for entry in _of_sweep(state)]
    found += _products(storage, states, running)
    found += _evaluations(storage, states, running)
    folder = storage / CONTENT
    for key in KeyedStore(folder).list_keys():
        found.append(Kept("content", folder / key, in_use=running))
    return found + list(_cache(running))


def _of_sweep(state: SweepState) -> Iterator[Kept]:
    folder, name = state.store.folder, state.name
    shared = (TRAINED, CHECKPOINTS)
    yield Kept("sweep", folder, name, (name,), state.running, shared)
    needed = () if state.ended else (name,)
    for kind, part in (("training", TRAINED), ("checkpoint", CHECKPOINTS)):
        entries = KeyedStore(folder / part, ".safetensors")
        for key in entries.list_keys():
            yield Kept(kind, entries.path(key), name, needed, state.running)


def _products(storage: Path, states: list[SweepState], running: bool) -> Iterator[Kept]:
    """A sweep that goes on may need any: what its next cells name is not known here."""
    products = Products(storage)
    going_on = tuple(s.name for s in states if not s.ended)
    for key in products.list_keys():
        needed = tuple(s.name for s in states if key in s.products)
        everyone = tuple(dict.fromkeys([*needed, *going_on]))
        yield Kept("product", products.place(key), needed_by=everyone, in_use=running)
    users = tuple(s.name for s in states if s.products or not s.ended)
    settings = KeyedStore(storage / PRODUCTS / SETTINGS, ".json")
    for key in settings.list_keys():
        yield Kept("setting", settings.path(key), needed_by=users, in_use=running)


def _evaluations(storage: Path, states: list[SweepState], running: bool) -> Iterator[Kept]:
    """Needed by sweeps that go on with their codec; whose codec is not known is needed by all of them."""
    entries = KeyedStore(storage / EVALUATIONS, ".safetensors", spread=True)
    going_on = [s for s in states if not s.ended]
    for key in entries.list_keys():
        path = entries.path(key)
        codec = _codec_hash(path) if going_on else ""
        needed = tuple(s.name for s in going_on if not codec or codec in s.content)
        yield Kept("evaluation", path, needed_by=needed, in_use=running)


def _cache(running: bool) -> Iterator[Kept]:
    for kind, name in CACHED.items():
        entries = KeyedStore(cache_root() / name, ".safetensors" if kind == "codec" else "")
        for key in entries.list_keys():
            entry = Kept(kind, entries.path(key), in_use=running)
            if time.time() - entry.modified < RECENT_S:
                entry = Kept(kind, entry.path, needed_by=("a use within a day",), in_use=running)
            yield entry


def _codec_hash(path: Path) -> str:
    """Hash of the source codec's weights that an evaluation names; empty where it is another's."""
    words = str(read_metadata(path).get("codec", "")).split(" ")
    return words[1] if words[0] == "source" and len(words) > 1 else ""
