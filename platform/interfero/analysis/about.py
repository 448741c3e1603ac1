"""Where a table of cells comes from: what a reader needs to run it again, kept inside the file."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, ValidationError

from interfero.config import Config
from interfero.errors import StorageError

KEY = b"interfero"
"""Of the Parquet file's own metadata."""


class About(Config):
    """One sweep."""

    name: str
    """The sweep's."""
    kind: str
    """The experiment's."""
    question: str = ""
    """What it asks, one sentence."""
    command: str = ""
    """The exact command line, without secrets."""
    versions: dict[str, str] = Field(default_factory=dict)
    """Commit, locked dependencies, libraries and machine, by tag."""


def with_about(table: pa.Table, about: About | None) -> pa.Table:
    """The table, which now says where it comes from."""
    if about is None:
        return table
    return table.replace_schema_metadata({KEY: about.model_dump_json().encode()})


def read_about(path: Path) -> About | None:
    """What a Parquet file says of itself; None if it says nothing, as those of earlier versions.

    Raises:
        StorageError: the file is damaged, or says something else.
    """
    try:
        text = (pq.read_schema(path).metadata or {}).get(KEY)
        return None if text is None else About.model_validate_json(text)
    except (OSError, pa.ArrowException, ValidationError) as error:
        raise StorageError(
            f"{path} does not say where it comes from ({error}): export it again"
        ) from error
