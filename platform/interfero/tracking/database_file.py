"""Whether the tracking server or database is there, asked without MLflow, which takes seconds to import."""

from __future__ import annotations

import os
import socket
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from interfero.errors import ConfigError, TrackingError, nearest
from interfero.redaction import masked

URI_VARIABLE = "MLFLOW_TRACKING_URI"
DEFAULT_URI = "sqlite:///mlflow.db"
CHECK_S = 4
"""A server that says nothing for so many seconds is not there."""
_SCHEME = "sqlite:///"
_PORTS = {"http": 80, "https": 443}


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


def check_listening(uri: str | None = None) -> None:
    """Refuse a server that nothing listens at, before libraries, codecs and images are loaded.

    Any other address passes, and one behind a proxy, which alone knows: MLflow asks it.

    Raises:
        TrackingError: the host is not known, or refuses, or says nothing for `CHECK_S` seconds.
    """
    address = tracking_uri(uri)
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return
    if host is None or parts.scheme not in _PORTS:
        return
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), timeout=CHECK_S).close()
    except OSError as error:
        raise TrackingError(
            f"the tracking server at {masked(address, address)} must answer, and does not: {error}. "
            f"Start it, correct {URI_VARIABLE}, or unset that to use {DEFAULT_URI} in the "
            "working folder"
        ) from None


def check_experiment(name: str) -> None:
    """Refuse an experiment that the database of this machine does not have.

    Any other server, and a file that is no such database, passes: MLflow asks it.

    Raises:
        TrackingError: there is no database.
        ConfigError: names the nearest experiment, and all of them.
    """
    uri = tracking_uri()
    check_listening(uri)
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
