"""What a sweep's records say of their cells, for who looks again and again while the sweep runs.

A record has the cell's learning curve and its test images; to check all of 100,000 takes minutes. Here four
values of each are read, and only of records that are new since the look before.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from interfero.redaction import without_secrets
from interfero.store.sweep import SweepStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a cell came to, as far as its record was read."""

    key: str
    status: Literal["finished", "failed", "stopped"]
    seconds: float = 0.0
    """Training and evaluation, without waiting."""
    error: str | None = None
    reused_from: str | None = None
    """Name of the earlier sweep that computed it."""

    @property
    def reason(self) -> str:
        """The first line of why it failed, without credentials."""
        return without_secrets((self.error or "").partition("\n")[0])


# Of a whole record, too: fields that a class does not have are passed over.
_OUTCOME = TypeAdapter(Outcome)


class Outcomes:
    """The outcomes of one sweep's cells, kept between looks."""

    def __init__(self, store: SweepStore) -> None:
        """Name the sweep; nothing is read yet."""
        self._folder = store.folder / "cells"
        self._known: dict[str, tuple[int, Outcome | None]] = {}
        """By the name of a record's file: when that was written, in nanoseconds, and what it says."""

    def look(self) -> Iterator[tuple[Outcome, float]]:
        """What has ended by now, in the order of keys, each with its record's Unix time in seconds.

        A record that was not written again since the last look is not read again. One that cannot be read, or
        is of another cell, counts as not there; what else is wrong with one is found when the sweep goes on.
        """
        before, self._known = self._known, {}
        for name, written_ns in self._files():
            known = before.get(name)
            if known is None or known[0] != written_ns:
                known = written_ns, _read(self._folder / name)
            self._known[name] = known
        for written_ns, outcome in self._known.values():
            if outcome is not None:
                yield outcome, written_ns / 1e9

    def _files(self) -> list[tuple[str, int]]:
        found = []
        try:
            with os.scandir(self._folder) as entries:
                for entry in entries:
                    if entry.name.endswith(".json"):
                        found.append((entry.name, entry.stat().st_mtime_ns))
        except FileNotFoundError:
            return []  # No cell has ended.
        return sorted(found)


def _read(path: Path) -> Outcome | None:
    try:
        outcome = _OUTCOME.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None  # Removed just now.
    except (OSError, ValidationError) as error:
        what = str(error).splitlines()[0]
    else:
        if outcome.key == path.stem:
            return outcome
        what = f"it is of {outcome.key}"
    logger.warning(
        "the record %s cannot be used (%s): it counts as not there, and a sweep makes it again",
        path,
        what,
    )
    return None
