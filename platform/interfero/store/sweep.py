"""The folder of a sweep: records, adapters, figures, the lease and the settings it was started with.

STORAGE/NAME/sweep.json        settings, kind and the hash of the training code
STORAGE/NAME/cells/KEY.json    one record a cell, written whole when it is finished
STORAGE/NAME/reported          hash of the records that the report was written from
STORAGE/NAME/adapters/KEY.safetensors, samples/KEY.png
STORAGE/NAME/trained/         trainings that several blocks share
STORAGE/NAME/checkpoints/      states of cells in training, gone when they end
STORAGE/NAME/search.db         the Optuna study of a sampler
STORAGE/NAME/stop/KEY          asks the worker that trains a cell to stop it early
STORAGE/NAME/lease             locked by the driver, whose process and machine it names
STORAGE/NAME/lease.shared      the driver's lease where locks do not reach other machines
"""

from __future__ import annotations

import logging
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Set
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from interfero.errors import ConfigError, StorageError
from interfero.records import CellRecord
from interfero.store.files import (
    first_remedy,
    inside,
    patience,
    read_json,
    write_atomic,
    write_json,
)
from interfero.store.locks import LEASE_S, acquired, leased, untouched_s
from interfero.store.products import Products, is_product_key, read_record
from interfero.store.reported import noting_report

ASKED_FOR = 8
"""Keys up to which other sweeps are asked for each, and not listed."""
MIN_FREE_BYTES = 200 * 1024**2
SHARED_LEASE = "lease.shared"
LEASE_WAIT_S = 0.5
LEASE_MARGIN_S = 5.0
ELSEWHERE = "choose another --storage"
TRAINED = "trained"
"""Folder of trainings that never see a target domain, by `Cell.training_key`."""

logger = logging.getLogger(__name__)


