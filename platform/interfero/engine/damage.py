"""Records that were there and could not be read: what they belong to is made again, and named at the end."""

from __future__ import annotations

from collections.abc import Iterable, Set
from pathlib import Path

from interfero.store.products import Products, product_of
from interfero.store.sweep import SweepStore

SHOWN = 3


def damaged_cells(store: SweepStore, readable: Set[str]) -> list[str]:
    """Keys of a sweep's cells whose record is there, but not among those that can be read."""
    return sorted({path.stem for path in (store.folder / "cells").glob("*.json")} - readable)


def damaged_steps(storage: Path, keys: Iterable[str]) -> list[str]:
    """Those of the steps whose record is there and cannot be read."""
    products = Products(storage)
    return sorted(
        key
        for key in keys
        # A part of a step has a record of its own: record.3.json.
        if (
            products.place(product_of(key)) / f"record{key.removeprefix(product_of(key))}.json"
        ).exists()
        and products.record(key) is None
    )


def made_again_line(store: SweepStore, damaged: Iterable[str]) -> str | None:
    """Which of the damaged records have been replaced; None if none was."""
    again = [key for key in damaged if store.ended(key) is not None]
    if not again:
        return None
    more = f" and {len(again) - SHOWN} more" if len(again) > SHOWN else ""
    whose = "its record was" if len(again) == 1 else "their records were"
    return f"made again, because {whose} damaged: {', '.join(again[:SHOWN])}{more}"
