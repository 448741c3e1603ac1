"""What a worker of Ray imports before any sweep asks for it: all that trains.

Ray imports this module where a worker starts, if `RAY_preload_python_modules` names it. The code is looked at
before it is loaded: what changes meanwhile is noticed (`CodeVersion.require`).
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

from interfero.engine.code_version import noted_fingerprint
from interfero.engine.pool import WARM_VARIABLE, own_start
from interfero.store.files import write_atomic

MODULES = ("interfero.engine.trial", "trainables.runner")
"""By name: the engine imports no trainables."""


def warm_up() -> None:
    """Import them; in a pool, say what was loaded."""
    code = noted_fingerprint()
    for name in MODULES:
        importlib.import_module(name)
    folder = os.environ.get(WARM_VARIABLE)
    if folder:
        write_atomic(Path(folder) / str(os.getpid()), f"{own_start()} {code}".encode())


warm_up()
