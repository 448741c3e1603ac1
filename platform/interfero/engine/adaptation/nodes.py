"""The nodes of an adaptation sweep: cells, and the work that several of them share."""

from __future__ import annotations

import json
from collections.abc import Set
from functools import cached_property
from typing import Any, ClassVar, Literal

from pydantic import Field

from interfero.adaptation.table import METHOD_TABLE
from interfero.config import Config
from interfero.domains.domain import ImageUnit
from interfero.engine.node import ContentNode, Node, Params
from interfero.store.keys import CELL_DIGITS, content_key, text_key

ADAPTER_FILE = "adapter.safetensors"


class KeyPart(Config):
    """A part of what identifies a cell, whose JSON text is made once for all cells that share it."""

    @cached_property
    def text(self) -> str:
        """Its JSON, as a key hashes it."""
        return json.dumps(self.named_by(), sort_keys=True)

    def named_by(self) -> dict[str, Any]:
        """What a key has of it."""
        return self.model_dump(mode="json")


class Block(KeyPart):
    """What is always gridded: a sampler never chooses it, it would pick the easy domain."""

    domain: str
    """Target domain."""
    rd_lambda: float = Field(gt=0)
    """Weight of distortion: bits per pixel per unit of MSE on the 0-255 scale."""
    num_images: int = Field(gt=0)
    """Target training images, `all` resolved."""
    data_seed: int = Field(ge=0)
    """Draws the subset, the crops and the noise."""


class Hyperparameters(KeyPart):
    """What a sampler may choose inside a block, and the initialisation."""

    method: str
    """How the codec is adapted."""
    adapter_size: int = Field(ge=0)
    """In the method's own unit; 0 where the method has none."""
    learning_rate: float = Field(gt=0)
    """Peak learning rate of Adam."""
    strength: float = Field(default=0.0, ge=0)
    """Weight of the method's own term, in its own unit; 0 where the method has none."""
    init_seed: int = Field(default=0, ge=0)
    """Draws initial custom parameters."""

    @property
    def shape(self) -> tuple[str, int, float]:
        """What members have in common that may step as one computation."""
        return self.method, self.adapter_size, self.strength


class LoopConfig(KeyPart):
    """How every cell of a sweep is trained and measured."""

    num_steps: int = Field(gt=0)
    """Optimiser steps."""
    batch_size: int = Field(default=8, gt=0)
    """Crops a step, over all workers."""
    crop_size: int = Field(default=128, ge=64, multiple_of=64)
    """Side of a crop in pixels."""
    schedule: Literal["cosine", "wsd"] = "cosine"
    """Of the learning rate: a cosine to zero after the warm-up; or warm-up, constant, cool-down, where
    trainings that differ in their number of steps are the same until the shorter one cools down."""
    warmup_share: float = Field(default=0.2, ge=0, lt=1)
    """Share of the steps in which the learning rate rises, for a cosine."""
    warmup_steps: int = Field(default=10, ge=0)
    """Steps in which it rises, for wsd: no matter how many follow."""
    cooldown_share: float = Field(default=0.2, gt=0, lt=1)
    """Share of the steps in which it falls, for wsd."""
    clip_norm: float = Field(default=1.0, gt=0)
    """Gradient norm is clipped to this."""
    precision: Literal["bfloat16", "float32"] = "float32"
    """Of training; evaluation is always float32."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where it trains; evaluation is always on the CPU."""
    threads: int = Field(default=1, gt=0)
    """CPU threads of a training process: float sums change in their last bits with them."""
    workers: int = Field(default=1, gt=0)
    """Processes that share a batch: float sums change in their last bits with them, too."""
    fused: bool = False
    """Whether members of a pack that are of one method and size step as one computation: then float sums
    change in their last bits with the company, and a cell is known to rounding, not to the bit."""
    max_source_images: int = Field(default=24, gt=0)
    """Source test images that are coded."""
    max_target_images: int = Field(default=24, gt=0)
    """Target test images that are coded."""
    delta_rank: int = Field(default=0, ge=0)
    """Rank of what a fine-tuned codec keeps of each kernel's difference from the source; 0 is all."""
    attribute: bool = False
    """Whether forgetting is attributed to the codec's components."""

    @property
    def trunk_steps(self) -> int | None:
        """Steps before the cool-down, which longer trainings have in common with it; None for a cosine."""
        if self.schedule == "cosine":
            return None
        return self.num_steps - max(1, round(self.cooldown_share * self.num_steps))

    def named_by(self) -> dict[str, Any]:
        """See `KeyPart`: fields that came later are left out where they are as they always were."""
        value = super().named_by()
        of_wsd = ("schedule", "warmup_steps", "cooldown_share")
        for name in of_wsd if self.schedule == "cosine" else ("warmup_share",):
            del value[name]
        if self.workers == 1:
            del value["workers"]
        if not self.fused:
            del value["fused"]
        return value


