"""Writes to a tracking server as data: small, ordered, and harmless when delivered twice."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter

from interfero.config import Config

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> str:
    """A text that every database holds: PostgreSQL has no NUL, and no half of a surrogate pair."""
    return _UNSTORABLE.sub("\ufffd", text)


Text = Annotated[str, AfterValidator(storable)]
MetricPoint = tuple[str, float, int, int]
"""(name, value, Unix time in milliseconds, step)."""


class EnsureRun(Config):
    """Create a cell's run with its tags; one that exists and is not finished runs again."""

    kind: Literal["run"] = "run"
    key: str
    """The cell's key."""
    name: Text
    """What the user interface shows."""
    tags: dict[str, Text]
    """Set when the run is created."""
    time_ms: int
    """Start, Unix time in milliseconds."""


class LogBatch(Config):
    """Metrics, parameters and tags, at most what one request of MLflow takes."""

    # A diverging loss is in the curve as what it was.
    model_config = ConfigDict(ser_json_inf_nan="constants")

    kind: Literal["batch"] = "batch"
    key: str | None
    """The cell's key; None is the parent run."""
    metrics: tuple[MetricPoint, ...] = ()
    """Equal points are stored once."""
    params: dict[str, Text] = Field(default_factory=dict)
    """Written once; MLflow refuses another value later."""
    tags: dict[str, Text] = Field(default_factory=dict)
    """The last value stays."""


class LogFile(Config):
    """Copy a file to a run's artifacts; the file is read at delivery."""

    kind: Literal["file"] = "file"
    key: str | None
    """The cell's key; None is the parent run."""
    path: str
    """Absolute."""
    folder: str = ""
    """Below the run's artifacts."""


class DatasetUse(Config):
    """A data set, and what a run used it for: what `mlflow.entities.DatasetInput` holds."""

    name: str
    """The domain's."""
    digest: str
    """Content hash of its images; a run has each (name, digest) once."""
    source_type: str
    """How `mlflow.data.get_source` reads `source`."""
    source: str
    """JSON."""
    data_schema: str
    """JSON of what one image is."""
    profile: str
    """JSON of numbers that describe it."""
    context: str
    """`adapt`, `validation`, `test`, `source`, ...: the value of `mlflow.data.context`."""


class LogInputs(Config):
    """Name the data sets that a run used; those it has already are left alone."""

    kind: Literal["inputs"] = "inputs"
    key: str | None
    """The cell's key; None is the parent run."""
    datasets: tuple[DatasetUse, ...]
    """At most 1,000, what one request takes."""


class SetStatus(Config):
    """Say how a run stands."""

    kind: Literal["status"] = "status"
    key: str | None
    """The cell's key; None is the parent run."""
    status: Status
    """The status under its MLflow name."""
    time_ms: int
    """End, Unix time in milliseconds; ignored while it runs."""


Operation = EnsureRun | LogBatch | LogInputs | LogFile | SetStatus
OPERATION: TypeAdapter[Operation] = TypeAdapter(Annotated[Operation, Field(discriminator="kind")])
"""Reads operations from JSON."""
