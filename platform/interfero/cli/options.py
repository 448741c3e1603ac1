"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from interfero.errors import InterferoError, StorageError

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


def run_group(
    name: str,
    commands: Mapping[str, Callable[..., Any]],
    arguments: Sequence[str],
    description: str,
) -> None:
    """Run `interfero NAME COMMAND ...`; exits with 2 on a user's error."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            dict(commands), args=arguments, prog=f"interfero {name}", description=description
        )
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
