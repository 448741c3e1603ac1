"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from interfero.errors import StorageError

Adapters = tyro.conf.UseAppendAction[tuple[Path, ...]]
"""One `--adapter FILE` each."""
Lambda = Annotated[float | None, tyro.conf.arg(name="lambda")]
"""`--lambda`, renamed because `lambda` is a Python keyword; None for the source's default."""


def read_stream(path: Path) -> bytes:
    """Read the bytes of a bitstream file.

    Raises:
        StorageError: the file cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror})") from error
