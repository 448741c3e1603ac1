"""The tracking database of this machine, looked at without MLflow, which takes seconds to import."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from interfero.errors import ConfigError, TrackingError, nearest

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_URI = "sqlite:///mlflow.db"
_SCHEME = "sqlite:///"


def tracking_uri(uri: str | None = None) -> str:
    """The given address, else MLFLOW_TRACKING_URI, else a database in the working folder."""
    return uri or os.environ.get(URI_VARIABLE) or DEFAULT_URI


def check_database(path: Path) -> None:
    """A database file is not made by reading it.

    Raises:
        TrackingError: there is none.
    """
    if not path.is_file():
        raise TrackingError(
            f"there is no tracking database {path.absolute()}: set {URI_VARIABLE}, or start in the folder "
            "that the sweep was started in"
        )


def check_experiment(name: str) -> None:
    """Refuse an experiment that the database of this machine does not have.

    Any other server, and a file that is no such database, passes: MLflow asks it.

    Raises:
        TrackingError: there is no database.
        ConfigError: names the nearest experiment, and all of them.
    """
    uri = tracking_uri()
    # Drivers and options of SQLAlchemy are left to it.
    if not uri.startswith(_SCHEME) or "?" in uri:
        return
    path = Path(uri.removeprefix(_SCHEME))
    check_database(path)
    names = _experiments(path)
    if names is not None and name not in names:
        raise ConfigError(f"{uri} has no experiment {name!r}: {nearest(name, names)}")


def _experiments(path: Path) -> list[str] | None:
    """Names of those that are not deleted; None if the file does not say it."""
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True)
        ) as file:
            rows = file.execute("SELECT name FROM experiments WHERE lifecycle_stage = 'active'")
            return [str(name) for (name,) in rows]
    except sqlite3.Error:
        return None
