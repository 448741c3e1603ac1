"""What the driver tells about a sweep, delivered to MLflow once and in order."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from interfero.errors import TrackingError
from interfero.records import CellRecord
from interfero.redaction import masked
from interfero.store.files import write_atomic
from interfero.tracking.address import check_reachable, patience, quiet, unreachable
from interfero.tracking.database_file import tracking_uri as resolve_uri
from interfero.tracking.delivery import Delivery
from interfero.tracking.first_file import FILE_REQUEST_S
from interfero.tracking.names import (
    CELL_TAG,
    CURVE_TAG,
    ERROR_TAG,
    KIND_TAG,
    NOTE_TAG,
    STOPPED_TAG,
    run_name,
)
from interfero.tracking.operations import (
    DatasetUse,
    EnsureRun,
    LogBatch,
    LogInputs,
    Operation,
    SetStatus,
)
from interfero.tracking.outbox import Outbox
from interfero.tracking.runs import SERVER_ERRORS, Runs
from interfero.tracking.summary import (
    END_STATUS,
    Clock,
    batches,
    cut,
    end_time_ms,
    file_copy,
    is_settled,
    now_ms,
    record_metrics,
    record_tags,
    to_ms,
)

if TYPE_CHECKING:
    from interfero.tracking.registry import AdapterEntry

logger = logging.getLogger(__name__)

OPEN_REQUEST_S = 10.0
WRITE_REQUEST_S = 4.0
CLOSE_REQUEST_S = 30.0
"""How long one request may take: training waits for a write, nothing waits for the end."""
SWEEP_ID_FILE = "sweep_id"
"""Beside the outbox: what tells this sweep from one of the same name in another storage."""
DRAIN_S = 3.0
"""Training waits no longer than this for writes that had piled up."""
MAX_DATASETS = 1000
"""In one request."""
PROGRESS_S = 5.0
"""The parent run hears of progress no more often than this."""


@dataclass(slots=True)
class _CellState:
    """A cell's run as it is once everything that waits is delivered."""

    status: str
    start_ms: int
    curve_step: int
    was_stopped: bool = False


