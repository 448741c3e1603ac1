"""A sweep's runs on the tracking server: one parent, and one child per cell."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from urllib.parse import quote

import sqlalchemy
from mlflow.entities import (
    Dataset,
    DatasetInput,
    InputTag,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking.client import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from interfero.errors import TrackingError
from interfero.tracking.address import is_database
from interfero.tracking.database_file import URI_VARIABLE
from interfero.tracking.first_file import FIRST_FILE, store_first_file
from interfero.tracking.names import (
    CELL_TAG,
    COMMAND_TAG,
    CONTEXT_TAG,
    CURVE_TAG,
    KIND_TAG,
    PARENT_TAG,
    RESUMED_TAG,
    STOPPED_TAG,
    SWEEP_ID_TAG,
    SWEEP_TAG,
    experiment_tags,
)
from interfero.tracking.operations import (
    EnsureRun,
    LogBatch,
    LogFile,
    LogInputs,
    Operation,
    SetStatus,
    storable,
)

logger = logging.getLogger(__name__)

SERVER_ERRORS = (MlflowException, SQLAlchemyError, OSError)
"""What MLflow raises when a server is away or does not like a request."""
_PAGE = 1000
_REFUSALS = {"INVALID_PARAMETER_VALUE", "INVALID_STATE", "RESOURCE_DOES_NOT_EXIST"}
_UNKNOWN = {"ENDPOINT_NOT_FOUND", "NOT_IMPLEMENTED"}
"""What a server answers that is older than data sets (MLflow 2.4)."""


class RefusedError(Exception):
    """An operation that would fail as often as it is tried."""


class NotStoredError(Exception):
    """A file that was not stored, while the server answered: its store for files did not, or refused."""


@dataclass(slots=True)
class CellRun:
    """A cell's run as the server has it."""

    run_id: str
    status: str
    start_ms: int
    curve_step: int
    """Last step of the learning curve; -1 where there is none."""
    was_stopped: bool = False
    """Whether a search stopped the cell early."""
    files_at: str = ""
    """Address of its artifacts."""


