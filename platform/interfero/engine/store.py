"""The folder of a sweep: records, adapters, figures, the lease and the settings it was started with.

STORAGE/NAME/sweep.json        settings, kind and the hash of the training code
STORAGE/NAME/cells/KEY.json    one record a cell, written whole when it is finished
STORAGE/NAME/adapters/KEY.safetensors, samples/KEY.png
STORAGE/NAME/search.db         the Optuna study of a sampler
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from interfero.engine.cells import CellRecord
from interfero.errors import ConfigError, StorageError
from interfero.storage import read_json, write_atomic, write_json

MIN_FREE_BYTES = 200 * 1024**2


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

    def start(self, settings: dict[str, Any], *, resume: bool, accept_code_change: bool) -> None:
        """Create the folder, or check that the sweep in it is the one that goes on.

        Raises:
            ConfigError: the name is taken and `resume` is off, or nothing is there to resume, or the
                sweep was started with other settings or other training code.
            StorageError: the folder cannot be written, or its disk is full.
        """
        self._check_writable()
        path = self.folder / "sweep.json"
        if not path.exists():
            if resume:
                raise ConfigError(
                    f"there is no sweep {self.name!r} in {self.storage} to resume: check --name "
                    "and --storage, or leave --resume out"
                )
            write_json(path, settings)
            return
        if not resume:
            raise ConfigError(
                f"a sweep {self.name!r} is already in {self.storage}: add --resume to go on with "
                "it, or choose another --name"
            )
        self._check_same(read_json(path), settings, accept_code_change)

    def _check_writable(self) -> None:
        probe = self.folder / ".probe"
        write_atomic(probe, b"interfero")
        probe.unlink()
        free = shutil.disk_usage(self.folder).free
        if free < MIN_FREE_BYTES:
            raise StorageError(
                f"{self.folder} has {free / 1024**2:.0f} MiB free, a sweep needs "
                f"{MIN_FREE_BYTES / 1024**2:.0f} MiB: free the disk or choose another --storage"
            )

    def _check_same(
        self, old: dict[str, Any], new: dict[str, Any], accept_code_change: bool
    ) -> None:
        if old["kind"] != new["kind"]:
            raise ConfigError(f"sweep {self.name!r} is a {old['kind']} sweep, not {new['kind']}")
        if old["loop_hash"] != new["loop_hash"] and not accept_code_change:
            raise ConfigError(
                f"the training code has changed since sweep {self.name!r} was started "
                f"({old['loop_hash']} then, {new['loop_hash']} now): its cells would not be "
                "comparable; go back to the old code, or say --accept-code-change"
            )
        before, now = old["options"], new["options"]
        changed = [k for k in before if k in now and before[k] != now[k]]
        if changed:
            k = changed[0]
            raise ConfigError(
                f"sweep {self.name!r} was started with {k} = {before[k]!r}, now it is {now[k]!r}: "
                "resume with the same options, or start another --name (finished cells are reused)"
            )

    @contextmanager
    def lease(self) -> Iterator[None]:
        """Hold the sweep: one driver at a time, released by the system if the driver dies.

        Raises:
            ConfigError: another driver holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lease").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise ConfigError(
                    f"sweep {self.name!r} is running (process {holder}): wait for it or stop it"
                ) from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield

    def write_record(self, record: CellRecord) -> None:
        """Keep a cell's record, whole or not at all."""
        write_json(self.folder / "cells" / f"{record.key}.json", record.model_dump(mode="json"))

    def records(self) -> dict[str, CellRecord]:
        """Records by key; a damaged one counts as not computed."""
        return {r.key: r for r in map(_read_record, self._record_files(self.folder)) if r}

    def finished(self, key: str) -> CellRecord | None:
        """The record of a cell that finished, if there is one."""
        path = self.folder / "cells" / f"{key}.json"
        record = _read_record(path) if path.exists() else None
        return record if record and record.status == "finished" else None

    def take_over(self, keys: set[str]) -> list[CellRecord]:
        """Copy cells that other sweeps in this storage have finished.

        Files are linked where the file system can, so that deleting one sweep leaves the other whole.
        """
        taken = []
        for sweep in sorted(p for p in self.storage.iterdir() if p != self.folder and p.is_dir()):
            for path in self._record_files(sweep):
                record = _read_record(path) if path.stem in keys else None
                if record is None or record.status != "finished":
                    continue
                try:
                    self._link(sweep, record)
                except OSError:
                    continue  # A file of it is gone: the cell is trained again.
                origin = record.reused_from or sweep.name
                record = record.model_copy(update={"reused_from": origin})
                self.write_record(record)
                keys = keys - {record.key}
                taken.append(record)
        return taken

    def _link(self, sweep: Path, record: CellRecord) -> None:
        for relative in (record.adapter_file, record.sample_file):
            if relative is None:
                continue
            target = self.folder / relative
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                try:
                    os.link(sweep / relative, target)
                except OSError:
                    shutil.copyfile(sweep / relative, target)

    @staticmethod
    def _record_files(folder: Path) -> list[Path]:
        return sorted((folder / "cells").glob("*.json"))


def _read_record(path: Path) -> CellRecord | None:
    try:
        return CellRecord.model_validate(read_json(path))
    except (StorageError, ValidationError):
        return None
