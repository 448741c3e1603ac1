"""What workers do for the steps of a graph: a job makes a step or a part of it, or tests a model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from interfero.config import Config
from interfero.engine.learning.steps import (
    Compressed,
    Configuration,
    Images,
    RestorationSplit,
    Restored,
    Restorer,
    Segmenter,
    compressed_of,
    originals_of,
)
from interfero.store.keys import content_key

Params = dict[str, str | int | float]
Text = dict[str, str]
AnyStep = Images | Restorer | Segmenter


class _Job(Config, ABC):
    """What one trial does."""

    @property
    @abstractmethod
    def key(self) -> str:
        """That of what it makes."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Of what it makes; `test` for a cell."""

    @property
    @abstractmethod
    def inputs(self) -> tuple[AnyStep, ...]:
        """Steps that have to be done before."""

    @property
    def together(self) -> bool:
        """Whether all processes of a group do it; else the first one does it alone."""
        return False

    @property
    def params(self) -> Params:
        """What a record calls it by."""
        return {"step": self.kind, "key": self.key}

    @property
    def needs(self) -> tuple[Job, ...]:
        """Jobs that have to be done before."""
        return tuple(job for step in self.inputs for job in jobs_of(step))

    @property
    def lineage(self) -> Text:
        """Keys of every step behind it, by kind; several of a kind in one text."""
        found: dict[str, dict[str, None]] = {}
        for job in self.needs:
            for kind, text in job.lineage.items():
                found.setdefault(kind, {}).update(dict.fromkeys(text.split(" ")))
            found.setdefault(job.kind, {})[job.step_key] = None
        return {kind: " ".join(keys) for kind, keys in found.items()}

    @property
    def step_key(self) -> str:
        """Key of the step that it does, all or a part of."""
        return self.key


class CompressJob(_Job):
    """A part of a compressed copy."""

    job: Literal["compress"] = "compress"
    copy_: Compressed
    part: int = Field(ge=0)

    @cached_property
    def key(self) -> str:
        """The copy's, and the part."""
        return f"{self.copy_.key}.{self.part}"

    @property
    def kind(self) -> str:
        """See `_Job`."""
        return "compress"

    @property
    def step_key(self) -> str:
        """See `_Job`."""
        return self.copy_.key

    @property
    def inputs(self) -> tuple[AnyStep, ...]:
        """See `_Job`."""
        return (self.copy_.originals,)


class RestorationJob(_Job):
    """Train a restorer."""

    job: Literal["restoration"] = "restoration"
    restorer: Restorer

    @cached_property
    def key(self) -> str:
        """The restorer's."""
        return self.restorer.key

    @property
    def kind(self) -> str:
        """See `_Job`."""
        return "restoration"

    @property
    def together(self) -> bool:
        """See `_Job`."""
        return True

    @property
    def inputs(self) -> tuple[AnyStep, ...]:
        """See `_Job`."""
        return (self.restorer.compressed,)


class RestoreJob(_Job):
    """Restore images."""

    job: Literal["restore"] = "restore"
    restored: Restored

    @cached_property
    def key(self) -> str:
        """The restored images'."""
        return self.restored.key

    @property
    def kind(self) -> str:
        """See `_Job`."""
        return "restore"

    @property
    def inputs(self) -> tuple[AnyStep, ...]:
        """See `_Job`."""
        return (self.restored.compressed, self.restored.restorer)


class SegmentationJob(_Job):
    """Train a segmentation model."""

    job: Literal["segmentation"] = "segmentation"
    segmenter: Segmenter

    @cached_property
    def key(self) -> str:
        """The model's."""
        return self.segmenter.key

    @property
    def kind(self) -> str:
        """See `_Job`."""
        return "segmentation"

    @property
    def together(self) -> bool:
        """See `_Job`."""
        return True

    @property
    def inputs(self) -> tuple[AnyStep, ...]:
        """See `_Job`."""
        return self.segmenter.images


class TestCell(_Job):
    """One point of a sweep: a model trained on images of one kind, tested on images of a kind."""

    __test__ = False  # pytest takes what is called Test... for its own.

    job: Literal["test"] = "test"
    configuration: Configuration
    segmenter: Segmenter
    tested_on: Images
    codec: str
    """Name of the codec; `original` where none takes part."""
    rate_bpp: float | None
    """Asked for; None where no codec takes part."""
    restoration: str = "none"
    """How the restorer was trained: its adversary, or `regression`; `none` without a restorer."""
    restoration_split: RestorationSplit | Literal["none"] = "none"
    data_seed: int
    init_seed: int
    code: str
    """Hash of the code that tests."""

    @cached_property
    def key(self) -> str:
        """Content hash, without a kind: it is a cell."""
        return content_key(self.identity())

    @property
    def kind(self) -> str:
        """See `_Job`."""
        return "test"

    def identity(self) -> dict[str, Any]:
        """What the key hashes."""
        # MO at two rates, say, differs by its images; a cell that only bears another name does not exist.
        return {"configuration": self.configuration, "segmenter": self.segmenter.key,
                "tested_on": self.tested_on.key, "code": self.code}  # fmt: skip

    @property
    def inputs(self) -> tuple[AnyStep, ...]:
        """See `_Job`: also what the model learned from, for its rates and for the picture."""
        learned_from = self.segmenter.images[-1]
        compressed = compressed_of(learned_from)
        shown = (learned_from,) if compressed is None else (learned_from, compressed)
        return (self.segmenter, self.tested_on, *shown)

    @property
    def params(self) -> Params:
        """What MLflow shows as parameters."""
        config = self.segmenter.config
        originals = originals_of(self.tested_on)
        return {
            "codec": self.codec,
            "rate_bpp": "original" if self.rate_bpp is None else self.rate_bpp,
            "domain": originals.domain,
            "configuration": self.configuration,
            "restoration": self.restoration,
            "restoration_split": self.restoration_split,
            "data_seed": self.data_seed,
            "init_seed": self.init_seed,
            "num_images": originals_of(self.segmenter.images[0]).num_images,
            "num_steps": config.num_steps,
            "learning_rate": config.learning_rate,
            "architecture": config.architecture,
            "encoder": config.encoder,
        }

    @property
    def tags(self) -> Text:
        """Fingerprints that link the cell's run to the steps behind it."""
        steps = {f"interfero.step_{kind}": keys for kind, keys in self.lineage.items()}
        return {"interfero.domain_hash": originals_of(self.tested_on).domain_hash, **steps}


Job = Annotated[
    CompressJob | RestorationJob | RestoreJob | SegmentationJob | TestCell,
    Field(discriminator="job"),
]


class JobPack(Config):
    """What one trial of Tune does: a job, or the cells that test one model."""

    cells: tuple[Job, ...] = Field(min_length=1)


def jobs_of(step: AnyStep) -> Iterator[Job]:
    """The jobs that make a step; none for images as they are."""
    match step:
        case Compressed():
            yield from (CompressJob(copy_=step, part=part) for part in range(step.num_parts))
        case Restorer():
            yield RestorationJob(restorer=step)
        case Restored():
            yield RestoreJob(restored=step)
        case Segmenter():
            yield SegmentationJob(segmenter=step)