class Tracker:
    """The only writer of a sweep's MLflow runs; for one thread of the driver.

    Every write goes through a queue on disk (`Delivery`) and is delivered at once if the server
    answers. If it does not, it waits there, later writes behind it; each later write, `flush` and
    `close` try again. Files wait apart where only the store for them does not answer. All calls may
    be repeated for the same cell, which is what a resumed driver does: a cell has one run, and a
    finished one is not written again.
    """

    def __init__(
        self, uri: str, runs: Runs, outbox: Outbox, on_cells: Mapping[str, str] | None = None,
        *, params_at_end: bool = False,
    ) -> None:  # fmt: skip
        self.uri = masked(uri, uri)
        """Fit to be shown."""
        self._secret_uri = uri
        self._runs = runs
        self._delivery = Delivery(uri, runs, outbox)
        self._on_cells = dict(on_cells or {})
        self._params_at_end = params_at_end
        self._held_params: dict[str, dict[str, str]] = {}
        """Of running cells, by key: what their last write takes along."""
        self._progress: Callable[[], Mapping[str, float]] = dict
        self._progress_told_at = time.monotonic()
        # Of a driver that died, what it has told of the parent run and what still waits to be told.
        waiting = (
            time_ms
            for operation in self._delivery
            if isinstance(operation, LogBatch) and operation.key is None
            for _, _, time_ms, _ in operation.metrics
        )
        self._clock = Clock(max([runs.latest_ms, *waiting]))
        self._successor: str | None = None
        self._closed = False
        self._cells = {
            key: _CellState(run.status, run.start_ms, run.curve_step, run.was_stopped)
            for key, run in runs.cells.items()
        }
        for operation in self._delivery:
            self._foresee(operation)

    @classmethod
    def open(
        cls,
        uri: str | None,
        experiment: str,
        sweep: str,
        *,
        tags: Mapping[str, str],
        params: Mapping[str, str | int | float],
        outbox: Path,
        on_cells: Mapping[str, str] | None = None,
        params_at_end: bool = False,
    ) -> Tracker:
        """Find or create the sweep's runs, and deliver what an earlier driver could not.

        Args:
            uri: Of the tracking server; None is MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
            experiment: Name of the experiment, the sweep's kind.
            sweep: Name of the sweep, one parent run each.
            tags: Of the parent run, at creation.
            params: Of the parent run.
            outbox: File beside the sweep's results in which writes wait for the server.
            on_cells: Tags that every cell's run has, at creation.
            params_at_end: Write a cell's parameters with its results: one request less for each cell, and a
                run that is under way shows its name and its tags only.

        Raises:
            TrackingError: the server does not answer, within about five seconds, or the experiment's files
                are not reached at this address.
            StorageError: the outbox is damaged or not writable.
        """
        uri = resolve_uri(uri)
        check_reachable(uri)
        sweep_id = _sweep_id(outbox.with_name(SWEEP_ID_FILE))
        queue = Outbox(outbox)
        try:
            with quiet(), patience(OPEN_REQUEST_S):
                runs = Runs(uri, experiment, sweep)
                texts = {k: str(v) for k, v in params.items()}
                status = runs.open_parent(tags, texts, now_ms(), sweep_id)
        except SERVER_ERRORS as error:
            queue.close()
            # From None: the original message may show a password in a traceback.
            raise unreachable(uri, error) from None
        except BaseException:
            queue.close()
            raise
        tracker = cls(uri, runs, queue, on_cells, params_at_end=params_at_end)
        if tracker.pending or status != "RUNNING":
            tracker._write([SetStatus(key=None, status="RUNNING", time_ms=tracker._clock.now_ms())])
            tracker.flush(float("inf"))
        return tracker

    @classmethod
    def end_running(
        cls, uri: str | None, experiment: str, sweep: str, status: Literal["FAILED", "KILLED"],
        *, outbox: Path, wait_s: float,
    ) -> None:  # fmt: skip
        """End the runs of a sweep that `open` has made or opened again, where nobody got a tracker for them.

        Nothing is raised where that fails: what is RUNNING then is put right when the sweep goes on.

        Args:
            uri: As of `open`.
            experiment: As of `open`.
            sweep: As of `open`.
            status: Of the parent run, if that is RUNNING; cells that are RUNNING become KILLED.
            outbox: As of `open`; what waits there stays.
            wait_s: How long each request may take.
        """
        mark = outbox.with_name(SWEEP_ID_FILE)
        if not mark.exists():
            return
        uri = resolve_uri(uri)
        try:
            with quiet(), patience(wait_s):
                Runs(uri, experiment, sweep).end_running(mark.read_text(), status, now_ms())
        except (OSError, TrackingError, *SERVER_ERRORS) as error:
            logger.warning(
                "runs of sweep %s may be shown as RUNNING until it goes on: %s",
                sweep,
                masked(str(error), uri),
            )

    @property
    def pending(self) -> int:
        """Writes that wait for the server, or for its store of files."""
        return len(self._delivery)

    @property
    def trouble(self) -> str | None:
        """Why the last delivery failed; None once one succeeds."""
        return self._delivery.trouble

    @property
    def successor(self) -> str | None:
        """Who writes the sweep's runs now in place of this process; None while this process does."""
        return self._successor

    def give_way(self, successor: str) -> None:
        """Write nothing from now on: another driver has the sweep, its runs and its outbox.

        Args:
            successor: Who that is.
        """
        self._successor = successor

    @property
    def num_finished(self) -> int:
        """Cells that it has heard to be finished, by earlier drivers too."""
        return sum(state.status == "FINISHED" for state in self._cells.values())

    @property
    def num_refused(self) -> int:
        """Writes the server will never take, those of earlier drivers included: set aside, with reasons."""
        return self._delivery.num_refused

    @property
    def refused_path(self) -> Path:
        """Where they are kept."""
        return self._delivery.refused_path

    @property
    def run_ids(self) -> dict[str, str]:
        """Run of each cell that the server knows of, by key."""
        return {key: run.run_id for key, run in self._runs.cells.items()}

    def link(self, key: str | None, artifact: str = "") -> str:
        """Address within the MLflow UI of a run or of a file of it; empty if the server has none yet."""
        return self._runs.link(key, artifact)

    def cell_started(
        self,
        key: str,
        params: Mapping[str, str | int | float],
        tags: Mapping[str, str],
        *,
        started_at: float | None = None,
        datasets: Sequence[DatasetUse] = (),
    ) -> None:
        """Give a cell its run, or let the one it has run again; nothing if that is finished or stopped.

        Args:
            key: The cell's key.
            params: The cell's parameters.
            tags: Set when the run is created, beside the cell's own.
            started_at: Unix time in seconds; None is now.
            datasets: What it uses.
        """
        state = self._cells.get(key)
        if state is not None and (state.was_stopped or state.status == "FINISHED"):
            return
        texts = {name: str(value) for name, value in params.items()}
        if self._params_at_end:
            self._held_params[key], texts = texts, {}
        if state is not None and state.status == "RUNNING":
            return
        name = run_name(params)
        every = {**self._on_cells, **tags, KIND_TAG: "cell", CELL_TAG: key}
        time_ms = self._clock.now_ms() if started_at is None else to_ms(started_at)
        error = {ERROR_TAG: ""} if state is not None and state.status == "FAILED" else {}
        inputs = [LogInputs(key=key, datasets=tuple(datasets))] if datasets else []
        batch = [LogBatch(key=key, params=texts, tags=error)] if texts or error else []
        self._write([EnsureRun(key=key, name=name, tags=every, time_ms=time_ms), *inputs, *batch])

    def cell_finished(self, record: CellRecord, files: Sequence[tuple[Path, str]] = ()) -> None:
        """Log what a cell came to and end its run; nothing if that was done before.

        Args:
            record: The cell's record. Its times are the metrics' times, however late they arrive.
            files: Artifacts, each with its folder below the run's.
        """
        state = self._cells.get(record.key)
        if state is not None and is_settled(
            state.status, record.status, was_stopped=state.was_stopped
        ):
            return
        self.cell_started(record.key, record.params, {}, started_at=record.started_at or None)
        state = self._cells[record.key]
        end_ms = max(state.start_ms, end_time_ms(record))
        metrics = record_metrics(record, state.curve_step)
        params = self._held_params.pop(record.key, {})
        operations: list[Operation] = [
            *batches(record.key, metrics, record_tags(record), params),
            *(file_copy(record.key, path, folder) for path, folder in files),
            SetStatus(
                key=record.key,
                status=END_STATUS[record.status],
                time_ms=end_ms,
            ),
        ]
        self._write(operations)

    def cell_tags(self, tags: Mapping[str, Mapping[str, str]]) -> None:
        """Tag cells' runs, finished ones too.

        Args:
            tags: By the cell's key; `cell_started` knows it.
        """
        self._write([LogBatch(key=key, tags=dict(given)) for key, given in tags.items()])

    def parent_progress(self, measure: Callable[[], Mapping[str, float]]) -> None:
        """Log how the whole sweep stands: every few seconds while it runs, and once more when it ends.

        The step is the time since the parent run began, in seconds, and so goes on when a sweep is resumed:
        of a metric MLflow shows the value at the greatest step.

        Args:
            measure: Metrics of the parent run; asked only when they are logged.
        """
        self._progress = measure
        if time.monotonic() - self._progress_told_at >= PROGRESS_S:
            self._write(self._progress_batches())

    def parent_series(self, series: Mapping[str, Sequence[tuple[int, float]]]) -> None:
        """Log metrics of the whole sweep as (step, value): MLflow draws each as a line over the step.

        All have the time at which the parent run began, so that a resumed sweep adds no point twice.
        """
        began = self._runs.parent_start_ms
        points = [(name, value, began, step) for name, own in series.items() for step, value in own]
        self._write(batches(None, points, {}))

    def parent_datasets(self, datasets: Sequence[DatasetUse]) -> None:
        """Name the data sets of the whole sweep; those it has already are left alone."""
        starts = range(0, len(datasets), MAX_DATASETS)
        self._write(
            [LogInputs(key=None, datasets=tuple(datasets[i : i + MAX_DATASETS])) for i in starts]
        )

    def parent_artifacts(self, paths: Sequence[Path], folder: str = "") -> None:
        """Copy files to the parent run; of several with one name, the last stays."""
        self._write([file_copy(None, path, folder) for path in paths])

    def note(self, markdown: str) -> None:
        """Set the text that the parent run's page shows."""
        self._write([LogBatch(key=None, tags={NOTE_TAG: cut(markdown)})])

    def register(self, entries: Sequence[AdapterEntry]) -> list[str]:
        """Put adapters into the model registry, and say what came of it, a line each; never an error."""
        if not entries:
            return []
        # The end of a large sweep writes for minutes; a server that takes nothing is given up at once.
        waited = self.pending
        while (waiting := self.flush(CLOSE_REQUEST_S)) and waiting < waited:
            waited = waiting
        if waiting:
            return [
                "not in the model registry yet: writes wait for the tracking server or its store of files "
                f"({waiting} of them); --resume tries again"
            ]
        # Takes a second to import, at the end of a sweep.
        from interfero.tracking.registry import Registry

        with quiet(), patience(FILE_REQUEST_S):
            return Registry(self._secret_uri).register(entries, self.run_ids)

    def flush(self, seconds: float = DRAIN_S) -> int:
        """Deliver what waits, for so many seconds at most, and return how much is left."""
        if self._successor is not None:
            return self.pending
        self._delivery.drain(time.monotonic() + seconds, WRITE_REQUEST_S, now=True)
        return self.pending

    def close(
        self, status: Literal["FINISHED", "FAILED", "KILLED"], *, wait_s: float = 10.0
    ) -> int:
        """End the sweep's run, and every cell's that still runs as KILLED; a second time does nothing.

        Args:
            status: Of the parent run.
            wait_s: How long to go on trying a server that is away.

        Returns:
            Number of writes still undelivered: they stay in the outbox, and the next `open` with
            it delivers them.
        """
        if self._closed or self._successor is not None:
            return self.pending
        self._write(self._progress_batches())
        now = self._clock.now_ms()
        running = {key: state for key, state in self._cells.items() if state.status == "RUNNING"}
        ends: list[Operation] = []
        for key, state in running.items():
            ends += batches(key, (), {}, self._held_params.pop(key, {}))
            ends.append(SetStatus(key=key, status="KILLED", time_ms=max(state.start_ms, now)))
        self._write(ends)
        self._write([SetStatus(key=None, status=status, time_ms=now)])
        request_s = max(WRITE_REQUEST_S, min(CLOSE_REQUEST_S, wait_s))
        give_up = time.monotonic() + wait_s
        while True:
            self._delivery.drain(float("inf"), request_s, now=True)
            if not self.pending or time.monotonic() >= give_up:
                break
            time.sleep(1.0)
        self._heal(request_s)
        self._closed = True
        self._delivery.close()
        return self.pending

    def _progress_batches(self) -> list[LogBatch]:
        now = self._clock.now_ms()
        step = max(0, now - self._runs.parent_start_ms) // 1000
        points = [(name, float(value), now, step) for name, value in self._progress().items()]
        self._progress_told_at = time.monotonic()
        return batches(None, points, {})

    def _write(self, operations: Sequence[Operation]) -> None:
        if self._successor is None:
            self._delivery.append(operations)
        for operation in operations:
            self._foresee(operation)
        if self._successor is None:
            self._delivery.drain(time.monotonic() + DRAIN_S, WRITE_REQUEST_S)

    def _foresee(self, operation: Operation) -> None:
        """Follow what an operation will make of its cell's run."""
        if operation.key is None:
            return
        state = self._cells.get(operation.key)
        match operation:
            case EnsureRun() if state is None:
                self._cells[operation.key] = _CellState("RUNNING", operation.time_ms, -1)
            case EnsureRun() if state is not None and state.status != "FINISHED":
                state.status = "RUNNING"
            case SetStatus() if state is not None:
                state.status = operation.status
            case LogBatch() if state is not None:
                state.curve_step = int(operation.tags.get(CURVE_TAG, state.curve_step))
                state.was_stopped = state.was_stopped or STOPPED_TAG in operation.tags

    def _heal(self, request_s: float) -> None:
        try:
            with patience(request_s):
                self._runs.heal()
        except SERVER_ERRORS as error:
            logger.warning("not checked for doubled runs: %s", masked(str(error), self._secret_uri))


def _sweep_id(path: Path) -> str:
    """The mark of a sweep's folder, made once, before its parent run.

    Raises:
        StorageError: the folder is not writable.
    """
    found = path.read_text(errors="replace") if path.exists() else ""
    if not re.fullmatch(r"[0-9a-f]{32}", found):
        found = uuid.uuid4().hex
        write_atomic(path, found.encode())
    return found
