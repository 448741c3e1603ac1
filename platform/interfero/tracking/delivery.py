"""Writes on their way to a tracking server: all in order, except files that its store does not take."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from interfero.redaction import masked
from interfero.tracking.address import patience
from interfero.tracking.first_file import FILE_REQUEST_S
from interfero.tracking.operations import LogFile, Operation
from interfero.tracking.outbox import Outbox
from interfero.tracking.runs import SERVER_ERRORS, NotStoredError, RefusedError, Runs

logger = logging.getLogger(__name__)

FILES_OUTBOX = "outbox-files.jsonl"
"""Beside the outbox: files that wait for the store, while other writes go on."""
FILE_TRIES = 3
"""So often a file is tried while its store takes another one."""
RETRY_S = (1.0, 30.0)
"""Pause after a first failure, and the longest; each is twice the one before."""


class _Pause:
    """When to try again after failures in a row, and why the last one happened."""

    def __init__(self) -> None:
        self.failures = 0
        self.trouble: str | None = None
        self._retry_at = 0.0

    @property
    def over(self) -> bool:
        return time.monotonic() >= self._retry_at

    def failed(self, trouble: str) -> None:
        self.trouble = trouble
        first, longest = RETRY_S
        self._retry_at = time.monotonic() + min(longest, first * 2 ** min(self.failures, 10))
        self.failures += 1

    def end(self) -> None:
        self._retry_at = 0.0

    def succeeded(self) -> None:
        self.failures, self.trouble = 0, None
        self.end()


class Delivery:
    """Two queues on disk: all writes in order, and the files that were tried and not stored.

    A server that is away holds up everything. A server that answers and whose store for files does not
    (an object store that is away, credentials that ran out) holds up files only, in their order; nothing
    is lost by either. What fails while its like succeeds is set aside, with the reason.
    """

    def __init__(self, uri: str, runs: Runs, outbox: Outbox) -> None:
        self._uri = uri
        self._runs = runs
        self._writes = outbox
        path = outbox.path.with_name(FILES_OUTBOX)
        self._files = Outbox(path, refused_path=outbox.refused_path)
        self._pause, self._files_pause = _Pause(), _Pause()
        self._tries = 0
        """Of the oldest of the files that wait, while the store takes another."""

    def __len__(self) -> int:
        return len(self._writes) + len(self._files)

    def __iter__(self) -> Iterator[Operation]:
        return chain(self._writes, self._files)

    @property
    def trouble(self) -> str | None:
        """Why the last delivery failed; None where nothing waits for that reason."""
        return self._pause.trouble or self._files_pause.trouble

    @property
    def num_refused(self) -> int:
        """Operations that were set aside, by earlier drivers too."""
        return self._writes.num_refused

    @property
    def refused_path(self) -> Path:
        """Where they are kept."""
        return self._writes.refused_path

    def append(self, operations: Sequence[Operation]) -> None:
        """Add writes; `drain` delivers them."""
        self._writes.append(operations)

    def drain(self, deadline: float, request_s: float, *, now: bool = False) -> None:
        """Deliver in order until nothing waits, the time is up, or nobody takes anything.

        Args:
            deadline: By the monotonic clock.
            request_s: Time that one request may take, that of a file apart.
            now: Without a pause after earlier failures.
        """
        if now:
            self._pause.end()
            self._files_pause.end()
        self._drain_writes(deadline, request_s)
        if not self._writes:
            self._drain_files(deadline, request_s)

    def close(self) -> None:
        """Let go of both files."""
        self._writes.close()
        self._files.close()

    def _drain_writes(self, deadline: float, request_s: float) -> None:
        while (operation := self._writes.oldest) is not None:
            if time.monotonic() > deadline or not self._pause.over:
                return
            try:
                if isinstance(operation, LogFile) and self._files:
                    # Of several files with one name, the last stays.
                    self._files.append([operation])
                else:
                    self._deliver(operation, request_s)
            except RefusedError as error:
                self._set_aside(self._writes, error)
                continue
            except NotStoredError as error:
                self._files.append([operation])
                self._postpone_files(error)
            except SERVER_ERRORS as error:
                self._postpone(error)
                return
            self._writes.delivered()
            self._pause.succeeded()

    def _drain_files(self, deadline: float, request_s: float) -> None:
        while (operation := self._files.oldest) is not None:
            if time.monotonic() > deadline or not self._files_pause.over:
                return
            if not self._is_done_with(operation, request_s):
                return
            self._files_pause.succeeded()
            self._tries = 0

    def _is_done_with(self, operation: Operation, request_s: float) -> bool:
        """Whether the oldest of the files that wait was delivered or set aside."""
        store_works = False
        try:
            if self._files_pause.failures:
                with patience(request_s):  # a silent store costs a short wait, even before a file
                    self._runs.probe_store()
                store_works = True
            self._deliver(operation, request_s)
        except RefusedError as error:
            self._set_aside(self._files, error)
        except NotStoredError as error:
            self._tries += store_works
            if self._tries < FILE_TRIES:
                self._postpone_files(error)
                return False
            self._set_aside(self._files, error)
        except SERVER_ERRORS as error:
            self._postpone_files(error)
            return False
        else:
            self._files.delivered()
        return True

    def _deliver(self, operation: Operation, request_s: float) -> None:
        if isinstance(operation, LogFile):
            self._check_place(operation)
        with patience(request_s):
            if self._pause.failures:  # a silent server costs a short wait, even before a file
                self._runs.probe()
            with patience(FILE_REQUEST_S if isinstance(operation, LogFile) else request_s):
                self._runs.deliver(operation)

    def _check_place(self, operation: LogFile) -> None:
        """Refuse files outside the storage: the outbox is a file that may come from anywhere."""
        storage = self._writes.path.absolute().parent.parent.resolve()
        if not Path(operation.path).resolve().is_relative_to(storage):
            raise RefusedError(
                f"{operation.path} is not in {storage}: only a sweep's own files are"
            )

    def _set_aside(self, queue: Outbox, error: Exception) -> None:
        reason = masked(str(error), self._uri)
        logger.warning("the tracking server refused a write: %s", reason)
        queue.refused(reason)

    def _postpone(self, error: Exception) -> None:
        first = self._pause.failures == 0
        self._pause.failed(self._shown(error))
        if first:
            logger.warning(
                "the tracking server is away, writes wait on disk: %s", self._pause.trouble
            )

    def _postpone_files(self, error: Exception) -> None:
        first = self._files_pause.failures == 0
        self._files_pause.failed(self._shown(error))
        if first:
            logger.warning(
                "files are not stored, they wait on disk and training goes on: %s",
                self._files_pause.trouble,
            )

    def _shown(self, error: Exception) -> str:
        return masked(" ".join(str(error).split()), self._uri)[:400]
