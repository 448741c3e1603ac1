"""The command line: one light module a command, which imports what it needs once its options are read."""

from interfero.cli.main import main

__all__ = ["main"]
