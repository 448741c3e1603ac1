"""What steps have made, by content: STORAGE/products/KEY, shared by all sweeps of a storage.

PRODUCT/record.json       written last: with it, and only with it, the step is done
PRODUCT/*.parquet         copies of images (see `interfero.domains.copies`)
PRODUCT/model.safetensors a trained restorer or segmentation model

A compressed copy of several parts has a record a part: record.0.json, record.1.json, ...
"""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import ValidationError

from interfero.domains.copies import shard_file, shards_of
from interfero.engine.learning.jobs import (
    CompressJob,
    Job,
    RestorationJob,
    RestoreJob,
    SegmentationJob,
    TestCell,
)
from interfero.errors import StorageError
from interfero.records import CellRecord
from interfero.storage import read_json, write_json

FOLDER = "products"
MODEL_FILE = "model.safetensors"
_STEP_KEY = re.compile(r"([a-z]+-[0-9a-f]+)(\.\d+)?")


class Products:
    """The products of a storage."""

    def __init__(self, storage: Path) -> None:
        """Name the folder; nothing is created yet."""
        self.folder = storage.resolve() / FOLDER

    def place(self, step_key: str) -> Path:
        """Folder of a step's product."""
        return self.folder / step_key

    def record(self, key: str) -> CellRecord | None:
        """The record of a job that ended, whatever it came to; a damaged one counts as none."""
        try:
            record = CellRecord.model_validate(read_json(self._file(key)))
        except (StorageError, ValidationError):
            return None
        return record if record.key == key else None

    def is_done(self, job: Job) -> bool:
        """Whether a job has finished, and what it made is still there: who deletes a file gets it anew."""
        record = self.record(job.key)
        if record is None or record.status != "finished":
            return False
        return all((self.place(job.step_key) / name).exists() for name in files_of(job))

    def write(self, record: CellRecord) -> None:
        """Keep a job's record."""
        write_json(self._file(record.key), record.model_dump(mode="json"))

    def _file(self, key: str) -> Path:
        match = _STEP_KEY.fullmatch(key)
        if match is None:
            raise StorageError(f"{key!r} is no key of a step")
        return self.folder / match.group(1) / f"record{match.group(2) or ''}.json"


def files_of(job: Job) -> list[str]:
    """What a job leaves in its step's folder besides its record."""
    match job:
        case CompressJob():
            return [shard_file(shard) for shard in job.copy_.shards(job.part)]
        case RestoreJob():
            num_images = job.restored.compressed.originals.num_images
            return [shard_file(shard) for shard in range(shards_of(num_images))]
        case RestorationJob() | SegmentationJob():
            return [MODEL_FILE]
        case TestCell():
            return []


def is_step_key(key: str) -> bool:
    """Whether a key is that of a step, and not of a cell."""
    return _STEP_KEY.fullmatch(key) is not None
