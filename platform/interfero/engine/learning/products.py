"""The files that jobs leave in their steps' folders."""

from __future__ import annotations

from interfero.domains.copies import shard_file, shards_of
from interfero.engine.cells import Cell
from interfero.engine.learning.jobs import (
    CompressJob,
    Job,
    RestorationJob,
    RestoreJob,
    SegmentationJob,
    TestCell,
)
from interfero.store.products import MODEL_FILE


def files_of(job: Job | Cell) -> list[str]:
    """What a job leaves in its step's folder besides its record; nothing there for a cell."""
    match job:
        case CompressJob():
            return [shard_file(shard) for shard in job.copy_.shards(job.part)]
        case RestoreJob():
            num_images = job.restored.compressed.originals.num_images
            return [shard_file(shard) for shard in range(shards_of(num_images))]
        case RestorationJob() | SegmentationJob():
            return [MODEL_FILE]
        case TestCell() | Cell():
            return []
