"""How every sweep begins once it is planned: its name, its command, its lease and its tracker."""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from interfero.engine.builds import builds_of, with_build
from interfero.engine.ending import INTERRUPTED_WAIT_S, command_line
from interfero.engine.interrupts import heeding, uninterrupted
from interfero.engine.lease_watch import watched
from interfero.engine.options.base import SweepOptions, storage_folder
from interfero.engine.prices import PRICE
from interfero.engine.resources import check_machine
from interfero.errors import StorageError
from interfero.redaction import without_secrets
from interfero.store.files import write_json
from interfero.store.sweep import SweepStore

if TYPE_CHECKING:
    from interfero.tracking.tracker import Tracker

MAX_CELLS_IN_DETAIL = 1000
"""Cells up to which MLflow has the learning curve and the data sets of each: curves of 320 points are half of
what a driver does for a cell, and data sets are one more request. Of more cells it has the final metrics, and
the parent run has the data sets; the parameters of a cell come with its results, one request less."""
PARENT_HAS = f"on the parent run: more than {MAX_CELLS_IN_DETAIL} cells"
"""Where the data sets of a cell of a large sweep are."""
OUTBOX = "outbox.jsonl"
"""File of a sweep in which writes wait for the tracking server."""


def named_store(kind: str, options: SweepOptions) -> SweepStore:
    """The sweep's folder: of its name, or of its kind, the date and the time.

    Names that are taken, or not there, and a machine that is too small answer here, before minutes of
    loading; nothing is written.

    Raises:
        ConfigError: as `SweepStore.check_name` and `check_machine`.
    """
    name = options.name or f"{kind}-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    store = SweepStore(storage_folder(options), name)
    if not options.dry_run:
        store.check_name(resume=options.resume)
        check_machine(options)
    return store


def typed_command(
    kind: str, arguments: Sequence[str] | None, store: SweepStore, options: SweepOptions
) -> str:
    """What to type to start this sweep again, its name included, and no secret."""
    given = sys.argv[1:] if arguments is None else arguments
    script = sys.argv[0] if arguments is None else f"sweeps/{kind.replace('-', '_')}.py"
    return without_secrets(command_line(script, given, store.name, named=options.name is not None))


@contextmanager
def begun(
    store: SweepStore, settings: dict[str, Any], options: SweepOptions, num_cells: int
) -> Iterator[Tracker]:
    """Hold the sweep, check that it may go on, and open its tracking.

    Args:
        store: The sweep's folder.
        settings: What a resumption must not change.
        options: As they were given.
        num_cells: That are planned.

    Raises:
        ConfigError: another driver holds it, or it was started with other settings.
        StorageError: the folder cannot be written.
        KeyboardInterrupt: it was interrupted; no run is left RUNNING.
    """
    tracker: Tracker | None = None
    with store.lease():
        store.check(settings, resume=options.resume)
        try:
            with heeding():
                tracker = _opened(store, settings, options, num_cells)
            with watched(store, tracker.give_way):
                yield tracker
                return
        except KeyboardInterrupt:
            # Not here: while it is handled its frames live on, and with them a write to SQLite.
            pass
        # It came before `ended_well` had the tracker, or when that was done: then no run is RUNNING.
        with uninterrupted():
            gc.collect()
            if tracker is None or tracker.successor is None:
                _end_running(store, settings, "KILLED")
        raise KeyboardInterrupt


def _opened(
    store: SweepStore, settings: dict[str, Any], options: SweepOptions, num_cells: int
) -> Tracker:
    """The sweep's tracker; its settings are written once nothing refuses it any more."""
    # MLflow takes seconds to import: a sweep that is only shown, or refused, is spared it.
    from interfero.tracking.names import COMMAND_TAG, DATASETS_TAG
    from interfero.tracking.provenance import provenance_tags, source_tags
    from interfero.tracking.summary import cut
    from interfero.tracking.tracker import Tracker

    provenance = provenance_tags()
    origin = source_tags(shlex.split(settings["command"])[1], provenance)
    on_cells = {
        **origin,
        **({DATASETS_TAG: PARENT_HAS} if num_cells > MAX_CELLS_IN_DETAIL else {}),
    }
    # As it was begun: a resumption's own options repeat nothing.
    began = store.settings() if store.exists else settings
    tags = {**provenance, **origin, COMMAND_TAG: cut(str(began["command"]))}
    tracker = Tracker.open(
        None, settings["kind"], store.name, tags=tags, on_cells=on_cells,
        params={"num_cells": num_cells, "sampler": options.sampler},
        outbox=store.folder / OUTBOX, params_at_end=num_cells > MAX_CELLS_IN_DETAIL,
    )  # fmt: skip
    try:
        # After the last check: a sweep that could not start has not taken its name.
        store.write_settings(settings)
        _keep_current(store, settings)
    except StorageError:
        _end_running(store, settings, "FAILED")
        raise
    return tracker


def _end_running(
    store: SweepStore, settings: dict[str, Any], status: Literal["FAILED", "KILLED"]
) -> None:
    from interfero.tracking.tracker import Tracker

    Tracker.end_running(
        None, settings["kind"], store.name, status,
        outbox=store.folder / OUTBOX, wait_s=INTERRUPTED_WAIT_S,
    )  # fmt: skip


def _keep_current(store: SweepStore, settings: dict[str, Any]) -> None:
    """Keep what a resumption may change, and what the sweep is asked for later: its price and its build."""
    known = store.settings()
    kept = known
    if settings.get(PRICE) is not None:
        kept = kept | {PRICE: settings[PRICE]}
    kept = with_build(kept, builds_of(settings)[-1])
    if kept != known:
        write_json(store.folder / "sweep.json", kept)
