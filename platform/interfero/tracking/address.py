"""Where runs are tracked: the address, what of it may be shown, and whether anything answers."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import sqlalchemy
from mlflow.exceptions import MlflowException
from mlflow.store.db.db_types import DATABASE_ENGINES
from mlflow.tracking.client import MlflowClient
from sqlalchemy.exc import SQLAlchemyError

from interfero.errors import TrackingError
from interfero.redaction import masked
from interfero.tracking.database_file import CHECK_S, DEFAULT_URI, URI_VARIABLE
from interfero.tracking.names import CHECKED_TAG, MAIN_METRIC_TAG

OF_A_SWEEP = f"tags.`{MAIN_METRIC_TAG}` LIKE '%/%'"
"""Of experiments that a sweep has made."""
_WRITE_S = 10
"""Time that one small write may take."""
_PATIENCE_LOCK = threading.RLock()
_TALKATIVE = ("alembic", "mlflow.store.db.utils")


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Bound each MLflow request made inside to so many seconds, and send it once.

    MLflow repeats a request for minutes, and repeats `create run` too, whose first answer may just
    be late. It reads these settings from the environment at each request, so one thread at a time
    is let in. A server that writes to an object store would have its clients (3.17) fetch each file
    from there themselves, which they may not be able to reach: what is done inside goes through it.
    """
    wanted = {
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": str(max(1, round(seconds))),
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
        "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD": "false",
    }
    with _PATIENCE_LOCK:
        before = {name: os.environ.get(name) for name in wanted}
        os.environ.update(wanted)
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what MLflow tells about the tables it makes in a new database."""
    loggers = [logging.getLogger(name) for name in _TALKATIVE]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_DRIVERS = {
    "psycopg2": "psycopg2-binary", "psycopg": "psycopg[binary]", "MySQLdb": "mysqlclient",
    "pymysql": "pymysql", "pyodbc": "pyodbc", "pymssql": "pymssql",
}  # fmt: skip
"""Module that SQLAlchemy opens a database with to the package that brings it."""


def is_database(uri: str) -> bool:
    """Whether the address is a database's, which MLflow opens in this process."""
    return uri.partition("://")[0].partition("+")[0] in DATABASE_ENGINES


def unreachable(uri: str, reason: object) -> TrackingError:
    """The error that names the address, what is wrong with it, and the remedies.

    Args:
        uri: The address.
        reason: What came of asking: an exception, or a text.
    """
    missing = getattr(reason, "name", None) if isinstance(reason, ImportError) else None
    if package := _DRIVERS.get(missing or ""):
        return TrackingError(
            f"the tracking database at {masked(uri, uri)} needs a driver that is not installed: "
            f"pip install '{package}'"
        )
    text = masked(" ".join(str(reason).split()), uri)[:400]
    rule, remedy = _rule_and_remedy(uri, text, getattr(reason, "error_code", ""))
    return TrackingError(
        f"the tracking server at {masked(uri, uri)} must {rule} before training starts; it does "
        f"not: {text}. {remedy} {URI_VARIABLE}, or unset that to write to {DEFAULT_URI} "
        "in the working folder"
    )


_NO_LOGIN = ("authentication failed", "no password supplied", "Access denied for user")
_NO_WRITING = (
    "permission denied for",
    "read-only transaction",
    "readonly database",
    "command denied",
)
"""PostgreSQL, SQLite and MySQL; a server passes on what its database says."""


def _rule_and_remedy(uri: str, text: str, error_code: str) -> tuple[str, str]:
    if error_code == "UNAUTHENTICATED" or any(words in text for words in _NO_LOGIN):
        given = "Correct them in" if is_database(uri) else (
            "Set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN; correct"
        )  # fmt: skip
        return "accept the user and password", given
    if any(words in text for words in _NO_WRITING):
        return "let its database user write", (
            "Let that user SELECT, INSERT, UPDATE and DELETE in all of MLflow's tables (GRANT), correct"
        )
    if error_code == "PERMISSION_DENIED":
        return "let this user write", (
            "Ask its owner for the right to (of MLflow's own users: EDIT on this experiment), set "
            "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN, to another "
            "user's, correct"
        )
    return "answer", "Start it, correct"


def check_reachable(uri: str) -> None:
    """Ask the server for something small, within a few seconds; nothing is written.

    Raises:
        TrackingError: nothing that MLflow can write to answers at this address.
    """
    try:
        if is_database(uri):
            _check_database(uri)
        else:
            with patience(CHECK_S):
                MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        # From None: the original message may show a password in a traceback.
        raise unreachable(uri, error) from None


def check_writable(uri: str) -> None:
    """Whether this user may write to a server that answers, and to each experiment made by a sweep there.

    Who may read only is found out by writing: a tag of each of those experiments says when it was
    checked. Of a database's own address `check_reachable` says it.

    Raises:
        TrackingError: names the server, the experiments, the reason and the remedy.
    """
    if is_database(uri):
        return
    try:
        with patience(_WRITE_S):
            client = MlflowClient(tracking_uri=uri)
            _make_nothing(client)
            _write_to_experiments(client)
    except (MlflowException, OSError) as error:
        raise unreachable(uri, error) from None


def _make_nothing(client: MlflowClient) -> None:
    """Ask for an experiment that is there already: fails otherwise where nothing can be written at all."""
    for experiment in client.search_experiments(max_results=1):
        try:
            client.create_experiment(experiment.name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _write_to_experiments(client: MlflowClient) -> None:
    at = datetime.now(UTC).isoformat(timespec="seconds")
    refused: dict[str, MlflowException] = {}
    for experiment in client.search_experiments(filter_string=OF_A_SWEEP):
        try:
            client.set_experiment_tag(experiment.experiment_id, CHECKED_TAG, at)
        except MlflowException as error:
            refused[experiment.name] = error
    for denied in refused.values():
        denied.args = (f"{', '.join(refused)}: {denied}",)
        raise denied


def _check_database(uri: str) -> None:
    """Connect once: MLflow itself would try ten times, over 100 seconds, to open a broken file."""
    url = sqlalchemy.make_url(uri)
    sqlite = url.get_backend_name() == "sqlite"
    if sqlite:
        _check_file(Path(url.database or ""))
    timeout = "timeout" if sqlite or url.get_backend_name() == "mssql" else "connect_timeout"
    engine = sqlalchemy.create_engine(
        url, poolclass=sqlalchemy.NullPool, connect_args={timeout: CHECK_S}
    )
    with engine.connect() as connection:
        # IMMEDIATE takes the write lock: read-only and locked files fail here, not at the end.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if sqlite else "SELECT 1")
        postgresql = url.get_backend_name() == "postgresql"
        if postgresql and sqlalchemy.inspect(connection).has_table("runs"):
            # Needs the right to write, and locks no row.
            connection.exec_driver_sql("SELECT 1 FROM runs WHERE false FOR UPDATE")


def _check_file(path: Path) -> None:
    folder = path.absolute().parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist; make it")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; name a file in it")
    if not os.access(path if path.exists() else folder, os.W_OK):
        raise PermissionError(f"{path} is not writable")
