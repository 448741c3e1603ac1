"""The steps between images and a score, each named by all that decides what it makes.

    originals -> compress -> train restoration -> restore -> train segmentation -> test

A step holds the steps it needs, so its key hashes the whole chain behind it: steps that two
configurations share have one key, run once and are found again by any later sweep. What a worker does
for a step is a job (see `interfero.engine.learning.jobs`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field

from interfero.config import Config
from interfero.domains.copies import SHARD_IMAGES, shards_of
from interfero.domains.labelled import Portion
from interfero.engine.learning.configs import RestorationConfig, SegmentationConfig
from interfero.store.keys import content_key

PART_IMAGES = 64
"""Images that one trial compresses; more are compressed by several trials at once."""
Configuration = Literal["OO", "CC", "CO", "OC", "RO", "RR", "MO"]
"""Trained on, then tested on: original, compressed, restored, mixed (originals and compressed)."""
CONFIGURATIONS: tuple[Configuration, ...] = ("OO", "CC", "CO", "OC", "RO", "RR", "MO")
RestorationSplit = Literal["disjoint", "same"]
"""Whether a restorer trains on images that it does not restore later, or on the same ones."""


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


class Step(Config, ABC):
    """What all steps have in common."""

    @cached_property
    def key(self) -> str:
        """Content hash of everything the step's result depends on, after the step's kind."""
        return f"{self.kind}-{content_key(self.identity())}"

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """What the key hashes: needed steps by their keys."""

    @property
    @abstractmethod
    def kind(self) -> str:
        """Its name in keys, folders and texts."""


class Originals(Step):
    """Images as they are; nothing is to be done for them."""

    step: Literal["originals"] = "originals"
    domain: str
    domain_hash: str
    """Of all images, labels and portions of the domain."""
    portion: Portion
    num_images: int = Field(gt=0)

    @property
    def kind(self) -> str:
        """See `Step`."""
        return "originals"

    def identity(self) -> dict[str, Any]:
        """See `Step`."""
        return {"domain": self.domain_hash, "portion": self.portion}


class Compressed(Step):
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
        """See `Step`."""
        return "compress"

    def identity(self) -> dict[str, Any]:
        """See `Step`."""
        return {"originals": self.originals.identity(), "codec": self.codec_hash,
                "rate_bpp": self.rate_bpp, "code": self.code}  # fmt: skip

    @property
    def num_parts(self) -> int:
        """Jobs that make it."""
        return -(-self.originals.num_images // PART_IMAGES)

    def shards(self, part: int) -> range:
        """Shards of a part."""
        a_part = PART_IMAGES // SHARD_IMAGES
        last = shards_of(self.originals.num_images)
        return range(part * a_part, min((part + 1) * a_part, last))


class Restorer(Step):
    """A generator trained on compressed images and their originals."""

    step: Literal["restorer"] = "restorer"
    compressed: Compressed
    config: RestorationConfig
    training: Training

    @property
    def kind(self) -> str:
        """See `Step`."""
        return "restoration"

    def identity(self) -> dict[str, Any]:
        """See `Step`."""
        return {"compressed": self.compressed.key, "config": self.config.identity(),
                "training": self.training.model_dump(mode="json")}  # fmt: skip


class Restored(Step):
    """Compressed images after a restorer."""

    step: Literal["restored"] = "restored"
    compressed: Compressed
    restorer: Restorer

    @property
    def kind(self) -> str:
        """See `Step`."""
        return "restore"

    def identity(self) -> dict[str, Any]:
        """See `Step`."""
        return {"compressed": self.compressed.key, "restorer": self.restorer.key}


Images = Annotated[Originals | Compressed | Restored, Field(discriminator="step")]


class Segmenter(Step):
    """A segmentation model trained on images, each kind as often as any other."""

    step: Literal["segmenter"] = "segmenter"
    images: tuple[Images, ...] = Field(min_length=1)
    """Of one portion; two kinds are mixed."""
    config: SegmentationConfig
    num_classes: int
    training: Training

    @property
    def kind(self) -> str:
        """See `Step`."""
        return "segmentation"

    def identity(self) -> dict[str, Any]:
        """See `Step`."""
        return {"images": [image.key for image in self.images], "config": self.config.identity(),
                "classes": self.num_classes, "training": self.training.model_dump(mode="json")}  # fmt: skip


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
