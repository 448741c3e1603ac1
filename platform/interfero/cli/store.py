"""`interfero store`: list, verify and prune what is kept on disk."""

from __future__ import annotations

import re
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from interfero.cli.options import run_group
from interfero.engine.options.rules import storage_of
from interfero.errors import ConfigError
from interfero.option_help import Said
from interfero.store.content import CACHE_VARIABLE, cache_root
from interfero.store.inventory import CACHED, KINDS, Kept, SweepState, sweeps_of, take_stock
from interfero.store.pruning import Wish, held_sweeps, prune
from interfero.store.verifying import Check, damaged

_BYTES = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12,
          "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}  # fmt: skip
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}


def store() -> None:
    """List, verify or prune what a storage keeps (see `interfero store --help`)."""
    # Here only for the list of commands; `main` passes its arguments to `run_store`.


def list_command(storage: str = "interfero-storage") -> None:
    """List what is kept, by kind and sweep: entries, size, age, and how much can be pruned.

    This node's cache, which sweeps of any storage use, is listed apart.

    Args:
        storage: Folder of sweeps, a path or file:///PATH, as `--storage` of a sweep.
    """
    folder = _folder(storage)
    states = [SweepState(store, store.is_running) for store in sweeps_of(folder)]
    groups: dict[tuple[str, str], list[Kept]] = defaultdict(list)
    for entry in take_stock(folder, states):
        groups[entry.sweep, entry.kind].append(entry)
    name = Column("sweep", overflow="fold")
    table = Table(name, "kind", "entries", "size", "free to prune", "oldest", "newest", "state")
    by_name = {state.name: state for state in states}
    for (sweep, kind), entries in sorted(
        groups.items(), key=lambda g: (g[0][0], KINDS.index(g[0][1]))
    ):
        free = [e for e in entries if not e.needed_by and not e.in_use]
        state = by_name.get(sweep)
        table.add_row(
            sweep or ("(cache)" if kind in CACHED else "(shared)"),
            kind,
            str(len(entries)),
            _size(sum(e.num_bytes for e in entries)),
            _size(sum(e.num_bytes for e in free)),
            _age(min(e.modified for e in entries)),
            _age(max(e.modified for e in entries)),
            "" if state is None else _state(state),
        )
    console = Console()
    console.print(table)
    for line in _totals(folder, [e for kept in groups.values() for e in kept]):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _totals(storage: Path, kept: Sequence[Kept]) -> tuple[str, str]:
    """Bytes of the storage, and of the cache, which is another folder."""
    cached = sum(entry.num_bytes for entry in kept if entry.kind in CACHED)
    whole = sum(entry.num_bytes for entry in kept)
    return (
        f"storage {storage}: {_size(whole - cached)}",
        f"cache {cache_root()}: {_size(cached)} ({CACHE_VARIABLE}; of this node, for any storage)",
    )


def verify_command(storage: str = "interfero-storage", kind: Said[tuple[str, ...]] = ()) -> None:
    """Read and hash what is kept; prints what is damaged, and exits with 1 if anything is.

    Args:
        storage: Folder of sweeps, a path or file:///PATH, as `--storage` of a sweep.
        kind: Check only these kinds; all by default.
    """
    _check_kinds(kind)
    folder = _folder(storage)
    states = [SweepState(store, store.is_running) for store in sweeps_of(folder)]
    kept = [e for e in take_stock(folder, states) if not kind or e.kind in kind]
    bad = 0
    for path, what in damaged(kept, _format_checks()):
        bad += 1
        sys.stdout.write(f"damaged: {path}: {what}\n")
    sys.stdout.write(f"{len(kept)} entries read, {bad} damaged\n")
    if bad:
        sys.exit(1)


def prune_command(
    storage: str = "interfero-storage",
    older_than: str = "0s",
    max_size: Said[str | None] = None,
    sweep: Said[str | None] = None,
    kind: Said[tuple[str, ...]] = (),
    dry_run: bool = False,
    force: bool = False,
) -> None:
    """Remove what no sweep needs, oldest first, and half-written files of processes that died.

    Args:
        storage: Folder of sweeps, a path or file:///PATH, as `--storage` of a sweep.
        older_than: Remove only what has not changed for this long: 12h, 30d, 4w.
        max_size: Stop when the rest of these kinds takes no more than this: 500MB, 20GiB. No limit by
            default.
        sweep: Remove only what belongs to this sweep, and products that no other sweep needs; by
            default any sweep counts.
        kind: Remove only these kinds; all by default.
        dry_run: Print what would be removed; remove nothing.
        force: Also remove what sweeps need, including results; never what a running sweep uses.
    """
    wish = Wish(
        kinds=kind,
        sweep=sweep,
        older_than_s=_amount(older_than, _SECONDS, "--older-than", "12h, 30d or 4w"),
        max_bytes=None if max_size is None
        else int(_amount(max_size.upper(), _BYTES, "--max-size", "500MB or 20GiB")),
        force=force,
    )  # fmt: skip
    gone = prune(_folder(storage), wish, dry_run=dry_run)
    for entry in gone:
        sys.stdout.write(f"{entry.kind} {entry.path} ({_size(entry.num_bytes)})\n")
    verb = "would be removed" if dry_run else "removed"
    sys.stdout.write(f"{len(gone)} entries, {_size(sum(e.num_bytes for e in gone))} {verb}\n")


def run_store(arguments: Sequence[str]) -> None:
    """Run `interfero store ...`; exits with 2 on a user's error."""
    commands = {"list": list_command, "verify": verify_command, "prune": prune_command}
    run_group("store", commands, arguments, "List, verify and prune what is kept on disk.")


def _format_checks() -> dict[str, Check]:
    """Checks of files that codecs and domains know; torch takes seconds to import."""
    from interfero.codecs.checkpoint import read_codec
    from interfero.codecs.evaluation_store import read_entry
    from interfero.domains.pixel_files import check_decoded
    from interfero.engine.checkpoints import check_state

    return {
        "evaluation": read_entry,
        "pixels": check_decoded,
        "codec": lambda path: read_codec(path, path.stem),
        "checkpoint": check_state,
    }


def _folder(storage: str) -> Path:
    folder = storage_of(storage)
    with held_sweeps(folder):
        return folder.resolve()


def _check_kinds(kinds: tuple[str, ...]) -> None:
    Wish(kinds=kinds).check(())


def _amount(text: str, units: dict[str, float], option: str, examples: str) -> float:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", text.strip())
    if match is None or match.group(2) not in units:
        raise ConfigError(f"{option} {text!r} is not an amount with a unit: use {examples}")
    return float(match.group(1)) * units[match.group(2)]


def _size(num_bytes: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if num_bytes < 1024:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1024
    return f"{num_bytes:.3g} TiB"


def _age(modified: float) -> str:
    seconds = max(0.0, time.time() - modified)
    unit = "d" if seconds >= 86400 else "h" if seconds >= 3600 else "m"
    return f"{seconds / _SECONDS[unit]:.0f} {unit}"


def _state(state: SweepState) -> str:
    if state.running:
        return f"running (process {state.store.holder()})"
    return "ended" if state.ended else "resumable"
