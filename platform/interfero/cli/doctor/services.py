"""Ray and the tracking server."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from interfero.cli.doctor.finding import Finding
from interfero.cli.doctor.machine import existing_folder
from interfero.errors import TrackingError
from interfero.redaction import masked

CONNECT_S = 4
"""A host that accepts nothing for so many seconds is not there."""
RAY_S = 120
"""Ray starts in seconds; a busy machine may take a minute."""

_START_REMEDY = (
    "look at /tmp/ray/session_latest/logs; free memory and /tmp, and install Ray from the lock file"
)
_ADDRESS_REMEDY = (
    "name a cluster that runs: `ray status` on its head prints it, --address auto finds the one on "
    "this machine; a cluster with tokens needs RAY_AUTH_MODE=token and ~/.ray/auth_token here too"
)
_STATE_REMEDY = (
    "the dashboard serves it, on the head alone: run this there, or start Ray with "
    "--include-dashboard=true (its package is ray[default])"
)
_VERSIONS_REMEDY = "install the same requirements.lock on every node, then start Ray again"
_SHARED_REMEDY = (
    "mount one folder (NFS, say) at the same path on every node, and give it as --storage"
)


def check_ray(address: str | None, storage: Path) -> list[Finding]:
    """Start Ray on this machine, or look at the cluster at an address.

    Args:
        address: As a sweep's `--address`; None is RAY_ADDRESS, else this machine alone.
        storage: Folder that every node of a cluster must see.
    """
    address = address or os.environ.get("RAY_ADDRESS") or None
    remedy = _START_REMEDY if address is None else _ADDRESS_REMEDY
    silent = _silent_host(address)
    if silent is not None:
        return [Finding("ray", f"{address}: {silent}", remedy)]
    seen = _probe(address, storage)
    if "error" in seen:
        where = "does not start" if address is None else f"does not answer at {address}"
        return [Finding("ray", f"{where}: {seen['error']}", remedy)]
    if address is None:
        return [Finding("ray", f"{seen['ray']} starts here and runs a task")]
    return [
        Finding("ray", f"{seen['ray']} at {address}: {_described(seen)}"),
        _state_api(seen),
        _versions(seen),
        _shared_storage(seen, storage),
    ]


def _silent_host(address: str | None) -> str | None:
    """Why nothing can be connected to at HOST:PORT; Ray itself would try for minutes."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return None
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_S).close()
    except (OSError, OverflowError) as error:
        return f"nothing answers there ({error})"
    return None


def _probe(address: str | None, storage: Path) -> dict[str, Any]:
    """What a process of its own sees: Ray prints, waits and aborts as it likes."""
    probe = [sys.executable, "-W", "ignore", "-m", "interfero.engine.ray_probe"]
    folder = str(existing_folder(storage))
    try:
        done = subprocess.run(
            [*probe, folder, *([address] if address else [])],
            capture_output=True,
            text=True,
            timeout=RAY_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"no answer in {RAY_S} s"}
    for line in reversed(done.stdout.splitlines()):
        with suppress(ValueError):
            seen: dict[str, Any] = json.loads(line)
            return seen
    said = [line for line in done.stderr.splitlines() if line.strip()]
    return {"error": said[-1].strip()[:300] if said else f"exit code {done.returncode}"}


def _described(seen: dict[str, Any]) -> str:
    resources = ", ".join(f"{seen['resources'].get(kind, 0):g} {kind}s" for kind in ("CPU", "GPU"))
    return f"{len(seen['nodes'])} nodes, {resources}"


def _state_api(seen: dict[str, Any]) -> Finding:
    if seen["state_api"] is None:
        return Finding("ray state api", "answers")
    return Finding("ray state api", f"does not answer: {seen['state_api']}", _STATE_REMEDY)


def _versions(seen: dict[str, Any]) -> Finding:
    """Every node must compute with the libraries of the driver: they are part of a cell's key."""
    wrong = [
        f"{node}: {name} {version}, here {seen['versions'][name]}"
        for node, there in seen["nodes"].items()
        for name, version in there["versions"].items()
        if version != seen["versions"][name]
    ]
    if not wrong:
        return Finding("ray libraries", "the same on every node")
    return Finding("ray libraries", "; ".join(wrong), _VERSIONS_REMEDY)


def _shared_storage(seen: dict[str, Any], storage: Path) -> Finding:
    blind = [node for node, there in seen["nodes"].items() if not there["sees_storage"]]
    if not blind:
        return Finding("shared storage", f"every node sees {storage}")
    return Finding(
        "shared storage",
        f"{storage} of this machine is not seen by {', '.join(blind)}",
        _SHARED_REMEDY,
    )


def check_tracking() -> Finding:
    """Whether runs can be written to MLFLOW_TRACKING_URI, or else to the database file."""
    # MLflow takes seconds to import: the table of commands is printed without it.
    from interfero.tracking.address import check_reachable
    from interfero.tracking.database_file import DEFAULT_URI, tracking_uri

    uri = tracking_uri()
    database = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:///") else None
    fresh = database is not None and not database.exists()
    try:
        check_reachable(uri)
    except TrackingError as error:
        return Finding(
            "tracking",
            str(error),
            "mlflow server --host 127.0.0.1 starts one; unset MLFLOW_TRACKING_URI writes to "
            f"{DEFAULT_URI}",
        )
    finally:
        # Connecting makes an empty file; a check leaves nothing.
        if fresh and database is not None and database.is_file() and not database.stat().st_size:
            database.unlink()
    lacks = _store_library(uri) or _right_to_write(uri)
    return lacks or Finding("tracking", f"{masked(uri, uri)} answers, and this user may write")


def _right_to_write(uri: str) -> Finding | None:
    """That this user may only read; None if not so."""
    from interfero.tracking.address import check_writable

    try:
        check_writable(uri)
    except TrackingError as error:
        return Finding(
            "tracking",
            str(error),
            "give this user the right to write, or use another user; a sweep is refused until then",
        )
    return None


def _store_library(uri: str) -> Finding | None:
    """That a server leaves files to its clients, and their library is not here; None if not so."""
    from interfero.tracking.first_file import missing_package

    # Files of a database file's runs lie beside it.
    found = None if uri.startswith("sqlite:") else missing_package(uri)
    if found is None:
        return None
    place, package = found
    return Finding(
        "tracking",
        f"{masked(uri, uri)} answers, and leaves storing files at {place} to its clients, which need "
        f"{package}: it is not installed",
        f"pip install {package}, with credentials for {place}; or start the server with "
        f"--artifacts-destination {place}/..., and it writes for its clients",
    )
