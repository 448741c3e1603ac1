"""The steps between images and a score, each named by all that decides what it makes.

    originals -> compress -> train restoration -> restore -> train segmentation -> test

A step holds the steps it needs, so its key hashes the whole chain behind it: steps that two
configurations share have one key, run once and are found again by any later sweep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from interfero.config import Config
from interfero.domains.copies import SHARD_IMAGES
from interfero.domains.labelled import Portion
from interfero.engine.cells import KEY_LENGTH
from interfero.engine.learning.configs import RestorationConfig, SegmentationConfig

PART_IMAGES = 64
"""Images that one trial compresses; more are compressed by several trials at once."""
Configuration = Literal["OO", "CC", "CO", "OC", "RO", "RR", "MO"]
"""Trained on, then tested on: original, compressed, restored, mixed (originals and compressed)."""
CONFIGURATIONS: tuple[Configuration, ...] = ("OO", "CC", "CO", "OC", "RO", "RR", "MO")
RestorationSplit = Literal["disjoint", "same"]
"""Whether a restorer trains on images that it does not restore later, or on the same ones."""
Params = dict[str, str | int | float]
Text = dict[str, str]


class Training(Config):
    """What decides a training besides its images and its config."""

    data_seed: int = Field(ge=0)
    """Draws crops."""
    init_seed: int = Field(ge=0)
    """Draws initial parameters."""
    code: str
    """Hash of the training's code."""
    versions: dict[str, str]
    """Of the libraries that decide numbers."""


class _Step(Config):
    """What all steps have in common."""

    @cached_property
    def key(self) -> str:
        """Content hash of everything the step's result depends on, after the step's kind."""
        text = json.dumps(self.identity(), sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=KEY_LENGTH // 2).hexdigest()
        return f"{self.kind}-{digest}"

    def identity(self) -> dict[str, Any]:
        """What the key hashes: needed steps by their keys."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """Its name in keys, folders and texts."""
        raise NotImplementedError


class Originals(_Step):
    """Images as they are; nothing is to be done for them."""

    step: Literal["originals"] = "originals"
    domain: str
    domain_hash: str
    """Of all images, labels and portions of the domain."""
    portion: Portion
    num_images: int = Field(gt=0)

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "originals"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        return {"domain": self.domain_hash, "portion": self.portion}

    def needs(self) -> Iterator[Job]:
        """Nothing."""
        yield from ()


class Compressed(_Step):
    """Images after a codec at an asked rate, as many jobs as it has parts."""

    step: Literal["compressed"] = "compressed"
    originals: Originals
    codec: str
    """As `--codecs` names it."""
    codec_name: str
    """As results name it."""
    codec_hash: str
    """Of everything that decides its bytes and pixels."""
    rate_bpp: float = Field(gt=0)
    code: str
    """Hash of the code that copies."""

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "compress"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        return {"originals": self.originals.identity(), "codec": self.codec_hash,
                "rate_bpp": self.rate_bpp, "code": self.code}  # fmt: skip

    @property
    def num_parts(self) -> int:
        """Jobs that make it."""
        return -(-self.originals.num_images // PART_IMAGES)

    def shards(self, part: int) -> range:
        """Shards of a part."""
        a_part = PART_IMAGES // SHARD_IMAGES
        last = -(-self.originals.num_images // SHARD_IMAGES)
        return range(part * a_part, min((part + 1) * a_part, last))

    def needs(self) -> Iterator[Job]:
        """Its parts."""
        yield from (CompressJob(copy_=self, part=part) for part in range(self.num_parts))


class Restorer(_Step):
    """A generator trained on compressed images and their originals."""

    step: Literal["restorer"] = "restorer"
    compressed: Compressed
    config: RestorationConfig
    training: Training

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "restoration"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        return {"compressed": self.compressed.key, "config": self.config.identity(),
                "training": self.training.model_dump(mode="json")}  # fmt: skip

    def needs(self) -> Iterator[Job]:
        """Itself, trained."""
        yield RestorationJob(restorer=self)


class Restored(_Step):
    """Compressed images after a restorer."""

    step: Literal["restored"] = "restored"
    compressed: Compressed
    restorer: Restorer

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "restore"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        return {"compressed": self.compressed.key, "restorer": self.restorer.key}

    def needs(self) -> Iterator[Job]:
        """Itself, made."""
        yield RestoreJob(restored=self)


Images = Annotated[Originals | Compressed | Restored, Field(discriminator="step")]


class Segmenter(_Step):
    """A segmentation model trained on images, each kind as often as any other."""

    step: Literal["segmenter"] = "segmenter"
    images: tuple[Images, ...] = Field(min_length=1)
    """Of one portion; two kinds are mixed."""
    config: SegmentationConfig
    num_classes: int
    training: Training

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "segmentation"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        return {"images": [image.key for image in self.images], "config": self.config.identity(),
                "classes": self.num_classes, "training": self.training.model_dump(mode="json")}  # fmt: skip

    def needs(self) -> Iterator[Job]:
        """Itself, trained."""
        yield SegmentationJob(segmenter=self)


class _Job(_Step):
    """What one trial does."""

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
        """Steps that have to be done before."""
        raise NotImplementedError

    @property
    def params(self) -> Params:
        """What a record calls it by."""
        return {"step": self.kind, "key": self.key}

    @property
    def needs(self) -> tuple[Job, ...]:
        """Jobs that have to be done before."""
        return tuple(job for step in self.inputs for job in step.needs())

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
        """See `_Step`."""
        return "compress"

    @property
    def step_key(self) -> str:
        """See `_Job`."""
        return self.copy_.key

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
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
        """See `_Step`."""
        return "restoration"

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
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
        """See `_Step`."""
        return "restore"

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
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
        """See `_Step`."""
        return "segmentation"

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
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
        digest = hashlib.blake2b(
            json.dumps(self.identity(), sort_keys=True).encode(), digest_size=KEY_LENGTH // 2
        )
        return digest.hexdigest()

    @property
    def kind(self) -> str:
        """See `_Step`."""
        return "test"

    def identity(self) -> dict[str, Any]:
        """See `_Step`."""
        # MO at two rates, say, differs by its images; a cell that only bears another name does not exist.
        return {"configuration": self.configuration, "segmenter": self.segmenter.key,
                "tested_on": self.tested_on.key, "code": self.code}  # fmt: skip

    @property
    def inputs(self) -> tuple[Images | Restorer | Segmenter, ...]:
        """See `_Job`."""
        return (self.segmenter, self.tested_on)

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


def originals_of(images: Originals | Compressed | Restored) -> Originals:
    """What images were before anything was done to them."""
    if isinstance(images, Restored):
        return images.compressed.originals
    return images.originals if isinstance(images, Compressed) else images


def compressed_of(images: Originals | Compressed | Restored) -> Compressed | None:
    """The compressed copy behind images, if any."""
    if isinstance(images, Restored):
        return images.compressed
    return images if isinstance(images, Compressed) else None


for _model in (Originals, Compressed, Restorer, Restored, Segmenter, CompressJob, RestorationJob,
               RestoreJob, SegmentationJob, TestCell, JobPack):  # fmt: skip
    _model.model_rebuild()