class SweepStore:
    """What is kept of one sweep."""

    def __init__(self, storage: Path, name: str) -> None:
        """Name the folder; nothing is created yet."""
        self.storage = storage.resolve()
        self.name = name
        self.folder = self.storage / name

    @property
    def exists(self) -> bool:
        """Whether a sweep of this name was started here."""
        return (self.folder / "sweep.json").exists()

    def check_name(self, *, resume: bool) -> None:
        """Check only the name, before anything is loaded; nothing is written.

        Raises:
            ConfigError: the name is taken and `resume` is off, or nothing is there to resume.
        """
        if self.exists and not resume:
            raise ConfigError(
                f"a sweep {self.name!r} is already in {self.storage}: add --resume to go on with "
                "it, or choose another --name"
            )
        if resume and not self.exists:
            raise ConfigError(
                f"there is no sweep {self.name!r} in {self.storage} to resume: check --name "
                "and --storage, or leave --resume out"
            )

    def settings(self) -> dict[str, Any]:
        """What the sweep was started with.

        Raises:
            StorageError: the file is missing or damaged.
        """
        settings: dict[str, Any] = read_json(self.folder / "sweep.json")
        return settings

    def check(self, settings: dict[str, Any], *, resume: bool) -> None:
        """Check that the folder can be written, and holds no sweep or the one that goes on.

        Raises:
            ConfigError: as `check_name`, or the sweep was started with other settings, images,
                weights, libraries or training code.
            StorageError: the folder cannot be written, or its disk is full.
        """
        self._check_writable()
        self.check_name(resume=resume)
        if resume:
            self._check_same(self.settings(), settings)

    def write_settings(self, settings: dict[str, Any]) -> None:
        """Take the name; a sweep that goes on keeps what it was started with, but for its number of cells."""
        if self.exists:
            known = self.settings()
            settings = known | {n: settings[n] for n in ("num_cells",) if n in settings}
            if settings == known:
                return
        write_json(self.folder / "sweep.json", settings, ELSEWHERE)

    def _check_writable(self) -> None:
        probe = self.folder / ".probe"
        write_atomic(probe, b"interfero", ELSEWHERE)
        probe.unlink()
        free = shutil.disk_usage(self.folder).free
        if free < MIN_FREE_BYTES:
            raise StorageError(
                f"{self.folder} has {free / 1024**2:.0f} MiB free, a sweep needs "
                f"{MIN_FREE_BYTES / 1024**2:.0f} MiB: free the disk or {ELSEWHERE}"
            )

    def _check_same(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        if old["kind"] != new["kind"]:
            raise ConfigError(f"sweep {self.name!r} is a {old['kind']} sweep, not {new['kind']}")
        if old["loop_hash"] != new["loop_hash"]:
            raise ConfigError(
                f"the training code has changed since sweep {self.name!r} was started "
                f"({old['loop_hash']} then, {new['loop_hash']} now): its cells would not be "
                "comparable; go back to the old code, or say --accept-code-change"
            )
        changed = [
            f"{name} was {before!r}, now it is {now!r}"
            for part in ("options", "content")
            for name, before, now in _differences(old[part], new[part])
        ]
        if changed:
            raise ConfigError(
                f"sweep {self.name!r} was started differently:\n  "
                + "\n  ".join(changed)
                + "\nresume with the same, or start another --name (finished cells are reused)"
            )

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the sweep: one driver at a time, on any machine that sees the storage.

        The lease of a driver that died is released by the system. Where it was on another machine and the
        storage has no working `flock`, or a fault of the disk took what the lease said, it is over after
        `LEASE_S` without a sign of life: that is waited for.

        Raises:
            ConfigError: another driver holds it.
            StorageError: the folder cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # `is_running` of another process holds it for an instant.
            held = self.held(LEASE_WAIT_S)
            if held is None and self._holder_is_unseen:
                logger.warning(
                    "%s: waiting up to %.0f s to see whether it lives", self.holder(), LEASE_S
                )
                held = self.held(LEASE_S + LEASE_MARGIN_S)
        except OSError as error:
            raise StorageError(
                f"{self.folder} cannot be made ({error.strerror}): {first_remedy(error)} or choose a "
                "--storage below a folder that you may write to"
            ) from error
        if held is None:
            raise ConfigError(
                f"sweep {self.name!r} is running ({self.holder()}): wait for it or stop it"
            )
        with held, noting_report(self.folder):
            # On a full disk the lease holds without this note; what cannot be written is found next.
            with suppress(OSError):
                self._lease_file.write_text(f"{os.getpid()} {socket.gethostname()}")
            yield

    def held(self, wait_s: float = 0.0) -> ExitStack | None:
        """The sweep, held until the stack is closed; None if another driver holds it for so long.

        Raises:
            OSError: the folder is not there, or cannot be written.
        """
        with ExitStack() as stack:
            # A lock of the system, which ends with its process; and a lease, which other machines respect
            # where the lock has no effect.
            for take, file in (
                (acquired, self._lease_file),
                (leased, self._shared_lease),
            ):
                lock = take(file, wait_s)
                if lock is None:
                    return None
                stack.callback(lock.release)
            return stack.pop_all()

    @property
    def is_running(self) -> bool:
        """Whether a driver holds the sweep, on any machine; one that may not be held counts as running.

        A driver that is no process here and gave no sign of life for `LEASE_S` has ended, though its lease
        stands until somebody has watched it for so long.
        """
        if not self._lease_file.exists():
            return False
        try:
            held = self.held()
            if held is not None:
                held.close()
                return False
            return not (self._holder_is_unseen and untouched_s(self._shared_lease) > LEASE_S)
        except OSError:
            return True

    def claimed(self) -> ExitStack | None:
        """As `held`; of a driver that ended without a word, once its lease was watched long enough.

        Raises:
            OSError: the folder is not there, or cannot be written.
        """
        held = self.held()
        if held is None and not self.is_running:
            held = self.held(LEASE_S + LEASE_MARGIN_S)
        return held

    @property
    def _shared_lease(self) -> Path:
        return self.folder / SHARED_LEASE

    def holder(self) -> str:
        """Process and machine that hold the sweep, or held it last."""
        pid, host = self._holder
        return f"process {pid}{host and f' on {host}'}"

    @property
    def lease_began(self) -> float:
        """When the driver that holds the sweep, or held it last, took it; Unix time in seconds."""
        return self._lease_file.stat().st_mtime

    @property
    def _holder(self) -> tuple[str, str]:
        try:
            pid, _, host = self._lease_file.read_text().strip().partition(" ")
        except (OSError, ValueError):
            return "unknown", ""
        return pid or "unknown", host

    @property
    def _holder_is_unseen(self) -> bool:
        """Whether no process of this machine is the one that holds the sweep, or held it last."""
        pid, host = self._holder
        here = host in ("", socket.gethostname())
        return not (here and pid.isdigit() and psutil.pid_exists(int(pid)))

    @property
    def _lease_file(self) -> Path:
        return self.folder / "lease"

    def keep(self, record: CellRecord) -> None:
        """Write a record unless the cell's own is there already, from its worker; not if that failed."""
        known = self.ended(record.key)
        if known is None or known.status == "failed":
            self.write_record(record)

    def write_record(self, record: CellRecord) -> None:
        """Keep a cell's record, whole or not at all; a disk that is full for a while is waited for.

        A step's record lies beside what the step made.

        Raises:
            StorageError: it cannot be written, for as long as `PATIENCE_S`.
        """
        with patience():
            if is_product_key(record.key):
                Products(self.storage).write(record)
                return
            path = self.record_file(record.key)
            write_json(path, record.model_dump(mode="json"), ELSEWHERE)

    def record_file(self, key: str) -> Path:
        """Where a cell's record lies once it has ended."""
        return self.folder / "cells" / f"{key}.json"

    def records(self) -> dict[str, CellRecord]:
        """Records by key; a damaged one counts as not computed."""
        return {record.key: record for record in self.each_record()}

    def each_record(self) -> Iterator[CellRecord]:
        """The same one after the other: all of a large sweep need not be in memory at once."""
        for path in self._record_files(self.folder):
            record = _read_record(path)
            if record is not None:
                yield record

    def finished(self, key: str) -> CellRecord | None:
        """The record of a cell that finished, if there is one."""
        record = self.ended(key)
        return record if record and record.status == "finished" else None

    def ended(self, key: str) -> CellRecord | None:
        """The record of a cell that ended in this sweep, or of a step in any, whatever it came to."""
        if is_product_key(key):
            return Products(self.storage).record(key)
        return _read_record(self.record_file(key))

    def outcome(self, key: str, files: Iterable[str] = ()) -> CellRecord | None:
        """What a cell or another node came to; None if it has not ended, or what it made is gone.

        A plan hands out a node whose files were deleted, however whole its record is: a worker that
        asked for the record only would make nothing, and what needs the files would fail for ever.

        Args:
            key: Of the node.
            files: What it leaves in the folder of its product besides its record; none for a cell.
        """
        record = self.ended(key)
        if record is None or record.status != "finished" or not is_product_key(key):
            return record
        return record if Products(self.storage).is_done(key, files) else None

    def stop_file(self, key: str) -> Path:
        """Marker file that asks a cell's worker to stop."""
        return self.folder / "stop" / key

    def take_over(self, keys: Set[str]) -> Iterator[CellRecord]:
        """Copy cells that other sweeps in this storage have finished, one after the other.

        Files are linked where the file system can, so that deleting one sweep leaves the other whole.
        """
        taken: set[str] = set()
        for sweep, record in self._others(keys):
            if record.key in taken:
                continue
            try:
                self._link(sweep, record)
            except (OSError, StorageError):
                continue  # A file of it is gone, or not of that sweep: the cell is trained again.
            origin = record.reused_from or sweep.name
            copied = record.model_copy(update={"reused_from": origin})
            self.write_record(copied)
            taken.add(record.key)
            yield copied

    def reusable(self, keys: Set[str]) -> frozenset[str]:
        """Those of the keys that this or another sweep in this storage has finished."""
        return frozenset(record.key for record in self.finished_anywhere(keys))

    def finished_anywhere(self, keys: Set[str]) -> Iterator[CellRecord]:
        """Their records, one after the other; a key may come twice."""
        for record in self.each_record():
            if record.status == "finished" and record.key in keys:
                yield record
        yield from self.finished_in_others(keys)

    def finished_in_others(self, keys: Set[str]) -> Iterator[CellRecord]:
        """Records of cells that other sweeps in this storage have finished; a key may come twice."""
        yield from (record for _, record in self._others(keys))

    def finished_elsewhere(self, code: str) -> Iterator[CellRecord]:
        """Finished cells of the other sweeps of this storage that the same code trained."""
        for folder in sorted(p.parent for p in self.storage.glob("*/sweep.json")):
            other = SweepStore(self.storage, folder.name)
            try:
                same = folder != self.folder and other.settings().get("loop_hash") == code
            except StorageError:
                continue  # Of a sweep whose settings are damaged, nobody knows the code.
            if same:
                yield from (r for r in other.each_record() if r.status == "finished")

    def _others(self, keys: Set[str]) -> Iterator[tuple[Path, CellRecord]]:
        """Finished records of other sweeps, with the sweep's folder; a key may come twice."""
        if not self.storage.is_dir():
            return
        # To list a folder of 100,000 takes longer than to ask for a few.
        few = sorted(keys) if len(keys) <= ASKED_FOR else ()
        for sweep in sorted(p for p in self.storage.iterdir() if p != self.folder and p.is_dir()):
            paths = [sweep / "cells" / f"{key}.json" for key in few]
            if len(keys) > ASKED_FOR:
                paths = self._record_files(sweep)
            for path in paths:
                record = _read_record(path) if path.stem in keys and path.is_file() else None
                if record is not None and record.status == "finished":
                    yield sweep, record

    def _link(self, sweep: Path, record: CellRecord) -> None:
        for relative in (record.adapter_file, record.sample_file):
            if relative is None:
                continue
            source, target = inside(sweep, relative), inside(self.folder, relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            # An attempt of this sweep that never came to a record may have left other files there.
            whole = target.with_name(f".{target.name}.taken")
            whole.unlink(missing_ok=True)
            try:
                os.link(source, whole)
            except OSError:
                shutil.copyfile(source, whole)
            # Two names of one file stay two names when the one is to become the other.
            whole.replace(target)
            whole.unlink(missing_ok=True)

    @staticmethod
    def _record_files(folder: Path) -> list[Path]:
        return sorted((folder / "cells").glob("*.json"))


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    return [(name, old[name], new[name]) for name in old if name in new and old[name] != new[name]]


def _read_record(path: Path) -> CellRecord | None:
    # Files are named by key: a key that is not its file's could name one anywhere.
    return read_record(path, path.stem)