class Runs:
    """Finds, creates and writes the runs of one sweep."""

    def __init__(self, uri: str, experiment: str, sweep: str) -> None:
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri)
        self._experiment_id = self._open_experiment(experiment)
        self._sweep = sweep
        self._parent_id = ""
        self._first_text = ""
        self.parent_start_ms = 0
        """Unix time in milliseconds."""
        self._parent_told_ms = 0
        self._in_doubt: set[str] = set()
        self.cells: dict[str, CellRun] = {}
        """Runs of cells by key."""

    def open_parent(
        self, tags: Mapping[str, str], params: Mapping[str, str], time_ms: int, sweep_id: str
    ) -> str:
        """Find or create the parent run, load its cells, and return the parent's status.

        A run of this name with another mark is of a sweep in another storage: it is left alone.
        MLflow keeps the first value of a parameter, and the tags say where a sweep began: what is
        different on a resume is written beside them.

        Raises:
            TrackingError: the run's files cannot be stored.
        """
        tags = {name: storable(value) for name, value in tags.items()}
        params = {name: storable(value) for name, value in params.items()}
        query = f"tags.`{KIND_TAG}` = 'sweep'"
        named = [run for run in self._search(query) if run.data.tags.get(SWEEP_TAG) == self._sweep]
        # Runs of before there were marks have none.
        found = [r for r in named if r.data.tags.get(SWEEP_ID_TAG) == sweep_id]
        found += [r for r in named if SWEEP_ID_TAG not in r.data.tags]
        tags = {**tags, SWEEP_ID_TAG: sweep_id}
        parent = found[0] if found else self._create_parent(tags, time_ms)
        self._parent_id = parent.info.run_id
        self.parent_start_ms = int(parent.info.start_time)
        # Of each of its metrics the newest point: a driver that died has told its progress for longer than
        # any start of a run says.
        told = (int(point.timestamp) for point in parent.data.to_proto().metrics)
        self._parent_told_ms = max(int(parent.info.end_time or 0), *told, 0)
        held = {**parent.data.tags, **parent.data.params}
        changed = {k: v for k, v in {**tags, **params}.items() if k in held and held[k] != v}
        new_tags = {name: value for name, value in tags.items() if name not in held}
        if changed:
            new_tags[RESUMED_TAG] = json.dumps(changed, sort_keys=True)
        new_params = {name: value for name, value in params.items() if name not in held}
        self._log_batch(LogBatch(key=None, params=new_params, tags=new_tags))
        self._first_text = f"{tags.get(COMMAND_TAG, self._sweep)}\n"
        try:
            store_first_file(self._client, parent, self._first_text, self._uri)
        except TrackingError:
            if not found:
                # A sweep that could not start has not taken its name. Why it could not is what matters.
                self._remove_parent()
            raise
        self.load()
        return str(parent.info.status)

    @property
    def latest_ms(self) -> int:
        """The latest time at which something is known to have happened; Unix time in milliseconds."""
        starts = (run.start_ms for run in self.cells.values())
        return max(self.parent_start_ms, self._parent_told_ms, *starts)

    def link(self, key: str | None, artifact: str = "") -> str:
        """Address of a run's page, or of a file of it, within the MLflow UI; empty if it has no run.

        Args:
            key: The cell's key; None is the parent run.
            artifact: Path of the file below the run's artifacts.
        """
        if key is not None and key not in self.cells:
            return ""
        page = f"#/experiments/{self._experiment_id}/runs/{self._run_id(key)}"
        return f"{page}/artifacts/{quote(artifact)}" if artifact else page

    def load(self) -> None:
        """Read which cells have runs, and heal what a lost answer of the server may have doubled.

        A run whose creation was answered too late has a twin and was never written: it is deleted.
        """
        self.cells = {}
        query = f"tags.`{PARENT_TAG}` = '{self._parent_id}'"
        # Of each run only what is kept: 100,000 of them with all their metrics would take gigabytes.
        found = sorted(
            ((_precedence(run), _is_empty(run), run.data.tags[CELL_TAG], _kept(run))
             for run in self._each(query) if CELL_TAG in run.data.tags),
            key=itemgetter(0),
        )  # fmt: skip
        for _, empty, key, run in found:
            if not self._adopt(key, run) and empty:
                logger.warning("cell %s had a second, empty run: deleted", key)
                self._client.delete_run(run.run_id)
        self._in_doubt.clear()

    def end_running(self, sweep_id: str, status: str, time_ms: int) -> None:
        """End what the server shows as RUNNING of this sweep, which need not have been opened.

        Args:
            sweep_id: The sweep's mark, as of `open_parent`.
            status: Of its parent run; its cells become KILLED.
            time_ms: When; Unix time in milliseconds.

        Raises:
            SERVER_ERRORS: the server is away.
        """
        mark = f"tags.`{SWEEP_ID_TAG}` = '{sweep_id}'"
        for parent in self._search(mark):
            if parent.info.status == "RUNNING":
                self._end(parent, status, time_ms)
            cells = (
                f"tags.`{PARENT_TAG}` = '{parent.info.run_id}' and attributes.status = 'RUNNING'"
            )
            for cell in self._search(cells):
                self._end(cell, "KILLED", time_ms)

    def _end(self, run: Run, status: str, time_ms: int) -> None:
        # Not before it began, by a clock that was set back.
        self._client.set_terminated(run.info.run_id, status, max(time_ms, run.info.start_time))

    def heal(self) -> None:
        """Look for doubled runs if the answer to the creation of one was ever lost."""
        if self._in_doubt:
            self.load()

    def deliver(self, operation: Operation) -> None:
        """Carry out one operation; a second time changes nothing.

        Raises:
            RefusedError: no repetition would help.
            NotStoredError: a file was not stored, though the server answers.
            SERVER_ERRORS: the server is away, or not able just now.
        """
        try:
            match operation:
                case EnsureRun():
                    self._ensure_run(operation)
                case LogBatch():
                    self._log_batch(operation)
                case LogInputs():
                    self._log_inputs(operation)
                case LogFile():
                    self._log_file(operation)
                case SetStatus():
                    self._set_status(operation)
        except MlflowException as error:
            refusals = _REFUSALS | (_UNKNOWN if isinstance(operation, LogInputs) else set())
            if error.error_code in refusals:
                raise RefusedError(str(error)) from error
            raise

    def probe(self) -> None:
        """Read something small.

        Raises:
            SERVER_ERRORS: the server is away.
        """
        self._client.get_experiment(self._experiment_id)

    def probe_store(self) -> None:
        """Write a small file that is there already.

        Raises:
            NotStoredError: the store for files is away, or refuses.
        """
        # Artifact stores fail with whatever their own libraries raise.
        try:
            self._client.log_text(self._parent_id, self._first_text, FIRST_FILE)
        except Exception as error:
            raise NotStoredError(f"{FIRST_FILE} is not stored: {error}") from error

    def _answers(self) -> bool:
        # Twice: a server that has just failed may have closed the connection.
        for _ in range(2):
            with suppress(*SERVER_ERRORS):
                self.probe()
                return True
        return False

    def _open_experiment(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is None:
            folder, tags = _artifact_folder(self._uri, name), experiment_tags(name)
            try:
                return self._client.create_experiment(name, artifact_location=folder, tags=tags)
            except MlflowException as error:
                # Another sweep made it just now.
                experiment = self._client.get_experiment_by_name(name)
                if experiment is None or error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
        location = str(experiment.artifact_location)
        if is_database(self._uri) and location.startswith("mlflow-artifacts:"):
            raise TrackingError(
                f"files of experiment {name!r} are behind an MLflow server ({location}), which a database's "
                f"own address does not reach: set {URI_VARIABLE} to the server's address"
            )
        if experiment.lifecycle_stage == "deleted":
            logger.warning("experiment %r was deleted: restored", name)
            self._client.restore_experiment(experiment.experiment_id)
        for tag, value in experiment_tags(name).items():
            # A view that somebody chose in the UI stays.
            if tag not in experiment.tags:
                self._client.set_experiment_tag(experiment.experiment_id, tag, value)
        return str(experiment.experiment_id)

    def _create_parent(self, tags: Mapping[str, str], time_ms: int) -> Run:
        every = {**tags, KIND_TAG: "sweep", SWEEP_TAG: self._sweep}
        return self._client.create_run(
            self._experiment_id, start_time=time_ms, tags=every, run_name=self._sweep
        )

    def _remove_parent(self) -> None:
        # Twice, as above.
        for _ in range(2):
            with suppress(*SERVER_ERRORS):
                self._client.delete_run(self._parent_id)
                return

    def _ensure_run(self, operation: EnsureRun) -> None:
        key = operation.key
        if key in self._in_doubt:
            for run in self._search(f"tags.`{CELL_TAG}` = '{key}'"):
                if run.data.tags.get(PARENT_TAG) == self._parent_id:
                    self._adopt(key, _kept(run))
        cell = self.cells.get(key)
        if cell is None:
            self._in_doubt.add(key)
            tags = {**operation.tags, PARENT_TAG: self._parent_id}
            run = self._client.create_run(
                self._experiment_id, operation.time_ms, tags, operation.name
            )
            self._adopt(key, _kept(run))
            self._in_doubt.discard(key)
        elif cell.status not in {"RUNNING", "FINISHED"}:
            self._client.update_run(cell.run_id, status="RUNNING")
            cell.status = "RUNNING"

    def _log_batch(self, operation: LogBatch) -> None:
        self._client.log_batch(
            self._run_id(operation.key),
            metrics=[Metric(*point) for point in operation.metrics],
            params=[Param(name, value) for name, value in operation.params.items()],
            tags=[RunTag(name, value) for name, value in operation.tags.items()],
            synchronous=True,
        )

    def _log_inputs(self, operation: LogInputs) -> None:
        self._client.log_inputs(
            self._run_id(operation.key),
            [
                DatasetInput(
                    Dataset(
                        name=d.name, digest=d.digest, source_type=d.source_type, source=d.source,
                        schema=d.data_schema, profile=d.profile,
                    ),
                    [InputTag(CONTEXT_TAG, d.context)],
                )
                for d in operation.datasets
            ],
        )  # fmt: skip

    def _log_file(self, operation: LogFile) -> None:
        run_id = self._run_id(operation.key)
        if not Path(operation.path).is_file():
            raise RefusedError(f"{operation.path} is not there any more")
        # Artifact stores fail with whatever their own libraries raise.
        try:
            self._copy(operation, run_id)
        except Exception as error:
            if self._answers():
                raise NotStoredError(f"{operation.path} is not stored: {error}") from error
            raise OSError(f"{operation.path} is not stored: {error}") from error

    def _copy(self, operation: LogFile, run_id: str) -> None:
        files_at = self.cells[operation.key].files_at if operation.key else ""
        if not files_at or self._uri.startswith("databricks"):
            self._client.log_artifact(run_id, operation.path, operation.folder or None)
            return
        # The client would read the run again with all that was logged, to learn this address, and keep a
        # pool of threads for each of 1,000 runs (3.17).
        place = get_artifact_repository(files_at, self._uri)
        place.log_artifact(operation.path, operation.folder or None)  # type: ignore[no-untyped-call]

    def _set_status(self, operation: SetStatus) -> None:
        run_id = self._run_id(operation.key)
        if operation.status == "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        else:
            self._client.set_terminated(run_id, operation.status, operation.time_ms)
        if operation.key is not None:
            self.cells[operation.key].status = operation.status

    def _run_id(self, key: str | None) -> str:
        if key is None:
            return self._parent_id
        if key not in self.cells:
            raise RefusedError(f"cell {key} has no run on this server")
        return self.cells[key].run_id

    def _adopt(self, key: str, run: CellRun) -> bool:
        """Take a run for the cell's; False where another already is."""
        return self.cells.setdefault(key, run).run_id == run.run_id

    def _search(self, query: str) -> list[Run]:
        """All runs of the experiment that match: finished first, then written, then the oldest."""
        return sorted(self._each(query), key=_precedence)

    def _each(self, query: str) -> Iterator[Run]:
        token: str | None = None
        while token != "":
            page = self._client.search_runs(
                [self._experiment_id], query, ViewType.ACTIVE_ONLY, _PAGE, None, token
            )
            yield from page
            token = page.token or ""


def _kept(run: Run) -> CellRun:
    info, tags = run.info, run.data.tags
    return CellRun(
        info.run_id, info.status, info.start_time, int(tags.get(CURVE_TAG, -1)), STOPPED_TAG in tags,
        info.artifact_uri,
    )  # fmt: skip


def _precedence(run: Run) -> tuple[bool, bool, int, str]:
    info = run.info
    return (info.status != "FINISHED", _is_empty(run), info.start_time, info.run_id)


def _is_empty(run: Run) -> bool:
    return not run.data.params and not run.data.metrics


def _artifact_folder(uri: str, experiment: str) -> str | None:
    """Beside a SQLite file, wherever the driver was started; a server knows its own place."""
    if not is_database(uri) or sqlalchemy.make_url(uri).get_backend_name() != "sqlite":
        return None
    database = Path(sqlalchemy.make_url(uri).database or "").absolute()
    return (database.parent / "mlruns" / experiment).as_uri()
