"""Sweeps read back from a tracking server or its database; nothing is written there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlparse

import sqlalchemy
from mlflow.entities import Run, ViewType
from mlflow.tracking.client import MlflowClient

from interfero.errors import ConfigError, TrackingError, nearest
from interfero.records import CellRecord
from interfero.redaction import masked
from interfero.tracking.address import (
    check_reachable,
    is_database,
    patience,
    quiet,
)
from interfero.tracking.database_file import check_database, tracking_uri
from interfero.tracking.names import (
    CELL_TAG,
    ERROR_TAG,
    KIND_TAG,
    PARENT_TAG,
    STOPPED_TAG,
    SWEEP_TAG,
)
from interfero.tracking.runs import SERVER_ERRORS

REQUEST_S = 30.0
_PAGE = 1000
_STATUS = {"FINISHED": "finished", "FAILED": "failed"}
_WHOLE = {"num_images", "adapter_size", "data_seed", "init_seed", "num_steps"}
_LEARNING_CURVE = {"train/bpp", "train/mse_255", "train/rd_loss", "train/loss"}
"""The last point of a curve is no result."""


@dataclass(frozen=True)
class StoredSweep:
    """A sweep's parent run."""

    name: str
    run_id: str
    status: str
    """The status under its MLflow name."""
    num_cells: int
    """That the sweep planned; 0 where the run does not say."""
    tags: Mapping[str, str]


class TrackedSweeps:
    """The sweeps of one experiment."""

    def __init__(self, uri: str | None, experiment: str) -> None:
        """Find them.

        Args:
            uri: Of the tracking server; None is MLFLOW_TRACKING_URI, else `sqlite:///mlflow.db`.
            experiment: The experiment's name, a sweep's kind.

        Raises:
            TrackingError: there is no such database, or the server does not answer.
            ConfigError: there is no such experiment, or it holds no sweeps.
        """
        self._uri = tracking_uri(uri)
        self.address = masked(self._uri, self._uri)
        """Fit to be shown."""
        _check_there(self._uri)
        check_reachable(self._uri)
        try:
            with quiet(), patience(REQUEST_S):
                self._client = MlflowClient(tracking_uri=self._uri)
                self._experiment_id = self._find(experiment)
                self.sweeps = self._sweeps()
        except SERVER_ERRORS as error:
            raise self._failed(error) from None
        if not self.sweeps:
            raise ConfigError(
                f"experiment {experiment!r} at {self.address} holds no sweep of interfero: give the "
                "experiment of a sweep, or --cells FILE"
            )

    def chosen(self, names: Sequence[str]) -> list[StoredSweep]:
        """The sweeps of these names; of none, the newest.

        Raises:
            ConfigError: a name is unknown.
        """
        if not names:
            return self.sweeps[:1]
        by_name = {sweep.name: sweep for sweep in self.sweeps}
        unknown = [name for name in names if name not in by_name]
        if unknown:
            raise ConfigError(
                f"the experiment has no sweep {unknown[0]!r}: {nearest(unknown[0], by_name)}"
            )
        return [by_name[name] for name in names]

    def runs(self, sweep: StoredSweep) -> dict[str, Run]:
        """Its cells' runs by key.

        Raises:
            TrackingError: the server does not answer.
        """
        found = self._search(f"tags.`{PARENT_TAG}` = '{sweep.run_id}'")
        return {run.data.tags[CELL_TAG]: run for run in found if CELL_TAG in run.data.tags}

    def artifact(self, run_id: str, path: str, folder: Path) -> Path | None:
        """A run's file, copied below a folder unless it lies on this machine; None if it is not there."""
        try:
            with quiet(), patience(REQUEST_S):
                root = _on_this_machine(self._uri, self._client.get_run(run_id).info.artifact_uri)
                if root is not None:
                    return root / path if (root / path).is_file() else None
                folder.mkdir(parents=True, exist_ok=True)
                return Path(self._client.download_artifacts(run_id, path, str(folder)))
        except SERVER_ERRORS:
            # Deleted, or on a disk that only the sweep's machine has: the caller says what is missing.
            return None

    def _find(self, name: str) -> str:
        experiment = self._client.get_experiment_by_name(name)
        if experiment is not None and experiment.lifecycle_stage == "active":
            return str(experiment.experiment_id)
        names = [e.name for e in self._client.search_experiments(max_results=_PAGE)]
        raise ConfigError(f"{self.address} has no experiment {name!r}: {nearest(name, names)}")

    def _sweeps(self) -> list[StoredSweep]:
        """Newest first."""
        found = self._search(f"tags.`{KIND_TAG}` = 'sweep'")
        found.sort(key=lambda run: -run.info.start_time)
        return [
            StoredSweep(
                name=run.data.tags.get(SWEEP_TAG, run.info.run_name),
                run_id=run.info.run_id,
                status=run.info.status,
                num_cells=int(run.data.params.get("num_cells", 0)),
                tags=run.data.tags,
            )
            for run in found
        ]

    def _search(self, query: str) -> list[Run]:
        token: str | None = None
        found: list[Run] = []
        try:
            with quiet(), patience(REQUEST_S):
                while token != "":
                    page = self._client.search_runs(
                        [self._experiment_id], query, ViewType.ACTIVE_ONLY, _PAGE, None, token
                    )
                    found.extend(page)
                    token = page.token or ""
        except SERVER_ERRORS as error:
            raise self._failed(error) from None
        return found

    def _failed(self, error: Exception) -> TrackingError:
        text = masked(" ".join(str(error).split()), self._uri)[:400]
        return TrackingError(f"{self.address} cannot be read: {text}")


def record_of(key: str, run: Run) -> CellRecord | None:
    """Record of a cell's run: params and metrics, without test images; None of one that has not ended.

    Raises:
        ConfigError: the run holds what no adaptation sweep writes.
    """
    data, status = run.data, _STATUS.get(run.info.status)
    if status is None or STOPPED_TAG in data.tags:
        return None
    metrics = {
        name: value
        for name, value in data.metrics.items()
        if name not in _LEARNING_CURVE and math.isfinite(value)
    }
    try:
        params = {name: _typed(name, value) for name, value in data.params.items()}
        return CellRecord(
            key=key,
            params=params,
            status=status,  # type: ignore[arg-type]
            metrics=metrics if status == "finished" else {},
            error=data.tags.get(ERROR_TAG) or None,
        )
    except ValueError as error:
        raise ConfigError(f"run {run.info.run_id} holds what no sweep writes: {error}") from error


def _typed(name: str, value: str) -> str | int | float:
    if name in _WHOLE:
        return int(value)
    try:
        return float(value)
    except ValueError:
        return value


def _check_there(uri: str) -> None:
    """A database file is not made by reading it.

    Raises:
        TrackingError: there is none.
    """
    if not is_database(uri) or sqlalchemy.make_url(uri).get_backend_name() != "sqlite":
        return
    check_database(Path(sqlalchemy.make_url(uri).database or ""))


def _on_this_machine(uri: str, artifact_uri: str) -> Path | None:
    """The folder of a run's files: as the run names it, or beside a database that was moved."""
    parts = urlparse(artifact_uri)
    if parts.scheme not in ("", "file"):
        return None
    named = Path(unquote(parts.path))
    if named.is_dir() or not is_database(uri) or "mlruns" not in named.parts:
        return named
    below = named.parts[named.parts.index("mlruns") :]
    return Path(sqlalchemy.make_url(uri).database or "").absolute().parent.joinpath(*below)
