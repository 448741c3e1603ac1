"""`interfero` on the command line."""

from __future__ import annotations

import sys

import tyro


def main() -> None:
    """Command line; exits with 2 on a user's error, and `doctor` with 1 where something is missing."""
    if sys.argv[1:2] == ["doctor"]:
        # Before anything that loads torch: it has to run where that is broken.
        from interfero.doctor.command import doctor

        tyro.cli(doctor, prog="interfero doctor", args=sys.argv[2:])
        return
    if sys.argv[1:2] == ["store"]:
        # It needs no torch either, which takes seconds to import.
        from interfero.cli_store import run_store

        run_store(sys.argv[2:])
        return
    from interfero.commands import run_command

    run_command()


if __name__ == "__main__":
    main()
