"""Whether files of a run can be stored: found out before anything trains, with a file worth keeping."""

from __future__ import annotations

import importlib
import importlib.util
import re
from urllib.parse import urlsplit

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.tracking.client import MlflowClient

from interfero.errors import TrackingError
from interfero.redaction import masked
from interfero.tracking.address import OF_A_SWEEP, patience
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
_STORE_S = 10
"""Time that a store may take to answer this process, once it has the file."""
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
    place = urlsplit(str(run.info.artifact_uri))
    if place.scheme == "s3" and _is_there("boto3"):
        _limit_waiting()
    try:
        # As every file of a sweep: an object store takes its time.
        with patience(FILE_REQUEST_S):
            client.log_text(run.info.run_id, text, FIRST_FILE)
    # Artifact stores fail with whatever their own libraries raise.
    except Exception as error:
        where = f"at {place.scheme or 'file'}://{place.hostname or ''}"
        if place.scheme == "mlflow-artifacts":
            where = f"by the tracking server at {masked(uri, uri)}"
        missing = (getattr(error, "name", None) or "").partition(".")[0]
        raise TrackingError(
            f"this sweep's files must be stored {where} before training starts; they are not: "
            f"{_reason(error, uri)}. {_remedy(missing, place.scheme)}"
        ) from None


def _reason(error: Exception, uri: str) -> str:
    """What went wrong, without the requests and addresses around it."""
    text = masked(" ".join(str(error).split()), uri)
    if answer := re.search(r"too many (\d+) error responses", text):
        return f"it answers with the error {answer[1]}"
    if "Read timed out" in text:
        return f"it takes longer than {FILE_REQUEST_S:.0f} s"
    return text[:300]


def _limit_waiting() -> None:
    """Bound what boto3 waits for a silent store: by default five times a minute, and MLflow has no setting.

    For all clients that this process makes from here on, if it has made none.
    """
    boto3 = importlib.import_module("boto3")
    if boto3.DEFAULT_SESSION is None:
        session = importlib.import_module("botocore.session").get_session()
        config = importlib.import_module("botocore.config").Config(
            connect_timeout=CHECK_S,
            read_timeout=_STORE_S,
            retries={"total_max_attempts": 2},
        )
        session.set_default_client_config(config)
        boto3.setup_default_session(botocore_session=session)


def missing_package(uri: str) -> tuple[str, str] | None:
    """What a sweep would lack to store files: the place, and what installs its library.

    The server's first experiment tells where new ones store theirs. None where nothing is missing, or
    where that one is gone.

    Args:
        uri: Of a tracking server that answers.
    """
    try:
        with patience(CHECK_S):
            client = MlflowClient(tracking_uri=uri)
            experiments = [client.get_experiment(_FIRST)]
            # Made by sweeps, perhaps after the server was given another place.
            experiments += client.search_experiments(filter_string=OF_A_SWEEP)
    except (MlflowException, OSError):
        return None
    for experiment in experiments:
        place = urlsplit(str(experiment.artifact_location))
        module = _MODULES.get(place.scheme, "")
        # Of `google.cloud.storage` another package may have brought the first part.
        if module and not _is_there(module):
            package = _PACKAGES[module.partition(".")[0]]
            return f"{place.scheme}://{place.hostname or ''}", package
    return None


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
        return (
            "The server writes to its store (--artifacts-destination) for its clients, and its log says what "
            "that lacks: a bucket that is there, credentials that may write to it, or (of s3://) boto3 where "
            "the server runs"
        )
    if scheme == "s3":
        return (
            "See that the bucket is there, and that this user's credentials (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE) may write to it; a store that is not Amazon's needs "
            "MLFLOW_S3_ENDPOINT_URL here"
        )
    return "See that the place is there, and that this user may write to it"
