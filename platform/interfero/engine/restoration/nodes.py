"""The nodes of a restoration sweep: from images to a score, each named by all that decides what it makes.

    originals -> compress -> restoration -> restore -> segmentation -> finetune -> test
                                                         segmentation -> adapt -> compress -> test

A node holds the nodes it needs. A compressed copy of many images is made in parts, by several trials.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from interfero.config import Config
from interfero.domains.copies import SHARD_IMAGES, shard_file, shards_of
from interfero.domains.labelled import Portion
from interfero.engine.node import ContentNode, Node, Params
from interfero.engine.restoration.configs import (
    Configuration,
    RestorationConfig,
    RestorationSplit,
    SegmentationConfig,
    TaskCodecConfig,
)
from interfero.store.keys import content_key
from interfero.store.products import MODEL_FILE

PART_IMAGES = 64
"""Images that one trial compresses; more are compressed by several trials at once."""


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


class Originals(ContentNode):
    """Images as they are; nothing is to be done for them."""

    kind: ClassVar[str] = "originals"
    given: ClassVar[bool] = True

    node: Literal["originals"] = "originals"
    domain: str
    domain_hash: str
    """Of all images, labels and portions of the domain that copies are made of."""
    portion: Portion
    num_images: int = Field(gt=0)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {"domain": self.domain_hash, "portion": self.portion}


class Copied(ContentNode):
    """Images after a codec, or a part of them."""

    kind: ClassVar[str] = "compress"

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
    part: int | None = None
    """Which part a trial makes; None is the whole."""

    @cached_property
    def key(self) -> str:
        """See `Node`; of a part, its number as well."""
        whole = f"{self.kind}-{content_key(self.identity())}"
        return whole if self.part is None else f"{whole}.{self.part}"

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.originals,)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {"originals": self.originals.identity(), "codec": self.codec_hash,
                "rate_bpp": self.rate_bpp, "code": self.code}  # fmt: skip

    @property
    def parts(self) -> tuple[Self, ...]:
        """What trials make of it."""
        count = -(-self.originals.num_images // PART_IMAGES)
        return tuple(self.model_copy(update={"part": part}) for part in range(count))

    @property
    def shards(self) -> range:
        """Shards of the part."""
        last = shards_of(self.originals.num_images)
        if self.part is None:
            return range(last)
        per_part = PART_IMAGES // SHARD_IMAGES
        return range(self.part * per_part, min((self.part + 1) * per_part, last))

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return tuple(map(shard_file, self.shards))


class Compressed(Copied):
    """Images after a codec at an asked rate."""

    node: Literal["compressed"] = "compressed"


class Restorer(ContentNode):
    """A generator trained on compressed images and their originals."""

    kind: ClassVar[str] = "restoration"
    together: ClassVar[bool] = True

    node: Literal["restorer"] = "restorer"
    compressed: Compressed
    held_out: Compressed | None = None
    """Images it is scored on while it trains, if it is: never test images."""
    config: RestorationConfig
    training: Training

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.compressed,) if self.held_out is None else (self.compressed, self.held_out)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        scored = {} if self.held_out is None else {"held_out": self.held_out.key}
        return {"compressed": self.compressed.key, "config": self.config.identity(),
                "training": self.training.model_dump(mode="json"), **scored}  # fmt: skip

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (MODEL_FILE,)


class Restored(ContentNode):
    """Compressed images after a restorer."""

    kind: ClassVar[str] = "restore"

    node: Literal["restored"] = "restored"
    compressed: Compressed
    restorer: Restorer

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.compressed, self.restorer)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {"compressed": self.compressed.key, "restorer": self.restorer.key}

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return tuple(map(shard_file, range(shards_of(self.compressed.originals.num_images))))


LearnedFrom = Annotated[Originals | Compressed | Restored, Field(discriminator="node")]


class TrainedModel(ContentNode):
    """A model of a task trained on images, each kind as often as any other."""

    together: ClassVar[bool] = True

    images: tuple[LearnedFrom, ...] = Field(min_length=1)
    """Of one portion; two kinds are mixed."""
    config: SegmentationConfig
    num_classes: int
    labels_hash: str = ""
    """Of images and labels, where the labels are not those that the images' domain hash has."""
    training: Training

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return self.images

    @property
    def num_images(self) -> int:
        """How many of each kind it learns from."""
        return originals_of(self.images[0]).num_images

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        labels = {"labels": self.labels_hash} if self.labels_hash else {}
        return {"images": [image.key for image in self.images], "config": self.config.identity(),
                "classes": self.num_classes, "training": self.training.model_dump(mode="json"),
                **labels}  # fmt: skip

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (MODEL_FILE,)


class Segmenter(TrainedModel):
    """A model trained from the weights that its config names."""

    kind: ClassVar[str] = "segmentation"

    node: Literal["segmenter"] = "segmenter"


class FineTuned(TrainedModel):
    """A trained model that goes on training, for a short time, on a few labelled images."""

    kind: ClassVar[str] = "finetune"

    node: Literal["finetuned"] = "finetuned"
    start: Segmenter
    """What it is at first."""
    few: int = Field(gt=0)
    """Images, drawn by the data seed; those of a lower number are among them."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.start, *self.images)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {**super().identity(), "start": self.start.key, "few": self.few}

    @property
    def num_images(self) -> int:
        """See `TrainedModel`."""
        return self.few


Model = Annotated[Segmenter | FineTuned, Field(discriminator="node")]


class TaskCodec(ContentNode):
    """An adapter that a learned codec is given for what a trained model sees; the model does not change."""

    kind: ClassVar[str] = "adapt"

    node: Literal["task_codec"] = "task_codec"
    segmenter: Segmenter
    compressed: Compressed
    """Its training images as the source codec would copy them: this names the codec and its setting."""
    config: TaskCodecConfig
    training: Training

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`: no copy of the training images has to be made."""
        return (self.segmenter, self.compressed.originals)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {
            "segmenter": self.segmenter.key,
            "compressed": self.compressed.key,
            "config": self.config.identity(),
            "training": self.training.model_dump(mode="json"),
        }

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (MODEL_FILE,)


