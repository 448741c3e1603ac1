"""Remove from a storage what is not needed, oldest first."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from interfero.errors import ConfigError, StorageError, nearest
from interfero.store.files import remove_leftovers
from interfero.store.inventory import (
    KINDS,
    SHARED,
    Kept,
    SweepState,
    is_storage,
    sweeps_of,
    take_stock,
)


@dataclass(frozen=True)
class Wish:
    """What may go."""

    kinds: tuple[str, ...] = ()
    """Kinds to remove; any kind if empty."""
    sweep: str | None = None
    """Remove what belongs to this sweep, and products that only it needs."""
    older_than_s: float = 0.0
    """Unchanged for so many seconds."""
    max_bytes: int | None = None
    """Limit for the rest of these kinds; nothing is removed while they take no more."""
    force: bool = False
    """Also what sweeps need that do not run; otherwise what is needed stays."""

    def check(self, states: Sequence[SweepState]) -> None:
        """Refuse kinds and sweeps that there are none of.

        Raises:
            ConfigError: names them.
        """
        for kind in self.kinds:
            if kind not in KINDS:
                raise ConfigError(f"unknown --kind {kind!r}: {nearest(kind, KINDS)}")
        if self.force and self.sweep is None and not self.kinds:
            raise ConfigError(
                "--force would remove every result: name a --sweep or a --kind with it"
            )
        names = [state.name for state in states]
        if self.sweep is not None and self.sweep not in names:
            raise ConfigError(
                f"there is no sweep {self.sweep!r} in this storage; there are: {', '.join(names) or 'none'}"
            )
        for state in states:
            if state.name == self.sweep and state.running:
                raise ConfigError(
                    f"sweep {self.sweep!r} is running ({state.store.holder()}): wait for it "
                    "or stop it"
                )


@contextmanager
def held_sweeps(storage: Path) -> Iterator[list[SweepState]]:
    """The sweeps of a storage, none of which can be started or go on meanwhile; others are `running`.

    Raises:
        StorageError: there is no such folder, or it is no storage.
    """
    if not storage.is_dir():
        raise StorageError(
            f"{storage} is no folder: --storage names the folder that sweeps were kept in"
        )
    if not is_storage(storage):
        inside = (storage / "sweep.json").exists()
        remedy = f"it is one sweep of {storage.resolve().parent}: name that" if inside else (
            "name the folder that sweeps were kept in"
        )  # fmt: skip
        raise StorageError(
            f"--storage {storage} is no storage, it has no sweep (SWEEP/sweep.json) and no folder "
            f"{', '.join(SHARED)}: {remedy}"
        )
    with ExitStack() as stack:
        states = []
        for store in sweeps_of(storage):
            try:
                held = store.claimed()
            except OSError:
                held = None  # What may not be held may be in use.
            if held is not None:
                stack.enter_context(held)
            states.append(SweepState(store, running=held is None))
        yield states


def choose(kept: Sequence[Kept], wish: Wish) -> list[Kept]:
    """What a wish removes of what there is, oldest first; nothing that is in use."""
    asked = [entry for entry in kept if _asked(entry, wish)]
    free = [e for e in asked if not e.in_use and (wish.force or not e.needed_by)]
    old = sorted(
        (e for e in free if time.time() - e.modified >= wish.older_than_s),
        key=lambda e: (e.modified, str(e.path)),
    )
    if wish.max_bytes is None:
        return old
    total, chosen = sum(e.num_bytes for e in asked), []
    for entry in old:
        if total <= wish.max_bytes:
            break
        chosen.append(entry)
        total -= entry.num_bytes
    return chosen


def _asked(entry: Kept, wish: Wish) -> bool:
    if wish.kinds and entry.kind not in wish.kinds:
        return False
    if wish.sweep is None:
        return True
    return entry.sweep == wish.sweep or (
        entry.kind == "product" and set(entry.needed_by) == {wish.sweep}
    )


def prune(storage: Path, wish: Wish, *, dry_run: bool = False) -> list[Kept]:
    """Remove what a wish names, and leftovers of processes that died; returns what went, or would go.

    Raises:
        ConfigError: as `Wish.check`.
        StorageError: there is no such storage, or something cannot be removed; what went before is gone.
    """
    with held_sweeps(storage) as states:
        wish.check(states)
        chosen = choose(take_stock(storage, states), wish)
        # Sizes are asked for later, when the files are gone.
        _ = [(entry.num_bytes, entry.modified) for entry in chosen]
        if not dry_run:
            for entry in chosen:
                _remove(entry.path)
            for state in states:
                if not state.running:
                    for part in ("cells", "adapters", "samples", "trained", "checkpoints"):
                        _clean(state.store.folder / part)
            for folder in ("content", "evaluations/??", "products/*"):
                for place in storage.glob(folder):
                    _clean(place)
    return chosen


def _clean(folder: Path) -> None:
    try:
        remove_leftovers(folder)
    except OSError as error:
        raise StorageError(f"{folder} cannot be cleaned ({error.strerror})") from error


def _remove(path: Path) -> None:
    """Remove an entry under another name: who looks meanwhile finds it whole or not at all."""
    try:
        if not path.is_dir():
            path.unlink(missing_ok=True)
            return
        doomed = path.with_name(f".{path.name}.removed")
        shutil.rmtree(doomed, ignore_errors=True)
        path.replace(doomed)
        shutil.rmtree(doomed)
    except OSError as error:
        raise StorageError(
            f"{path} cannot be removed ({error.strerror}): it may belong to another user"
        ) from error
