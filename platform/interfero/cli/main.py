"""`interfero` on the command line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import tyro

from interfero.cli.codecs import codecs, run_codecs
from interfero.cli.decode import decode
from interfero.cli.doctor.command import doctor
from interfero.cli.domains import domains
from interfero.cli.encode import encode
from interfero.cli.map import map_group, run_map
from interfero.cli.pool import pool, run_pool
from interfero.cli.predict.command import predict
from interfero.cli.report.command import report
from interfero.cli.status import status
from interfero.cli.store import run_store, store
from interfero.cli.transcode import transcode
from interfero.engine.gone_reader import gone_reader_ends
from interfero.errors import InterferoError
from interfero.option_choices import check_command

COMMANDS: dict[str, Callable[..., Any]] = {
    "doctor": doctor,
    "codecs": codecs,
    "domains": domains,
    "encode": encode,
    "decode": decode,
    "transcode": transcode,
    "status": status,
    "report": report,
    "predict": predict,
    "map": map_group,
    "pool": pool,
    "store": store,
}
"""Name to function. Their modules import neither torch nor anything that does: a mistyped word is
reported at once, and `doctor` runs where torch is broken."""


def main() -> None:
    """Run the command line; exits with 2 on a user's error, and `doctor` with 1 if something is missing."""
    with gone_reader_ends():
        _run()


def _run() -> None:
    groups = {"store": run_store, "codecs": run_codecs, "pool": run_pool, "map": run_map}
    if sys.argv[1:2] and sys.argv[1] in groups:
        groups[sys.argv[1]](sys.argv[2:])
        return
    try:
        check_command(COMMANDS, sys.argv[1:])
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            prog="interfero",
            description="Adapt neural image codecs: check the machine, code images, report, predict.",
        )
    except InterferoError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(2)
