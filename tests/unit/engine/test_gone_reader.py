"""`... --help | head -1`: the reader of a long text goes before its end."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interfero.engine.gone_reader import SIGPIPE_EXIT, gone_reader_ends

ROOT = Path(__file__).resolve().parents[3]
SWEEPS = sorted(path.name for path in (ROOT / "sweeps").glob("*.py"))


def without_reader(*command):
    """What a program does whose standard output nobody reads any more: its exit code and its errors."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        done = subprocess.run(
            [sys.executable, "-W", "ignore", *command], stdout=out, stderr=subprocess.PIPE, text=True,
            cwd=ROOT, check=False,
        )  # fmt: skip
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("-m", "interfero.cli", "--help"),
        ("-m", "interfero.cli", "store", "list", "--help"),
        ("-m", "interfero.cli", "encode", "--help"),
        *((f"sweeps/{name}", "--help") for name in SWEEPS),
    ],
    ids=" ".join,
)
def test_help_that_nobody_reads_to_its_end_is_no_error(command):
    assert without_reader(*command) == (SIGPIPE_EXIT, "")


def test_a_pipe_of_the_program_itself_that_breaks_is_an_error():
    with pytest.raises(BrokenPipeError), gone_reader_ends():
        raise BrokenPipeError
