"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from interfero.codecs.names import check_source
from interfero.errors import AdapterError, BitstreamError, DomainError, InterferoError, StorageError
from interfero.option_choices import check_command

CELLS_FILE = "cells.parquet"
"""As `interfero.analysis.records` writes it, which imports what reads it."""
Adapters = tyro.conf.UseAppendAction[tuple[Path, ...]]
"""One `--adapter FILE` each."""
Lambda = Annotated[float | None, tyro.conf.arg(name="lambda", help_behavior_hint="")]
"""`--lambda`, renamed because `lambda` is a Python keyword; None for the source's default."""


PARQUET = b"PAR1"
"""What a Parquet file begins with."""
STREAM_MAGIC = b"if"
"""As `interfero.codecs.bitstream.MAGIC`, which imports what reads the rest."""


def read_stream(path: Path) -> bytes:
    """Read the bytes of a bitstream file.

    Raises:
        StorageError: the file cannot be read.
        BitstreamError: it is no bitstream of interfero.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StorageError(f"{path} cannot be read ({error.strerror})") from error
    if not data.startswith(STREAM_MAGIC):
        what = f"begins with {data[:2]!r}" if data else "is empty"
        raise BitstreamError(
            f"{path} is no bitstream of interfero: those begin with {STREAM_MAGIC!r}, and it {what}; give a "
            "file that `interfero encode` wrote"
        )
    return data


def check_there(
    source: str, rd_lambda: float | None, adapters: Sequence[Path] = (), picture: Path | None = None
) -> None:
    """Refuse a codec, a lambda or a file that does not exist, before libraries are imported.

    Raises:
        CodecError, AdapterError, DomainError: names it.
    """
    check_source(source, () if rd_lambda is None else (rd_lambda,))
    for path in adapters:
        if not path.exists():
            raise AdapterError(f"there is no file {path}: check the path")
    if picture is not None and not picture.exists():
        raise DomainError(f"there is no picture {picture}: check the path")


def table_of(given: Path) -> Path:
    """The table of cells that `--cells` names: a file, or the folder that contains it.

    Raises:
        StorageError: there is none, or it is no Parquet file.
    """
    path = given / CELLS_FILE if given.is_dir() else given
    folder = "the folder it lies in (report, in the sweep's folder)"
    remedy = f"give the {CELLS_FILE} that a sweep wrote, or {folder}"
    if not path.exists():
        raise StorageError(f"--cells {given}: there is no file {path}; {remedy}")
    if path.is_file() and not _is_parquet(path):
        raise StorageError(
            f"--cells {given}: only Parquet files are read, {path} is none; {remedy}"
        )
    return path


def _is_parquet(path: Path) -> bool:
    """By its first bytes; of a file that cannot be opened, what reads it says why."""
    try:
        with path.open("rb") as file:
            return file.read(len(PARQUET)) == PARQUET
    except OSError:
        return True


def run_group(
    name: str,
    commands: Mapping[str, Callable[..., Any]],
    arguments: Sequence[str],
    description: str,
) -> None:
    """Run `interfero NAME COMMAND ...`; exits with 2 on a user's error."""
    try:
        check_command(commands, arguments)
        tyro.extras.subcommand_cli_from_dict(
            dict(commands), args=arguments, prog=f"interfero {name}", description=description
        )
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
