"""Command-line names of the methods."""

from __future__ import annotations

from interfero.adaptation.cawf import Cawf
from interfero.adaptation.continue_source import ContinueSource
from interfero.adaptation.finetune import Finetune
from interfero.adaptation.method import Method
from interfero.errors import ConfigError, nearest

METHODS: dict[str, Method] = {m.name: m for m in (Finetune(), Cawf(), ContinueSource())}
"""Name to method."""


def find_method(name: str) -> Method:
    """The method of a name.

    Raises:
        ConfigError: unknown name; says the nearest.
    """
    if name not in METHODS:
        raise ConfigError(f"unknown method {name!r}: {nearest(name, METHODS)}")
    return METHODS[name]
