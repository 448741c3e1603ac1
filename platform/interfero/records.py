"""What is kept of a cell: its record, with its images, its curve and its times.

Records are read by everything above: the engine that writes them, tracking, and analysis.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, field_validator

from interfero.config import Config
from interfero.redaction import without_secrets


class StepSetting(Config):
    """What the time of a step depends on, besides the method and its size."""

    machine: str
    """The processor, or the GPU."""
    codec: str
    """Architecture and channels of the source codec; weights do not change the time."""
    device: str
    precision: str
    threads: int
    batch_size: int
    """Crops a step, over all workers."""
    crop_size: int
    """Side of a crop in pixels."""
    workers: int = 1
    """Processes that share a batch."""
    fused: bool = False
    """Whether members of a pack may step as one computation."""


class Timing(Config):
    """One cell's time. Means, in seconds; training apart from what the whole pack did once a step."""

    setting: StepSetting
    method: str
    adapter_size: int
    num_steps: int = Field(ge=0)
    """Steps that were timed; 0 where a training was taken over from another block."""
    step_seconds: float = Field(ge=0)
    """A step of this cell alone; its part of the step of those that step as one computation with it."""
    pack_step_seconds: float = Field(ge=0)
    """A step's work that the members of a pack share: drawing the batch, the frozen source pass."""
    prepare_seconds: float = Field(default=0.0, ge=0)
    """Before the first step."""
    coding_seconds: float = Field(default=0.0, ge=0)
    """Saving, and coding the test images."""
    coded_megapixels: float = Field(default=0.0, ge=0)
    """Of the test images; each may have been coded several times. 0 where none was."""
    validation_seconds: float = Field(default=0.0, ge=0)
    validated_megapixels: float = Field(default=0.0, ge=0)
    reference_seconds: float = Field(default=0.0, ge=0)
    """Evaluating the source codec, as far as its results were not there yet."""
    reference_megapixels: float = Field(default=0.0, ge=0)


class ImageRow(Config):
    """One test image before and after adaptation."""

    role: Literal["target", "source", "source_unrouted"]
    """Which test images, and through which mode."""
    name: str
    group: str
    """The source image; a bootstrap draws these."""
    bpp_before: float
    psnr_db_before: float
    rd_loss_before: float
    bpp: float
    psnr_db: float
    rd_loss: float


class SegmentedImage(Config):
    """One test image and what a segmentation model made of it, in pixels of each class."""

    name: str
    group: str
    """The source image; a bootstrap draws these."""
    hits: tuple[int, ...]
    """Predicted right."""
    labelled: tuple[int, ...]
    predicted: tuple[int, ...]


class CellRecord(Config):
    """What is kept of a cell."""

    key: str
    params: dict[str, str | int | float]
    """`Cell.params`."""
    status: Literal["finished", "failed", "stopped"]
    """`stopped`: a search stopped it early; it has a validation result of that step and no other."""
    metrics: dict[str, float] = Field(default_factory=dict)
    """By MLflow name; never NaN or infinite."""
    images: tuple[ImageRow, ...] = ()
    segmented: tuple[SegmentedImage, ...] = ()
    """Of a segmentation model's cell."""
    curve: tuple[tuple[int, dict[str, float]], ...] = ()
    """(step, training metrics), about a hundred points."""
    adapter_file: str | None = None
    """Relative to the sweep's folder."""
    sample_file: str | None = None
    """Reconstructions of its worst and median test images, relative to the sweep's folder."""
    stopped_at: int | None = None
    """Steps it had trained when a search stopped it."""
    error: str | None = None
    """Why it failed, with the step and the last finite loss; credentials are left out of it."""
    seconds: float = 0.0
    """Training and evaluation, without waiting."""
    timing: Timing | None = None
    """The same in parts, for estimates of what other cells will take."""
    started_at: float = 0.0
    """Unix time in seconds."""
    resumed_step: int = 0
    """Step its training went on from, after it had been interrupted; 0 if it began at the first step."""
    fused_members: int = 1
    """The most cells, itself among them, that ever stepped as one computation with it; 1 is always alone."""
    reused_from: str | None = None
    """Name of the earlier sweep that computed it."""
    provenance: dict[str, str] = Field(default_factory=dict)
    """`Cell.provenance`; earlier records lack it."""

    def model_post_init(self, context: Any, /) -> None:
        """Refuse metrics that no table can hold."""
        bad = [name for name, value in self.metrics.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(f"metric {bad[0]!r} of cell {self.key} is not finite")

    @field_validator("error")
    @classmethod
    def _without_secrets(cls, error: str | None) -> str | None:
        """An exception may quote an address; records, tags, tables and reports all take it from here."""
        return None if error is None else without_secrets(error)
