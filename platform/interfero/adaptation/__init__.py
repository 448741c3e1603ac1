"""The ways to adapt a codec: one file a method, one visible table of names.

Importing this package imports no method: `METHODS` and the rest load torch when they are asked for, and
`interfero.adaptation.table` has what is known of methods without it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interfero.adaptation.adapter_file import load_adapter, save_adapter
    from interfero.adaptation.catalogue import METHODS, find_method

__all__ = ["METHODS", "find_method", "load_adapter", "save_adapter"]


def __getattr__(name: str) -> Any:
    # Imports that can be seen: what a cell's key hashes is found by following them.
    if name in ("METHODS", "find_method"):
        from interfero.adaptation import catalogue

        return getattr(catalogue, name)
    if name in ("load_adapter", "save_adapter"):
        from interfero.adaptation import adapter_file

        return getattr(adapter_file, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