class Identity(KeyPart):
    """Content that a cell's numbers depend on."""

    codec: str
    """The source codec's name."""
    codec_hash: str
    """Of its weights and tables."""
    table_hash: str
    """Of its entropy tables alone."""
    domain_hash: str
    """Of the target domain's images and splits."""
    image_unit: ImageUnit = "images"
    """What one of them is; a label, and no part of the key."""
    source_domain: str
    """The source domain's name."""
    source_domain_hash: str
    """Of its images and splits."""
    loop_hash: str
    """Of the training code's syntax tree, docstrings left out."""
    versions: dict[str, str]
    """Of the libraries that decide numbers."""

    def named_by(self) -> dict[str, Any]:
        """See `KeyPart`."""
        return self.model_dump(mode="json", exclude={"image_unit"})


class Rate(KeyPart):
    """A source codec that an adapter for all rates is trained on."""

    rd_lambda: float = Field(gt=0)
    """Its lambda."""
    codec_hash: str
    """Of its weights and tables."""


class Cell(Node):
    """One point of a sweep, resolved: a training of its own, and its evaluation.

    Where the method trains on the source domain alone, the training is a `Train` node that all target
    domains share, and the cell evaluates it. So it is with the lambdas of an adapter for all rates.
    """

    kind: ClassVar[str] = "evaluate"
    leaf: ClassVar[bool] = True
    together: ClassVar[bool] = True

    node: Literal["evaluate"] = "evaluate"
    block: Block
    hyperparameters: Hyperparameters
    loop: LoopConfig
    identity: Identity
    rates: tuple[Rate, ...] = ()
    """Of a method for all rates: the lambdas of its training, rising; empty for all others."""

    @cached_property
    def key(self) -> str:
        """Content hash of everything the cell's numbers depend on."""
        # Written by hand, so that a sweep's cells share the texts of what they have in common.
        rates = f', "rates": [{", ".join(rate.text for rate in self.rates)}]' if self.rates else ""
        return text_key(
            f'{{"block": {self.block.text}, "hyperparameters": {self.hyperparameters.text}, '
            f'"identity": {self.identity.text}, "loop": {self.loop.text}{rates}}}',
            digits=CELL_DIGITS,
        )

    @property
    def shares_training(self) -> bool:
        """Whether its training is one that cells of other target domains, or of other lambdas, have too."""
        entry = METHOD_TABLE.get(self.hyperparameters.method)
        return bool(self.rates) or (entry is not None and entry.trains_on == "source")

    @property
    def training_key(self) -> str:
        """Content hash of what the trained parameters depend on, if others share the training."""
        return self._key_without(*self._differing, set())

    @property
    def trunk_key(self) -> str:
        """Content hash of what trainings of this kind have in common until they cool down."""
        block, identity = self._differing if self.shares_training else (set(), set())
        return self._key_without(block, identity, {"num_steps"})

    @property
    def _differing(self) -> tuple[Set[str], Set[str]]:
        """What a shared training does not see, of the block and of the identity."""
        if self.rates:
            return {"rd_lambda"}, {"codec_hash", "table_hash"}
        return {"domain", "num_images"}, {"domain_hash"}

    def rd_lambda_at(self, step: int) -> float:
        """Lambda of a training step."""
        if not self.rates:
            return self.block.rd_lambda
        return self.rates[step % len(self.rates)].rd_lambda

    def _key_without(self, block: Set[str], identity: Set[str], loop: Set[str]) -> str:
        parts = {
            "block": (self.block, block),
            "hyperparameters": (self.hyperparameters, frozenset[str]()),
            "identity": (self.identity, identity),
            "loop": (self.loop, loop),
        }
        named: dict[str, object] = {
            name: {k: v for k, v in part.named_by().items() if k not in left_out}
            for name, (part, left_out) in parts.items()
        }
        if self.rates:
            named["rates"] = [rate.named_by() for rate in self.rates]
        return content_key(named)

    @property
    def params(self) -> Params:
        """What MLflow shows as parameters."""
        return {
            "codec": self.identity.codec,
            **self.block.model_dump(),
            "image_unit": self.identity.image_unit,
            **self.hyperparameters.model_dump(),
            "num_steps": self.loop.num_steps,
            **({"num_rates": len(self.rates)} if self.rates else {}),
        }

    @property
    def tags(self) -> dict[str, str]:
        """Fingerprints, and whether its pack may fuse, as tags of its run."""
        identity = self.identity.model_dump()
        tags = {f"interfero.{n}": str(v) for n, v in identity.items() if n.endswith("hash")}
        return {**tags, "interfero.fused": str(self.loop.fused).lower()}

    @property
    def provenance(self) -> dict[str, str]:
        """What params leave out: hashes, the source domain, library versions and loop settings."""
        identity = self.identity.model_dump(exclude={"codec", "image_unit", "versions"})
        versions = (f"{name} {v}" for name, v in sorted(self.identity.versions.items()))
        loop = json.dumps(self.loop.model_dump(mode="json"), sort_keys=True)
        return {**identity, "versions": ", ".join(versions), "loop": loop}


