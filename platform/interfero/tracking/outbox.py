"""Writes that wait for their server, in order, in a file that outlives the process."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from interfero.errors import StorageError
from interfero.store.files import first_remedy, patience, patiently
from interfero.tracking.operations import OPERATION, Operation


class Outbox:
    """A first-in first-out queue of operations on disk.

    Each line of the file is an operation, or says that the oldest one was delivered. Lines are
    only appended, and the file is emptied when nothing waits, so a process killed at any moment
    leaves at most one delivered operation that a successor delivers again. Lines are not forced
    to the disk: a killed process loses none; after a power cut the sweep's records, which are
    forced, are delivered anew by `--resume`.
    """

    def __init__(self, path: Path, refused_path: Path | None = None) -> None:
        """Open the queue, with whatever an earlier process left in it.

        Args:
            path: Of the file.
            refused_path: Where operations go that no server will take; None is beside the file.

        Raises:
            StorageError: the file is damaged or cannot be written.
        """
        self.path = path
        self.refused_path = refused_path or path.with_name(path.name + ".refused")
        self._waiting: deque[Operation] = deque()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            # A killed process may leave a line without its end: that write never counted.
            whole = content[: content.rfind(b"\n") + 1]
            self._file: BinaryIO = path.open("ab", buffering=0)
            self._file.truncate(len(whole))
        except OSError as error:
            raise self._unwritable(error) from error
        for number, line in enumerate(whole.splitlines(), start=1):
            self._replay(number, line)

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[Operation]:
        return iter(self._waiting)

    @property
    def oldest(self) -> Operation | None:
        """What is delivered next."""
        return self._waiting[0] if self._waiting else None

    def append(self, operations: Sequence[Operation]) -> None:
        """Add operations, all or none.

        Raises:
            StorageError: the disk is full or not writable.
        """
        self._write("".join(each.model_dump_json() + "\n" for each in operations).encode())
        self._waiting.extend(operations)

    def delivered(self) -> None:
        """Forget the oldest operation."""
        self._waiting.popleft()
        if self._waiting:
            self._write(b"{}\n")
        else:
            self._file.truncate(0)

    def refused(self, reason: str) -> None:
        """Move the oldest operation to the file of those that no server will take."""
        operation = self._waiting[0].model_dump_json()
        try:
            with self.refused_path.open("a") as file:
                file.write(f'{{"reason": {json.dumps(reason)}, "operation": {operation}}}\n')
        except OSError as error:
            raise self._unwritable(error) from error
        self.delivered()

    @property
    def num_refused(self) -> int:
        """Operations in that file, those of earlier processes included."""
        if not self.refused_path.exists():
            return 0
        return len(self.refused_path.read_bytes().splitlines())

    def close(self) -> None:
        """Let go of the file; it goes when nothing waits in it."""
        self._file.close()
        if not self._waiting:
            self.path.unlink(missing_ok=True)

    def _replay(self, number: int, line: bytes) -> None:
        try:
            if line == b"{}":
                self._waiting.popleft()
            else:
                self._waiting.append(OPERATION.validate_json(line))
        except (ValidationError, IndexError) as error:
            raise StorageError(
                f"line {number} of {self.path} is damaged: move the file away and continue with "
                "--resume, which writes finished cells to the tracking server again"
            ) from error

    def _write(self, data: bytes) -> None:
        try:
            with patience():
                patiently(lambda: self._write_once(data), self.path)
        except OSError as error:
            raise self._unwritable(error) from error

    def _write_once(self, data: bytes) -> None:
        size = os.fstat(self._file.fileno()).st_size
        try:
            written = self._file.write(data)
            if written != len(data):
                raise OSError(0, f"{written} of {len(data)} bytes written: the disk is full")
        except OSError:
            self._file.truncate(size)
            raise

    def _unwritable(self, error: OSError) -> StorageError:
        return StorageError(
            f"{self.path} must be writable, it keeps what waits for the tracking server "
            f"({error.strerror}): {first_remedy(error)} or choose another --storage, then continue with "
            "--resume"
        )