class TaskCoded(Copied):
    """Images after a codec that was adapted for a model, at the setting of the source codec's asked rate."""

    node: Literal["task_coded"] = "task_coded"
    adapter: TaskCodec

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`."""
        return (self.originals, self.adapter)

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        return {**super().identity(), "adapter": self.adapter.key}

    @property
    def plain(self) -> Compressed:
        """The same images after the source codec."""
        fields = Compressed.model_fields.keys() - {"node", "part"}
        return Compressed(**{name: getattr(self, name) for name in fields})


Images = Annotated[Originals | Compressed | Restored | TaskCoded, Field(discriminator="node")]


ORIGINAL, SEVERAL = "original", "several"
"""Codec and rate of cells that no codec takes part in; rate of those that are of all rates of a codec."""


class TestCell(ContentNode):
    """One point of a sweep: a model trained on images of one kind, tested on images of a kind."""

    __test__: ClassVar[bool] = False  # pytest takes what is called Test... for its own.

    kind: ClassVar[str] = "test"
    leaf: ClassVar[bool] = True

    node: Literal["test"] = "test"
    configuration: Configuration
    segmenter: Model
    tested_on: Images
    codec: str
    """Name of the codec; `original` where none takes part."""
    rate_bpp: float | None
    """Asked for; None where no codec takes part, or all rates do."""
    restoration: str = "none"
    """How the restorer was trained, as `--restorations` names it; `none` without a restorer."""
    restoration_split: RestorationSplit | Literal["none"] = "none"
    restorer_seed: int = 0
    """Of the restorer, if there is one."""
    variant: str = "none"
    """What else tells its line from others of the same configuration: `8 images`."""
    data_seed: int
    init_seed: int
    code: str
    """Hash of the code that tests."""

    @cached_property
    def key(self) -> str:
        """Content hash, without a kind: it is a cell."""
        return content_key(self.identity())

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`."""
        # MO at two rates, say, differs by its images; a cell that only bears another name does not exist.
        return {"configuration": self.configuration, "segmenter": self.segmenter.key,
                "tested_on": self.tested_on.key, "code": self.code}  # fmt: skip

    @property
    def inputs(self) -> tuple[Node, ...]:
        """See `Node`: also what the model learned from, for its rates and for the picture."""
        learned_from = self.segmenter.images[-1]
        compressed = compressed_of(learned_from)
        shown = (learned_from,) if compressed is None else (learned_from, compressed)
        beside = (self.tested_on.plain,) if isinstance(self.tested_on, TaskCoded) else ()
        return (self.segmenter, self.tested_on, *beside, *shown)

    @property
    def params(self) -> Params:
        """What MLflow shows as parameters."""
        config = self.segmenter.config
        originals = originals_of(self.tested_on)
        more: Params = {} if self.variant == "none" else {"variant": self.variant}
        if self.restoration != "none":
            more["restorer_seed"] = self.restorer_seed
        if isinstance(self.tested_on, TaskCoded):
            adapter = self.tested_on.adapter.config
            more |= {"method": adapter.method, "adapter_size": adapter.adapter_size,
                     "task_weight": adapter.task_weight}  # fmt: skip
        several = ORIGINAL if self.codec == ORIGINAL else SEVERAL
        return {
            "codec": self.codec,
            "rate_bpp": several if self.rate_bpp is None else self.rate_bpp,
            "domain": originals.domain,
            "task": config.task,
            "configuration": self.configuration,
            "restoration": self.restoration,
            "restoration_split": self.restoration_split,
            **more,
            "data_seed": self.data_seed,
            "init_seed": self.init_seed,
            "num_images": self.segmenter.num_images,
            "num_steps": config.num_steps,
            "learning_rate": config.learning_rate,
            "architecture": config.architecture,
            "encoder": config.encoder,
            "encoder_weights": config.encoder_hash or "none",
        }

    @property
    def tags(self) -> dict[str, str]:
        """Fingerprints that link the cell's run to the nodes behind it."""
        steps = {f"interfero.step_{kind}": keys for kind, keys in self.lineage.items()}
        return {"interfero.domain_hash": originals_of(self.tested_on).domain_hash, **steps}


RestorationNode = (
    Compressed | Restorer | Restored | Segmenter | FineTuned | TaskCodec | TaskCoded | TestCell
)
"""What trials do."""


def work_of(node: Node) -> Iterator[Node]:
    """What trials do to make a node: parts of copies; nothing for images as they are."""
    if isinstance(node, Copied):
        yield from node.parts if node.part is None else (node,)
    elif not node.given:
        yield node


def needs_of(node: Node) -> tuple[Node, ...]:
    """What trials have to do before a node."""
    return tuple(work for needed in node.inputs for work in work_of(needed))


def originals_of(images: Images) -> Originals:
    """What images were before anything was done to them."""
    if isinstance(images, Restored):
        return images.compressed.originals
    return images if isinstance(images, Originals) else images.originals


def compressed_of(images: Images) -> Compressed | TaskCoded | None:
    """The compressed copy behind images, if any."""
    if isinstance(images, Restored):
        return images.compressed
    return None if isinstance(images, Originals) else images
