"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

Adapters = tyro.conf.UseAppendAction[tuple[Path, ...]]
"""One `--adapter FILE` each."""
Lambda = Annotated[float, tyro.conf.arg(name="lambda")]
"""`--lambda`, which is a word of Python."""
