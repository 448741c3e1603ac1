"""What fails is a record: an exception would kill a warm process, and trying again would fail again."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from pathlib import Path

from interfero.engine.packs import Pack
from interfero.engine.worker import PackRunner, Worker
from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.redaction import without_secrets

logger = logging.getLogger(__name__)


def train_guarded(
    runner: PackRunner, pack: Pack, worker: Worker, kind: type[Exception] = Exception
) -> Iterator[CellRecord]:
    """What the runner gives; if it fails as a whole, a failed record of every cell that is left.

    An actor that dies is another matter, and so is a storage that cannot be written: the pack starts
    again.

    Args:
        runner: Trains the pack.
        pack: What is to be trained.
        worker: This process.
        kind: Of errors that become records; others are raised.
    """
    done = set()
    try:
        for record in runner(pack, worker):
            done.add(record.key)
            yield record
    except StorageError:
        # Not the cells' failure: the pack starts again, and goes on where the disk let it.
        raise
    except kind as error:
        logger.exception("pack failed: %s", pack.nodes[0].params)
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        text = without_secrets(said)
        for cell in pack.nodes:
            if cell.key not in done:
                yield CellRecord(key=cell.key, params=cell.params, status="failed", error=text)