class SharedTraining(Node):
    """A training that several cells evaluate: its product is an adapter file."""

    together: ClassVar[bool] = True

    cell: Cell
    """How it trains, and on what."""

    @property
    def files(self) -> tuple[str, ...]:
        """See `Node`."""
        return (ADAPTER_FILE,)


class Train(SharedTraining):
    """A training that several cells evaluate.

    It never sees a target domain (the control, say) and serves all of them, or takes all lambdas in turns.
    `cell` is one of the cells that need it: its target domain, or its lambda, decides nothing.
    """

    kind: ClassVar[str] = "train"

    node: Literal["train"] = "train"

    @cached_property
    def key(self) -> str:
        """See `Node`."""
        return f"{self.kind}-{self.cell.training_key}"

    @property
    def trunk_key(self) -> str:
        """See `Cell`."""
        return self.cell.trunk_key


class SourceView(ContentNode):
    """What the source codec makes of a domain, before anything is adapted to it."""

    codec_hash: str
    """Of the codec's weights and tables."""
    rd_lambda: float
    domain: str
    domain_hash: str
    """Of all its images."""
    code: str
    """Hash of the training code."""

    def identity(self) -> dict[str, Any]:
        """See `ContentNode`: the codec's hash stands for its lambda, the images' for the domain's name."""
        return self.model_dump(mode="json", exclude={"node", "domain", "rd_lambda"})


class Reference(SourceView):
    """A domain's test and validation images as the source codec codes them."""

    kind: ClassVar[str] = "reference"

    node: Literal["reference"] = "reference"
    num_images: int = Field(gt=0)
    """Test images, at most."""
    data_seed: int
    """Draws the validation images."""


class Distance(SourceView):
    """How far a target domain is from the source domain, as the source codec sees it."""

    kind: ClassVar[str] = "distance"

    node: Literal["distance"] = "distance"
    source_domain_hash: str


AdaptationNode = Cell | Train | Reference | Distance
