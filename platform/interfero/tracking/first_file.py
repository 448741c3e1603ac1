"""Whether files of a run can be stored: found out before anything trains, with a file worth keeping."""

from __future__ import annotations

import importlib.util
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient

from interfero.errors import TrackingError
from interfero.redaction import masked
from interfero.tracking.address import patience
from interfero.tracking.database_file import CHECK_S

_FIRST = "0"
"""The experiment that every MLflow server has: its place is below the server's own."""
_MODULES = {
    "s3": "boto3",
    "gs": "google.cloud.storage",
    "wasbs": "azure.storage.blob",
    "abfss": "azure.storage.filedatalake",
    "sftp": "pysftp",
}
"""By the scheme of a place, what writes there."""
FILE_REQUEST_S = 30.0
"""Time that a server that answers may take for a file."""
FIRST_FILE = "command.txt"
_PACKAGES = {
    "boto3": "boto3",
    "google": "google-cloud-storage",
    "azure": "azure-storage-blob azure-storage-file-datalake azure-identity",
    "pysftp": "pysftp",
}
"""What MLflow imports to write to an object store, and what installs it."""


def store_first_file(client: MlflowClient, run: Run, text: str, uri: str) -> None:
    """Write the first of a run's files; it may be there already.

    A server may let its clients write to an object store themselves, which then need its library, its
    credentials and a bucket; a server that writes for them may have the wrong ones.

    Args:
        client: Of the tracking server.
        run: The sweep's parent.
        text: What the file says.
        uri: Of the tracking server, whose secrets are not shown.

    Raises:
        TrackingError: the file is not stored; names where it would be, why not, and the remedy.
    """
    try:
        # As every file of a sweep: an object store takes its time.
        with patience(FILE_REQUEST_S):
            client.log_text(run.info.run_id, text, FIRST_FILE)
    # Artifact stores fail with whatever their own libraries raise.
    except Exception as error:
        place = urlsplit(str(run.info.artifact_uri))
        where = f"{place.scheme or 'file'}://{place.hostname or ''}"
        if place.scheme == "mlflow-artifacts":
            where = "the tracking server"
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        reason = masked(" ".join(str(error).split()), uri)[:300]
        raise TrackingError(
            f"this sweep's files must be stored at {where} before training starts; they are not: {reason}. "
            f"{_remedy(missing, place.scheme)}"
        ) from None


def missing_package(uri: str) -> tuple[str, str] | None:
    """What a sweep would lack to store files of a new experiment: the place, and what installs its library.

    None where nothing is missing, or where the server's first experiment, which tells, is gone.

    Args:
        uri: Of a tracking server that answers.
    """
    try:
        with patience(CHECK_S):
            first = MlflowClient(tracking_uri=uri).get_experiment(_FIRST)
    except (MlflowException, OSError):
        return None
    place = urlsplit(str(first.artifact_location))
    module = _MODULES.get(place.scheme, "")
    # Of `google.cloud.storage` another package may have brought the first part.
    if not module or _is_there(module):
        return None
    return f"{place.scheme}://{place.hostname or ''}", _PACKAGES[module.partition(".")[0]]


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _remedy(missing: str, scheme: str) -> str:
    if package := _PACKAGES.get(missing):
        return (
            f"The server leaves writing there to its clients: pip install {package} here, and give this "
            f"user credentials; or start the server with --artifacts-destination {scheme}://..., and it "
            "writes for them"
        )
    if scheme == "mlflow-artifacts":
        return "The server writes there for its clients: its log says what it lacks"
    return "See that the place is there, and that this user may write to it"
