"""`mlflow server` in one process: command line, checks and web server import MLflow once, not twice.

What MLflow (3.17) would start as a process of its own, it runs here, with the same arguments and environment.
"""

import os
import runpy
import sys

import mlflow.server
from mlflow.cli import cli


def _here(command, *, extra_env, **_options):
    """Become the web server: `python -m uvicorn ...`."""
    os.environ.update(extra_env)
    sys.argv = command[command.index("-m") + 1 :]
    runpy.run_module("uvicorn", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    mlflow.server._exec_cmd = _here
    cli()
